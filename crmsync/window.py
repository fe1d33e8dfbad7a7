"""Which stretch of time a run reads, and whether closing it moves the watermark (laws 1 and 2). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crmsync.errors import CrmsyncError, NoWatermark
from crmsync.sources.base import Window
from crmsync.state.checkpoint import Progress, State, moment, stamp

NOWHERE = Window(None, datetime.min.replace(tzinfo=UTC))
"""A window that holds nothing."""
MAX_DRAG = timedelta(hours=24)
"""How far open transactions of the source may hold the next window back."""


@dataclass(frozen=True, slots=True)
class Range:
    """What was asked for on the command line. Instants are aware, or how long ago; `until` is exclusive."""

    since: datetime | timedelta | None = None
    until: datetime | timedelta | None = None
    full: bool = False
    changed: bool = False
    limit: int | None = None
    force: bool = False

    @property
    def is_given(self) -> bool:
        return self.full or any(bound is not None for bound in (self.since, self.until, self.limit))

    @property
    def kind(self) -> str:
        """What sort of run this is, in a word: `delta` is what a timer starts."""
        if self.limit is not None:
            return "trial"
        if self.since is not None or self.until is not None:
            return "range"
        return "full" if self.full else "forced" if self.force else "delta"

    def bounds(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """`since` and `until` as instants, "so long ago" being told by the source's clock."""
        since, until = (now - t if isinstance(t, timedelta) else t for t in (self.since, self.until))
        return since, until


class BadRange(CrmsyncError):
    """A range that holds nothing."""

    exit_code = 2
    topic = "usage"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run reads.

    `moves`: closing the window moves the watermark to its end, and its progress is kept on the way. Where it
    does not, `stays_because` says why. `write_all`: write also what the ledger knows to be there.
    """

    window: Window
    moves: bool
    resumed: bool = False
    write_all: bool = False
    stays_because: str | None = None

    @property
    def reads_everything(self) -> bool:
        return self.moves and self.window.start is None


def plan(asked: Range, state: State, now: datetime, *, overlap: timedelta, settle: timedelta) -> Plan:
    """Choose the window. `now` is the source's clock.

    Raises NoWatermark where nothing says where to begin, BadRange for a range that ends before it begins.
    """
    end = (now - settle).replace(microsecond=0)
    if not asked.is_given:
        if state.progress:
            return _resumed(state.progress, asked.force)
        return Plan(_next_window(state, overlap, end), moves=True, write_all=asked.force)
    if asked.full and asked.until is None and asked.limit is None and _same_full(state.progress, asked):
        return _resumed(state.progress, asked.force)
    since, until = asked.bounds(now)
    end = min(end, until) if until else end
    start = _start(asked, since, state, overlap)
    if start is not None and start >= end:
        raise BadRange(
            f"the range from {stamp(start)} to {stamp(end)} is empty",
            hint="--since must lie before --until and in the past, by the source's clock.",
        )
    obstacle = _obstacle(asked, state, start)
    return Plan(
        Window(start, end),
        moves=obstacle is None,
        write_all=asked.force or ((asked.full or asked.since is not None) and not asked.changed),
        stays_because=obstacle,
    )


def covered(end: datetime, latest: datetime | None) -> datetime:
    """From where, less the overlap, the window after one that ends at `end` begins (law 2)."""
    return max(min(end, latest), end - MAX_DRAG) if latest else end


def resume_at(position: str | None, window: Window, overlap: timedelta) -> datetime | None:
    """Where an ordered stream goes on: its position less the overlap, not before the window's start."""
    if position is None:
        return window.start
    start = moment(position) - overlap
    return start if window.start is None else max(start, window.start)


def is_firm(position: str, window: Window, covered: str, overlap: timedelta) -> bool:
    """Whether a position may be stored: never past `end − overlap` (law 1), nor past `covered`.

    A row that a transaction open until a moment ago has changed may come in its old place with its new stamp,
    which says nothing about the rows behind it.
    """
    return position <= min(stamp(window.end - overlap), covered)


def _next_window(state: State, overlap: timedelta, end: datetime) -> Window:
    if state.watermark is None:
        raise NoWatermark("this sync has no watermark yet")
    start = moment(state.covered or state.watermark) - overlap
    return Window(min(start, end), end)


def _resumed(progress: Progress | None, force: bool) -> Plan:
    assert progress is not None
    start = moment(progress.start) if progress.start else None
    window = Window(start, moment(progress.end))
    return Plan(window, moves=True, resumed=True, write_all=progress.write_all or force)


def _same_full(progress: Progress | None, asked: Range) -> bool:
    return progress is not None and progress.start is None and progress.write_all != asked.changed


def _start(asked: Range, since: datetime | None, state: State, overlap: timedelta) -> datetime | None:
    if asked.full or since:
        return since
    if state.watermark is not None:
        return moment(state.covered or state.watermark) - overlap
    if asked.limit is not None:
        return None
    raise NoWatermark("this sync has no watermark yet, so --until needs --since or --full beside it")


def _obstacle(asked: Range, state: State, start: datetime | None) -> str | None:
    """Why closing this window must not move the watermark, None where it may."""
    if asked.limit is not None:
        return "--limit is a trial"
    progress = state.progress
    if progress is not None and not _reaches(start, moment(progress.start) if progress.start else None):
        return "an interrupted window that begins earlier is still open (`crmsync pull` finishes it)"
    if state.watermark is None:
        return None
    if asked.until is not None:
        return "--until leaves the time after it unread"
    if not _reaches(start, moment(state.watermark)):
        return "the time between the watermark and --since is unread"
    return None


def _reaches(start: datetime | None, back_to: datetime | None) -> bool:
    """Whether a window that begins at `start` begins no later than `back_to` (None: the beginning of time)."""
    return start is None or (back_to is not None and start <= back_to)
