"""Everything a sync remembers between runs."""

from __future__ import annotations

from crmsync.config import Config
from crmsync.state.store import FileStore, Store


def open_store(config: Config) -> Store:
    """The store that CRMSYNC_STATE names."""
    return FileStore(config.state)
