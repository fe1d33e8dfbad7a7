"""What counts as unlike the runs before, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from histories import QUARTER, line, lines, runs
from hypothesis import given
from hypothesis import strategies as st

from crmsync.health.deviations import REJECTED_SPIKE, WRITTEN_DROP, WRITTEN_SPIKE, deviations
from crmsync.health.run import Run, read_runs
from crmsync.state.checkpoint import stamp

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
START = NOON - 20 * QUARTER


def marks(before: list[Run], **last: Any) -> set[str]:
    """What is unusual about a run at noon that follows these."""
    return set(deviations(Run.of(line(NOON, **last)), before))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (310, set()),
        (70, set()),
        (61, {WRITTEN_DROP}),
        (0, {WRITTEN_DROP}),
        (1_540, set()),
        (1_551, {WRITTEN_SPIKE}),
        (90_000, {WRITTEN_SPIKE}),
    ],
)
def test_far_fewer_or_far_more_records_than_the_median(written: int, found: set[str]) -> None:
    assert marks(runs(lines(START, 20)), written=written) == found


def test_the_sentence_says_how_many_there_were_and_how_many_there_usually_are() -> None:
    (sentence,) = deviations(Run.of(line(NOON, written=4)), runs(lines(START, 20))).values()
    assert sentence.startswith("only 4 records written, usually about 310")


def test_four_runs_say_nothing_about_a_fifth() -> None:
    assert marks(runs(lines(START, 4)), written=0) == set()
    assert marks(runs(lines(START, 5)), written=0) == {WRITTEN_DROP}


def test_where_little_is_usual_a_quiet_run_is_no_drop_and_a_busy_one_no_spike() -> None:
    quiet = runs(lines(START, 20, written=0))
    assert marks(quiet, written=0) == set()
    assert marks(quiet, written=199) == set()
    assert marks(quiet, written=200) == {WRITTEN_SPIKE}
    assert marks(runs(lines(START, 20, written=49)), written=0) == set()


def test_one_wild_run_does_not_move_what_is_usual() -> None:
    history = lines(START, 20)
    history[10] |= {"written": 1_000_000}
    assert marks(runs(history), written=310) == set()
    assert marks(runs(history), written=5) == {WRITTEN_DROP}


@pytest.mark.parametrize(
    "apart",
    [
        {"kind": "full"},
        {"kind": "range"},
        {"kind": "trial", "watermark_moved": False},
        {"kind": "forced"},
        {"resumed": True},
        {"exit_code": 75, "watermark_moved": False},
    ],
    ids=str,
)
def test_runs_of_another_kind_are_neither_compared_nor_compared_with(apart: dict[str, Any]) -> None:
    usual = runs(lines(START, 20))
    assert marks(usual, written=0, new_rejects=900, **apart) == set()
    strange = runs(lines(START - 20 * QUARTER, 20) + lines(START, 20, written=0, **apart))
    assert marks(strange, written=310) == set()
    assert marks(strange, written=0) == {WRITTEN_DROP}


def test_a_run_that_catches_up_on_hours_may_write_as_much_more() -> None:
    before = runs(lines(NOON - 28 * QUARTER, 20))
    assert marks(before, written=310 * 9) == set()
    assert marks(before, written=310 * 9 * 6) == {WRITTEN_SPIKE}


def test_a_run_right_after_another_may_write_as_much_less() -> None:
    history = lines(NOON - 19 * QUARTER - timedelta(minutes=1), 20)
    assert marks(runs(history), written=15) == set()


def test_an_evening_like_every_evening_is_no_drop_and_a_morning_no_spike() -> None:
    days = [
        line(NOON - timedelta(days=3) + number * QUARTER, written=400 if 8 <= hour < 18 else 0)
        for number in range(4 * 72)
        for hour in [(NOON + number * QUARTER).hour]
    ]
    found = [deviations(run, runs(days)[:number]) for number, run in enumerate(runs(days))]
    assert all(not unusual for unusual in found[4 * 36 :])
    assert marks(runs(days), written=0) == {WRITTEN_DROP}


@pytest.mark.parametrize(
    ("new", "written", "found"),
    [(9, 0, set()), (12, 300, set()), (25, 310, {REJECTED_SPIKE}), (200, 190, {REJECTED_SPIKE})],
)
def test_a_far_larger_share_of_rejects(new: int, written: int, found: set[str]) -> None:
    assert marks(runs(lines(START, 20)), written=written, new_rejects=new) - {WRITTEN_DROP} == found


def test_a_share_of_rejects_that_is_always_large_is_no_spike() -> None:
    often = runs(lines(START, 20, written=300, new_rejects=100))
    assert marks(often, written=300, new_rejects=140) == set()
    assert marks(often, written=300, new_rejects=1_200) == {REJECTED_SPIKE}


def test_rejects_that_stay_open_and_are_read_again_are_no_spike() -> None:
    seen_before = {"rejected": {"invalid_email": 400}, "new_rejects": 0, "written": 300}
    assert marks(runs(lines(START, 20)), **seen_before) == set()


AMOUNTS = st.integers(0, 10**7)


@given(
    before=st.lists(st.tuples(AMOUNTS, AMOUNTS, st.integers(0, 400_000)), max_size=40),
    last=st.tuples(AMOUNTS, AMOUNTS),
)
def test_whatever_the_history_a_run_gets_a_verdict_that_its_numbers_bear_out(
    before: list[tuple[int, int, int]], last: tuple[int, int]
) -> None:
    at = NOON - timedelta(days=60)
    history = []
    for written, new, pause in before:
        at += timedelta(seconds=pause)
        history.append(line(at, written=written, new_rejects=new, watermark=stamp(at)))
    found = marks(runs(history), written=last[0], new_rejects=last[1])
    assert not {WRITTEN_DROP, WRITTEN_SPIKE} <= found
    amounts = [written for written, _, _ in before]
    if WRITTEN_DROP in found:
        assert last[0] < max(amounts) / 5
    if WRITTEN_SPIKE in found:
        assert last[0] > 5 * min(amounts)
    if REJECTED_SPIKE in found:
        assert last[1] >= 10


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(), st.dictionaries(st.text(), st.text()))))
def test_what_is_no_runs_line_is_left_out(strange: list[Any]) -> None:
    ordinary = line(NOON)
    broken = [ordinary | {name: value} for name in ordinary for value in strange]
    found = read_runs([*strange, *broken, ordinary])
    assert Run.of(ordinary) in found
