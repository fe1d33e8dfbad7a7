"""A batch of records against a table: examined first, then applied. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crmsync.sandbox.experiture.replies import INVALID, Outcome, Refusal, RowError
from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.experiture.tables import Flaw, Record, Table, blank, cleaned


@dataclass(frozen=True, slots=True)
class Poison:
    """Records with `field` equal to `value` always fail.

    Without `status` they are row errors; with it, the whole request is answered so (or its job fails, where
    `in_job` is set). `with_path` says whether the error names the record.
    """

    field: str
    value: Any
    status: int | None = None
    code: str = INVALID
    message: str = "this record cannot be processed"
    with_path: bool = True
    in_job: bool = False

    def taints(self, record: Any) -> bool:
        return isinstance(record, dict) and self.field in record and record[self.field] == self.value


@dataclass(slots=True)
class Examined:
    """`records` has None where a record was found wrong; `refusal` is set where the whole batch is refused,
    `refused_in_job` where that shows only in its job."""

    records: list[Record | None] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    refusal: Refusal | None = None
    refused_in_job: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One record that reached a table, in the order of arrival there."""

    object: str
    row: int
    status: str
    match_key: str | None
    record: Record
    idempotency_key: str | None
    batch: str


def examine(
    records: Sequence[Any],
    table: Table,
    match_key: str | None,
    switches: Switches,
    poisons: Sequence[Poison],
) -> Examined:
    """Check every record and decide whether the batch is refused as a whole."""
    found, rules = Examined(), switches.rules()
    seen: set[Any] = set()
    only_once = match_key is not None and switches["duplicate_keys_in_batch"] == "reject_row"
    for index, record in enumerate(records):
        poison = next((each for each in poisons if each.taints(record)), None)
        if poison is not None:
            _poisoned(found, index, poison)
            continue
        try:
            clean = cleaned(record, table.schema, rules, match_key)
            if only_once and match_key is not None:
                _claim(clean, match_key, seen)
        except Flaw as flaw:
            code = switches["unknown_field_code"] if flaw.unknown else INVALID
            found.errors.append(RowError(index, code, flaw.message, flaw.field, flaw.value, flaw.unknown))
            found.records.append(None)
        else:
            found.records.append(clean)
    if found.refusal is None:
        found.refusal = _refusal(found.errors, switches)
        found.refused_in_job = switches["validation"] == "in_job"
    return found


def apply(
    examined: Examined,
    table: Table,
    match_key: str | None,
    now: datetime,
    idempotency_key: str | None,
    batch: str,
) -> tuple[Outcome, list[Write]]:
    """Write the records that were found right; `match_key` None appends."""
    outcome, writes = Outcome(errors=examined.errors), []
    for record in examined.records:
        if record is None:
            outcome.statuses.append("rejected")
            continue
        if match_key is None:
            row, inserted = table.append(record, now), True
            outcome.statuses.append("appended")
        else:
            row, inserted = table.upsert(record, match_key, now)
            outcome.statuses.append("inserted" if inserted else "updated")
        writes.append(
            Write(
                table.schema.name,
                row.number,
                "inserted" if inserted else "updated",
                match_key,
                record,
                idempotency_key,
                batch,
            )
        )
    return outcome, writes


def _poisoned(found: Examined, index: int, poison: Poison) -> None:
    error = RowError(index, poison.code, poison.message, poison.field, None, named=poison.with_path)
    found.errors.append(error)
    found.records.append(None)
    if poison.status is not None and found.refusal is None:
        found.refusal = Refusal(poison.status, poison.code, poison.message, error.details())
        found.refused_in_job = poison.in_job


def _claim(record: Record, match_key: str, seen: set[Any]) -> None:
    value = record.get(match_key)
    if blank(value):
        return
    if value in seen:
        raise Flaw(f"another record of this batch has the same '{match_key}'", match_key, value)
    seen.add(value)


def _refusal(errors: Sequence[RowError], switches: Switches) -> Refusal | None:
    """The refusal of the whole batch, where these errors are a reason for one."""
    unknown = [error for error in errors if error.unknown_field]
    if unknown and switches["unknown_field_in_batch"] == "refuse_request":
        return refuse(422, unknown, switches)
    if errors and switches["outcome"] == "all_or_nothing":
        return refuse(422 if errors[0].unknown_field else switches["row_error_status"], errors, switches)
    return None


def refuse(status: int, errors: Sequence[RowError], switches: Switches) -> Refusal:
    """One error answer for these records."""
    first = errors[0]
    details: dict[str, Any] = {} if switches["error_path"] == "none" else first.details()
    if switches["error_path"] == "all" and details:
        details["errors"] = [
            {"path": error.path, "message": error.message} for error in errors if error.named
        ]
    return Refusal(status, first.code, first.message, details)
