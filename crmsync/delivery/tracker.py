"""Up to where everything read has been settled, whatever the order in which proof came. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a stream: a stamp, or "done"."""

    stream: str
    at: str


@dataclass(slots=True)
class _Page:
    number: int
    outstanding: int
    position: Position | None


class Tracker:
    """Pages in the order they were read, each with the number of its rows that are not settled yet.

    A position is reached once its page and every page before it are settled.
    """

    def __init__(self) -> None:
        self._pages: deque[_Page] = deque()
        self._by_number: dict[int, _Page] = {}
        self._last = 0

    def open(self, rows: int, position: Position | None) -> int:
        """Note a page of so many rows and give its number."""
        self._last += 1
        page = _Page(self._last, rows, position)
        self._pages.append(page)
        self._by_number[self._last] = page
        return self._last

    def settle(self, pages: Mapping[int, int]) -> None:
        """So many rows of each of these pages have been proved, rejected or skipped."""
        for number, rows in pages.items():
            self._by_number[number].outstanding -= rows

    def reached(self) -> list[Position]:
        """Drop the settled pages at the front and give their positions, in order."""
        positions = []
        while self._pages and self._pages[0].outstanding == 0:
            page = self._pages.popleft()
            del self._by_number[page.number]
            if page.position is not None:
                positions.append(page.position)
        return positions
