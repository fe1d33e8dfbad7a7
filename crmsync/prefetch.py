"""Fetching the next page while this one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from crmsync.sources.base import Page

AHEAD = 1


def prefetched(
    pages: Iterator[Page], meanwhile: Callable[[], None], wake: Callable[[], None]
) -> Iterator[Page]:
    """The same pages, read one ahead in a thread.

    While none is ready, `meanwhile` is called again and again; `wake` ends such a call when one is. What the
    reading raises is raised here, in its place.
    """
    ready: queue.Queue[Page | BaseException | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def offer(item: Page | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                wake()
                break
            except queue.Full:
                continue

    def read() -> None:
        try:
            for page in pages:
                offer(page)
                if stopped.is_set():
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that asked
            offer(error)

    threading.Thread(target=read, name="prefetch", daemon=True).start()
    try:
        while True:
            try:
                item = ready.get_nowait()
            except queue.Empty:
                meanwhile()
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
