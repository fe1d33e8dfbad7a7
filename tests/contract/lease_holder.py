"""A run that holds a lease, as a process of its own, for tests that stop and wake it.

It takes the lease, puts a batch into the outbox, says "holding" and waits for a line; then it tries everything
that a run does and says, one JSON object, what came of each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from crmsync.errors import CrmsyncError
from crmsync.state.checkpoint import Checkpoint, new_state
from crmsync.state.lease import LeaseLock, Terms
from crmsync.state.outbox import Outbox, Parcel
from crmsync.state.s3 import S3Store


def main(uri: str, endpoint: str, ttl: str) -> None:
    store = S3Store(uri, None, endpoint)
    terms = Terms(float(ttl), renew_every=float(ttl) / 8, margin=float(ttl) / 4)
    with LeaseLock(store, "contacts", "holder", terms=terms) as lock:
        outbox = Outbox(store, "contacts")
        outbox.add(Parcel.of([("003A", "003A", "2026-05-01T00:00:00Z", b"old")], b"the holder's"))
        checkpoint = Checkpoint(store, "contacts")
        state = checkpoint.load() or new_state("contacts", "Contact", "profiles")
        print("holding", flush=True)
        sys.stdin.readline()
        state.watermark = "2099-01-01T00:00:00Z"
        late = Parcel.of([("003B", "003B", "2026-05-01T00:00:00Z", b"late")], b"too late")
        told = {
            "confirm": _came_of(lock.confirm),
            "state": _came_of(lambda: checkpoint.save(state)),
            "outbox": _came_of(lambda: outbox.add(late)),
            "log": _came_of(lambda: store.append("contacts/rejects.jsonl", b"{}\n")),
        }
    print(json.dumps(told), flush=True)


def _came_of(act: Callable[[], object]) -> str:
    try:
        act()
    except CrmsyncError as error:
        return f"{type(error).__name__}: {error.message}"
    return "done"


if __name__ == "__main__":
    main(*sys.argv[1:])
