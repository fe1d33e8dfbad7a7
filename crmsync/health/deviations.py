"""Runs that are unlike the ones before them: far fewer or far more records, or far more of them rejected. Pure.

What is usual is the median of the last ordinary runs, for as much time as this run caught up on. Where the
history reaches back a day, the hour has its say as well: what is usual at this time of the day is no surprise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from crmsync.health.run import Run
from crmsync.text import count

RECENT = 20
FEWEST = 5
"""Runs that have to be there before anything can be called usual."""
DAYS = timedelta(days=7)
AROUND = timedelta(hours=1)

DROP = 0.2
WORTH_MISSING = 50
"""Where fewer records are usual than this, a quiet run is no surprise."""
SPIKE = 5.0
WORTH_A_SPIKE = 200
"""Records beyond the usual."""
SHARE = 3.0
SHARE_BEYOND = 0.05
WORTH_REJECTING = 10

WRITTEN_DROP = "written_drop"
WRITTEN_SPIKE = "written_spike"
REJECTED_SPIKE = "rejected_spike"


Deviation = tuple[str, str]
"""A mark, and a sentence for people."""


def deviations(run: Run, earlier: Sequence[Run]) -> dict[str, str]:
    """What is unusual about a run, given those before it, oldest first: marks, each with a sentence for people.

    Nothing where there is little to go by.
    Full pulls, ranges, trials, runs that finish an interrupted window and failed ones are not compared, nor
    compared with.
    """
    ordinary = [each for each in earlier if each.is_ordinary]
    if not run.is_ordinary or len(ordinary) < FEWEST:
        return {}
    return dict([*_written(run, ordinary, _stretch(run, earlier)), *_rejected(run, ordinary)])


def _written(run: Run, ordinary: Sequence[Run], stretch: float) -> Iterator[Deviation]:
    usual = median(each.written for each in ordinary[-RECENT:])
    by_hour = [each.written for each in ordinary if _is_same_hour(each.started, run.started)]
    at_this_hour = median(by_hour) if len(by_hour) >= FEWEST else usual
    least = min(usual, at_this_hour) * min(1.0, stretch)
    most = max(usual, at_this_hour) * max(1.0, stretch)
    if least >= WORTH_MISSING and run.written < DROP * least:
        yield (
            WRITTEN_DROP,
            f"only {count(run.written, 'record')} written, usually about {least:,.0f}: "
            "has the integration user lost sight of rows or fields?",
        )
    if run.written > SPIKE * most and run.written - most >= WORTH_A_SPIKE:
        yield (
            WRITTEN_SPIKE,
            f"{count(run.written, 'record')} written, usually about {most:,.0f}: "
            "was there a mass change in the CRM, or does a field give other values?",
        )


def _rejected(run: Run, ordinary: Sequence[Run]) -> Iterator[Deviation]:
    """New rejects only: a row that stays open is read again in every overlap."""
    shares = [_share(each) for each in ordinary[-RECENT:] if each.written + each.new_rejects]
    if len(shares) < FEWEST or run.new_rejects < WORTH_REJECTING:
        return
    usual, share = median(shares), _share(run)
    if share >= SHARE * usual and share >= usual + SHARE_BEYOND:
        yield (
            REJECTED_SPIKE,
            f"{share:.0%} of the records newly rejected, usually {usual:.0%}: "
            "has a field changed on either side? (`crmsync rejects list`)",
        )


def _share(run: Run) -> float:
    return run.new_rejects / (run.written + run.new_rejects)


def _stretch(run: Run, earlier: Sequence[Run]) -> float:
    """How much time this run caught up on, in units of what is usual."""
    chain = [*earlier[-RECENT - 1 :], run]
    spans = [_span(before, after) for before, after in pairwise(chain)]
    known = [span for span in spans[:-1] if span]
    return spans[-1] / median(known) if known and spans[-1] else 1.0


def _span(before: Run, after: Run) -> float:
    """Seconds by which the watermark moved."""
    if before.watermark is None or after.watermark is None:
        return 0.0
    return max(0.0, (after.watermark - before.watermark).total_seconds())


def _is_same_hour(then: datetime, now: datetime) -> bool:
    """Within an hour of the same time on one of the last days, today left out."""
    ago = now - then
    if not AROUND * 12 <= ago <= DAYS + AROUND:
        return False
    beside = ago % timedelta(days=1)
    return min(beside, timedelta(days=1) - beside) <= AROUND
