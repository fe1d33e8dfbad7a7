"""The figures of one sync: its runs at a glance, records, lag, duration, quota. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from crmsync.health import charts
from crmsync.health.charts import Amounts, Frame
from crmsync.health.markup import Html, join, tag
from crmsync.health.run import Run
from crmsync.health.scale import (
    Column,
    ceiling,
    ceiling_of_time,
    columns,
    day_and_time,
    time_axis,
    told_length,
)
from crmsync.health.status import Health
from crmsync.health.timeline import Event, Gap
from crmsync.text import count, span

LEGEND = (
    ("failure", "failed"),
    ("spike", "far more than usual"),
    ("drop", "far less"),
    ("gap", "no run"),
)

Titled = tuple[str, str, Html]


def figures(
    runs: Sequence[Run],
    health: Health,
    pauses: Sequence[Gap],
    events: Sequence[Event],
    now: datetime,
    quota: float,
) -> Html:
    """Every chart of a sync that has run. `quota` is the fraction of the org's day that may be used."""
    interval = health.interval.length
    axis = time_axis(runs, interval, now)
    frame = Frame(axis, columns(runs, axis, interval), pauses, events)
    together = max(len(column.runs) for column in frame.columns) > 1
    unit = f"the most in a run, by {span(axis.slot.total_seconds())}" if together else "records in each run"
    drawn = [
        ("How each run ended", _period(runs), charts.strip(frame, _ending, _told, _summary(runs, pauses))),
        *_records(frame, unit),
        _lag(frame, runs, health, now),
        _duration(frame, together),
        *_quota(frame, runs, quota),
    ]
    legend = [tag("span", charts.glyph(kind), " ", words) for kind, words in LEGEND]
    return join([tag("p", legend, class_="legend"), charts.charts(drawn)])


def lags(runs: Sequence[Run], now: datetime) -> list[tuple[datetime, float]]:
    """The lag over time, in seconds: it grows with the clock until a run moves the watermark."""
    points: list[tuple[datetime, float]] = []
    for run in runs:
        if points:
            points.append((run.ended, points[-1][1] + (run.ended - points[-1][0]).total_seconds()))
        if run.lag is not None:
            points.append((run.ended, max(0.0, run.lag)))
    if points and now > points[-1][0]:
        points.append((now, points[-1][1] + (now - points[-1][0]).total_seconds()))
    return points


def _records(frame: Frame, unit: str) -> Iterator[Titled]:
    kinds: tuple[tuple[str, str, Callable[[Run], float], tuple[str, ...], int], ...] = (
        ("Written", "written", lambda run: run.written, ("spike", "drop", "failure"), 110),
        ("Rejected", "rejected", lambda run: run.rejects, ("rejects",), 64),
        ("Skipped", "skipped", lambda run: run.skips, (), 64),
    )
    for name, look, amount, marks, height in kinds:
        yield name, unit, _bars(frame, name, look, amount, marks, height)


def _bars(
    frame: Frame, name: str, look: str, amount: Callable[[Run], float], marks: Sequence[str], height: int
) -> Html:
    most = max(column.most(amount) for column in frame.columns)
    return charts.bars(
        frame,
        Amounts(ceiling(most), height=height),
        lambda column: column.most(amount),
        about=f"{name}: at most {most:,.0f} in a run",
        look=look,
        tell=lambda column: f"{_when(column)}: {column.most(amount):,.0f} {name.lower()}",
        marks=marks,
    )


def _lag(frame: Frame, runs: Sequence[Run], health: Health, now: datetime) -> Titled:
    points = [point for point in lags(runs, now) if point[0] <= frame.axis.end]
    oldest = health.oldest.total_seconds()
    most = max([oldest * 1.2, *(seconds for _, seconds in points)])
    chart = charts.area(
        frame,
        Amounts(ceiling_of_time(most), told_length, 96),
        _thinned(points, frame.axis.slot) if len(points) > 4 * len(frame.columns) else points,
        about=f"Lag: at most {span(max((s for _, s in points), default=0))}",
        look="lag",
        limit=(oldest, f"critical from {span(oldest)}"),
    )
    return "Lag", "the source's clock less the watermark", chart


def _thinned(points: Sequence[tuple[datetime, float]], slot: timedelta) -> list[tuple[datetime, float]]:
    """The highest point of each slot: a year of saw teeth is a grey block."""
    highest: dict[int, tuple[datetime, float]] = {}
    for at, seconds in points:
        number = int((at - points[0][0]) / slot)
        if number not in highest or seconds > highest[number][1]:
            highest[number] = (at, seconds)
    return list(highest.values())


def _duration(frame: Frame, together: bool) -> Titled:
    most = max(column.most(lambda run: run.duration) for column in frame.columns)
    chart = charts.bars(
        frame,
        Amounts(ceiling_of_time(most), told_length, 64),
        lambda column: column.most(lambda run: run.duration),
        about=f"Duration: at most {told_length(most)}",
        look="duration",
        tell=lambda column: f"{_when(column)}: {told_length(column.most(lambda run: run.duration))}",
    )
    return "Duration", "the longest run" if together else "of each run", chart


def _quota(frame: Frame, runs: Sequence[Run], allowed: float) -> Iterator[Titled]:
    """The share of the org's daily requests that was used, by anyone."""
    points = [(run.ended, 100 * run.quota[0] / run.quota[1]) for run in runs if run.quota and run.quota[1]]
    if not points:
        return
    chart = charts.area(
        frame,
        Amounts(100.0, lambda share: f"{share:g} %", 64),
        points,
        about=f"Quota: at most {max(share for _, share in points):.1f} % of the org's day used",
        look="quota",
        limit=(100 * allowed, f"runs stop at {100 * allowed:g} %"),
    )
    yield "Quota", "the org's requests of the day, used by anyone", chart


def _ending(column: Column) -> str:
    """The worst ending in a column."""
    if any(run.failed for run in column.runs):
        return "failed"
    if any(run.exit_code for run in column.runs):
        return "look"
    return "ok" if any(run.succeeded for run in column.runs) else "apart"


def _told(column: Column) -> str:
    if len(column.runs) > 1:
        failed = sum(run.failed for run in column.runs)
        return f"{_when(column)}: {count(len(column.runs), 'run')}, {failed} failed"
    (run,) = column.runs
    return (
        f"{_when(column)}: exit code {run.exit_code}, {run.written:,} written, {run.rejects:,} rejected, "
        f"{run.skips:,} skipped in {told_length(run.duration)}"
    )


def _when(column: Column) -> str:
    return f"{day_and_time(column.runs[0].started)} UTC"


def _period(runs: Sequence[Run]) -> str:
    return f"{day_and_time(runs[0].started)} to {day_and_time(runs[-1].ended)} UTC"


def _summary(runs: Sequence[Run], pauses: Sequence[Gap]) -> str:
    failed = sum(run.failed for run in runs)
    return f"{count(len(runs), 'run')}, {failed} failed, {count(len(pauses), 'pause')} without a run"
