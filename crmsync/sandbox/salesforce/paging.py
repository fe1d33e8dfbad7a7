"""Query results in pages: locators that belong to a session and live for a while."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.sessions import EXPIRED, Session
from crmsync.sandbox.salesforce.soql_eval import Result
from crmsync.sandbox.salesforce.tables import Row, Tables
from crmsync.sandbox.salesforce.values import make_id

SMALLEST_BATCH, LARGEST_BATCH = 200, 2000


@dataclass(slots=True)
class _Cursor:
    """A result set on the server. `snapshot` holds all tables, where pages show query-time values."""

    id: str
    session: Session
    result: Result
    include_deleted: bool
    batch_size: int
    used: datetime
    snapshot: Tables | None


class Pager:
    """Hands out results page by page."""

    def __init__(self, org: Org, seed: int) -> None:
        self._org = org
        self._cursors: dict[str, _Cursor] = {}
        self._numbers = random.Random(seed)
        self._sizes: Iterator[int] | None = None

    def set_sizes(self, sizes: Sequence[int]) -> None:
        """Page sizes to use in turn, over and over, 0 being an empty page. None at all: as asked."""
        self._sizes = itertools.cycle(sizes) if sizes else None

    def first(
        self, result: Result, session: Session, base: str, options: str, *, include_deleted: bool
    ) -> dict[str, Any]:
        """The body of a query's answer. `options` is the Sforce-Query-Options header."""
        if result.aggregate is not None or not result.rows:
            records = [] if result.aggregate is None else [result.aggregate]
            return {"totalSize": result.total, "done": True, "records": records}
        snapshot: Tables | None = None
        if self._org.switches["page_values"] == "query":
            snapshot = self._org.snapshot()
        id_ = make_id(self._org.switches["locator_prefix"], "Fk", self._numbers.randrange(62**8))
        now = self._org.clock.now()
        cursor = _Cursor(id_, session, result, include_deleted, _batch_size(options), now, snapshot)
        return self._page(cursor, 0, base)

    def more(self, locator: str, session: Session, base: str) -> dict[str, Any]:
        """The page that a locator leads to. Raises ApiError: unknown, too old, or another session's."""
        id_, _, offset = locator.partition("-")
        cursor = self._cursors.get(id_)
        lifetime = timedelta(seconds=self._org.switches["locator_lifetime"])
        now = self._org.clock.now()
        if (
            cursor is None
            or not offset.isdigit()
            or int(offset) > len(cursor.result.rows)
            or now - cursor.used > lifetime
        ):
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        if cursor.session is not session:
            raise ApiError(401, "INVALID_SESSION_ID", EXPIRED)
        cursor.used = now
        return self._page(cursor, int(offset), base)

    def _page(self, cursor: _Cursor, offset: int, base: str) -> dict[str, Any]:
        rows = cursor.result.rows
        end = min(offset + (next(self._sizes) if self._sizes else cursor.batch_size), len(rows))
        done = end == len(rows) and not (self._org.switches["empty_last_page"] and offset < end)
        page: dict[str, Any] = {"totalSize": cursor.result.total, "done": done}
        if not done:
            self._cursors[cursor.id] = cursor
            page["nextRecordsUrl"] = f"{base}/query/{cursor.id}-{end}"
        return page | {"records": self._written(cursor, rows[offset:end])}

    def _written(self, cursor: _Cursor, rows: Sequence[Row]) -> list[dict[str, Any]]:
        tables = cursor.snapshot or self._org.rows()
        write: Callable[[Row, Tables], dict[str, Any]] = cursor.result.write
        current = (tables[cursor.result.entity.name].get(row["Id"]) for row in rows)
        hide = not cursor.include_deleted and self._org.switches["deleted_between_pages"] == "vanish"
        return [
            write(row, tables) for row in current if row is not None and not (hide and row.get("IsDeleted"))
        ]


def _batch_size(options: str) -> int:
    """The batch size of a Sforce-Query-Options header, kept within its limits."""
    name, _, size = options.partition("=")
    asked = int(size) if name.strip().lower() == "batchsize" and size.strip().isdigit() else LARGEST_BATCH
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, asked))
