"""Charts as inline SVG: times across in percent, amounts upwards in pixels, so that text never stretches. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from crmsync.health.markup import Child, Html, join, tag
from crmsync.health.scale import Column, TimeAxis, compact, day_and_time, percent
from crmsync.health.timeline import Event, Gap

TOP = 26
"""Pixels above the plot, for what is written over a bar."""
BELOW = 22
"""Pixels below it, for the times."""
NARROW, WIDE = 300, 1050
"""About how wide a plot is on a phone and on a desk, in pixels."""
LETTER = 6.6
"""About how wide a letter of a label is, in pixels."""

_SHAPES = {
    "failure": "M-4,-4L4,4M-4,4L4,-4",
    "spike": "M-5,4L5,4L0,-5Z",
    "rejects": "M-5,4L5,4L0,-5Z",
    "drop": "M-5,-4L5,-4L0,5Z",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What all charts of a sync share."""

    axis: TimeAxis
    columns: Sequence[Column]
    gaps: Sequence[Gap]
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Amounts:
    """The other axis: from 0 to `top`, `height` pixels; `tell` writes an amount."""

    top: float
    tell: Callable[[float], str] = compact
    height: int = 96

    @property
    def base(self) -> int:
        return TOP + self.height

    def y(self, amount: float) -> float:
        return round(self.base - self.height * min(amount, self.top) / self.top, 1)


def bars(
    frame: Frame,
    amounts: Amounts,
    amount_of: Callable[[Column], float],
    *,
    about: str,
    look: str,
    tell: Callable[[Column], str],
    marks: Sequence[str] = (),
) -> Html:
    """One bar a column. `marks` are the kinds of events to point out on it; `tell` is each bar's tooltip."""
    unusual = {event.at: event for event in frame.events if event.kind in marks and event.kind != "failure"}
    drawn = []
    for column in frame.columns:
        x, y = frame.axis.percent(column.at), amounts.y(amount_of(column))
        found = next((unusual[run.started] for run in column.runs if run.started in unusual), None)
        if y < amounts.base:
            y = min(y, amounts.base - 1.5)
            style = f"bar {found.kind if found else look}"
            bar = tag("line", tag("title", tell(column)), x1=x, x2=x, y1=amounts.base, y2=y, class_=style)
            drawn.append(bar)
        if found:
            drawn += _marked(x, y - 9, found, frame.axis.share(column.at))
    drawn += _failed(frame, amounts.base - 8) if "failure" in marks else []
    nothing = all(amount_of(column) == 0 for column in frame.columns)
    drawn += (
        [tag("text", "none in these runs", x="50%", y=amounts.base - 10, class_="none")] if nothing else []
    )
    return _chart(frame, amounts, about, drawn)


def area(
    frame: Frame,
    amounts: Amounts,
    points: Sequence[tuple[datetime, float]],
    *,
    about: str,
    look: str,
    limit: tuple[float, str] | None = None,
) -> Html:
    """A line with its area below; `limit` is an amount to keep below and its name."""
    drawn: list[Child] = []
    if len(points) == 1:
        ((at, value),) = points
        points = [(at - frame.axis.slot / 3, value), (at + frame.axis.slot / 3, value)]
    if points:
        path = "L".join(f"{frame.axis.share(at) * 1000:.2f},{amounts.y(value)}" for at, value in points)
        left, right = (frame.axis.share(points[end][0]) * 1000 for end in (0, -1))
        below = f"M{left:.2f},{amounts.base}L{path}L{right:.2f},{amounts.base}Z"
        drawn.append(
            tag(
                "svg",
                tag("path", d=below, class_=f"under {look}"),
                tag("path", d=f"M{path}", class_=f"over {look}"),
                viewBox=f"0 0 1000 {amounts.base}",
                preserveAspectRatio="none",
                width="100%",
                height=amounts.base,
            )
        )
    if limit is not None and limit[0] <= amounts.top:
        y = amounts.y(limit[0])
        drawn.append(tag("line", x1="0", x2="100%", y1=y, y2=y, class_="limit"))
        drawn.append(tag("text", limit[1], x="100%", y=y - 5, class_="limit-name"))
    return _chart(frame, amounts, about, drawn)


def strip(frame: Frame, look: Callable[[Column], str], tell: Callable[[Column], str], about: str) -> Html:
    """How each run ended, and when there was none: the history at a glance."""
    amounts = Amounts(1.0, height=30)
    drawn: list[Child] = []
    for column in frame.columns:
        x = frame.axis.percent(column.at)
        title = tag("title", tell(column))
        drawn.append(
            tag("line", title, x1=x, x2=x, y1=TOP + 4, y2=amounts.base, class_=f"bar {look(column)}")
        )
    drawn += _failed(frame, TOP - 4)
    drawn += _labels(frame)
    return _chart(frame, amounts, about, drawn, grid=False)


def hatch() -> Html:
    """What fills a time without a run; once a page, before the charts."""
    lines = tag("path", d="M-1,7L7,-1M5,9L9,5", class_="hatch")
    pattern = tag("pattern", lines, id="gap", width="8", height="8", patternUnits="userSpaceOnUse")
    return tag("svg", tag("defs", pattern), width="0", height="0", class_="defs", aria_hidden="true")


def glyph(kind: str) -> Html:
    """A mark by itself, for a legend."""
    if kind == "gap":
        inner = tag("rect", x="0", y="0", width="16", height="12", class_="gap")
    else:
        inner = tag("svg", tag("path", d=_SHAPES[kind], class_=f"mark {kind}"), x="8", y="6", class_="at")
    return tag("svg", inner, width="16", height="12", class_="glyph", aria_hidden="true")


def _chart(frame: Frame, amounts: Amounts, about: str, drawn: Sequence[Child], *, grid: bool = True) -> Html:
    slot = frame.axis.slot / frame.axis.length
    narrow = min(max(slot * NARROW * 0.7, 1.5), 26)
    wide = min(max(slot * WIDE * 0.7, 2.5), 26)
    return tag(
        "svg",
        _pauses(frame, amounts),
        _grid(amounts) if grid else None,
        drawn,
        _times(frame.axis, amounts),
        width="100%",
        height=amounts.base + BELOW,
        class_="chart",
        role="img",
        aria_label=about,
        style=f"--narrow:{narrow:.1f}px;--wide:{wide:.1f}px",
    )


def _pauses(frame: Frame, amounts: Amounts) -> Iterator[Html]:
    for gap in frame.gaps:
        start, end = frame.axis.share(gap.start), frame.axis.share(gap.end)
        width = percent(max(0.0, end - start))
        title = tag("title", f"{gap.told}, from {day_and_time(gap.start)} UTC")
        yield tag("rect", title, x=percent(start), y=TOP, width=width, height=amounts.height, class_="gap")


def _grid(amounts: Amounts) -> Iterator[Html]:
    half = amounts.top / 2
    for amount in (amounts.top, half, 0.0):
        y = amounts.y(amount)
        yield tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid" if amount else "grid base")
        if amounts.top > 1 or amount != half:
            yield tag("text", amounts.tell(amount), x="-6", y=y + 4, class_="amount")


def _times(axis: TimeAxis, amounts: Amounts) -> Iterator[Html]:
    y = amounts.base + 17
    ticks = axis.ticks()
    every = -(-len(ticks) // 4)
    for number, (at, told) in enumerate(ticks):
        x = axis.percent(at)
        style = "time" if number % every == 0 else "time on-desk"
        yield tag("line", x1=x, x2=x, y1=amounts.base, y2=amounts.base + 4, class_=f"tick {style}")
        yield tag("text", told, x=x, y=y, class_=style)
    yield tag("text", "UTC", x="-6", y=y, class_="amount")


def _marked(x: str, y: float, event: Event, share: float) -> Iterator[Html]:
    """A mark over a bar, and what it stands for beside it where there is a bar to see."""
    yield _mark(event.kind, x, y)
    if event.kind != "drop":
        side, dx = ("end", "-9") if share > 0.75 else ("start", "9")
        yield tag("text", event.short, x=x, y=y + 4, dx=dx, class_=f"note {event.kind} {side}")


def _mark(kind: str, x: str, y: float) -> Html:
    """A shape at a place: an svg of its own, because only that can lie at a percentage."""
    return tag("svg", tag("path", d=_SHAPES[kind], class_=f"mark {kind}"), x=x, y=y, class_="at")


def _failed(frame: Frame, y: float) -> list[Html]:
    failed = [column for column in frame.columns if any(run.failed for run in column.runs)]
    return [_mark("failure", frame.axis.percent(column.at), y) for column in failed]


def _labels(frame: Frame) -> Iterator[Html]:
    """The pauses by their length, the longest first, then the failures, as far as there is room for them."""
    named = [event for event in frame.events if event.kind in ("gap", "failure")]
    everywhere, on_desk = _Row(NARROW), _Row(WIDE)
    for event in sorted(named, key=lambda event: (event.kind != "gap", event.at - event.until)):
        middle = (frame.axis.share(event.at) + frame.axis.share(event.until)) / 2
        style = f"note {event.kind}"
        narrow, wide = everywhere.place(event.short, middle), on_desk.place(event.short, middle)
        if narrow is not None:
            yield tag("text", event.short, x=percent(narrow), y=TOP - 14, class_=style)
        elif wide is not None:
            yield tag("text", event.short, x=percent(wide), y=TOP - 14, class_=f"{style} on-desk")


class _Row:
    """Labels side by side on a plot of so many pixels, none over another."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._taken: list[tuple[float, float]] = []

    def place(self, label: str, middle: float) -> float | None:
        """The middle of the label, moved inwards from the edges; None where it finds no room."""
        half = (len(label) * LETTER + 8) / self._width / 2
        middle = min(max(middle, half), 1 - half)
        if any(middle - half < end and start < middle + half for start, end in self._taken):
            return None
        self._taken.append((middle - half, middle + half))
        return middle


def charts(titled: Sequence[tuple[str, str, Html]]) -> Html:
    """Charts under their names; a name goes with its unit."""
    return join(
        tag("figure", tag("figcaption", tag("b", name), " ", tag("span", unit)), chart)
        for name, unit, chart in titled
    )
