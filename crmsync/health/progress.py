"""What a person at a terminal sees while a run works: one line, rewritten in place. Elsewhere nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from crmsync.delivery.counts import Counts

FIRST = 1.0
EVERY = 0.25


class StatusLine:
    """Counts and rate of a run that takes longer than a second."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._started = time.monotonic()
        self._next = self._started + FIRST
        self._shown = False
        self._alive = stream.isatty()

    def __enter__(self) -> Self:
        return self

    def show(self, counts: Counts) -> None:
        now = time.monotonic()
        if not self._alive or now < self._next:
            return
        self._next = now + EVERY
        rate = counts.read / max(0.001, now - self._started)
        self._stream.write(
            f"\r\x1b[K{self._name}: {counts.read:,} read, {counts.written:,} written, "
            f"{counts.rejects:,} rejected, {rate:,.0f} rows/s"
        )
        self._stream.flush()
        self._shown = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
