"""Everything a sync remembers between runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crmsync.config import Config
from crmsync.errors import ConfigError
from crmsync.state.lock import FileLock, Lock
from crmsync.state.store import FileStore, Store

if TYPE_CHECKING:
    from crmsync.http import Stopper


def open_store(config: Config) -> Store:
    """The store that CRMSYNC_STATE names. Raises ConfigError where S3 is asked for without boto3."""
    if not _on_s3(config):
        return FileStore(config.state)
    try:
        from crmsync.state.s3 import S3Store
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("boto3", "botocore"):
            raise
        raise ConfigError(
            f"CRMSYNC_STATE: {config.state} needs boto3", hint="Run `pip install 'crmsync[s3]'`."
        ) from None
    return S3Store(config.state, config.cache, allow_http_hosts=config.allow_http_hosts)


def open_lock(
    config: Config, store: Store, sync: str, run_id: str, wait: float = 0.0, *, stopper: Stopper | None = None
) -> Lock:
    """The lock of one sync in this store; `wait` is how many seconds to wait for its holder.

    `stopper` ends the waiting for a lease, which may take minutes where its holder has died.
    """
    if not _on_s3(config):
        return FileLock(store.local(f"{sync}/lock"), run_id, wait=wait)
    from crmsync.state.lease import LeaseLock
    from crmsync.state.s3 import S3Store

    assert isinstance(store, S3Store)
    return LeaseLock(store, sync, run_id, wait=wait, stopper=stopper)


def require_fit(config: Config, store: Store) -> None:
    """Raises StateError for an S3 server on which two runs could both believe that they hold the lease."""
    if _on_s3(config):
        from crmsync.state.probe import refuse_careless
        from crmsync.state.s3 import S3Store

        assert isinstance(store, S3Store)
        refuse_careless(store)


def _on_s3(config: Config) -> bool:
    return config.state.startswith("s3://")
