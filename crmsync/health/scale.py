"""The axes of the charts: where a time or an amount lies, and what is written beside them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crmsync.health.run import Run
from crmsync.text import span

MOST_COLUMNS = 120
SINGLY = 150
"""With more slots than this on the time axis, several runs share a column."""

_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)
_DAYS = (1, 2, 5, 7, 14, 30, 60, 90, 180, 365)
_LENGTHS = (*(timedelta(minutes=m) for m in _MINUTES), *(timedelta(days=d) for d in _DAYS))
_SECONDS = (
    1,
    2,
    4,
    10,
    20,
    30,
    60,
    120,
    240,
    600,
    1200,
    1800,
    3600,
    7200,
    14400,
    28800,
    43200,
    86400,
    172800,
)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """From `start` to `end`; `slot` is the time that one column takes."""

    start: datetime
    end: datetime
    slot: timedelta

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def share(self, at: datetime) -> float:
        """Where a time lies, from 0 to 1."""
        return min(1.0, max(0.0, (at - self.start) / self.length))

    def percent(self, at: datetime) -> str:
        return percent(self.share(at))

    def ticks(self, most: int = 8) -> list[tuple[datetime, str]]:
        """Round times on the axis, UTC, with what to write there."""
        step = next((length for length in _LENGTHS if self.length / length <= most), _LENGTHS[-1])
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight + math.ceil((self.start - midnight) / step) * step
        found = []
        while first <= self.end:
            if 0.03 <= self.share(first) <= 0.97:
                found.append((first, _tick(first)))
            first += step
        return found


@dataclass(frozen=True, slots=True)
class Column:
    """The runs that are drawn as one, and where."""

    at: datetime
    runs: Sequence[Run]

    def most(self, amount: Callable[[Run], float]) -> float:
        return max(amount(run) for run in self.runs)


def time_axis(runs: Sequence[Run], interval: timedelta, now: datetime) -> TimeAxis:
    """The axis for these runs, up to now; a pause that still lasts takes at most half of it."""
    first, last = runs[0].started, max(run.ended for run in runs)
    end = min(max(now, last), last + max(last - first, 4 * interval))
    slot = interval
    if len(runs) > SINGLY or (end - first) / interval > SINGLY:
        least = (end - first) / MOST_COLUMNS
        slot = next((length for length in _LENGTHS if length >= least), least)
    return TimeAxis(first - slot * 0.7, end + slot * 0.7, slot)


def columns(runs: Sequence[Run], axis: TimeAxis, interval: timedelta) -> list[Column]:
    """Each run by itself, or those of one slot together."""
    if axis.slot == interval and len(runs) <= SINGLY:
        return [Column(run.started, [run]) for run in runs]
    slots: dict[int, list[Run]] = {}
    for run in runs:
        slots.setdefault(int((run.started - axis.start) / axis.slot), []).append(run)
    return [Column(axis.start + axis.slot * (number + 0.5), held) for number, held in sorted(slots.items())]


def percent(share: float) -> str:
    return f"{share * 100:.2f}%"


def ceiling(amount: float) -> float:
    """A round number not below `amount`, for the top of a count's axis."""
    if amount <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(amount))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= amount)


def ceiling_of_time(seconds: float) -> float:
    """A round length of time not below `seconds`."""
    days = 86400 * math.ceil(seconds / 86400)
    return float(next((step for step in _SECONDS if step >= seconds), days))


def compact(amount: float) -> str:
    """`950`, `2.5k`, `1.2M`."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if amount >= size:
            return f"{amount / size:.3g}{unit}"
    return f"{amount:g}"


def told_length(seconds: float) -> str:
    """`0.4s` below a few seconds, then as everywhere."""
    return f"{seconds:.1f}s" if seconds < 10 and seconds != round(seconds) else span(seconds)


def day_and_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _tick(at: datetime) -> str:
    return f"{at.day} {at:%b}" if (at.hour, at.minute) == (0, 0) else f"{at:%H:%M}"
