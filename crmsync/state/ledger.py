"""What was proved delivered, per source Id (law 3): a SQLite file beside the state.

Losing it costs re-sends, never correctness. A digest is forgotten durably before its record is sent and
remembered after terminal proof, so what stands here is what the destination holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import secrets
import sqlite3
import threading
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crmsync.errors import CrmsyncError, StateError, TryAgain

T = TypeVar("T")

FORMAT = "1"
_CHUNK = 500
_VALUES_AT_ONCE = 600
"""Of one statement: SQLite took no more than 999 until 2020."""
_STATEMENTS = 24
"""Kept prepared. There is one for each number of Ids asked for at once, and some hold 50 kB."""
_PAGES_IN_WAL = 4000
"""16 MB: a page that many batches touch is written to the database once, not each time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One Id: the match key it was written under, the stamp of the row, the digest of the record.

    `digest` is None between the sending of a record and its proof. `generation` is the number of the one that
    proved it. `deleted`: what was delivered last is a tombstone.
    """

    key: str
    stamp: str
    digest: bytes | None
    generation: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """`others` Ids were given; `only_here` and `only_others` stand on one side alone, sorted."""

    others: int
    only_here: list[str]
    only_others: list[str]


class Ledger:
    """The ledger of one sync. Used by a run's own thread and by the one that reads ahead."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changing = threading.RLock()
        self._recent_from = ""
        self._synchronous = "NORMAL"
        try:
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
            )
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_PAGES_IN_WAL}")
            self._db.executescript(_SCHEMA)
            if self._meta("format") not in ("", FORMAT):
                raise StateError(f"{path} has an unknown format", hint="Update crmsync, or move it away.")
            self._set_meta("format", FORMAT)
        except sqlite3.DatabaseError as error:
            raise _unusable(path, error) from None

    @property
    def generation(self) -> str:
        return self._meta("generation")

    def trusted_by(self, generation: str) -> bool:
        """Whether it belongs to a state of this generation.

        A ledger may be one generation ahead: then the run that began it sent nothing yet.
        """
        return bool(generation) and generation in (self._meta("generation"), self._meta("parent_generation"))

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
            self._db.execute("DELETE FROM recent")
            self._db.execute("DELETE FROM shown")
            self._set_meta("complete", "")
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
            query = f"SELECT id, key, stamp, digest, generation, deleted FROM entries WHERE id IN ({_marks(chunk)})"  # noqa: S608 - marks only
            for row in self._db.execute(query, chunk):
                found[row[0]] = Entry(row[1], row[2], row[3], row[4], bool(row[5]))
        return found

    def holders(self, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Which Id was last written under each of these match keys: key → (stamp, Id)."""
        found: dict[str, tuple[str, str]] = {}
        for chunk in _chunks(keys):
            query = f"SELECT key, stamp, id FROM entries WHERE key <> id AND key IN ({_marks(chunk)})"  # noqa: S608 - marks only
            for key, stamp, row_id in self._db.execute(query, chunk):
                found[key] = max(found.get(key, ("", "")), (stamp, row_id))
        return found

    def is_current(self, entry: Entry) -> bool:
        """Whether it was proved in the present generation."""
        return entry.generation == _number(self.generation)

    def forget(self, ids: Sequence[str]) -> None:
        """Forget what was proved of these Ids, durably: their records are about to be sent."""
        if not ids:
            return
        with self._durably():
            for chunk in _chunks(ids):
                among = f"{_FORGET} AND id IN ({_marks(chunk)})"
                self._db.execute(among, chunk)

    def remember(
        self, entries: Sequence[tuple[str, str, str, bytes]], tombstones: Container[str] = ()
    ) -> None:
        """Keep what was proved, as (Id, match key, stamp, digest), under the present generation.

        Another Id's entry under the same key is forgotten, durably, as `forget` does: its values are no longer what
        stands there.
        """
        if not entries:
            return
        ids, keys, stamps, digests = zip(*entries, strict=True)
        # sqlite3 takes a bytearray as it is; for bytes it looks for an adapter first, row by row.
        blobs, generation = map(bytearray, digests), itertools.repeat(_number(self.generation))
        deleted = [int(row_id in tombstones) for row_id in ids]
        rows = list(zip(ids, keys, stamps, blobs, generation, deleted, strict=False))
        shared = [(row_id, key) for row_id, key in zip(ids, keys, strict=True) if row_id != key]
        recent = [(i, stamp) for i, stamp in zip(ids, stamps, strict=True) if stamp >= self._recent_from]
        with self._durably() if shared else self._transaction():
            self._db.executemany(
                "UPDATE entries SET digest = NULL WHERE key = ?2 AND id <> ?1 AND key <> id", shared
            )
            self._insert("INSERT OR REPLACE INTO entries", rows)
            self._insert("INSERT OR REPLACE INTO recent", recent)

    def delivered(self, ids: Sequence[str]) -> set[str]:
        """Those of these Ids that were sent and are not flagged as deleted."""
        return {row_id for row_id, entry in self.lookup(ids).items() if not entry.deleted}

    @property
    def is_complete(self) -> bool:
        """Whether every row that was ever delivered stands here: no ledger was lost on the way."""
        return self._meta("complete") == "yes"

    def declare_complete(self) -> None:
        self._set_meta("complete", "yes")

    def begin_full(self) -> None:
        """Everything is about to be read: forget what the parents' children were delivered with."""
        self._db.execute("DELETE FROM shown")

    def note_parents(self, seen: Mapping[tuple[str, str], bytes | None], *, everything: bool) -> None:
        """Take in what a page's rows show of their parents.

        A parent that is not known yet is noted only while `everything` is read: its other children may have
        been delivered with something else. Rows that disagree with what is known make it unknown.
        """
        places = [(_place(*parent), digest and bytearray(digest)) for parent, digest in seen.items()]
        if not places:
            return
        with self._transaction():
            if everything:
                self._insert("INSERT INTO shown (place, digest)", places, _DOUBT_KNOWN_PARENT)
            else:
                self._db.executemany(
                    "UPDATE shown SET digest = NULL WHERE place = ? AND digest IS NOT ?", places
                )

    def changed_parents(self, chain: str, values: Mapping[str, bytes]) -> set[str]:
        """Of these parents those whose children may show other values. They count as known once settled."""
        places = {parent_id: _place(chain, parent_id) for parent_id in values}
        known = self._shown(list(places.values()))
        changed = {i for i, digest in values.items() if known.get(places[i]) != digest}
        with self._transaction():
            self._db.executemany(
                "INSERT INTO shown VALUES (?1, NULL, ?2) "
                "ON CONFLICT (place) DO UPDATE SET digest = NULL, pending = ?2",
                ((places[parent_id], values[parent_id]) for parent_id in changed),
            )
        return changed

    def forget_pending_parents(self) -> None:
        """Another run found these parents changed, and perhaps did not get to delivering their children."""
        self._db.execute("UPDATE shown SET pending = NULL WHERE pending IS NOT NULL")

    def settle_parents(self) -> None:
        """The children of every changed parent have been delivered."""
        self._db.execute("UPDATE shown SET digest = pending, pending = NULL WHERE pending IS NOT NULL")

    def keep_recent(self, since: str) -> None:
        """From here on `recent` is asked for no entries whose stamp is before this one."""
        self._recent_from = since
        self._db.execute("DELETE FROM recent WHERE stamp < ?", (since,))

    def recent(self, since: str, most: int) -> Iterator[tuple[str, str, str, bytes, bool]]:
        """The proved entries whose stamp is at or after `since`, at most so many, newest first."""
        query = (
            "SELECT id, key, entries.stamp, digest, deleted FROM recent JOIN entries USING (id) "
            "WHERE entries.stamp >= ? AND digest IS NOT NULL ORDER BY entries.stamp DESC LIMIT ?"
        )
        yield from self._db.execute(query, (since, most))

    def close(self) -> None:
        self._db.close()

    def compare(self, others: Iterable[Iterable[str]]) -> Comparison:
        """Hold other Ids, given some at a time, against those delivered and not flagged as deleted."""
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS others (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("DELETE FROM others")
        for some in others:
            with self._transaction():
                self._db.executemany("INSERT OR IGNORE INTO others VALUES (?)", ((i,) for i in some))
        return Comparison(
            others=int(self._db.execute("SELECT COUNT(*) FROM others").fetchone()[0]),
            only_here=[row[0] for row in self._db.execute(_ONLY_HERE)],
            only_others=[row[0] for row in self._db.execute(_ONLY_OTHERS)],
        )

    def _insert(self, into: str, rows: Sequence[tuple[Any, ...]], tail: str = "") -> None:
        """Insert rows of one width, many by one statement: that costs a third less than one by one."""
        if not rows:
            return
        one, at_once = f"({_marks(rows[0])})", _VALUES_AT_ONCE // len(rows[0])
        many = f"{into} VALUES {','.join([one] * at_once)} {tail}"
        whole = len(rows) - len(rows) % at_once
        for at in range(0, whole, at_once):
            values = itertools.chain.from_iterable(rows[at : at + at_once])
            self._db.execute(many, tuple(values))
        self._db.executemany(f"{into} VALUES {one} {tail}", rows[whole:])

    def _shown(self, places: Sequence[int]) -> dict[int, bytes | None]:
        found: dict[int, bytes | None] = {}
        for chunk in _chunks(places):
            query = f"SELECT place, digest FROM shown WHERE place IN ({_marks(chunk)})"  # noqa: S608 - marks only
            found |= dict(self._db.execute(query, chunk))
        return found

    def _meta(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def _set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _durably(self) -> AbstractContextManager[None]:
        return self._transaction("FULL")

    @contextlib.contextmanager
    def _transaction(self, synchronous: str = "NORMAL") -> Iterator[None]:
        """Everything within, or nothing; with "FULL" it is on the disk when the block ends."""
        with self._changing:
            try:
                if self._synchronous != synchronous:
                    self._db.execute(f"PRAGMA synchronous={synchronous}")
                    self._synchronous = synchronous
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    raise _unusable(self._path, error) from None
                raise


def _unusable(path: Path, error: sqlite3.DatabaseError) -> CrmsyncError:
    """The error to raise for a failed statement. A full disk passes; a damaged file does not."""
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY):
        return TryAgain(
            f"the ledger {path} cannot be written ({error})",
            hint="Free some room; nothing is lost, the next run goes on from the last checkpoint.",
        )
    return StateError(
        f"the ledger {path} cannot be used ({error})",
        hint="Move it away: a new one is begun, and what it knew is sent once more.",
    )


def _place(chain: str, parent_id: str) -> int:
    """Where a parent's digest is kept: half the price of its Id in a database that is written all over.

    Of two parents that share a place neither is known, for digests cover the Id: their children are read again.
    """
    return zlib.crc32(parent_id.encode(), zlib.crc32(chain.encode()))


def _number(generation: str) -> int:
    """What stands for a generation in an entry: 64 bits, signed."""
    return int.from_bytes(hashlib.blake2b(generation.encode(), digest_size=8).digest(), "big", signed=True)


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), _CHUNK):
        yield values[at : at + _CHUNK]


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


_FORGET = "UPDATE entries SET digest = NULL WHERE digest IS NOT NULL"
_DOUBT_KNOWN_PARENT = "ON CONFLICT (place) DO UPDATE SET digest = NULL WHERE digest IS NOT excluded.digest"
_ONLY_HERE = "SELECT id FROM entries WHERE deleted = 0 EXCEPT SELECT id FROM others"
_ONLY_OTHERS = "SELECT id FROM others EXCEPT SELECT id FROM entries WHERE deleted = 0"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    stamp TEXT NOT NULL,
    digest BLOB,
    generation INTEGER NOT NULL,
    deleted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shown (place INTEGER PRIMARY KEY, digest BLOB, pending BLOB);
CREATE INDEX IF NOT EXISTS entries_by_key ON entries (key) WHERE key <> id;
CREATE TABLE IF NOT EXISTS recent (id TEXT PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID;
"""
