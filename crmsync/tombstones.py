"""Records that say a row is gone, and records that take it back. Pure (law 5, law 6)."""

from __future__ import annotations

from dataclasses import replace

from crmsync.config.sync import Sync
from crmsync.mapping import Record, digest, encode

DELETED_AT = "crm_deleted_at"
MERGED_INTO = "crm_merged_into"

LEAST_ALLOWED = 100
SHARE_ALLOWED = 0.05


def tombstone(sync: Sync, row_id: str, key: str, stamp: str, merged_into: str | None) -> Record:
    """The record that flags a delivered row as deleted, at `stamp`, by the key it was delivered under."""
    values = {sync.match_key: key, DELETED_AT: stamp}
    if merged_into:
        values[MERGED_INTO] = merged_into
    body = encode(values)
    return Record(row_id, key, stamp, body, digest(body), tombstone=True)


def revived(record: Record) -> Record:
    """The same record taking back an earlier flag. Its digest stays that of the plain record."""
    return replace(record, body=encode({**record.values, DELETED_AT: None, MERGED_INTO: None}))


def allowed(delivered: int) -> int:
    """How many tombstones one run may send without being told so, of so many delivered rows."""
    return max(LEAST_ALLOWED, int(delivered * SHARE_ALLOWED))
