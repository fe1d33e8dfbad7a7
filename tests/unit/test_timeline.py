"""What stands out in a history, and where things lie on the axes of the charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from histories import QUARTER, eventful, line, lines, runs
from hypothesis import given
from hypothesis import strategies as st

from crmsync.health.figures import lags
from crmsync.health.scale import ceiling, ceiling_of_time, columns, compact, time_axis
from crmsync.health.timeline import events, gaps
from crmsync.text import span

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
HOURS = timedelta(hours=1)


def test_a_gap_a_spike_a_failure_a_drop_and_a_schema_change_stand_out() -> None:
    history = runs(eventful(NOON))
    found = events(history, gaps(history, QUARTER))
    assert [event.kind for event in found] == ["rejects", "drop", "failure", "spike", "gap"]
    assert found[-1].sentence == "no run for 3h 14m"
    assert found[2].sentence.startswith("failed, exit code 77: Salesforce refused the login")


def test_one_run_left_out_is_no_gap_and_two_are() -> None:
    history = lines(NOON, 10)
    assert gaps(runs(history[:4] + history[5:]), QUARTER) == []
    assert len(gaps(runs(history[:4] + history[6:]), QUARTER)) == 1


def test_a_long_run_is_no_gap() -> None:
    long = line(NOON, duration_seconds=7_200.0)
    assert gaps(runs([long, *lines(NOON + 2 * HOURS, 5)]), QUARTER) == []


def test_a_pause_that_lasts_is_a_gap_up_to_now() -> None:
    history = runs(lines(NOON, 5))
    (gap,) = gaps(history, QUARTER, NOON + 5 * HOURS)
    assert (gap.is_open, gap.end) == (True, NOON + 5 * HOURS)
    assert gaps(history, QUARTER, NOON + HOURS + QUARTER) == []


def test_runs_of_a_slower_schedule_in_the_past_are_no_gaps() -> None:
    slow, fast = lines(NOON, 40, HOURS), lines(NOON + 40 * HOURS, 40)
    assert len(gaps(runs(slow + fast), QUARTER)) <= 1


def test_failures_in_a_row_are_one_event() -> None:
    down = {"exit_code": 75, "watermark_moved": False, "error": "Salesforce does not answer"}
    history = runs([*lines(NOON, 3), *lines(NOON + 3 * QUARTER, 6, **down), *lines(NOON + 9 * QUARTER, 3)])
    (event,) = events(history, [])
    assert event.sentence == "6 runs in a row failed, exit code 75: Salesforce does not answer"


def test_the_lag_grows_until_a_run_moves_the_watermark() -> None:
    history = lines(NOON, 3, duration_seconds=0.0)
    history[1] |= {"exit_code": 75, "watermark_moved": False, "lag_seconds": None}
    points = lags(runs(history), NOON + HOURS)
    minutes = [((at - NOON).total_seconds() / 60, seconds) for at, seconds in points]
    assert minutes == [(0, 9), (15, 909), (30, 1_809), (30, 9), (60, 1_809)]


@pytest.mark.parametrize("number", [1, 2, 30, 150, 151, 2_000])
def test_every_run_is_in_one_column_and_no_more_than_a_chart_can_show(number: int) -> None:
    history = runs(lines(NOON, number))
    axis = time_axis(history, QUARTER, NOON + number * QUARTER)
    found = columns(history, axis, QUARTER)
    assert sum(len(column.runs) for column in found) == number
    assert len(found) <= 150
    assert all(0 < axis.share(column.at) < 1 for column in found)
    assert len(axis.ticks()) <= 9


def test_a_pause_that_lasts_takes_no_more_than_half_of_the_axis() -> None:
    history = runs(lines(NOON, 30))
    axis = time_axis(history, QUARTER, NOON + timedelta(days=400))
    assert 0.4 < axis.share(history[-1].ended) < 0.6


@given(st.floats(0, 1e9))
def test_a_round_number_is_not_below_the_amount_nor_far_above_it(amount: float) -> None:
    for top in (ceiling(amount), ceiling_of_time(amount)):
        assert amount <= top <= max(86_400 + amount, 2.5 * amount, 1)


@pytest.mark.parametrize(("amount", "told"), [(0, "0"), (950, "950"), (2_500, "2.5k"), (1_250_000, "1.25M")])
def test_an_amount_is_told_in_few_letters(amount: float, told: str) -> None:
    assert compact(amount) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (240, "4m"),
        (3_600, "1h"),
        (3_900, "1h 5m"),
        (183_600, "2d 3h"),
    ],
)
def test_a_length_of_time_is_told_in_its_two_largest_units(seconds: float, told: str) -> None:
    assert span(seconds) == told
