"""The sandbox's Experiture CDP: token endpoint, records, record jobs, profiles and metadata.

It refuses what the documentation says is refused. What the documentation leaves open is a switch
(`cdp_switches.py`); the control actions are in `cdp_control.py`.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crmsync.sandbox.experiture.batches import Examined, Poison, Write, apply, examine
from crmsync.sandbox.experiture.calls import WriteCall, read_write, too_large
from crmsync.sandbox.experiture.control import act
from crmsync.sandbox.experiture.idempotency import IdempotencyCache
from crmsync.sandbox.experiture.jobs import Job, JobBook
from crmsync.sandbox.experiture.limits import RateLimits
from crmsync.sandbox.experiture.metadata import object_details, object_item
from crmsync.sandbox.experiture.replies import (
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    Outcome,
    Refusal,
    acceptance,
    failure,
    results,
    state_word,
    success,
)
from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.experiture.tables import Flaw, Table, cleaned, default_schemas
from crmsync.sandbox.experiture.tokens import API_KEY, CLIENT_ID, CLIENT_SECRET, Tokens
from crmsync.sandbox.web import Clock, Request, Response

API = "/public/v1"
TOKEN_PATH = "/oauth/token"
_WRITES = {
    "append": ("append", False),
    "upsert": ("upsert", False),
    "append-batch": ("append", True),
    "upsert-batch": ("upsert", True),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A routed request: what it needs, and what answers it."""

    name: str
    limit_class: str
    scope: str
    answer: Callable[[], Response]


class ExperitureService:
    """One workspace. All its data is guarded by `lock`; `seed` makes job ids and random orders repeatable."""

    name = "experiture"

    def __init__(
        self,
        *,
        base_url: str,
        clock: Clock | None = None,
        seed: int = 0,
        switches: Mapping[str, Any] | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.clock = clock or Clock()
        self.switches = Switches(switches)
        self.lock = threading.Condition(threading.RLock())
        self.tokens = Tokens(self.switches, self.base_url)
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Back to an empty workspace; clock, switches and tokens stay."""
        self.tables = {name: Table(schema) for name, schema in default_schemas().items()}
        self.jobs = JobBook(self._run_job, random.Random(self._seed))
        self.cache = IdempotencyCache(self.switches, self.lock)
        self.limits = RateLimits(self.switches)
        self.poisons: list[Poison] = []
        self.writes: list[Write] = []
        self.requests: Counter[str] = Counter()
        self.batches: list[dict[str, Any]] = []

    @property
    def credentials(self) -> dict[str, str]:
        return {"api_key": API_KEY, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

    def environment(self) -> dict[str, str]:
        """The variables that point crmsync at this service, with OAuth client credentials."""
        return {
            "EXPERITURE_BASE_URL": self.base_url + API,
            "EXPERITURE_TOKEN_URL": self.base_url + TOKEN_PATH,
            "EXPERITURE_CLIENT_ID": CLIENT_ID,
            "EXPERITURE_CLIENT_SECRET": CLIENT_SECRET,
        }

    def owns(self, path: str) -> bool:
        return path == TOKEN_PATH or path.startswith(API + "/")

    def handle(self, request: Request) -> Response:
        with self.lock:
            if request.path == TOKEN_PATH:
                self.requests["token"] += 1
                return self.tokens.issue(request, self.clock.now())
            try:
                endpoint = self._admitted(request)
            except Refusal as refusal:
                return failure(refusal, self.switches)
        try:
            return endpoint.answer()
        except Refusal as refusal:
            return failure(refusal, self.switches)

    def control(self, action: str, arguments: dict[str, Any]) -> Any:
        with self.lock:
            self.jobs.settle(self.clock.now())
            try:
                return act(self, action, arguments)
            except (TypeError, KeyError) as error:
                raise ValueError(f"wrong arguments for {action}: {error}") from None

    def _admitted(self, request: Request) -> Endpoint:
        """The endpoint of a request that has the right to be there. Raises Refusal."""
        now = self.clock.now()
        self.jobs.settle(now)
        endpoint = self._endpoint(request)
        self.requests[endpoint.name] += 1
        caller = self.tokens.check(request, endpoint.scope, now)
        self.limits.use(caller, endpoint.limit_class, now)
        return endpoint

    def _endpoint(self, request: Request) -> Endpoint:
        scope = self.switches["records_scope"]
        match request.method, request.path.removeprefix(API).strip("/").split("/"):
            case "POST", ["records", name, verb] if verb in _WRITES:
                kind = "batch" if _WRITES[verb][1] else "single"
                return Endpoint(f"records/{verb}", kind, scope, lambda: self._write(request, name, verb))
            case "POST", ["profiles", "upsert"]:
                return Endpoint(
                    "profiles/upsert",
                    "single",
                    "cdp:profiles:write",
                    lambda: self._write(request, "profiles", "upsert"),
                )
            case "GET", ["records", name, "jobs", job_id]:
                kind = "jobs" if self.switches["polling_class"] == "own" else "batch"
                scope = self.switches["jobs_scope"]
                return Endpoint("records/jobs", kind, scope, lambda: self._read_job(name, job_id))
            case "GET", ["metadata", "objects"]:
                return Endpoint("metadata", "metadata", "cdp:metadata:read", self._list_objects)
            case "GET", ["metadata", "objects", name]:
                return Endpoint("metadata", "metadata", "cdp:metadata:read", lambda: self._read_object(name))
        raise Refusal(404, NOT_FOUND, "there is no such endpoint")

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise Refusal(404, NOT_FOUND, f"there is no object {name}")
        return self.tables[name]

    def _write(self, request: Request, object_name: str, verb: str) -> Response:
        """Answer a write, or give the answer again that its Idempotency-Key had the first time."""
        refused = too_large(request, self.switches)
        if isinstance(refused, Refusal):
            raise refused
        if refused is not None:
            return refused
        cache = self.cache
        key = cache.key_of(request)
        if key is None:
            return self._processed(request, object_name, verb, None)
        with self.lock:
            again = cache.claim(key, request, self.clock.now())
        if again is not None:
            return again
        response = Response(500)
        try:
            response = self._processed(request, object_name, verb, key)
        finally:
            with self.lock:
                cache.settle(key, response)
        return response

    def _processed(self, request: Request, object_name: str, verb: str, key: str | None) -> Response:
        threading.Event().wait(self.switches["processing_seconds"])
        operation, batch = _WRITES[verb]
        notes: dict[str, Any] = {"idempotency_key": key}
        try:
            with self.lock:
                table = self._table(object_name)
            call = read_write(request, table.schema, operation, batch=batch, switches=self.switches)
            notes["records"] = len(call.records)
            with self.lock:
                self.batches.append({"endpoint": f"{object_name}/{verb}", **notes})
                response = self._batch(call, table, key) if batch else self._single(call, table, key)
        except Refusal as refusal:
            response = failure(refusal, self.switches)
        response.notes = notes
        return response

    def _single(self, call: WriteCall, table: Table, key: str | None) -> Response:
        record = call.records[0]
        poison = next((poison for poison in self.poisons if poison.taints(record)), None)
        if poison is not None:
            details = {"path": poison.field} if poison.with_path else {}
            raise Refusal(poison.status or 400, poison.code, poison.message, details)
        try:
            clean = cleaned(record, table.schema, self.switches.rules(), call.match_key)
        except Flaw as flaw:
            path = f"record.{flaw.field}" if flaw.field else "record"
            code = self.switches["unknown_field_code"] if flaw.unknown else INVALID
            details = {"path": path, "value": flaw.value}
            raise Refusal(422 if flaw.unknown else 400, code, flaw.message, details) from None
        self._apply(Examined([clean]), table, call.match_key, key, self._batch_id())
        now = self.clock.now()
        data = acceptance(call.operation, table.schema.name, 1, now, call.match_key)
        return success(200, data, self.switches)

    def _batch(self, call: WriteCall, table: Table, key: str | None) -> Response:
        examined = examine(call.records, table, call.match_key, self.switches, self.poisons)
        inline = self.switches["batch_mode"] == "inline"
        if examined.refusal is not None and (inline or not examined.refused_in_job):
            raise examined.refusal
        now, name = self.clock.now(), table.schema.name
        if inline:
            outcome = self._apply(examined, table, call.match_key, key, self._batch_id())
            accepted = len(outcome.statuses) - outcome.count("rejected")
            data = acceptance(call.operation, name, accepted, now, call.match_key)
            return success(200, data | results(outcome, self.switches), self.switches)
        job = self.jobs.accept(name, call.operation, call.match_key, examined, key, now, self.switches)
        data = acceptance(call.operation, name, job.size, now, call.match_key)
        data[self.switches["job_id_field"]] = job.id
        data[self.switches["state_field"]] = state_word("queued", self.switches)
        return success(self.switches["accept_status"], data, self.switches)

    def _apply(
        self, examined: Examined, table: Table, match_key: str | None, key: str | None, batch: str
    ) -> Outcome:
        outcome, writes = apply(examined, table, match_key, self.clock.now(), key, batch)
        self.writes.extend(writes)
        return outcome

    def _run_job(self, job: Job, examined: Examined) -> Outcome:
        return self._apply(examined, self.tables[job.object], job.match_key, job.idempotency_key, job.id)

    def _batch_id(self) -> str:
        return f"batch_{len(self.batches):06}"

    def _read_job(self, object_name: str, job_id: str) -> Response:
        with self.lock:
            self._table(object_name)
            now = self.clock.now()
            job = self.jobs.readable(object_name, job_id, now, self.switches)
            if job is None:
                raise Refusal(404, NOT_FOUND, f"there is no job {job_id}")
            return success(200, job.described(now, self.switches), self.switches)

    def _list_objects(self) -> Response:
        with self.lock:
            items = [object_item(table.schema) for table in self.tables.values()]
        return self._metadata({"items": items})

    def _read_object(self, name: str) -> Response:
        with self.lock:
            return self._metadata(object_details(self._table(name).schema, self.switches))

    def _metadata(self, data: dict[str, Any]) -> Response:
        match self.switches["metadata"]:
            case "forbidden":
                raise Refusal(403, FORBIDDEN, "the token lacks the scope cdp:metadata:read")
            case "garbled":
                return Response(200, "<html><body>Please sign in.</body></html>")
        return success(200, data, self.switches)
