"""Bulk API 2.0 query jobs: made, waited for, their pages read side by side, and cleared away (contract 1.9)."""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TextIO

from crmsync.errors import AuthError, CrmsyncError, Outage
from crmsync.http import Stopper
from crmsync.prefetch import side_by_side
from crmsync.sources.base import Row
from crmsync.sources.salesforce.bulk_rows import RowReader
from crmsync.sources.salesforce.client import SalesforceClient
from crmsync.sources.salesforce.errors import (
    FieldGone,
    NotThere,
    Refusal,
    SalesforceError,
    error_for,
    refusal_of,
)

log = logging.getLogger(__name__)

FIRST_POLL = 0.5
LONGEST_POLL = 20.0
ROWS_AT_ONCE = 500
PAGES_AT_ONCE = 2
ROWS_PER_PAGE = 50_000
"""Asked for where pages are read one after the other."""
PAGE_TRIES = 4
FIRST_VERSION_WITH_PAGES = 58.0
NO_CONTENT = 204

_REFUSALS = frozenset(
    {"INVALIDENTITY", "API_ERROR", "FUNCTIONALITY_NOT_ENABLED", "FEATURENOTENABLED", "LIMIT_EXCEEDED"}
    | {"INVALIDJOB", "INVALIDOPERATION", "INVALID_TYPE_FOR_OPERATION", "API_DISABLED_FOR_ORG", "NOT_FOUND"}
)
_WITHOUT = "The next run begins another; `--api rest` does without."
_PROMISING = ("UploadComplete", "InProgress", "JobComplete")


class JobTrouble(Outage):
    """A bulk job came to no good end, or not all of its rows came."""

    topic = "bulk-jobs"


class BulkRefused(Exception):
    """The Bulk API does not take this query, or could not carry it out: REST has to."""


class BulkQuery:
    """One query, carried out as a job. `columns` are those it selects, with their describe types.

    `total` is how many rows the job has, once it is finished, where the org says so. `close` has to be called
    at the end, whatever that was: it aborts a job that is still at work, and clears away one that is not.
    """

    def __init__(
        self,
        client: SalesforceClient,
        query: str,
        reader: RowReader,
        *,
        stopper: Stopper,
        deadline: timedelta,
        everything: bool = True,
    ) -> None:
        self._client = client
        self._query = query
        self._reader = reader
        self._stopper = stopper
        self._deadline = deadline.total_seconds()
        self._operation = "queryAll" if everything else "query"
        self._guard = threading.Lock()
        self._closed = False
        self._job_id: str | None = None
        self._at_work = False
        self.total: int | None = None

    def create(self) -> str:
        """Make the job and give its name. Raises BulkRefused, or JobTrouble where the query is closed by now.

        It is asked for once: a second try after no answer might make a second job.
        """
        if unreadable := self._reader.unreadable:
            raise BulkRefused(f"{', '.join(unreadable)}: no bulk query may select such a field")
        asked = {"operation": self._operation, "query": self._query, "contentType": "CSV", "lineEnding": "LF"}
        try:
            reply = self._client.ask("POST", "/jobs/query", "bulk job", asked, repeatable=False)
        except Outage as outage:
            raise BulkRefused(outage.message) from None
        refusal = refusal_of(reply)
        if refusal.code in _REFUSALS or reply.status == 404 or (refusal.may_pass and not reply.ok):
            raise BulkRefused(refusal.words)
        body = reply.json()
        if not reply.ok or not isinstance(body, dict) or not body.get("id"):
            raise error_for(reply, "bulk job")
        self._take_up(str(body["id"]))
        return f"{body['id']}@{self._made_for}"

    def started(self) -> BulkQuery:
        """The same, its job made. Raises BulkRefused."""
        self.create()
        return self

    def adopt(self, name: str) -> bool:
        """Go on with the job of an earlier run that `create` gave this name.

        False where nothing can come of it any more, or it is of another query (the mapping may have changed);
        results belong to the API version of their job.
        """
        job_id, _, made_for = name.partition("@")
        try:
            state = str(self._look(job_id).get("state"))
        except (SalesforceError, AuthError):
            return False
        self._take_up(job_id)
        return state in _PROMISING and made_for == self._made_for

    def rows(self) -> Iterator[list[Row]]:
        """The rows, some at a time, in no order. Raises BulkRefused, or Outage where not all of them came."""
        job_id = self._finished()
        received = 0
        for rows in side_by_side(self._pages(job_id), PAGES_AT_ONCE):
            received += len(rows)
            yield rows
        if self.total is not None and received < self.total:
            raise JobTrouble(
                f"only {received:,} of the {self.total:,} rows of a bulk job arrived",
                hint=_WITHOUT,
            )

    def close(self) -> None:
        """Leave nothing behind in the org, now and should another thread be making a job just now."""
        with self._guard:
            self._closed = True
        self.clear_away()

    def clear_away(self) -> None:
        """Abort and delete the job, if there is one. What goes wrong with that is no error of the run."""
        with self._guard:
            job_id, self._job_id = self._job_id, None
        if job_id is None:
            return
        try:
            if self._at_work:
                self._client.ask("PATCH", f"/jobs/query/{job_id}", "bulk job", {"state": "Aborted"})
            self._client.ask("DELETE", f"/jobs/query/{job_id}", "bulk job")
        except CrmsyncError as error:
            log.info("bulk job %s could not be cleared away: %s", job_id, error)

    @property
    def _made_for(self) -> str:
        """API version and query, in short."""
        return f"{self._client.version}/{hashlib.blake2b(self._query.encode(), digest_size=8).hexdigest()}"

    def _take_up(self, job_id: str) -> None:
        with self._guard:
            self._job_id, self._at_work = job_id, True
            closed = self._closed
        if closed:
            self.clear_away()
            raise JobTrouble(f"bulk job {job_id} came too late for its run")

    def _look(self, job_id: str) -> dict[str, Any]:
        body = self._client.get(f"/jobs/query/{job_id}", "bulk poll")
        return body if isinstance(body, dict) else {}

    def _finished(self) -> str:
        """Wait for the job's end, asking less and less often. Gives its Id."""
        assert self._job_id is not None
        job_id, pause = self._job_id, FIRST_POLL
        until = time.monotonic() + self._deadline
        while True:
            try:
                body = self._look(job_id)
            except NotThere:
                raise JobTrouble(f"bulk job {job_id} vanished before its end") from None
            match str(body.get("state")):
                case "JobComplete":
                    self._at_work = False
                    processed = body.get("numberRecordsProcessed")
                    self.total = processed if isinstance(processed, int) else None
                    return job_id
                case "Failed":
                    self._at_work = False
                    raise _failure(str(body.get("errorMessage") or "no reason given"))
                case "Aborted":
                    self._at_work = False
                    raise JobTrouble(
                        f"bulk job {job_id} was aborted by somebody in the org",
                        hint=_WITHOUT,
                    )
                case state:
                    if time.monotonic() > until:
                        raise JobTrouble(
                            f"bulk job {job_id} is still {state} after {self._deadline / 60:.0f} minutes"
                        )
            self._stopper.sleep(pause)
            self._stopper.check()
            pause = min(LONGEST_POLL, pause * 1.5)

    def _pages(self, job_id: str) -> Iterator[Iterator[list[Row]]]:
        """The pages of the result, each to be read by itself."""
        if float(self._client.version) >= FIRST_VERSION_WITH_PAGES:
            return (self._page(url) for url in self._page_links(job_id))
        return iter([self._pages_in_turn(job_id)])

    def _page_links(self, job_id: str) -> Iterator[str]:
        """Where each page is, from lists of a few at a time."""
        url, following = "", f"/jobs/query/{job_id}/resultPages"
        while following and following != url:
            url = following
            try:
                body = self._client.get(url, "bulk pages")
                links = [entry.get("resultUrl") or entry["resultLink"] for entry in body["resultPages"]]
            except SalesforceError as error:
                raise _unreadable(error) from None
            except (AttributeError, KeyError, TypeError):
                raise JobTrouble("Salesforce does not tell where the pages of a bulk job are") from None
            yield from links
            goes_on = body.get("done") is False
            following = (body.get("nextRecordsUrl") or body.get("nextRecordUrl") or "") if goes_on else ""

    def _page(self, url: str) -> Iterator[list[Row]]:
        return _Page(self._client, self._reader, url).rows()

    def _pages_in_turn(self, job_id: str) -> Iterator[list[Row]]:
        """All pages, each of which names the next. One that names none is the last."""
        base = f"/jobs/query/{job_id}/results?maxRecords={ROWS_PER_PAGE}"
        seen, locator = {""}, ""
        while True:
            page = _Page(self._client, self._reader, f"{base}&locator={locator}" if locator else base)
            yield from page.rows()
            if page.following in seen:
                return
            seen.add(page.following)
            locator = page.following


class _Page:
    """One page of a job's results. `following` is the locator of the next one, once this one is being read."""

    def __init__(self, client: SalesforceClient, reader: RowReader, url: str) -> None:
        self._client = client
        self._reader = reader
        self._url = url
        self.following = ""

    def rows(self) -> Iterator[list[Row]]:
        """Its rows, some at a time. One that breaks off is read again from behind what has been given, for it
        does not change (contract 1.9). Raises Outage where it keeps breaking off.
        """
        given = 0
        for attempt in range(1, PAGE_TRIES + 1):
            stream, counted = self._open()
            try:
                for rows in self._behind(stream, given):
                    given += len(rows)
                    yield rows
                if given >= counted:
                    return
                why = f"{given:,} of its {counted:,} rows arrived"
            except Outage as error:
                why = error.message
            finally:
                stream.close()
            if attempt == PAGE_TRIES or not self._client.http.may_ask_again(attempt):
                raise JobTrouble(f"a page of a bulk job cannot be read to its end: {why}")
            log.info("a page of a bulk job is read again: %s", why)

    def _open(self) -> tuple[TextIO, int]:
        """The page, and how many rows it says that it has."""
        try:
            reply = self._client.open_csv(self._url, "bulk page")
        except SalesforceError as error:
            raise _unreadable(error) from None
        assert reply.stream is not None
        if reply.status == NO_CONTENT:
            reply.stream.close()
            raise JobTrouble("Salesforce gives no results of a bulk job that it says is complete")
        locator = reply.headers.get("Sforce-Locator", "").strip()
        self.following = "" if locator == "null" else locator
        counted = reply.headers.get("Sforce-NumberOfRecords", "")
        return reply.stream, int(counted) if counted.isdigit() else 0

    def _behind(self, page: TextIO, given: int) -> Iterator[list[Row]]:
        rows = itertools.islice(self._reader.rows(page), given, None)
        while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
            yield some


def _unreadable(error: SalesforceError) -> JobTrouble:
    return JobTrouble(
        f"the results of a bulk job cannot be read ({error.refusal.words})",
        hint=_WITHOUT,
    )


def _failure(message: str) -> Exception:
    """A field that vanished has to be noticed as such; whatever else failed may succeed by REST."""
    code, _, rest = message.partition(":")
    if code.strip() == "INVALID_FIELD":
        return FieldGone(Refusal(400, "INVALID_FIELD", rest.strip()), "bulk job")
    return BulkRefused(f"the job failed: {' '.join(message.split())[:200]}")
