"""What is known of a sync from its state alone: nothing is asked, locked, made or changed."""

from __future__ import annotations

from datetime import datetime

from crmsync.config import Config, Sync
from crmsync.health.run import read_runs
from crmsync.health.status import Facts
from crmsync.mapping import fingerprint
from crmsync.state.checkpoint import Checkpoint
from crmsync.state.history import History
from crmsync.state.outbox import Outbox
from crmsync.state.rejects import Rejects
from crmsync.state.store import Store


def gather(config: Config, sync: Sync, store: Store, now: datetime) -> Facts:
    """Raises StateError or TryAgain for a state that cannot be read."""
    return Facts(
        sync=sync.name,
        now=now,
        runs=read_runs(History(store, sync.name).runs()),
        state=Checkpoint(store, sync.name).load(),
        open_rejects=len(Rejects(store, sync.name)),
        waiting=Outbox(store, sync.name).size(),
        fingerprint=fingerprint(sync, config.default_region),
        interval=config.interval if config.is_set("CRMSYNC_INTERVAL") else None,
        usual_interval=config.interval,
        max_quota=config.max_quota,
    )
