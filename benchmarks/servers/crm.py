"""The org: login, versions, describes, queries in pages and Bulk 2.0 query jobs, kept gzipped once made."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from crmsync.sandbox.salesforce.describe import describe, global_describe
from crmsync.sandbox.salesforce.schema import ENTITIES
from crmsync.sandbox.salesforce.values import make_id, stamp
from servers.people import People, Row
from servers.settings import TOKEN, Counts, Settings
from servers.wire import Answer, Request

PAGE = 2000
BULK_PAGE = 50_000
VERSIONS = tuple(f"{number}.0" for number in range(41, 68))
_JSON = {"Content-Type": "application/json;charset=UTF-8", "Vary": "Accept-Encoding"}
_QUERY = re.compile(
    r"\s*SELECT\s+(?P<columns>.+?)\s+FROM\s+(?P<object>\w+)(?:\s+WHERE\s+(?P<where>.+?))?"
    r"(?:\s+ORDER\s+BY\s+(?P<order>.+?))?(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_BOUND = re.compile(r"(?:SystemModstamp|LastModifiedDate)\s*(>=|>|<=|<)\s*(\S+)", re.IGNORECASE)
_ORDERS = {"", "systemmodstamp", "lastmodifieddate", "systemmodstamp,id"}


class Malformed(Exception):
    """A query, or a request, that this org does not know."""


@dataclass(frozen=True, slots=True)
class Result:
    """Rows `start` to `stop` of the contacts (none of another object), with these columns."""

    object: str
    columns: tuple[str, ...]
    start: int
    stop: int
    base: str


@dataclass(slots=True)
class Job:
    id: str
    result: Result
    version: str
    created: datetime


class Org:
    """Answers what lies below `/services/`."""

    def __init__(self, people: People, settings: Settings, counts: Counts, base_url: str) -> None:
        self._people = people
        self._settings = settings
        self.counts = counts
        self._base_url = base_url
        self._results: dict[str, Result] = {}
        self._ids: dict[Result, str] = {}
        self._kept: dict[tuple[Any, ...], bytes] = {}
        self._jobs: dict[str, Job] = {}
        self._numbers = itertools.count(1)
        self._used = 0
        self.targets: list[str] | None = None

    def answer(self, request: Request) -> Answer:
        try:
            return self._routed(request)
        except Malformed as error:
            self.counts.requests["refused"] += 1
            return _json([{"errorCode": "MALFORMED_QUERY", "message": str(error)}], status=400)

    def _routed(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        if parts[1] == "oauth2":
            self.counts.requests["login"] += 1
            return _json(self._token())
        if parts[1:] == ["data"]:
            self.counts.requests["versions"] += 1
            return _json([{"version": v, "label": v, "url": f"/services/data/v{v}"} for v in VERSIONS])
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            self.counts.requests["refused"] += 1
            return _json(
                [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}], status=401
            )
        self._used += 1
        answer = self._rest(request, "/" + "/".join(parts[:3]), parts[2].removeprefix("v"), parts[3:])
        answer.headers["Sforce-Limit-Info"] = f"api-usage={self._used}/5000000"
        return answer

    def _rest(self, request: Request, base: str, version: str, parts: list[str]) -> Answer:
        match request.method, parts:
            case "GET", ["query" | "queryAll"]:
                return self._query(request, base)
            case "GET", ["query" | "queryAll", locator]:
                id_, _, offset = locator.partition("-")
                return self._page(request, self._results[id_], int(offset))
            case "GET", ["sobjects"]:
                self.counts.requests["sobjects"] += 1
                return _json(global_describe(ENTITIES.values(), base))
            case "GET", ["sobjects", name, "describe"]:
                self.counts.requests["describe"] += 1
                entity = ENTITIES[name]
                return _json(describe(entity, entity.fields.values(), (), base, self._base_url))
            case "GET", ["sobjects", _, "updated"]:
                self.counts.requests["updated"] += 1
                return _json({"ids": [], "latestDateCovered": stamp(datetime.now(UTC))})
            case "GET", ["sobjects", _, "deleted"]:
                self.counts.requests["deleted"] += 1
                now = stamp(datetime.now(UTC))
                return _json({"deletedRecords": [], "earliestDateAvailable": now, "latestDateCovered": now})
            case _, ["jobs", "query", *rest]:
                return self._bulk(request, base, version, rest)
        raise Malformed(f"{request.method} {request.path} is not served here")

    # --- queries

    def _query(self, request: Request, base: str) -> Answer:
        text = request.query["q"]
        result = self._found(text, base)
        if result.columns == ("COUNT()",):
            self.counts.requests["count"] += 1
            return _json({"totalSize": result.stop - result.start, "done": True, "records": []})
        return self._page(request, result, result.start)

    def _found(self, text: str, base: str) -> Result:
        query = _QUERY.fullmatch(text)
        if query is None:
            raise Malformed("this org does not understand the query")
        columns = tuple(column.strip() for column in query["columns"].split(","))
        start, stop = self._bounds(query["where"] or "")
        if re.sub(r"\s+|\bASC\b", "", query["order"] or "", flags=re.IGNORECASE).lower() not in _ORDERS:
            raise Malformed(f"this org does not order by {query['order']}")
        if query["object"] != "Contact":
            return Result(query["object"], columns, 0, 0, base)
        if query["limit"]:
            stop = min(stop, start + int(query["limit"]))
        return Result("Contact", columns, start, max(start, stop), base)

    def _bounds(self, where: str) -> tuple[int, int]:
        start, stop = 0, self._people.number
        left = re.sub(r"\bAND\b|\s+|\(|\)", "", _BOUND.sub("", where), flags=re.IGNORECASE)
        if left:
            raise Malformed(f"this org does not know the condition {left}")
        for sign, literal in _BOUND.findall(where):
            moment = datetime.fromisoformat(literal.strip("()"))
            after = self._people.first_at(moment.replace(microsecond=0)) if sign in (">=", "<") else None
            if after is None:
                after = self._people.first_at(datetime.fromtimestamp(int(moment.timestamp()) + 1, UTC))
            if sign in (">=", ">"):
                start = max(start, after)
            else:
                stop = min(stop, after)
        return start, stop

    def _page(self, request: Request, result: Result, start: int) -> Answer:
        stop = min(start + PAGE, result.stop)
        self.counts.requests["page"] += 1
        self.counts.rows += stop - start
        if self.targets is not None:
            self.targets.append(request.target)
        pretty = request.headers.get("x-prettyprint") == "1"
        return _sent(request, self._packed_page(result, start, pretty), _JSON, self._settings.page_seconds)

    def warm(self) -> None:
        """Make every page of every query whose first page was asked for."""
        for result, pretty in [(key[1], key[3]) for key in self._kept if key[0] == "page"]:
            for start in range(result.start, result.stop, PAGE):
                self._packed_page(result, start, pretty)

    def _packed_page(self, result: Result, start: int, pretty: bool) -> bytes:
        key = ("page", result, start, pretty)
        if key not in self._kept:
            page = self._rendered(result, start, min(start + PAGE, result.stop))
            self._kept[key] = _packed(orjson.dumps(page, option=orjson.OPT_INDENT_2 if pretty else 0))
        return self._kept[key]

    def _rendered(self, result: Result, start: int, stop: int) -> dict[str, Any]:
        done = stop == result.stop
        more = {} if done else {"nextRecordsUrl": f"{result.base}/query/{self._locator(result)}-{stop}"}
        url = f"{result.base}/sobjects"
        return {
            "totalSize": result.stop - result.start,
            "done": done,
            **more,
            "records": [_written(row, result.columns, url) for row in self._people.rows(start, stop)],
        }

    def _locator(self, result: Result) -> str:
        if result not in self._ids:
            self._ids[result] = make_id("01g", "Bm", next(self._numbers))
            self._results[self._ids[result]] = result
        return self._ids[result]

    # --- bulk

    def _bulk(self, request: Request, base: str, version: str, parts: list[str]) -> Answer:
        match request.method, parts:
            case "POST", []:
                self.counts.requests["bulk"] += 1
                asked = orjson.loads(request.body)
                job = Job(
                    make_id("750", "Bm", next(self._numbers)),
                    self._found(asked["query"], base),
                    version,
                    _now(),
                )
                self._jobs[job.id] = job
                return _json(_document(job, "UploadComplete"))
            case "GET", [id_]:
                self.counts.requests["bulk"] += 1
                return _json(_document(self._jobs[id_], "JobComplete"))
            case "GET", [id_, "resultPages"]:
                self.counts.requests["bulk"] += 1
                return _json(
                    _pages(
                        self._jobs[id_], f"{base}/jobs/query/{id_}", int(request.query.get("locator", "0"))
                    )
                )
            case "GET", [id_, "results"]:
                return self._results_page(request, self._jobs[id_])
            case (("DELETE" | "PATCH"), [id_]):
                self.counts.requests["bulk"] += 1
                self._jobs.pop(id_, None)
                return Answer(204)
        raise Malformed(f"{request.method} {request.path} is not served here")

    def _results_page(self, request: Request, job: Job) -> Answer:
        result = job.result
        start = result.start + int(request.query.get("locator", "0"))
        size = min(BULK_PAGE, int(request.query.get("maxRecords", BULK_PAGE)))
        stop = min(start + size, result.stop)
        self.counts.requests["bulk page"] += 1
        self.counts.rows += stop - start
        key = ("csv", result, start, stop)
        if key not in self._kept:
            self._kept[key] = _packed(b"".join(_csv(self._people, result.columns, start, stop)))
        last = stop == result.stop
        headers = {
            "Content-Type": "text/csv",
            "Sforce-NumberOfRecords": str(stop - start),
            "Sforce-Locator": "null" if last else str(stop - result.start),
        }
        return _sent(request, self._kept[key], headers, self._settings.page_seconds)

    def _token(self) -> dict[str, str]:
        return {
            "access_token": TOKEN,
            "instance_url": self._base_url,
            "id": f"{self._base_url}/id/00DBm0000000001AAA/005Bm0000000001AAA",
            "token_type": "Bearer",
            "issued_at": str(int(_now().timestamp() * 1000)),
            "signature": "none",
        }


def _written(row: Row, columns: Sequence[str], url: str) -> dict[str, Any]:
    """A row as REST writes it."""
    written: dict[str, Any] = {"attributes": {"type": "Contact", "url": f"{url}/Contact/{row['Id']}"}}
    for column in columns:
        parent, dot, name = column.partition(".")
        if not dot:
            written[column] = row.get(column)
        elif row["AccountId"] is None:
            written[parent] = None
        else:
            about = {"type": parent, "url": f"{url}/{parent}/{row['AccountId']}"}
            written.setdefault(parent, {"attributes": about})[name] = row[column]
    return written


def _csv(people: People, columns: Sequence[str], start: int, stop: int) -> Iterable[bytes]:
    """The rows as the Bulk API writes them: every value quoted, instants with a Z."""
    yield (",".join(f'"{column}"' for column in columns) + "\n").encode()
    for row in people.rows(start, stop):
        values = [_quoted(row.get(column)) for column in columns]
        yield (",".join(values) + "\n").encode()


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    text = "" if value is None else str(value)
    if text.endswith("+0000"):
        text = text.removesuffix("+0000") + "Z"
    return '"' + text.replace('"', '""') + '"'


def _document(job: Job, state: str) -> dict[str, Any]:
    return {
        "id": job.id,
        "operation": "queryAll",
        "object": job.result.object,
        "createdById": "005Bm0000000001AAA",
        "createdDate": stamp(job.created),
        "systemModstamp": stamp(job.created),
        "state": state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(job.version),
        "jobType": "V2Query",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
        "retries": 0,
        "totalProcessingTime": 1,
        "numberRecordsProcessed": job.result.stop - job.result.start if state == "JobComplete" else 0,
        "isPkChunkingSupported": True,
    }


def _pages(job: Job, path: str, start: int) -> dict[str, Any]:
    """Up to five pages from a locator on, as `resultPages` lists them."""
    total = job.result.stop - job.result.start
    end = start + 5 * BULK_PAGE
    links = [
        {"resultUrl": f"{path}/results?locator={at}"}
        for at in range(start, min(end, max(1, total)), BULK_PAGE)
    ]
    more = {} if end >= total else {"nextRecordsUrl": f"{path}/resultPages?locator={end}"}
    return {"resultPages": links, **more, "done": end >= total}


def _json(body: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(body), dict(_JSON))


def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def _sent(request: Request, packed: bytes, headers: dict[str, str], seconds: float) -> Answer:
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Answer(200, packed, {**headers, "Content-Encoding": "gzip"}, seconds)
    return Answer(200, gzip.decompress(packed), dict(headers), seconds)


def _now() -> datetime:
    return datetime.now(UTC)
