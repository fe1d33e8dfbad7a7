"""Moving one sync's state to another store, so that the old one cannot be taken for it any more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from crmsync.errors import StateError, StateMoved
from crmsync.state import ledger_sync
from crmsync.state.checkpoint import Checkpoint, moved_document
from crmsync.state.ledger import Ledger
from crmsync.state.store import Store

CREDENTIALS = "credentials"
_DOCUMENTS = ("catalog.json", "overlap.json", "reconcile.json")
_LOGS = ("rejects.jsonl", "runs.jsonl")
_FOLDERS = ("outbox", "jobs")


def left_to_move(source: Store, target: Store, syncs: Iterable[str]) -> list[str]:
    """The syncs with a state in `source`, without those that an earlier try has moved to `target` already.

    Raises StateError where one cannot be read, StateMoved where one has moved to another place.
    """
    return [sync for sync in syncs if _is_left(source, target, sync)]


def move(source: Store, target: Store, sync: str) -> None:
    """Bring everything a sync remembers to `target`; what is left in `source` says where it is.

    Call it with the locks of both held. The state document goes last: until then the move may be tried again.
    Raises StateError where there is nothing to move, or where `target` already holds a state of the sync.
    """
    state = Checkpoint(source, sync).load()
    if state is None:
        raise StateError(f"{source.location} holds no state of sync {sync}", hint="There is nothing to move.")
    if Checkpoint(target, sync).load() is not None:
        raise StateError(
            f"{target.location} holds a state of sync {sync} already",
            hint="Choose another place, or remove that state if it is of no use.",
        )
    names = [f"{sync}/{name}" for name in _DOCUMENTS]
    for folder in _FOLDERS:
        names += source.names(f"{sync}/{folder}")
    for name in [*names, *source.names(CREDENTIALS)]:
        _copy_document(source, target, name)
    for name in _LOGS:
        _copy_log(source, target, f"{sync}/{name}")
    _copy_ledger(source, target, sync, state.generation)
    name = f"{sync}/state.json"
    document = source.read(name)
    assert document is not None
    target.write(name, document.data, None)
    source.write(name, moved_document(sync, target.location), document.version)


def _is_left(source: Store, target: Store, sync: str) -> bool:
    try:
        return Checkpoint(source, sync).load() is not None
    except StateMoved as moved:
        if moved.place != target.location:
            raise
        return False


def _copy_document(source: Store, target: Store, name: str) -> None:
    document, present = source.read(name), target.read(name)
    if document is not None:
        target.write(name, document.data, present.version if present else None)


def _copy_log(source: Store, target: Store, name: str) -> None:
    lines = source.read_log(name)
    if lines:
        target.replace_log(name, lines)


def _copy_ledger(source: Store, target: Store, sync: str, generation: str) -> None:
    """The ledger that the state trusts. Without it the next runs send again what it would have known."""
    name = f"{sync}/ledger.sqlite"
    here, there = source.local(name), target.local(name)
    ledger_sync.fetch(source, sync, generation, here)
    ledger_sync.duplicate(here, there)
    with contextlib.closing(Ledger(there)) as ledger:
        ledger_sync.upload(target, sync, ledger)
