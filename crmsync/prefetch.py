"""Reading ahead: what comes next is fetched in threads while this is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from crmsync.sources.base import Page

AHEAD = 1

T = TypeVar("T")


class _Channel(Generic[T]):
    """Carries a few items from reading threads to the one that uses them; None says that one has ended."""

    def __init__(self, room: int, wake: Callable[[], None] = lambda: None) -> None:
        self._ready: queue.Queue[T | BaseException | None] = queue.Queue(room)
        self._closed = threading.Event()
        self._wake = wake

    def start(self, items: Iterator[T]) -> None:
        """Read in a thread of its own, until the end or until nobody takes any more."""

        def read() -> None:
            try:
                for item in items:
                    if not self._put(item):
                        return
                self._put(None)
            except BaseException as error:  # noqa: BLE001 - carried over to the thread that takes
                self._put(error)

        threading.Thread(target=read, name="prefetch", daemon=True).start()

    def take(self, *, block: bool) -> T | None:
        """The next item. Raises queue.Empty where none is ready, and what the reading raised in its place."""
        item = self._ready.get(block=block)
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._closed.set()

    def _put(self, item: T | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            self._wake()
            return not self._closed.is_set()
        return False


def prefetched(
    pages: Iterator[Page], meanwhile: Callable[[], None], wake: Callable[[], None]
) -> Iterator[Page]:
    """The same pages, read one ahead in a thread.

    While none is ready, `meanwhile` is called again and again; `wake` ends such a call when one is. What the
    reading raises is raised here, in its place.
    """
    channel: _Channel[Page] = _Channel(AHEAD, wake)
    channel.start(pages)
    try:
        while True:
            try:
                page = channel.take(block=False)
            except queue.Empty:
                meanwhile()
                continue
            if page is None:
                return
            yield page
    finally:
        channel.close()


def side_by_side(sources: Iterator[Iterator[T]], at_once: int) -> Iterator[T]:
    """The items of several iterators, so many of them read at once, as they come."""
    channel: _Channel[T] = _Channel(1)
    guard = threading.Lock()

    def in_turn() -> Iterator[T]:
        while True:
            with guard:
                source = next(sources, None)
            if source is None:
                return
            yield from source

    for _ in range(at_once):
        channel.start(in_turn())
    try:
        ended = 0
        while ended < at_once:
            item = channel.take(block=True)
            if item is None:
                ended += 1
            else:
                yield item
    finally:
        channel.close()
