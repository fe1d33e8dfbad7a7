"""The lowest line of a terminal, rewritten in place; whatever else is written appears above it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

Line = Callable[[int], str]
"""Gives the line anew, at most so many columns wide."""


class Screen:
    """One status line on a terminal. Safe to use from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._line: Line | None = None
        self._drawn = 0

    def show(self, line: Line) -> None:
        """Draw the line, in the place of the one before."""
        with self._lock:
            self._line = line
            self._wipe()
            self._draw()

    def clear(self) -> None:
        """Take the line away, for good."""
        with self._lock:
            self._line = None
            self._wipe()
            self._stream.flush()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """While something else is written, the line makes way for it."""
        with self._lock:
            self._wipe()
            try:
                yield
            finally:
                self._draw()

    def _draw(self) -> None:
        if self._line is not None:
            text = self._line(max(1, self._columns() - 1))
            self._stream.write(text)
            self._stream.flush()
            self._drawn = len(text)

    def _wipe(self) -> None:
        """Erase what was drawn. A terminal made narrower since has broken it into several lines."""
        if self._drawn:
            above = (self._drawn - 1) // self._columns()
            up = f"\x1b[{above}A" if above else ""
            self._stream.write(f"\r{up}\x1b[J")
            self._drawn = 0

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80
