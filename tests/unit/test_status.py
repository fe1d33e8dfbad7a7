"""How a sync is judged: by the age of its last success, and by what a person should look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from histories import QUARTER, line, lines, runs

from crmsync.health.run import Run
from crmsync.health.status import Facts, Limits, Verdict, interval_of, judge, lag_of, worst
from crmsync.state.checkpoint import Progress, State, stamp

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
OK, WARNING, CRITICAL, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.CRITICAL, Verdict.UNKNOWN


def state(**changes: Any) -> State:
    ordinary: dict[str, Any] = {"watermark": stamp(NOON), "run_id": "20260506T120000Z-000000"}
    ordinary |= {"fingerprint": "print", "settled_fingerprint": "print", "updated_at": NOON.isoformat()}
    return State("contacts", "Contact", "profiles", **ordinary | changes)


def facts(history: list[Run] | None = None, **changes: Any) -> Facts:
    """Of a sync that ran every quarter of an hour up to noon; it is five past."""
    usual = Facts(
        sync="contacts",
        now=NOON + timedelta(minutes=5),
        runs=runs(lines(NOON - 9 * QUARTER, 10)) if history is None else history,
        state=state(),
        open_rejects=9,
        waiting=0,
        fingerprint="print",
        interval=QUARTER,
        usual_interval=QUARTER,
        max_quota=0.8,
    )
    return replace(usual, **changes)


def after(minutes: float, **last: Any) -> Facts:
    """So long after the last run's end, which may have been another."""
    history = lines(NOON - 9 * QUARTER, 10)
    history[-1] |= {"duration_seconds": 0.0} | last
    return facts(runs(history), now=NOON + timedelta(minutes=minutes))


def test_a_sync_that_runs_is_well() -> None:
    health = judge(facts(), Limits())
    assert (health.verdict, health.reasons, health.remarks) == (OK, [], [])
    assert health.next_run == NOON + QUARTER
    assert health.age is not None
    assert timedelta(minutes=4) < health.age < timedelta(minutes=5)


@pytest.mark.parametrize(("minutes", "verdict"), [(29, OK), (30, OK), (30.1, CRITICAL), (9_999, CRITICAL)])
def test_a_sync_without_a_success_for_two_intervals_is_critical(minutes: float, verdict: Verdict) -> None:
    assert judge(after(minutes), Limits()).verdict == verdict


@pytest.mark.parametrize(
    ("max_age", "verdict"),
    [(timedelta(minutes=45), OK), (timedelta(minutes=39), CRITICAL), (3.0, OK), (1.5, CRITICAL)],
)
def test_the_age_allowed_is_a_time_or_a_multiple_of_the_interval(
    max_age: timedelta | float, verdict: Verdict
) -> None:
    assert judge(after(40), Limits(max_age)).verdict == verdict


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ({"exit_code": 75, "watermark_moved": False}, WARNING),
        ({"exit_code": 77, "watermark_moved": False}, WARNING),
        ({"exit_code": 3}, WARNING),
        ({"exit_code": 2, "kind": "range", "watermark_moved": False}, OK),
        ({"kind": "trial", "watermark_moved": False}, OK),
    ],
    ids=str,
)
def test_a_last_run_that_failed_is_a_warning_while_the_success_before_it_is_young(
    last: dict[str, Any], verdict: Verdict
) -> None:
    assert judge(after(5, **last), Limits()).verdict == verdict
    assert judge(after(31, **last), Limits()).verdict == CRITICAL


@pytest.mark.parametrize("kind", ["trial", "range"])
def test_a_run_that_leaves_the_watermark_is_no_success(kind: str) -> None:
    health = judge(after(5, kind=kind, watermark_moved=False), Limits())
    assert health.last_success is not None
    assert health.last_success.started == NOON - QUARTER


def test_runs_none_of_which_succeeded_are_critical() -> None:
    failed = runs(lines(NOON - QUARTER, 2, exit_code=78, watermark=None, watermark_moved=False))
    health = judge(facts(failed, state=None), Limits())
    assert (health.verdict, health.reasons[0][1]) == (CRITICAL, "no run has succeeded yet")


def test_before_the_first_run_nothing_is_known() -> None:
    assert judge(facts([], state=None), Limits()).verdict == UNKNOWN
    assert judge(facts([], state=state(run_id="")), Limits()).verdict == UNKNOWN


def test_a_first_run_is_given_time_as_long_as_it_is_seen_at_work() -> None:
    at_work = state(watermark=None, progress=Progress(None, stamp(NOON)))
    young = judge(facts([], state=at_work), Limits())
    assert (young.verdict, len(young.remarks)) == (UNKNOWN, 1)
    later = judge(facts([], state=at_work, now=NOON + timedelta(minutes=31)), Limits())
    assert later.verdict == CRITICAL


def test_a_run_that_left_no_line_is_said_to_be_at_work_or_killed() -> None:
    left = state(run_id="killed", progress=Progress(stamp(NOON), stamp(NOON)))
    health = judge(facts(state=left, waiting=2), Limits())
    assert (health.verdict, health.waiting) == (OK, 2)
    assert "run killed has not ended: it is at work, or was killed" in health.remarks[0]
    assert health.remarks[1] == "2 batches in the outbox"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "another"}, "mapping changed"),
        (
            {"state": state(dropped_paths=["Level__c", "X__c"], accepted_paths=["X__c"])},
            "1 mapped field vanished",
        ),
        ({"open_rejects": 101}, "101 open rejects, more than 100"),
    ],
    ids=["mapping", "fields", "rejects"],
)
def test_what_a_person_should_look_at_is_a_warning(changes: dict[str, Any], words: str) -> None:
    health = judge(facts(**changes), Limits(max_rejects=100))
    assert health.verdict == WARNING
    assert words in health.reasons[0][1]


def test_a_quota_that_is_used_up_is_a_warning() -> None:
    health = judge(after(5, quota=[80_000, 100_000]), Limits())
    assert (health.verdict, health.quota) == (WARNING, (80_000, 100_000))


def test_open_rejects_are_judged_only_where_a_limit_is_given() -> None:
    assert judge(facts(open_rejects=90_000), Limits()).verdict == OK


def test_a_mapping_that_was_never_settled_has_not_changed() -> None:
    assert not judge(facts(state=state(settled_fingerprint=""), fingerprint="x"), Limits()).mapping_changed


def test_a_success_in_the_future_says_nothing() -> None:
    assert judge(facts(now=NOON - timedelta(days=30)), Limits()).verdict == UNKNOWN


def test_the_interval_is_the_median_of_the_last_starts_where_nobody_set_it() -> None:
    hour = timedelta(hours=1)
    often = lines(NOON - timedelta(days=2), 40, timedelta(minutes=5)) + lines(NOON - 19 * hour, 20, hour)
    often[-1] |= {"started_at": (NOON + timedelta(minutes=1)).isoformat()}
    assert interval_of(runs(often), None, QUARTER).length == hour
    assert interval_of(runs(often), QUARTER, QUARTER).length == QUARTER
    assert interval_of(runs(often[:1]), None, QUARTER).length == QUARTER


def test_runs_by_hand_one_after_the_other_are_no_interval_of_seconds() -> None:
    quick = runs(lines(NOON, 20, timedelta(seconds=3)))
    assert interval_of(quick, None, QUARTER).length == timedelta(minutes=1)
    assert interval_of(quick[:19], None, QUARTER).length == QUARTER
    daily = runs(lines(NOON, 3, timedelta(days=1)))
    assert interval_of(daily, None, QUARTER).length == timedelta(days=1)


def test_the_lag_goes_by_the_sources_clock_as_the_last_run_read_it() -> None:
    """This machine's clock is an hour wrong."""
    wrong = line(NOON + timedelta(hours=1), watermark=stamp(NOON), lag_seconds=9.0, duration_seconds=0.0)
    seen = facts([Run.of(wrong)], now=NOON + timedelta(hours=1, minutes=2), state=state())
    assert lag_of(seen) == timedelta(minutes=2, seconds=9)
    moved = replace(seen, state=state(watermark=stamp(NOON - timedelta(hours=3))))
    assert lag_of(moved) == timedelta(hours=4, minutes=2)


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        ([], OK),
        ([OK, UNKNOWN], UNKNOWN),
        ([UNKNOWN, WARNING], WARNING),
        ([WARNING, UNKNOWN, CRITICAL, OK], CRITICAL),
    ],
)
def test_of_several_verdicts_the_worst_as_plugins_have_it(verdicts: list[Verdict], found: Verdict) -> None:
    assert worst(verdicts) == found
