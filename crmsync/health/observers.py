"""All that watch a run: told once in one place, and never allowed to change how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from crmsync.config import Config, Sync
from crmsync.errors import CrmsyncError
from crmsync.health.ending import Ending
from crmsync.health.observer import Observer
from crmsync.health.tail import Tail
from crmsync.http import Stopper

log = logging.getLogger(__name__)


def configured(config: Config, keep_tail: Callable[[], Tail], stopper: Stopper) -> list[Observer]:
    """The observers that the configuration asks for. Raises ConfigError where one's library is missing."""
    observers: list[Observer] = []
    if config.statsd:
        from crmsync.health.dogstatsd import DogStatsd

        observers.append(DogStatsd(config.statsd))
    if config.prometheus_file:
        from crmsync.health.prometheus import PrometheusFile

        names = {sync.name for sync in config.syncs}
        observers.append(PrometheusFile(config.prometheus_file, names, config.interval))
    if config.heartbeat_url:
        from crmsync.health.heartbeat import Heartbeat

        observers.append(Heartbeat(config.heartbeat_url, keep_tail(), stopper))
    return observers


class Observers:
    """Entered around all syncs of a run. What an observer raises becomes a warning.

    A run that ends by an exception has not called `end`: the observers are told of it here.
    """

    def __init__(self, observers: list[Observer]) -> None:
        self._observers = observers
        self._endings: list[Ending] = []
        self._has_ended = False

    def __enter__(self) -> Self:
        self._tell(lambda observer: observer.begin())
        return self

    def watch(self, sync: Sync, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run a sync, give its result, and tell how it ended, also where it ended by an exception."""
        clock = time.monotonic()
        try:
            result = run()
        except BaseException as error:
            seconds = round(time.monotonic() - clock, 3)
            self._synced(Ending(sync.name, sync.source, exit_code_of(error), time.time(), seconds))
            raise
        self._synced(Ending.of(result, sync.source, time.time()))
        return result

    def end(self, code: int, said: str) -> None:
        """The run ends with this exit code; `said` tells in words, fit to be shown, what became of it."""
        self._has_ended = True
        self._tell(lambda observer: observer.end(code, self._endings, said))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._has_ended:
            code = exit_code_of(error)
            self.end(code, f"exit code {code}: {type(error).__name__}")

    def _synced(self, ending: Ending) -> None:
        self._endings.append(ending)
        if not ending.lock_held:
            self._tell(lambda observer: observer.synced(ending))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except CrmsyncError as error:
                log.warning("%s: %s", observer.name, error.message)
            except OSError as error:
                log.warning("%s: %s", observer.name, error)
            except Exception as error:  # noqa: BLE001 - the run matters more than who watches it
                log.warning("%s: failed (%s)", observer.name, type(error).__name__)


def exit_code_of(error: BaseException) -> int:
    """The exit code of a run that ends by this exception."""
    if isinstance(error, CrmsyncError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1
