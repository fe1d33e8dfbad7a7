"""What was proved delivered, per source Id (law 3): a SQLite file beside the state.

Losing it costs re-sends, never correctness. A digest is forgotten durably before its record is sent and
remembered after terminal proof, so what stands here is what the destination holds.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crmsync.errors import StateError

FORMAT = "1"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One Id: the match key it was written under, the stamp of the row, the digest of the record.

    `digest` is None between the sending of a record and its proof. `generation` is the run that proved it.
    """

    key: str
    stamp: str
    digest: bytes | None
    generation: str


class Ledger:
    """The ledger of one sync. Used by one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            if self._meta("format") not in ("", FORMAT):
                raise StateError(f"{path} has an unknown format", hint="Update crmsync, or move it away.")
            self._set_meta("format", FORMAT)
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"the ledger {path} cannot be used ({error})",
                hint="Move it away: a new one is begun, and what it knew is sent once more.",
            ) from None

    @property
    def generation(self) -> str:
        return self._meta("generation")

    def trusted_by(self, generation: str) -> bool:
        """Whether it belongs to a state of this generation.

        A ledger may be one generation ahead: then the run that began it sent nothing yet.
        """
        return generation in (self._meta("generation"), self._meta("parent_generation"))

    def begin_generation(self, parent: str) -> str:
        """Name a new generation durably, before anything is sent in it; give its name."""
        name = secrets.token_hex(8)
        with self._durably():
            self._set_meta("parent_generation", parent)
            self._set_meta("generation", name)
        return name

    def reset(self, generation: str) -> None:
        """Empty it, in the name of a state's generation."""
        with self._durably():
            self._db.execute("DELETE FROM entries")
            self._set_meta("generation", generation)
            self._set_meta("parent_generation", "")

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def is_empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM entries LIMIT 1").fetchone() is None

    def lookup(self, ids: Sequence[str]) -> dict[str, Entry]:
        """What is known of these Ids."""
        found: dict[str, Entry] = {}
        for chunk in _chunks(ids):
            query = f"SELECT id, key, stamp, digest, generation FROM entries WHERE id IN ({_marks(chunk)})"  # noqa: S608 - marks only
            for row in self._db.execute(query, chunk):
                found[row[0]] = Entry(row[1], row[2], row[3], row[4])
        return found

    def holders(self, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Which Id was last written under each of these match keys: key → (stamp, Id)."""
        found: dict[str, tuple[str, str]] = {}
        for chunk in _chunks(keys):
            query = f"SELECT key, stamp, id FROM entries WHERE key <> id AND key IN ({_marks(chunk)})"  # noqa: S608 - marks only
            for key, stamp, row_id in self._db.execute(query, chunk):
                found[key] = max(found.get(key, ("", "")), (stamp, row_id))
        return found

    def forget(self, ids: Iterable[str]) -> None:
        """Forget what was proved of these Ids, durably: their records are about to be sent."""
        with self._durably():
            self._db.executemany("UPDATE entries SET digest = NULL WHERE id = ?", ((i,) for i in ids))

    def remember(self, entries: Iterable[tuple[str, str, str, bytes]]) -> None:
        """Keep what was proved, as (Id, match key, stamp, digest), under the present generation.

        Another Id's entry under the same key is forgotten: its values are no longer what stands there.
        """
        generation = self.generation
        rows = [(*entry, generation) for entry in entries]
        with self._transaction():
            self._db.executemany(
                "UPDATE entries SET digest = NULL WHERE key = ?2 AND id <> ?1 AND key <> id",
                ((row[0], row[1]) for row in rows if row[0] != row[1]),
            )
            self._db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", rows)

    def since(self, stamp: str, most: int) -> Iterator[tuple[str, str, str, bytes]]:
        """The proved entries whose stamp is at or after `stamp`, at most so many, newest first."""
        query = (
            "SELECT id, key, stamp, digest FROM entries WHERE stamp >= ? AND digest IS NOT NULL "
            "ORDER BY stamp DESC LIMIT ?"
        )
        yield from self._db.execute(query, (stamp, most))

    def close(self) -> None:
        self._db.close()

    def _meta(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def _set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db, "NORMAL")

    def _durably(self) -> _Transaction:
        return _Transaction(self._db, "FULL")


class _Transaction:
    """Everything within, or nothing; with "FULL" it is on the disk when the block ends."""

    def __init__(self, db: sqlite3.Connection, synchronous: str) -> None:
        self._db = db
        self._synchronous = synchronous

    def __enter__(self) -> None:
        self._db.execute(f"PRAGMA synchronous={self._synchronous}")
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), _CHUNK):
        yield values[at : at + _CHUNK]


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    stamp TEXT NOT NULL,
    digest BLOB,
    generation TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_key ON entries (key) WHERE key <> id;
CREATE INDEX IF NOT EXISTS entries_by_stamp ON entries (stamp);
"""
