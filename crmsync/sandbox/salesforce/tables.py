"""How the org keeps its rows: tables, the delete log's entries, open transactions.

Rows are never changed in place: a change puts a new row in the old one's stead, so that whoever holds a row
holds that version of it. A row has only its fields that are not null, as REST writes them (see `values`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Row]]


def stamp_and_id(row: Row) -> str:
    return f"{row['SystemModstamp']}{row['Id']}"


class Table:
    """The rows of one object by Id, and in the order of their stamps."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._ordered: list[Row] | None = None
        self._snapshot: Mapping[str, Row] | None = None

    def put(self, row: Row) -> None:
        self.rows[row["Id"]] = row
        self._ordered = self._snapshot = None

    def drop(self, id_: str) -> None:
        del self.rows[id_]
        self._ordered = self._snapshot = None

    def snapshot(self) -> Mapping[str, Row]:
        """The rows as they are now, by Id; shared by everybody who asks before the next change."""
        if self._snapshot is None:
            self._snapshot = dict(self.rows)
        return self._snapshot

    def ordered(self) -> Sequence[Row]:
        """All rows by SystemModstamp, then Id."""
        if self._ordered is None:
            self._ordered = sorted(self.rows.values(), key=stamp_and_id)
        return self._ordered


@dataclass(slots=True)
class Deletion:
    """An entry of the delete log. `hard` rows never sat in the recycle bin."""

    entity: str
    id: str
    stamp: str
    hard: bool
    undeleted: bool = False


@dataclass(slots=True)
class Transaction:
    """Changes that carry the stamp of the transaction's start and become visible when it is committed."""

    name: str
    started: datetime
    ids: set[str] = field(default_factory=set)
    changes: list[tuple[str, tuple[str, ...], Callable[[str], None]]] = field(default_factory=list)
