"""The changes stream: every row whose cursor lies in the window, in order, whatever happens to the paging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crmsync.errors import Outage
from crmsync.sources.base import Page, Row, Window
from crmsync.sources.salesforce import soql
from crmsync.sources.salesforce.client import SalesforceClient, is_last, next_locator
from crmsync.sources.salesforce.errors import LocatorLost, QueryTimeout
from crmsync.sources.salesforce.rows import Rows

log = logging.getLogger(__name__)

FRUITLESS_RESTARTS = 4
EARLIEST = datetime(1999, 1, 1, tzinfo=UTC)
"""No row is older than Salesforce itself."""
SHORTEST = timedelta(minutes=2)
"""A stretch shorter than this is not divided any further."""
EMPTY_PAGES = 50
"""So many pages in a row without a row, and still not done: the query is given up for this run."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the window still to be read, in cursor order."""

    start: datetime | None
    end: datetime

    def condition(self, cursor: str) -> str:
        return soql.between(cursor, self.start, self.end)

    def order(self, cursor: str) -> str:
        return f"{cursor}, Id"

    def after(self, stamp: datetime, row_id: str) -> list[Span | Second]:
        """What is left once the row `row_id` of second `stamp` has been read."""
        return [Second(stamp, row_id), Span(stamp + timedelta(seconds=1), self.end)]

    def halves(self) -> list[Span | Second]:
        """The same stretch in two, empty where it is too short to be divided."""
        start = self.start or EARLIEST
        middle = (start + (self.end - start) / 2).replace(microsecond=0)
        return [Span(self.start, middle), Span(middle, self.end)] if self.end - start >= SHORTEST else []


@dataclass(frozen=True, slots=True)
class Second:
    """The rest of a second whose rows did not all arrive, read on by Id."""

    second: datetime
    after_id: str

    def condition(self, cursor: str) -> str:
        return soql.within_second(cursor, self.second, self.after_id)

    def order(self, cursor: str) -> str:  # noqa: ARG002 - the same call as a Span's
        return "Id"

    def after(self, stamp: datetime, row_id: str) -> list[Span | Second]:  # noqa: ARG002
        return [Second(self.second, row_id)]

    def halves(self) -> list[Span | Second]:
        return []


class Changes:
    """The ordered stream of one object's rows in one window."""

    name = "changes"

    def __init__(
        self,
        client: SalesforceClient,
        object_name: str,
        columns: list[str],
        window: Window,
        *,
        cursor: str,
        where: str | None = None,
        limit: int | None = None,
        overlap: timedelta = timedelta(0),
    ) -> None:
        self._client = client
        self._object = object_name
        self._columns = columns
        self._window = window
        self._cursor = cursor
        self._where = soql.operators_own(where)
        self._limit = limit
        self._firm_until = soql.instant(window.end - overlap)

    def pages(self, start: datetime | None) -> Iterator[Page]:
        """Pages until every stretch is done. A lost locator costs no row: it reads on behind the last one.

        Raises Outage when a stretch keeps losing its locator without a row arriving, or its pages lead
        nowhere.
        """
        room = self._limit
        whole = Span(start or self._window.start, self._window.end)
        left: list[Span | Second] = [whole]
        position: str | None = None
        total: int | None = None
        fruitless = 0
        while left and room != 0:
            stretch = left.pop()
            last: Row | None = None
            try:
                for rows, of in self._results(stretch, room):
                    total = of if stretch is whole else total
                    inside = self._last_inside(rows)
                    last = inside or last
                    position = max(position or "", self._stamp(last)) if last else position
                    fruitless = 0 if inside else fruitless
                    room = None if room is None else max(0, room - len(rows))
                    yield Page(rows, position, total)
            except LocatorLost:
                fruitless += 1
                if fruitless > FRUITLESS_RESTARTS:
                    raise Outage("Salesforce keeps losing the place in a query") from None
                log.info("a page link of %s no longer works; reading on behind the last row", self._object)
                rest = stretch.after(_moment(self._stamp(last)), last["Id"]) if last else [stretch]
                left.extend(reversed(rest))
            except QueryTimeout:
                rest = stretch.after(_moment(self._stamp(last)), last["Id"]) if last else stretch.halves()
                if not rest:
                    raise
                log.info("a query of %s ran for too long; its range is read in parts", self._object)
                left.extend(reversed(rest))

    def close(self) -> None:
        """A query leaves nothing behind."""

    def _results(
        self, stretch: Span | Second, limit: int | None
    ) -> Iterator[tuple[list[Row] | Rows, int | None]]:
        """The rows of one stretch, page by page, ended by `done` alone (contract 1.5); with how many it has."""
        query = soql.select(
            self._columns,
            self._object,
            [stretch.condition(self._cursor), self._where],
            order=stretch.order(self._cursor),
            limit=limit,
        )
        body = self._client.query(query)
        more, rows = not is_last(body), body.get("records") or []
        size = body.get("totalSize")
        expected, received, empty = size if isinstance(size, int) else None, len(rows), 0
        yield rows, expected
        while more:
            locator = next_locator(body)
            body = self._client.next_page(locator)
            more, rows = not is_last(body), body.get("records") or []
            empty = 0 if rows else empty + 1
            if empty > EMPTY_PAGES or (rows and body.get("nextRecordsUrl") == locator):
                raise Outage("the pages of a Salesforce query lead nowhere")
            received += len(rows)
            yield rows, expected
        if expected is not None and received < expected:
            log.warning(
                "%s: %d of %d rows arrived; rows left the result meanwhile", self._object, received, expected
            )

    def _last_inside(self, rows: list[Row] | Rows) -> Row | None:
        """The last row whose stamp tells its place in the order.

        A row changed since the query shows a later one: past the window, or, where a transaction was still
        open then, within the overlap.
        """
        return next((row for row in reversed(rows) if self._stamp(row) < self._firm_until), None)

    def _stamp(self, row: Row) -> str:
        """The row's cursor as `YYYY-MM-DDTHH:MM:SSZ`; Salesforce gives it in UTC (contract 1.5)."""
        return f"{row[self._cursor][:19]}Z"


def restarting(
    client: SalesforceClient, query: str, *, what: str, everything: bool = True
) -> Iterator[dict[str, Any]]:
    """The answers of an unordered query, page by page; begun again where its locator is lost.

    Rows may then come twice. Raises Outage where it is lost again and again.
    """
    for _ in range(FRUITLESS_RESTARTS):
        try:
            body = client.query(query, everything=everything, what=what)
            yield body
            while not is_last(body):
                body = client.next_page(next_locator(body))
                yield body
            return
        except LocatorLost:
            log.info("a page link no longer works; the query is begun again")
    raise Outage("Salesforce keeps losing the place in a query")


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
