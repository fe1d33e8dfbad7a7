"""Ends what takes too long: one thread watches over all of it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class _Watch:
    until: float
    number: int
    cut: Callable[[], None] = field(compare=False)
    over: bool = field(default=False, compare=False)


class Watchdog:
    """Safe to use from several threads. Its own thread begins with the first block and ends with the process."""

    def __init__(self) -> None:
        self._watches: list[_Watch] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def watching(self, seconds: float, cut: Callable[[], None]) -> Iterator[None]:
        """Call `cut` from another thread if the block is still at work after so many seconds."""
        watch = _Watch(time.monotonic() + seconds, next(self._numbers), cut)
        with self._changed:
            self._drop_ended()
            heapq.heappush(self._watches, watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            elif self._watches[0] is watch:
                self._changed.notify()
        try:
            yield
        finally:
            watch.over = True

    def _drop_ended(self) -> None:
        while self._watches and self._watches[0].over:
            heapq.heappop(self._watches)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._drop_ended()
                now = time.monotonic()
                if not self._watches or self._watches[0].until > now:
                    self._changed.wait(self._watches[0].until - now if self._watches else None)
                    continue
                late = heapq.heappop(self._watches)
            late.cut()
