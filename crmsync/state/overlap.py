"""The newest part of the ledger, kept in the state itself, so that a lost ledger re-sends nothing (law 3)."""

from __future__ import annotations

import orjson

from crmsync.state.ledger import Ledger
from crmsync.state.store import Store

MOST_ENTRIES = 20_000
"""Beyond this the rest is simply sent again, should the ledger be lost."""


def keep(store: Store, sync: str, ledger: Ledger, since: str) -> None:
    """Store the entries stamped at or after `since`, under the ledger's generation."""
    name = f"{sync}/overlap.json"
    entries = [
        (i, key, stamp, digest.hex(), gone)
        for i, key, stamp, digest, gone in ledger.recent(since, MOST_ENTRIES)
    ]
    present = store.read(name)
    body = orjson.dumps({"generation": ledger.generation, "entries": entries})
    store.write(name, body, present.version if present else None)


def restore(store: Store, sync: str, ledger: Ledger, generation: str) -> None:
    """Fill an empty ledger, if nothing has been sent since the entries were kept. Unreadable counts as none."""
    document = store.read(f"{sync}/overlap.json")
    if document is None:
        return
    try:
        body = orjson.loads(document.data)
        if body["generation"] == generation:
            rows = [(i, key, stamp, bytes.fromhex(digest)) for i, key, stamp, digest, _ in body["entries"]]
            ledger.remember(rows, {entry[0] for entry in body["entries"] if entry[4]})
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return
