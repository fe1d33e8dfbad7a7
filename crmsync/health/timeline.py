"""What stands out in a history: times without a run, failures, runs unlike the others. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from statistics import median
from typing import Literal

from crmsync.health.deviations import REJECTED_SPIKE, WRITTEN_DROP, WRITTEN_SPIKE
from crmsync.health.run import Run
from crmsync.text import count, one_line, span

TOO_LONG = 2
"""A pause of more intervals than this is a gap."""
RECENT = 20

Kind = Literal["gap", "failure", "spike", "drop", "rejects"]
_KINDS: dict[str, Kind] = {WRITTEN_DROP: "drop", WRITTEN_SPIKE: "spike", REJECTED_SPIKE: "rejects"}


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without a run; `is_open` where none has come since."""

    start: datetime
    end: datetime
    is_open: bool = False

    @property
    def told(self) -> str:
        length = span((self.end - self.start).total_seconds())
        return f"no run for {length}{' so far' if self.is_open else ''}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that stands out: when, in a word or two, and in a sentence."""

    kind: Kind
    at: datetime
    until: datetime
    short: str
    sentence: str


def gaps(runs: Sequence[Run], interval: timedelta, now: datetime | None = None) -> list[Gap]:
    """The pauses longer than two intervals, oldest first; with `now` also the one that still lasts.

    An older stretch is held to the pace of its own time: the schedule may have been another.
    """
    found = []
    pace: deque[float] = deque(maxlen=RECENT)
    for before, after in pairwise(runs):
        usual = max(interval.total_seconds(), median(pace) if pace else 0.0)
        if (after.started - before.ended).total_seconds() > TOO_LONG * usual:
            found.append(Gap(before.ended, after.started))
        pace.append((after.started - before.started).total_seconds())
    if runs and now is not None and now - runs[-1].ended > TOO_LONG * interval:
        found.append(Gap(runs[-1].ended, now, is_open=True))
    return found


def events(runs: Sequence[Run], pauses: Sequence[Gap]) -> list[Event]:
    """Everything that stands out, newest first."""
    found = [Event("gap", gap.start, gap.end, gap.told, gap.told) for gap in pauses]
    found += [*_failures(runs), *_deviations(runs)]
    return sorted(found, key=lambda event: event.at, reverse=True)


def _failures(runs: Sequence[Run]) -> Iterator[Event]:
    """Failures of one kind in a row are one event."""
    for code, group in groupby(runs, key=lambda run: run.exit_code if run.failed else None):
        if code is None:
            continue
        row = list(group)
        many = f"{count(len(row), 'run')} in a row failed" if len(row) > 1 else "failed"
        said = one_line(row[-1].error)
        yield Event(
            "failure",
            row[0].started,
            row[-1].ended,
            f"exit {code}",
            f"{many}, exit code {code}{': ' if said else ''}{said}",
        )


def _deviations(runs: Sequence[Run]) -> Iterator[Event]:
    for run in runs:
        for mark, sentence in run.deviations.items():
            if mark in _KINDS:
                short = f"{run.new_rejects:,} rejected" if mark == REJECTED_SPIKE else f"{run.written:,}"
                yield Event(_KINDS[mark], run.started, run.ended, short, sentence)
