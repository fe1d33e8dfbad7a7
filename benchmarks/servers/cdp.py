"""The workspace: metadata, upsert-batch and its jobs. It keeps which contacts arrived, and nothing else."""

from __future__ import annotations

import itertools
import time
import uuid
from pathlib import Path
from typing import Any

import orjson

from crmsync.sandbox.experiture.metadata import object_details
from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.experiture.tables import default_schemas
from servers.crm import PAGE
from servers.people import row_of
from servers.settings import API_KEY, Counts, Settings
from servers.wire import Answer, Request

API = "/public/v1"


class Workspace:
    """Answers what lies below `/public/v1`."""

    def __init__(self, settings: Settings, counts: Counts) -> None:
        self._settings = settings
        self.counts = counts
        self._jobs: dict[str, tuple[float, int]] = {}
        self._numbers = itertools.count(1)
        self._schema = object_details(default_schemas()["profiles"], Switches())
        self.bodies: list[tuple[int, bytes]] | None = None

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return _enveloped(401, error={"code": "CDP_ETL.AUTH.UNAUTHORIZED", "message": "no such token"})
        match request.method, request.path.removeprefix(API).strip("/").split("/"):
            case "POST", ["records", "profiles", "upsert-batch"]:
                return self._batch(request)
            case "GET", ["records", "profiles", "jobs", id_]:
                return self._job(id_)
            case "GET", ["metadata", "objects", "profiles"]:
                self.counts.requests["metadata"] += 1
                return _enveloped(200, self._schema)
        return _enveloped(404, error={"code": "CDP_ETL.NOT_FOUND", "message": "there is no such endpoint"})

    def record_to(self, folder: Path, targets: list[str]) -> None:
        """Write the bodies that came, each with the page that its last contact is on, for a program to repeat."""
        bodies = sorted(self.bodies or ())
        with (folder / "bodies.bin").open("wb") as file:
            listed = [[page, file.write(body)] for page, body in bodies]
        (folder / "recording.json").write_bytes(orjson.dumps({"targets": targets, "bodies": listed}))

    def _batch(self, request: Request) -> Answer:
        records = orjson.loads(request.body)["records"]
        self.counts.requests["batch"] += 1
        self.counts.records += len(records)
        rows = [row_of(record["salesforce_id"]) for record in records]
        for row in rows:
            if row < len(self.counts.delivered):
                self.counts.delivered[row] = 1
            else:
                self.counts.strangers += 1
        if self.bodies is not None:
            self.bodies.append((max(rows) // PAGE, request.body))
        settings, size = self._settings, len(records)
        about = {"operation": "upsert", "objectName": "profiles", "accepted": True, "acceptedRecords": size}
        if settings.mode == "inline":
            return _enveloped(200, about | _counted(size), seconds=settings.inline_seconds)
        id_ = f"job_{next(self._numbers):08}"
        self._jobs[id_] = (time.monotonic() + settings.accept_seconds + settings.job_seconds, size)
        return _enveloped(202, about | {"jobId": id_, "status": "queued"}, seconds=settings.accept_seconds)

    def _job(self, id_: str) -> Answer:
        self.counts.requests["poll"] += 1
        done, size = self._jobs[id_]
        if time.monotonic() < done:
            return _enveloped(200, {"jobId": id_, "status": "running"})
        return _enveloped(200, {"jobId": id_, "status": "completed", **_counted(size)})


def _counted(size: int) -> dict[str, Any]:
    return {"inserted": size, "updated": 0, "rejected": 0, "errors": []}


def _enveloped(status: int, data: Any = None, *, error: Any = None, seconds: float = 0.0) -> Answer:
    correlation = str(uuid.uuid4())
    body: dict[str, Any] = {"success": error is None, "correlationId": correlation}
    body |= {"data": data} if error is None else {"error": error}
    headers = {"Content-Type": "application/json; charset=utf-8", "x-correlation-id": correlation}
    return Answer(status, orjson.dumps(body), headers, seconds)
