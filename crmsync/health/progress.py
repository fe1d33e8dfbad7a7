"""How far a run is, while it works: a bar on a terminal; elsewhere, where asked for, a line of the log now and then."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from crmsync.delivery.counts import Counts
from crmsync.health import logs
from crmsync.health.screen import Screen

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

log = logging.getLogger(__name__)

FIRST = 1.0
"""Seconds before anything is shown: a short run shows nothing."""
EVERY = 0.25
INTERVAL = 30.0
"""Seconds between two lines of the log."""
WIDEST_BAR = 30
NARROWEST_BAR = 8


class Progress:
    """Follows the counts of a run until it ends. With a log level above info it shows nothing.

    How much there is to do is known only where the source tells (`Counts.expected`); without that there is no
    bar and no estimate, only what has been done and how fast.
    """

    def __init__(self, name: str, counts: Counts) -> None:
        self._name = name
        self._counts = counts
        self._screen: Screen | None = logs.screen()
        self._gauge = _gauge(None)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self.is_shown:
            self._thread.start()
        return self

    @property
    def is_shown(self) -> bool:
        """Whether anybody wants to know."""
        return log.isEnabledFor(logging.INFO)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._screen is not None:
            self._screen.clear()

    def line(self, width: int) -> str:
        """What the terminal shows, in at most `width` columns: what matters least is left out first."""
        told = self._told()
        if self._gauge.length:
            told = {"name": told.pop("name"), "bar": self._bar(NARROWEST_BAR), **told}
        while len(told) > 1 and len("  ".join(told.values())) > width:
            del told[next(part for part in _LEAST_FIRST if part in told)]
        if "bar" in told:
            room = width - len("  ".join(told.values())) + NARROWEST_BAR
            told["bar"] = self._bar(min(WIDEST_BAR, room))
        return "  ".join(told.values())[:width]

    def report(self) -> None:
        """Put how far the run is into the log."""
        told = self._told()
        counts, name = self._counts, told.pop("name")
        log.info(
            "%s: %s",
            name,
            ", ".join(told.values()),
            extra={
                "progress": {
                    "read": counts.read,
                    "expected": counts.expected,
                    "compared": counts.compared,
                    "written": counts.written,
                    "rejected": counts.rejects,
                    "eta_seconds": round(self._gauge.eta) if self._gauge.eta_known else None,
                }
            },
        )

    def measure(self) -> None:
        """Take in how far the run is by now."""
        done, expected = self._done(), self._counts.expected
        expected = expected if expected and done <= expected else None
        if expected != self._gauge.length:
            started, self._gauge = self._gauge.start, _gauge(expected)
            self._gauge.start = started
        self._gauge.make_step(done - self._gauge.pos)

    def _follow(self) -> None:
        shows = self._screen is not None
        pause = FIRST if shows else INTERVAL
        while not self._over.wait(pause):
            pause = EVERY if shows else INTERVAL
            self.measure()
            if self._screen is not None:
                self._screen.show(self.line)
            else:
                self.report()

    def _done(self) -> int:
        return self._counts.read or self._counts.compared

    def _bar(self, width: int) -> str:
        self._gauge.width = width
        return f"[{self._gauge.format_bar()}]"

    def _told(self) -> dict[str, str]:
        counts, gauge = self._counts, self._gauge
        done = self._done()
        told = {"name": self._name}
        if gauge.length:
            told["percent"] = f"{gauge.pct:.0%}"
        of = f" of {gauge.length:,}" if gauge.length else ""
        told["done"] = f"{done:,}{of} {'read' if counts.read or not counts.compared else 'compared'}"
        told["rate"] = f"{done / max(0.001, time.time() - gauge.start):,.0f} rows/s"
        if gauge.length and gauge.eta_known and not gauge.finished:
            told["eta"] = f"{gauge.format_eta()} left"
        told["written"] = f"{counts.written:,} written"
        if counts.rejects:
            told["rejected"] = f"{counts.rejects:,} rejected"
        return told


_LEAST_FIRST = ("rejected", "written", "bar", "rate", "eta", "percent", "done")


def _gauge(length: int | None) -> ProgressBar[int]:
    """click's bar, for its estimate and its looks; where it is drawn is the screen's business."""
    if length is None:
        return click.progressbar(iter(()), length=None, fill_char="=", empty_char=" ")
    return click.progressbar(length=length, fill_char="=", empty_char=" ")
