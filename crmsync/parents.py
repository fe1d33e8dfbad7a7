"""What the rows of a page show of their parents. Pure.

A change of `Account.Name` moves no Contact's stamp (contract salesforce 2.6). So it is remembered, per parent,
what its children were delivered with; a parent that comes by with other values has its children read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from crmsync import mapping
from crmsync.paths import getter
from crmsync.sources.base import Link, Row

Seen = dict[tuple[str, str], bytes | None]
"""(chain, parent Id) → digest of the parent's mapped values; None where the rows disagree about them."""


def digest(parent_id: str, values: Sequence[Any]) -> bytes:
    """16 bytes that stand for a parent and its mapped values, in the order of `Link.fields`."""
    return mapping.digest(orjson.dumps([parent_id, values]))


def seen_in(rows: Sequence[Row], links: Sequence[Link]) -> Seen:
    """The parents of these rows, and what the rows show of them."""
    seen: Seen = {}
    for link in links:
        key, parent = getter(link.key), getter(link.chain)
        shown: dict[str, list[Any] | None] = {}
        for row in rows:
            parent_id = key(row)
            if parent_id:
                values = [*map((parent(row) or {}).get, link.fields)]
                if shown.setdefault(parent_id, values) != values:
                    shown[parent_id] = None
        for parent_id, held in shown.items():
            seen[link.chain, parent_id] = None if held is None else digest(parent_id, held)
    return seen
