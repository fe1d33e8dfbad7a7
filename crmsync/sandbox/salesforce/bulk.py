"""Bulk API 2.0 query jobs: `/jobs/query`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from crmsync.sandbox.salesforce.api_error import ApiError, not_found
from crmsync.sandbox.salesforce.bulk_csv import DELIMITERS, LINE_ENDINGS, Form
from crmsync.sandbox.salesforce.bulk_job import Fate, Found, Job
from crmsync.sandbox.salesforce.bulk_results import decoded_locator, locator, result_pages, results
from crmsync.sandbox.salesforce.limits import Quota
from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.soql import SoqlError, parse
from crmsync.sandbox.salesforce.soql_eval import execute
from crmsync.sandbox.salesforce.values import is_id, long_id, make_id
from crmsync.sandbox.web import Request, Response

FIRST_VERSION = 47.0
FIRST_VERSION_WITH_PAGES = 58.0
JOBS_PER_LIST = 1000
_STRING = re.compile(r"'(?:\\.|[^'\\])*'", re.DOTALL)
_UNSUPPORTED = {
    "Aggregate Relationships": r"(?:^\s*SELECT|,)\s*\(\s*SELECT\b",
    "GROUP BY": r"\bGROUP\s+BY\b",
    "OFFSET": r"\bOFFSET\s+\d",
    "TYPEOF": r"\bTYPEOF\b",
    "FIELDS()": r"\bFIELDS\s*\(",
    "Aggregate functions": r"\b(?:COUNT|COUNT_DISTINCT|AVG|SUM|MIN|MAX)\s*\(",
}


class BulkQuery:
    """The query jobs of an org. They belong to no session: any later one may go on with them.

    `fate` is that of the jobs to come, `unsupported` names objects that the Bulk API does not take.
    """

    def __init__(self, org: Org, quota: Quota) -> None:
        self.jobs: dict[str, Job] = {}
        self.fate = Fate()
        self.unsupported: frozenset[str] = frozenset()
        self._org = org
        self._quota = quota
        self._numbers = itertools.count(1)

    def answer(self, request: Request, version: str, parts: list[str]) -> Response:
        """The answer to a request; `parts` follow `/jobs/query/`. Raises ApiError."""
        if float(version) < FIRST_VERSION:
            raise not_found()
        match request.method, parts:
            case "POST", []:
                return self._create(request, version)
            case "GET" | "HEAD", []:
                return Response(200, self._list(request.query, version))
            case "GET" | "HEAD", [id_]:
                return Response(200, self._job(id_, poll=True).document(self._org.clock.now()))
            case "PATCH", [id_]:
                return Response(200, self._abort(self._job(id_), request))
            case "DELETE", [id_]:
                return self._delete(self._job(id_))
            case "GET" | "HEAD", [id_, "results"]:
                return self._results(self._job(id_), request, version)
            case "GET" | "HEAD", [id_, "resultPages"] if float(version) >= FIRST_VERSION_WITH_PAGES:
                return self._result_pages(self._job(id_), request, version)
            case _, [] | [_] | [_, "results"]:
                message = f"HTTP Method '{request.method}' not allowed"
                raise ApiError(405, "METHOD_NOT_ALLOWED", message)
        raise not_found()

    def all(self) -> list[Job]:
        """Every job that is still kept, in the order of creation and up to date."""
        now, retention = self._org.clock.now(), self._org.switches["bulk_retention"]
        self.jobs = {id_: job for id_, job in self.jobs.items() if not job.expired(now, retention)}
        for job in self.jobs.values():
            job.look(now)
        return list(self.jobs.values())

    # --- creation

    def _create(self, request: Request, version: str) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "the body must be application/json")
        operation, text, form = _read(request)
        self._quota.check_bulk()
        switches, id_ = self._org.switches, make_id("750", "Fk", next(self._numbers))
        fate, found = self.fate, None
        try:
            found = self._found(id_, operation, text)
        except SoqlError as error:
            if switches["bulk_bad_query"] == "refuse":
                raise ApiError(400, error.code, error.message) from None
            fate = Fate("failed", f"{error.code}: {error.message}")
        job = Job(
            id=id_,
            operation=operation,
            object=found.result.entity.name if found else None,
            version=version,
            form=form,
            splits=found is not None and found.splits,
            created=self._org.clock.now(),
            seconds=switches["bulk_seconds"],
            polls=switches["bulk_polls"],
            fate=fate,
            find=lambda: self._found(id_, operation, text),
            found=found if switches["bulk_reads"] == "start" else None,
        )
        self.jobs[id_] = job
        self._quota.count_bulk(len(found.rows) * len(found.result.columns) if found else 0)
        return Response(200, job.created_document(), notes={"job": id_})

    def _found(self, id_: str, operation: str, text: str) -> Found:
        """What a query finds now; where it leaves the order open, every job has another one.

        Raises SoqlError for a wrong query, ApiError for one that is not for the Bulk API.
        """
        _refuse_unsupported(text)
        query = parse(text)
        result = execute(query, self._org, "", include_deleted=operation == "queryAll")
        entity = result.entity.name
        if entity in self.unsupported:
            raise ApiError(400, "INVALIDENTITY", f"Entity '{entity}' is not supported by the Bulk API.")
        if any(column.field.type == "address" for column in result.columns):
            code = self._org.switches["bulk_compound_code"]
            raise ApiError(400, code, "Selecting compound data not supported in Bulk Query")
        rows = list(result.rows)
        if not query.order:
            rows.sort(key=lambda row: crc32(f"{id_}{row['Id']}".encode()))
        return Found(result, rows, self._org.snapshot(), splits=not query.order and query.limit is None)

    # --- one job

    def _job(self, id_: str, *, poll: bool = False) -> Job:
        job = self.jobs.get(long_id(id_[:15])) if is_id(id_) else None
        now = self._org.clock.now()
        if job is None or job.expired(now, self._org.switches["bulk_retention"]):
            raise not_found()
        job.look(now, poll=poll)
        return job

    def _abort(self, job: Job, request: Request) -> dict[str, Any]:
        try:
            wanted = request.json()["state"]
        except (ValueError, KeyError, TypeError):
            wanted = None
        if wanted != "Aborted":
            raise ApiError(400, "JSON_PARSER_ERROR", "a query job takes only the state Aborted")
        if job.terminal:
            raise _wrong_state(f"Aborting already Completed Job not allowed: {job.state}")
        job.abort(self._org.clock.now())
        return job.created_document()

    def _delete(self, job: Job) -> Response:
        if not job.terminal:
            raise _wrong_state(f"a job that is {job.state} cannot be deleted")
        del self.jobs[job.id]
        return Response(204)

    # --- results

    def _results(self, job: Job, request: Request, version: str) -> Response:
        found = self._finished(job, version)
        if found is None:
            return Response(204)
        return results(job, found, request, self._org.switches)

    def _result_pages(self, job: Job, request: Request, version: str) -> Response:
        found = self._finished(job, version)
        if found is None:
            return Response(204)
        path = f"/services/data/v{version}/jobs/query/{job.id}"
        return Response(200, result_pages(path, len(found.rows), request, self._org.switches))

    def _finished(self, job: Job, version: str) -> Found | None:
        """What a complete job found; None for an incomplete one where that is no error. Raises ApiError."""
        if job.version != version:
            message = f"the results of a job of v{job.version} cannot be had from v{version}"
            raise ApiError(409, "API_ERROR", message)
        if job.state == "JobComplete" and job.found is not None:
            return job.found
        match self._org.switches["bulk_unfinished_results"]:
            case 204:
                return None
            case 404:
                raise not_found()
        raise _wrong_state(f"there are no results of a job that is {job.state}")

    def _list(self, arguments: dict[str, str], version: str) -> dict[str, Any]:
        wanted = self.all() if arguments.get("jobType", "V2Query") == "V2Query" else []
        start = decoded_locator(arguments.get("queryLocator"), len(wanted))
        end = start + JOBS_PER_LIST
        more = f"/services/data/v{version}/jobs/query?queryLocator={locator(end)}"
        now = self._org.clock.now()
        return {
            "done": end >= len(wanted),
            "records": [job.document(now) for job in wanted[start:end]],
            "nextRecordsUrl": more if end < len(wanted) else None,
        }


def _read(request: Request) -> tuple[str, str, Form]:
    """Operation, query and CSV form of a creation's body. Raises ApiError."""
    try:
        asked = dict(request.json())
    except (ValueError, TypeError):
        raise _unreadable("the body is not a JSON object") from None
    operation, text = asked.get("operation"), asked.get("query")
    if operation not in ("query", "queryAll") or not isinstance(text, str):
        raise _unreadable("a query job needs the operation query or queryAll, and a query")
    if asked.get("contentType", "CSV") != "CSV":
        raise _unreadable("the content type of a query job is CSV")
    return (
        operation,
        text,
        Form(
            _choice(asked, "columnDelimiter", "COMMA", DELIMITERS),
            _choice(asked, "lineEnding", "LF", LINE_ENDINGS),
        ),
    )


def _choice(asked: dict[str, Any], name: str, default: str, allowed: Iterable[str]) -> str:
    chosen = str(asked.get(name, default))
    if chosen not in allowed:
        raise _unreadable(f"{name} is one of {', '.join(allowed)}")
    return chosen


def _refuse_unsupported(text: str) -> None:
    bare = _STRING.sub("''", text)
    for what, pattern in _UNSUPPORTED.items():
        if re.search(pattern, bare, re.IGNORECASE):
            message = f"{what} not supported in Bulk V2 Query with CSV content type"
            raise ApiError(400, "API_ERROR", message)


def _unreadable(message: str) -> ApiError:
    return ApiError(400, "JSON_PARSER_ERROR", message)


def _wrong_state(message: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", message)
