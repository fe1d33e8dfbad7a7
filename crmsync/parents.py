"""What the rows of a page show of their parents. Pure.

A change of `Account.Name` moves no Contact's stamp (contract salesforce 2.6). So it is remembered, per parent,
what its children were delivered with; a parent that comes by with other values has its children read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from crmsync.sources.base import Link, Row

Seen = dict[tuple[str, str], bytes | None]
"""(chain, parent Id) → digest of the parent's mapped values; None where the rows disagree about them."""


def digest(values: Sequence[Any]) -> bytes:
    """16 bytes that stand for a parent's mapped values, in the order of `Link.fields`."""
    return hashlib.blake2b(orjson.dumps(values), digest_size=16).digest()


def seen_in(rows: Iterable[Row], links: Sequence[Link]) -> Seen:
    """The parents of these rows, and what the rows show of them."""
    shown: dict[tuple[str, str], list[Any] | None] = {}
    for row in rows:
        for link in links:
            parent_id = at(row, link.key)
            if not parent_id:
                continue
            parent = at(row, link.chain) or {}
            values = [parent.get(name) for name in link.fields]
            known = shown.setdefault((link.chain, parent_id), values)
            if known != values:
                shown[link.chain, parent_id] = None
    return {place: None if values is None else digest(values) for place, values in shown.items()}


def at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where a parent on the way is null."""
    found: Any = row
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
