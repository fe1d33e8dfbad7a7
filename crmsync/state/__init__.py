"""Everything a sync remembers between runs."""

from __future__ import annotations

from crmsync.config import Config
from crmsync.state.lock import FileLock, Lock
from crmsync.state.store import FileStore, Store


def open_store(config: Config) -> Store:
    """The store that CRMSYNC_STATE names."""
    return FileStore(config.state)


def open_lock(config: Config, store: Store, sync: str, run_id: str, wait: float = 0.0) -> Lock:  # noqa: ARG001
    """The lock of one sync in this store; `wait` is how many seconds to wait for its holder."""
    return FileLock(store.local(f"{sync}/lock"), run_id, wait=wait)
