"""What the rows of a page show of their parents. Pure.

A change of `Account.Name` moves no Contact's stamp (contract salesforce 2.6). So it is remembered, per parent,
what its children were delivered with; a parent that comes by with other values has its children read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from crmsync import mapping
from crmsync.paths import Getter, getter
from crmsync.sources.base import Link, Row

Seen = dict[tuple[str, str], bytes | None]
"""(chain, parent Id) → digest of the parent's mapped values; None where the rows disagree about them."""


def digest(parent_id: str, values: Sequence[Any]) -> bytes:
    """16 bytes that stand for a parent and its mapped values, in the order of `Link.fields`."""
    return mapping.digest(orjson.dumps([parent_id, values]))


class Showing:
    """Takes down what rows show of their parents while they pass."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links: list[tuple[Link, Getter, Getter, dict[str, list[Any] | None]]] = [
            (link, getter(link.key), getter(link.chain), {}) for link in links
        ]

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, one after another."""
        for row in rows:
            for link, key, parent, shown in self._links:
                parent_id = key(row)
                if parent_id:
                    values = [*map((parent(row) or {}).get, link.fields)]
                    if shown.setdefault(parent_id, values) != values:
                        shown[parent_id] = None
            yield row

    def seen(self) -> Seen:
        """The parents of the rows that have passed, and what they showed of them."""
        return {
            (link.chain, parent_id): None if values is None else digest(parent_id, values)
            for link, _, _, shown in self._links
            for parent_id, values in shown.items()
        }
