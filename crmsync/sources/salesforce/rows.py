"""The rows of a long page of a query, parsed a few at a time. Pure.

The 2,000 rows of a page become five megabytes of small objects, more than a processor keeps at hand. To parse, map
and forget a hundred after another costs a fifth less, and only a hundred take up memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crmsync.errors import Outage
from crmsync.http import json_of
from crmsync.sources.base import Row

AT_ONCE = 100
"""Rows."""
_ROW = b'{"attributes":'
_FIRST = b'"records":[' + _ROW
_BETWEEN = b"}," + _ROW
"""Where one row ends and the next begins. Within a text it cannot be: there every quotation mark is escaped."""


def parsed(body: bytes) -> Any:
    """A reply as JSON, None where it is none; but the `records` of a long page are Rows.

    What the page says of itself, its first and its last row are parsed at once: a page that broke off is none.
    """
    first, *others = body.split(_BETWEEN)
    if len(others) > AT_ONCE and _FIRST in first:
        page = json_of(first + _BETWEEN + others[-1])
        ends = page.get("records") if isinstance(page, dict) else None
        if isinstance(ends, list) and len(ends) == 2:
            return {**page, "records": Rows(ends[0], others[:-1], ends[1])}
    return json_of(body)


class Rows:
    """Sized, and to be read forwards or backwards, any number of times. Reading raises Outage where it is no JSON.

    `between` are the texts of the rows between the first and the last, each without the `_ROW` it begins with and the
    `}` it ends with.
    """

    def __init__(self, first: Row, between: list[bytes], last: Row) -> None:
        self._first = first
        self._between = between
        self._last = last

    def __len__(self) -> int:
        return len(self._between) + 2

    def __iter__(self) -> Iterator[Row]:
        yield self._first
        for at in range(0, len(self._between), AT_ONCE):
            rows = _rows(self._between[at : at + AT_ONCE])
            if rows is None:
                yield from self._rest(at)
                break
            yield from rows
        yield self._last

    def __reversed__(self) -> Iterator[Row]:
        yield self._last
        yield from reversed([*self][:-1])

    def _rest(self, at: int) -> list[Row]:
        """The others from here on, at once: a row that holds rows of its own may have been cut in two."""
        rows = _rows(self._between[at:])
        if rows is None:
            raise Outage("Salesforce answered a query with rows that are no JSON")
        return rows


def _rows(texts: list[bytes]) -> list[Row] | None:
    rows: list[Row] | None = json_of(b"[" + _ROW + _BETWEEN.join(texts) + b"}]")
    return rows
