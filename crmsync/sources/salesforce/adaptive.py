"""The changes of a window by REST or by a bulk job: whichever suits how many there are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from crmsync.errors import CrmsyncError
from crmsync.sources.base import Bookmark, Job, Page, Window
from crmsync.sources.salesforce.bulk import BulkQuery, BulkRefused
from crmsync.sources.salesforce.changes import Changes
from crmsync.sources.salesforce.errors import QueryTimeout

log = logging.getLogger(__name__)

Api = Literal["auto", "rest", "bulk"]

LARGE = timedelta(days=1)
"""A window shorter than this is read by REST without counting its rows first."""


class AdaptiveChanges:
    """One object's changes in one window.

    By REST they come in order, so that an interrupted run goes on in their midst. A bulk job's rows come in no
    order: the window is closed at their end alone, and a run that was killed goes on with its job only if
    nothing has been sent since the job was made, for by then its rows may be older than what was sent.
    """

    name = "changes"

    def __init__(
        self,
        rest: Changes,
        window: Window,
        bulk: Callable[[datetime | None], BulkQuery],
        count: Callable[[datetime | None], int],
        bookmark: Bookmark,
        *,
        api: Api,
        threshold: int,
    ) -> None:
        """`bulk` makes a query, and `count` counts the rows, of the window from an instant on."""
        self._rest = rest
        self._window = window
        self._bulk = bulk
        self._count = count
        self._bookmark = bookmark
        self._api = api
        self._threshold = threshold
        self._at_work: BulkQuery | None = None
        self._closed = False

    def pages(self, start: datetime | None) -> Iterator[Page]:
        start = start or self._window.start
        kept = self._bookmark.job()
        if self._wants_bulk(start, begun=kept is not None):
            try:
                yield from self._by_bulk(start, kept, resumable=True)
                return
            except BulkRefused as refused:
                log.warning("the Bulk API cannot be used (%s); reading by REST", refused)
        elif kept is not None:
            self._drop(kept)
        yield from self._by_rest(start)

    def close(self) -> None:
        """May be called while another thread reads the pages."""
        self._closed = True
        if self._at_work is not None:
            self._at_work.close()

    def _wants_bulk(self, start: datetime | None, *, begun: bool) -> bool:
        """Once a window was `begun` by a job, it is for a job, unless REST is asked for."""
        if self._api == "auto" and begun:
            return True
        if self._api == "auto" and start is not None and self._window.end - start < LARGE:
            return False
        return prefers_bulk(self._api, lambda: self._count(start), self._threshold)

    def _by_rest(self, start: datetime | None) -> Iterator[Page]:
        """By REST, and where that takes Salesforce too long even in small parts, the rest by a bulk job."""
        try:
            for page in self._rest.pages(start):
                start = _instant(page.position) or start
                yield page
        except QueryTimeout as timeout:
            if self._api == "rest":
                raise
            log.warning("Salesforce takes too long for these queries; the rest is read by a bulk job")
            try:
                yield from self._by_bulk(start, None, resumable=False)
            except BulkRefused as refused:
                log.warning("the Bulk API cannot be used either (%s)", refused)
                raise timeout from None

    def _by_bulk(self, start: datetime | None, kept: Job | None, *, resumable: bool) -> Iterator[Page]:
        self._at_work = query = self._bulk(start)
        if self._closed:
            query.close()
        try:
            self._make_ready(query, kept, resumable=resumable)
            for rows in query.rows():
                yield Page(rows, total=query.total if resumable else None)
        except BulkRefused:
            query.close()
            raise

    def _make_ready(self, query: BulkQuery, kept: Job | None, *, resumable: bool) -> None:
        """Go on with the job of a run that was killed, or clear it away and make another."""
        if kept is not None and query.adopt(kept.name) and kept.is_current:
            log.info("going on with bulk job %s", kept.name)
            return
        query.clear_away()
        name = query.create()
        if resumable:
            self._bookmark.note_job(name)

    def _drop(self, kept: Job) -> None:
        """Clear away the job of a run that was killed: this one reads by REST."""
        query = self._bulk(self._window.start)
        try:
            query.adopt(kept.name)
        except CrmsyncError as error:
            log.info("bulk job %s could not be cleared away: %s", kept.name, error)
        query.close()


def prefers_bulk(api: Api, count: Callable[[], int], threshold: int) -> bool:
    """Whether to read by a bulk job: as asked for, else by how many rows there are."""
    return is_large(count, threshold) if api == "auto" else api == "bulk"


def is_large(count: Callable[[], int], threshold: int) -> bool:
    """Whether there are more rows than the threshold. So many that they cannot even be counted are."""
    try:
        return count() > threshold
    except QueryTimeout:
        log.info("Salesforce takes too long to count the rows: there must be many")
        return True


def _instant(position: str | None) -> datetime | None:
    return datetime.fromisoformat(position) if position else None
