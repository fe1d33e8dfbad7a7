"""What was or is about to be sent and is not proved yet: batches, durable before they leave (law 4)."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson

from crmsync.errors import StateError
from crmsync.state.store import Store

KEY_LIFETIME = 23 * 3600.0
"""Seconds for which a key is used: the destination remembers one for 24 hours (contract experiture 5)."""


ABANDONED = "(abandoned)"
"""Stands in the place of a job id once a person has given the parcel up."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch as it is sent: the exact bytes, their key, and what the records in them are.

    `ids`, `keys` and `stamps` run parallel to the records in `body`, and so do `digests`, of one length and joined;
    `tombstones` are the Ids among them that are flagged as deleted. `made_at` is seconds since the epoch. `job_id` is
    set once the destination has accepted the batch for later; while it is waited for, `body` is None: the outbox has
    it.
    """

    name: str
    key: str
    made_at: float
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    stamps: tuple[str, ...]
    digests: bytes
    body: bytes | None = field(repr=False)
    tombstones: tuple[str, ...] = ()
    job_id: str | None = None

    @classmethod
    def of(
        cls, entries: Sequence[tuple[str, str, str, bytes]], body: bytes, tombstones: Sequence[str] = ()
    ) -> Parcel:
        """A parcel under a fresh key for records given as (Id, match key, stamp, digest)."""
        ids, keys, stamps, digests = zip(*entries, strict=True)
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        joined, key = b"".join(digests), str(uuid.uuid4())
        return cls(name, key, time.time(), ids, keys, stamps, joined, body, tuple(tombstones))

    def part(self, indices: Sequence[int], body: bytes) -> Parcel:
        """A parcel of its own, under a fresh key, for the records at these indices."""
        whole = self.entries()
        entries = [whole[i] for i in indices]
        within = {entry[0] for entry in entries}
        return Parcel.of(entries, body, [row_id for row_id in self.tombstones if row_id in within])

    def waiting_for(self, job_id: str) -> Parcel:
        return replace(self, job_id=job_id, body=None)

    def holds(self, key: str, row_id: str, digest: bytes) -> bool:
        """Whether the record of this match key is just this version of this row."""
        at, size = self.keys.index(key), self._digest_size
        return (self.ids[at], self.digests[at * size : (at + 1) * size]) == (row_id, digest)

    def entries(self) -> list[tuple[str, str, str, bytes]]:
        """The records as (Id, match key, stamp, digest)."""
        size = self._digest_size
        digests = [self.digests[at : at + size] for at in range(0, len(self.digests), size)]
        return list(zip(self.ids, self.keys, self.stamps, digests, strict=True))

    @property
    def _digest_size(self) -> int:
        return len(self.digests) // len(self.ids)

    @property
    def key_is_good(self) -> bool:
        return time.time() - self.made_at < KEY_LIFETIME

    def __len__(self) -> int:
        return len(self.ids)


class Outbox:
    """The parcels of one sync. Safe to use from several threads: each parcel is a document of its own."""

    def __init__(self, store: Store, sync: str) -> None:
        self._store = store
        self._folder = f"{sync}/outbox"
        self._jobs = f"{sync}/jobs"

    def add(self, parcel: Parcel) -> None:
        """Store durably, before the first byte is sent."""
        self._store.put(f"{self._folder}/{parcel.name}", _encode(parcel))

    def body_of(self, parcel: Parcel) -> bytes:
        """The bytes of a parcel that is there. Raises StateError where it cannot be read any more."""
        body = self._read(f"{self._folder}/{parcel.name}").body if parcel.body is None else parcel.body
        assert body is not None
        return body

    def note_job(self, parcel: Parcel, job_id: str) -> None:
        """Keep the job that the destination made of a parcel, to ask for it after the key's lifetime."""
        self._store.put(f"{self._jobs}/{parcel.name}", job_id.encode())

    def abandon(self, parcel: Parcel) -> None:
        """Give a parcel up: the next run reads its Ids again instead of asking for it."""
        self.note_job(parcel, ABANDONED)

    def remove(self, parcel: Parcel) -> None:
        """Forget a parcel: its job first, so that a crash leaves no job behind that nobody would ever remove."""
        if parcel.job_id:
            self._store.delete(f"{self._jobs}/{parcel.name}")
        self._store.delete(f"{self._folder}/{parcel.name}")

    def parcels(self) -> list[Parcel]:
        """All that is there, oldest first. Raises StateError for one that cannot be read."""
        return [self._read(name) for name in self._store.names(self._folder)]

    def is_empty(self) -> bool:
        return not self._store.names(self._folder)

    def size(self) -> int:
        """How many parcels are there, none of them read."""
        return len(self._store.names(self._folder))

    def _read(self, name: str) -> Parcel:
        document = self._store.read(name)
        job = self._store.read(f"{self._jobs}/{name.rpartition('/')[2]}")
        try:
            assert document is not None
            parcel = _decode(document.data)
        except (AssertionError, ValueError, KeyError, TypeError):
            raise StateError(
                f"{self._store.location}/{name} cannot be read",
                hint="Move it away and pull with --since from before its time: its records are read again.",
            ) from None
        return replace(parcel, job_id=job.data.decode()) if job else parcel


def _encode(parcel: Parcel) -> bytes:
    """One line of JSON about the parcel, then the body as it is."""
    head = {
        "name": parcel.name,
        "key": parcel.key,
        "made_at": parcel.made_at,
        "ids": parcel.ids,
        "keys": parcel.keys,
        "stamps": parcel.stamps,
        "digests": parcel.digests.hex(),
        "tombstones": parcel.tombstones,
    }
    assert parcel.body is not None
    return orjson.dumps(head) + b"\n" + parcel.body


def _decode(data: bytes) -> Parcel:
    """A parcel as `_encode` writes it, or as it once did, with a list of digests."""
    head, _, body = data.partition(b"\n")
    fields = orjson.loads(head)
    return Parcel(
        name=fields["name"],
        key=fields["key"],
        made_at=fields["made_at"],
        ids=tuple(fields["ids"]),
        keys=tuple(fields["keys"]),
        stamps=tuple(fields["stamps"]),
        digests=bytes.fromhex("".join(fields["digests"])),
        body=body,
        tombstones=tuple(fields["tombstones"]),
    )
