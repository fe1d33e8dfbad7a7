"""Putting a run's parts together: store, source, destination, lock, and the pull itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module
from importlib.metadata import entry_points
from types import FrameType, TracebackType
from typing import Any, Self

from crmsync.config import Config, Sync
from crmsync.delivery import DryDestination, Limits
from crmsync.destinations.base import Destination
from crmsync.errors import ConfigError, DeadlineReached, Interrupted
from crmsync.health import logs
from crmsync.http import Stopper
from crmsync.pull import Pull, Settings
from crmsync.sources.base import Source
from crmsync.state import catalog as catalogs
from crmsync.state import open_lock, open_store
from crmsync.state.credentials import CredentialVault
from crmsync.state.dry import DryStore
from crmsync.state.lock import Lock, NoLock
from crmsync.state.store import Store
from crmsync.text import did_you_mean
from crmsync.window import Range

BUILT_IN = {
    "crmsync.sources": {"salesforce": "crmsync.sources.salesforce:SalesforceSource"},
    "crmsync.destinations": {"experiture": "crmsync.destinations.experiture:ExperitureDestination"},
}


class Workplace:
    """Everything one sync's run works with, closed at the end.

    `store` is the real state; with `dry_run` the run itself works on an overlay that forgets.
    """

    def __init__(
        self,
        config: Config,
        sync: Sync,
        *,
        run_id: str,
        stopper: Stopper | None = None,
        dry_run: bool = False,
        wait: timedelta | None = None,
    ) -> None:
        self.config = config
        self.sync = sync
        self.store: Store = open_store(config)
        self._run_id = run_id
        self._stopper = stopper or Stopper()
        self._dry_run = dry_run
        self._wait = wait.total_seconds() if wait else 0.0
        self._source: Source | None = None
        self._destination: Destination | None = None
        self._named = contextlib.ExitStack()

    @property
    def source(self) -> Source:
        if self._source is None:
            settings = self.config.salesforce
            connection = f"{settings.login_url} {settings.client_id}"
            self._source = plug_in("crmsync.sources", self.sync.source)(
                self.config,
                self.sync,
                vault=CredentialVault(self.store, connection, settings.refresh_token or ""),
                catalog=catalogs.load(self.store, self.sync.name),
                stopper=self._stopper,
            )
        return self._source

    @property
    def destination(self) -> Destination:
        if self._destination is None:
            factory = plug_in("crmsync.destinations", self.sync.destination)
            self._destination = factory(self.config, self.sync, stopper=self._stopper)
        return self._destination

    def pull(
        self,
        asked: Range,
        *,
        allow_deletes: bool = False,
    ) -> Pull:
        """A run, ready to go."""
        lock = self.lock()
        self.destination.guard(lock.confirm)
        return Pull(
            self.sync,
            self.source,
            DryDestination(self.destination) if self._dry_run else self.destination,
            DryStore(self.store) if self._dry_run else self.store,
            lock,
            asked,
            settings_of(self.config, allow_deletes=allow_deletes),
            run_id=self._run_id,
            stopper=self._stopper,
        )

    def lock(self) -> Lock:
        if self._dry_run:
            return NoLock()
        return open_lock(
            self.config, self.store, self.sync.name, self._run_id, self._wait, stopper=self._stopper
        )

    def requests(self) -> dict[str, dict[str, int]]:
        """Requests sent so far, to either side, by kind."""
        return {
            "source": self._source.requests() if self._source else {},
            "destination": self._destination.requests() if self._destination else {},
        }

    def quota(self) -> tuple[int, int] | None:
        return self._source.quota() if self._source else None

    def keep_catalog(self) -> None:
        if self._source and not self._dry_run:
            catalogs.keep(self.store, self.sync.name, self._source.catalog)

    def __enter__(self) -> Self:
        self._named.enter_context(logs.about(self.sync.name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._named.close()
        for part in (self._source, self._destination):
            if part is not None:
                part.close()


def plug_in(group: str, name: str) -> Any:
    """A source or destination by name: built in, else from another package's entry point."""
    if name in BUILT_IN[group]:
        module, _, attribute = BUILT_IN[group][name].partition(":")
        return getattr(import_module(module), attribute)
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        names = [*BUILT_IN[group], *found]
        kind = group.removeprefix("crmsync.").removesuffix("s")
        raise ConfigError(
            f"there is no {kind} {name}{did_you_mean(name, names)}",
            hint=f"Installed: {', '.join(sorted(set(names)))}.",
        )
    return found[name].load()


def settings_of(config: Config, *, allow_deletes: bool = False) -> Settings:
    return Settings(
        allow_deletes=allow_deletes,
        overlap=config.overlap,
        settle=config.settle,
        job_deadline=config.job_deadline,
        default_region=config.default_region,
        limits=Limits(batch=config.batch_size, in_flight=config.in_flight, jobs=config.jobs),
    )


@contextlib.contextmanager
def stopping(stopper: Stopper, tell: Callable[[], None], longest: timedelta | None = None) -> Iterator[None]:
    """A first SIGINT or SIGTERM stops gracefully and calls `tell`, a second one stops at once.

    So does `longest`, once it is over.
    """
    if longest is not None:
        reached = DeadlineReached("--max-duration is over; the next run goes on from the last checkpoint")
        timer = threading.Timer(longest.total_seconds(), stopper.stop, [reached])
        timer.daemon = True
        timer.start()

    def stop(signum: int, _frame: FrameType | None) -> None:
        if isinstance(stopper.reason, Interrupted):
            raise KeyboardInterrupt
        stopper.stop(Interrupted(signum))
        tell()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
