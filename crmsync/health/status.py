"""How a sync is, judged by what its runs have left behind. Pure: facts in, a verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from itertools import pairwise
from statistics import median

from crmsync.health.run import Run
from crmsync.state.checkpoint import Progress, State, moment
from crmsync.text import count, span

STARTS = 20
"""Of so many last starts the usual interval is taken."""
SHORTEST = timedelta(minutes=1)
"""Runs that a person starts one after the other say nothing about a timer."""
MISUSE = 2
"""A range that holds nothing is its caller's mistake, not the sync's."""
SKEW = timedelta(minutes=5)


class Verdict(IntEnum):
    """As monitoring plugins have it; the number is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """CRITICAL before WARNING before UNKNOWN before OK."""
    found = set(verdicts)
    order = (Verdict.CRITICAL, Verdict.WARNING, Verdict.UNKNOWN)
    return next((verdict for verdict in order if verdict in found), Verdict.OK)


@dataclass(frozen=True, slots=True)
class Interval:
    """How often runs are expected, and what says so."""

    length: timedelta
    origin: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What still is well. `max_age` is a length of time, or a multiple of the interval.

    Open rejects are only judged where `max_rejects` is given.
    """

    max_age: timedelta | float = 2.0
    max_rejects: int | None = None

    def oldest(self, interval: timedelta) -> timedelta:
        return self.max_age if isinstance(self.max_age, timedelta) else interval * self.max_age


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a sync without asking any service.

    `runs`: oldest first. `interval`: as it is configured, `usual_interval` where nobody did. `fingerprint`:
    of the mapping as it is configured now. `waiting`: batches sent or about to be, and not proved. `max_quota`
    is a fraction.
    """

    sync: str
    now: datetime
    runs: Sequence[Run]
    state: State | None
    open_rejects: int
    waiting: int
    fingerprint: str
    interval: timedelta | None
    usual_interval: timedelta
    max_quota: float


@dataclass(frozen=True, slots=True)
class Health:
    """The judgement. `reasons` are what is not well, the worst first; `remarks` are worth knowing beside them."""

    sync: str
    verdict: Verdict
    reasons: list[tuple[Verdict, str]]
    remarks: list[str]
    interval: Interval
    oldest: timedelta
    last_success: Run | None
    age: timedelta | None
    last_run: Run | None
    next_run: datetime | None
    overdue: timedelta
    watermark: datetime | None
    lag: timedelta | None
    open_rejects: int
    quota: tuple[int, int] | None
    mapping_changed: bool
    vanished: list[str] = field(default_factory=list)
    waiting: int = 0
    open_window: Progress | None = None


def judge(facts: Facts, limits: Limits) -> Health:
    """The health of a sync, whether or not it has ever run."""
    interval = interval_of(facts.runs, facts.interval, facts.usual_interval)
    oldest = limits.oldest(interval.length)
    state = facts.state
    last_run = facts.runs[-1] if facts.runs else None
    success = next((run for run in reversed(facts.runs) if run.succeeded), None)
    next_run = last_run.started + interval.length if last_run else None
    reasons = [
        *_freshness(facts, success, oldest),
        *_last_run(last_run),
        *_mapping(facts),
        *_fill(facts, limits),
    ]
    reasons.sort(key=lambda reason: (Verdict.CRITICAL, Verdict.WARNING, Verdict.UNKNOWN).index(reason[0]))
    return Health(
        sync=facts.sync,
        verdict=worst(verdict for verdict, _ in reasons),
        reasons=reasons,
        remarks=list(_remarks(facts)),
        interval=interval,
        oldest=oldest,
        last_success=success,
        age=max(timedelta(), facts.now - success.ended) if success else None,
        last_run=last_run,
        next_run=next_run,
        overdue=max(timedelta(), facts.now - next_run) if next_run else timedelta(),
        watermark=moment(state.watermark) if state and state.watermark else None,
        lag=lag_of(facts),
        open_rejects=facts.open_rejects,
        quota=next((run.quota for run in reversed(facts.runs) if run.quota), None),
        mapping_changed=_mapping_has_changed(facts),
        vanished=_vanished(state),
        waiting=facts.waiting,
        open_window=state.progress if state else None,
    )


def interval_of(runs: Sequence[Run], configured: timedelta | None, otherwise: timedelta) -> Interval:
    """How often runs are expected: as it was set, else the median of the gaps between the last starts.

    While there are few of them, runs by hand among them, no more often than `otherwise`.
    """
    if configured is not None:
        return Interval(configured, "CRMSYNC_INTERVAL")
    starts = [run.started for run in runs[-STARTS:]]
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(starts)]
    usual = timedelta(seconds=median(gaps)) if gaps else timedelta()
    if len(starts) < STARTS and usual <= otherwise:
        return Interval(otherwise, "the default of CRMSYNC_INTERVAL")
    return Interval(max(SHORTEST, usual), f"the median of the last {len(starts)} starts")


def lag_of(facts: Facts) -> timedelta | None:
    """How far the watermark is behind the source's clock: what the last run measured there, and the time since.

    Where no run has measured it, or the watermark has been set since, this machine's clock has to do.
    """
    if facts.state is None or facts.state.watermark is None:
        return None
    watermark = moment(facts.state.watermark)
    for run in reversed(facts.runs):
        if run.lag is not None and run.watermark == watermark:
            return max(timedelta(), timedelta(seconds=run.lag) + (facts.now - run.ended))
    return max(timedelta(), facts.now - watermark)


def _freshness(facts: Facts, success: Run | None, oldest: timedelta) -> Iterator[tuple[Verdict, str]]:
    if success is not None:
        age = facts.now - success.ended
        if age > oldest:
            yield (
                Verdict.CRITICAL,
                f"last success {span(age.total_seconds())} ago, more than {_told(oldest)}",
            )
        elif age < -SKEW:
            yield Verdict.UNKNOWN, "the last success lies in the future: this machine's clock is or was wrong"
        return
    if facts.runs:
        yield Verdict.CRITICAL, "no run has succeeded yet"
    elif facts.state is None or not facts.state.run_id:
        yield Verdict.UNKNOWN, "no run yet"
    else:
        since = _since_checkpoint(facts.state, facts.now)
        stale = since is not None and since > oldest
        yield (
            (Verdict.CRITICAL, f"the first run has not ended, and is not at work since {_told(since)}")
            if stale and since
            else (Verdict.UNKNOWN, "no run has ended yet")
        )


def _last_run(run: Run | None) -> Iterator[tuple[Verdict, str]]:
    if run is None or run.exit_code in (0, MISUSE):
        return
    what = "failed" if run.failed else "has something to look at"
    yield Verdict.WARNING, f"the last run {what} (exit code {run.exit_code})"


def _mapping(facts: Facts) -> Iterator[tuple[Verdict, str]]:
    if _mapping_has_changed(facts):
        yield Verdict.WARNING, f"mapping changed: `crmsync pull {facts.sync} --full --changed` settles it"
    vanished = _vanished(facts.state)
    if vanished:
        fields = count(len(vanished), "mapped field")
        yield Verdict.WARNING, f"{fields} vanished: `crmsync fields {facts.sync} --accept` takes note"


def _fill(facts: Facts, limits: Limits) -> Iterator[tuple[Verdict, str]]:
    """What runs full: rejects, and the day's requests."""
    if limits.max_rejects is not None and facts.open_rejects > limits.max_rejects:
        rejects = count(facts.open_rejects, "open reject")
        yield Verdict.WARNING, f"{rejects}, more than {limits.max_rejects:,}"
    last = facts.runs[-1] if facts.runs else None
    if last and last.quota and last.quota[0] >= facts.max_quota * last.quota[1]:
        used, allowed = last.quota
        yield Verdict.WARNING, f"{used:,} of the {allowed:,} requests of the org's day are used"


def _remarks(facts: Facts) -> Iterator[str]:
    """What a run that has not ended has left. One that was killed leaves no line in the history."""
    state = facts.state
    if state is None or (state.progress is None and not facts.waiting):
        return
    since = _since_checkpoint(state, facts.now)
    at = f", its last checkpoint {_told(since)} ago" if since is not None else ""
    if any(run.run_id == state.run_id for run in facts.runs):
        yield f"the next run first finishes what {state.run_id} began{at}"
    else:
        yield f"run {state.run_id or '(unknown)'} has not ended: it is at work, or was killed{at}"
    if facts.waiting:
        yield f"{count(facts.waiting, 'batch', 'batches')} in the outbox"


def _since_checkpoint(state: State, now: datetime) -> timedelta | None:
    try:
        return max(timedelta(), now - datetime.fromisoformat(state.updated_at))
    except (ValueError, TypeError):
        return None


def _mapping_has_changed(facts: Facts) -> bool:
    settled = facts.state.settled_fingerprint if facts.state else ""
    return bool(settled) and settled != facts.fingerprint


def _vanished(state: State | None) -> list[str]:
    return [path for path in state.dropped_paths if path not in state.accepted_paths] if state else []


def _told(length: timedelta | None) -> str:
    return span(length.total_seconds()) if length is not None else ""
