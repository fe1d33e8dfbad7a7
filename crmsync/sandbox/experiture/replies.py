"""The shapes of the CDP's answers: envelopes, errors, batch results and job states, as the switches say."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.web import Response

INVALID = "CDP_ETL.VALIDATION.REQUEST_INVALID"
NOT_FOUND = "CDP_ETL.NOT_FOUND"
CONFLICT = "CDP_ETL.CONFLICT"
FORBIDDEN = "CDP_ETL.AUTH.FORBIDDEN"
LIMITED = "CDP_ETL.RATE.LIMITED"

Phase = Literal["queued", "running", "done", "partial", "failed"]


class Refusal(Exception):
    """An error answer of the API."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = dict(details or {}), dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            **({"details": self.details} if self.details else {}),
        }


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one record of a batch was rejected. `unknown_field` marks a schema error; `named` says whether the
    answer tells which record it was."""

    index: int
    code: str
    message: str
    field: str | None = None
    value: Any = None
    unknown_field: bool = False
    named: bool = True

    @property
    def path(self) -> str:
        return f"records[{self.index}]" + (f".{self.field}" if self.field else "")

    def details(self) -> dict[str, Any]:
        return {"path": self.path, "value": self.value} if self.named else {}


@dataclass(slots=True)
class Outcome:
    """What became of a batch: one status per record, in the order of the request."""

    statuses: list[Literal["inserted", "updated", "appended", "rejected"]] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)

    def count(self, status: str) -> int:
        return sum(1 for each in self.statuses if each == status)


def success(status: int, data: Any, switches: Switches, notes: dict[str, Any] | None = None) -> Response:
    body = {"success": True, "data": data}
    return _with_correlation(Response(status, body, notes=notes or {}), "success", switches)


def failure(refusal: Refusal, switches: Switches) -> Response:
    error = refusal.body()
    if switches["remediation"] == "text":
        error["remediation"] = "See the error guide."
    elif switches["remediation"] == "links":
        error["remediation"] = [{"label": "Error guide", "href": "/guides/error-handling"}]
    body = {"success": False, "error": error}
    return _with_correlation(Response(refusal.status, body, dict(refusal.headers)), "error", switches)


def _with_correlation(response: Response, kind: str, switches: Switches) -> Response:
    correlation = str(uuid.uuid4())
    response.headers["x-correlation-id"] = correlation
    if switches["body_correlation_id"] in (kind, "both"):
        response.body["correlationId"] = correlation
    return response


def stamp(at: datetime) -> str:
    """An instant as the API writes it: UTC, milliseconds, Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def acceptance(
    operation: str, object_name: str, count: int, at: datetime, match_key: str | None
) -> dict[str, Any]:
    """The data of an accepted write."""
    data: dict[str, Any] = {
        "operation": operation,
        "objectName": object_name,
        "accepted": True,
        "acceptedAt": stamp(at),
        "acceptedRecords": count,
    }
    return data if match_key is None else {**data, "matchKey": match_key}


def results(outcome: Outcome, switches: Switches) -> dict[str, Any]:
    """The counts and the list of records, named and nested as the switches say."""
    data: dict[str, Any] = {}
    if switches["counts_at"] != "absent":
        _nest(data, switches["counts_at"], _counts(outcome, switches["counts_names"]))
    if switches["row_report"] != "none":
        _nest(data, switches["rows_at"], {switches["rows_name"]: _rows(outcome, switches)})
    return data


def state_word(phase: Phase, switches: Switches) -> str:
    return str(switches[f"state_{phase}"])


def _nest(data: dict[str, Any], place: str, members: dict[str, Any]) -> None:
    (data if place == "flat" else data.setdefault(place, {})).update(members)


def _counts(outcome: Outcome, names: str) -> dict[str, int]:
    inserted = outcome.count("inserted") + outcome.count("appended")
    updated, rejected = outcome.count("updated"), outcome.count("rejected")
    match names:
        case "records":
            return {"insertedRecords": inserted, "updatedRecords": updated, "rejectedRecords": rejected}
        case "count":
            return {"insertedCount": inserted, "updatedCount": updated, "rejectedCount": rejected}
        case "snake":
            return {"inserted_count": inserted, "updated_count": updated, "rejected_count": rejected}
        case "guide":
            return {"inserted": inserted, "updated": updated, "rejected_records": rejected}
        case "accepted":
            return {"acceptedRecords": inserted + updated, "rejectedRecords": rejected}
        case "succeeded":
            return {"succeeded": inserted + updated, "failed": rejected}
    return {"inserted": inserted, "updated": updated, "rejected": rejected}


def _rows(outcome: Outcome, switches: Switches) -> list[dict[str, Any]]:
    errors = {error.index: error for error in outcome.errors}
    listed = range(len(outcome.statuses)) if switches["row_report"] == "all" else sorted(errors)
    return [_row(index, outcome, errors.get(index), switches) for index in listed]


def _row(index: int, outcome: Outcome, error: RowError | None, switches: Switches) -> dict[str, Any]:
    named = error.path if error else f"records[{index}]"
    row: dict[str, Any] = {switches["row_index"]: named if switches["row_index"] == "path" else index}
    if error is None:
        return {**row, "status": outcome.statuses[index]}
    row["status"] = switches["rejected_word"]
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if switches["row_error"] == "flat":
        return {**row, **told}
    return {**row, "error": {**told, **({"details": error.details()} if error.named else {})}}
