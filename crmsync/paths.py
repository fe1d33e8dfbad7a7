"""Reading a value out of a nested row by its dotted path. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Getter = Callable[[Mapping[str, Any]], Any]


@lru_cache(maxsize=1024)
def getter(path: str) -> Getter:
    """Gives the value at a path; None where the column, or a parent on the way, is missing or null."""
    *parents, name = path.split(".")

    def flat(row: Mapping[str, Any]) -> Any:
        return row.get(name)

    def once(row: Mapping[str, Any]) -> Any:
        parent = row.get(parents[0])
        return parent.get(name) if isinstance(parent, dict) else None

    def nested(row: Mapping[str, Any]) -> Any:
        found: Any = row
        for parent in parents:
            found = found.get(parent)
            if not isinstance(found, dict):
                return None
        return found.get(name)

    return nested if len(parents) > 1 else once if parents else flat
