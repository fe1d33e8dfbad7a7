"""The results of a query job: CSV page by page, and the list of the pages for parallel downloads."""

from __future__ import annotations

import gzip
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.bulk_csv import encode
from crmsync.sandbox.salesforce.bulk_job import Found, Job
from crmsync.sandbox.salesforce.soql_fields import Column
from crmsync.sandbox.salesforce.switches import Switches
from crmsync.sandbox.web import Request, Response

PAGES_PER_LIST = 5
FIRST_VERSION_IN_SELECT_ORDER = 50.0


def locator(offset: int) -> str:
    """The locator of the page that begins at row `offset`: opaque to clients, and always the same."""
    return urlsafe_b64encode(str(offset).encode()).decode().rstrip("=")


def decoded_locator(text: str | None, rows: int) -> int:
    """The row that a locator leads to, 0 for none. Raises ApiError for one that was never given out."""
    if not text:
        return 0
    try:
        offset = int(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        offset = -1
    if not 0 <= offset <= rows or locator(offset) != text:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return offset


def results(job: Job, found: Found, request: Request, switches: Switches) -> Response:
    """One page as CSV, gzipped for who accepts it. Raises ApiError for a wrong locator or maxRecords."""
    start = decoded_locator(request.query.get("locator"), len(found.rows))
    size = min(_max_records(request), max(1, switches["bulk_page_rows"]))
    rows = found.rows[start : start + size]
    header = start == 0 or switches["bulk_header_row"] == "each_page"
    counted, headed = _shape(len(found.rows), switches)
    sent = rows[:-1] if switches["bulk_short_page"] else rows
    body = encode(_columns(job, found), sent, found.tables, job.form, header=header and headed)
    headers = {"Content-Type": "text/csv"}
    if counted:
        headers["Sforce-NumberOfRecords"] = str(len(rows))
    last = start + size >= len(found.rows)
    form = switches["bulk_locator_header"]
    if form == "always" or (form == "not_on_last" and not last):
        headers["Sforce-Locator"] = "null" if last else locator(start + size)
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(200, body, headers, notes={"rows": len(sent), "job": job.id})


def result_pages(path: str, rows: int, request: Request, switches: Switches) -> dict[str, Any]:
    """Up to five pages from a locator on; `path` is the job's. Raises ApiError for a wrong locator."""
    start = decoded_locator(request.query.get("locator"), rows)
    size = max(1, switches["bulk_page_rows"])
    end = start + size * PAGES_PER_LIST
    starts = range(start, min(end, max(rows, 1)), size)
    done = end >= rows
    more = {} if done else {switches["bulk_pages_next"]: f"{path}/resultPages?locator={locator(end)}"}
    return {
        "resultPages": [
            {switches["bulk_page_link"]: f"{path}/results?locator={locator(each)}"} for each in starts
        ],
        **more,
        "done": done,
    }


def _columns(job: Job, found: Found) -> list[Column]:
    """The columns in their order: that of the SELECT, but of the alphabet in old versions."""
    columns = list(found.result.columns)
    if float(job.version) < FIRST_VERSION_IN_SELECT_ORDER:
        columns.sort(key=lambda column: column.name)
    return columns


def _shape(rows: int, switches: Switches) -> tuple[bool, bool]:
    """Whether the number of records and the line of names are sent at all."""
    shape = switches["bulk_empty_result"] if rows == 0 else "header"
    return (
        switches["bulk_number_header"] and not shape.endswith("uncounted"),
        shape.startswith("header"),
    )


def _max_records(request: Request) -> int:
    asked = request.query.get("maxRecords")
    if asked is None:
        return 10**9
    if not asked.isdigit() or int(asked) == 0:
        raise ApiError(400, "API_ERROR", f"maxRecords is a positive whole number, not {asked}")
    return int(asked)
