"""Which window a run reads, and when the watermark may move (laws 1 and 2, and the rules of ranges)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync import window as windows
from crmsync.errors import NoWatermark
from crmsync.sources.base import Window
from crmsync.state.checkpoint import Progress, State, moment, stamp
from crmsync.window import BadRange, Plan, Range

OVERLAP = timedelta(minutes=10)
SETTLE = timedelta(seconds=5)
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
END = NOW - SETTLE
HOUR = timedelta(hours=1)
WATERMARK = NOW - 6 * HOUR


def state(watermark=None, covered=None, progress=None) -> State:
    return State(
        "contacts",
        "Contact",
        "profiles",
        watermark=stamp(watermark) if watermark else None,
        covered=stamp(covered) if covered else None,
        progress=progress,
    )


def plan(asked: Range = Range(), known: State | None = None, now: datetime = NOW) -> Plan:  # noqa: B008 - frozen
    return windows.plan(asked, known or state(WATERMARK), now, overlap=OVERLAP, settle=SETTLE)


def open_window(start: datetime | None, end: datetime, *, write_all: bool = False) -> Progress:
    return Progress(stamp(start) if start else None, stamp(end), write_all)


class TestOrdinaryRun:
    def test_it_goes_on_from_the_watermark_less_the_overlap(self):
        assert plan() == Plan(Window(WATERMARK - OVERLAP, END), moves=True)

    def test_open_transactions_hold_its_start_back(self):
        known = state(WATERMARK, covered=WATERMARK - HOUR)
        assert plan(known=known).window.start == WATERMARK - HOUR - OVERLAP

    def test_its_end_is_the_source_clock_less_the_settle_time_in_whole_seconds(self):
        assert plan(now=NOW + timedelta(microseconds=7)).window.end == END

    def test_without_a_watermark_it_does_not_guess_where_to_begin(self):
        with pytest.raises(NoWatermark):
            plan(known=state())

    def test_a_clock_that_went_back_gives_an_empty_window_not_a_reversed_one(self):
        chosen = plan(now=WATERMARK - 2 * HOUR)
        assert chosen.window.start == chosen.window.end

    def test_an_interrupted_window_is_resumed_as_it_was(self):
        progress = open_window(WATERMARK - OVERLAP, NOW - HOUR, write_all=True)
        assert plan(known=state(WATERMARK, progress=progress)) == Plan(
            Window(WATERMARK - OVERLAP, NOW - HOUR), moves=True, resumed=True, write_all=True
        )

    def test_an_interrupted_first_full_run_is_resumed_by_an_ordinary_one(self):
        chosen = plan(known=state(progress=open_window(None, NOW - HOUR, write_all=True)))
        assert (chosen.resumed, chosen.window) == (True, Window(None, NOW - HOUR))


class TestRanges:
    def test_full_reads_from_the_beginning_writes_all_and_moves(self):
        assert plan(Range(full=True)) == Plan(Window(None, END), moves=True, write_all=True)

    def test_changed_keeps_the_skip(self):
        assert plan(Range(full=True, changed=True)).write_all is False
        assert plan(Range(since=HOUR, changed=True)).write_all is False

    def test_full_goes_on_with_an_interrupted_full(self):
        known = state(WATERMARK, progress=open_window(None, NOW - HOUR, write_all=True))
        assert plan(Range(full=True), known).resumed
        assert not plan(Range(full=True, changed=True), known).resumed
        assert not plan(Range(full=True, until=NOW - HOUR), known).resumed
        assert not plan(Range(full=True, limit=5), known).resumed

    def test_full_does_not_take_an_interrupted_delta_for_its_own(self):
        known = state(WATERMARK, progress=open_window(WATERMARK - OVERLAP, NOW - HOUR))
        assert plan(Range(full=True), known).window == Window(None, END)

    def test_since_after_the_watermark_leaves_it(self):
        chosen = plan(Range(since=WATERMARK + HOUR))
        assert (chosen.moves, chosen.write_all) == (False, True)
        assert "since" in (chosen.stays_because or "")

    @pytest.mark.parametrize("back", [timedelta(0), HOUR])
    def test_since_at_or_before_the_watermark_moves_it(self, back):
        chosen = plan(Range(since=WATERMARK - back))
        assert (chosen.moves, chosen.window) == (True, Window(WATERMARK - back, END))

    def test_until_leaves_the_watermark(self):
        chosen = plan(Range(since=WATERMARK - HOUR, until=WATERMARK + HOUR))
        assert (chosen.moves, chosen.window.end) == (False, WATERMARK + HOUR)
        assert "until" in (chosen.stays_because or "")

    def test_until_alone_begins_at_the_watermark_and_skips_what_is_known(self):
        chosen = plan(Range(until=WATERMARK + HOUR))
        assert chosen.window == Window(WATERMARK - OVERLAP, WATERMARK + HOUR)
        assert (chosen.moves, chosen.write_all) == (False, False)

    def test_until_now_is_a_range_as_well(self):
        assert plan(Range(until=timedelta(0))).moves is False

    def test_until_alone_needs_a_watermark(self):
        with pytest.raises(NoWatermark):
            plan(Range(until=NOW - HOUR), state())

    def test_the_first_range_sets_the_watermark(self):
        chosen = plan(Range(since=NOW - 3 * HOUR, until=NOW - HOUR), state())
        assert (chosen.moves, chosen.window) == (True, Window(NOW - 3 * HOUR, NOW - HOUR))

    def test_until_is_clamped_to_the_end_of_the_window(self):
        assert plan(Range(full=True, until=NOW + HOUR)).window.end == END

    def test_a_trial_never_moves_the_watermark(self):
        assert not plan(Range(limit=5)).moves
        assert not plan(Range(full=True, limit=5)).moves
        assert not plan(Range(since=WATERMARK - HOUR, limit=5)).moves

    def test_a_trial_without_a_watermark_reads_from_the_beginning(self):
        assert plan(Range(limit=5), state()) == Plan(
            Window(None, END), moves=False, stays_because="--limit is a trial"
        )

    def test_so_long_ago_is_told_by_the_source_clock(self):
        assert plan(Range(since=2 * HOUR, until=HOUR)).window == Window(NOW - 2 * HOUR, NOW - HOUR)

    @pytest.mark.parametrize(
        "asked",
        [
            Range(since=NOW + HOUR),
            Range(since=timedelta(0)),
            Range(since=END),
            Range(since=NOW - HOUR, until=NOW - HOUR),
            Range(since=NOW - HOUR, until=NOW - 2 * HOUR),
        ],
    )
    def test_a_range_that_holds_nothing_is_refused(self, asked):
        with pytest.raises(BadRange) as caught:
            plan(asked)
        assert caught.value.exit_code == 2

    def test_an_open_window_that_begins_earlier_is_not_jumped_over(self):
        known = state(WATERMARK, progress=open_window(WATERMARK - 3 * HOUR, NOW - HOUR))
        assert not plan(Range(since=WATERMARK - 2 * HOUR), known).moves
        assert plan(Range(since=WATERMARK - 3 * HOUR), known).moves

    def test_an_open_full_window_is_not_jumped_over(self):
        known = state(progress=open_window(None, NOW - HOUR))
        assert not plan(Range(since=NOW - 300 * HOUR), known).moves
        assert plan(Range(full=True), known).moves


class TestCovered:
    @pytest.mark.parametrize(
        ("latest", "expected"),
        [
            (None, END),
            (END + HOUR, END),
            (END - HOUR, END - HOUR),
            (END - 24 * HOUR, END - 24 * HOUR),
            (END - 30 * HOUR, END - 24 * HOUR),
        ],
    )
    def test_it_is_the_latest_date_covered_within_the_last_day(self, latest, expected):
        assert windows.covered(END, latest) == expected


seconds = st.integers(min_value=0, max_value=3 * 86400)
instants = seconds.map(lambda s: NOW - timedelta(seconds=s))


@given(start=st.none() | instants, end=instants, at=instants, overlap=st.integers(0, 7200))
def test_resuming_never_starts_after_the_position_nor_before_the_window(start, end, at, overlap):
    window = Window(start, end)
    span = timedelta(seconds=overlap)
    resumed = windows.resume_at(stamp(at), window, span)
    assert resumed == (at - span if start is None else max(start, at - span))


@given(end=instants, at=instants, covered=instants, overlap=st.integers(0, 7200))
def test_a_position_is_firm_only_where_no_transaction_can_still_be_open(end, at, covered, overlap):
    span = timedelta(seconds=overlap)
    firm = windows.is_firm(stamp(at), Window(None, end), stamp(covered), span)
    assert firm == (at <= end - span and at <= covered)


@given(start=st.none() | instants, end=instants)
def test_a_stream_without_a_position_starts_with_the_window(start, end):
    assert windows.resume_at(None, Window(start, end), OVERLAP) == start


bounds = st.none() | instants | st.integers(0, 90000).map(lambda s: timedelta(seconds=s))
ranges = st.just(Range()) | st.builds(
    Range, since=bounds, until=bounds, full=st.booleans(), changed=st.booleans(), limit=st.none() | st.just(3)
)
runs = st.lists(st.tuples(ranges, instants, st.none() | instants, st.booleans()), max_size=12)


@given(runs)
def test_successive_runs_leave_no_gap_and_the_watermark_only_moves_by_the_rules(history):
    """Whatever is asked for in a row, by whatever clock, interrupted or not."""
    known = state()
    begun: datetime | str | None = "never"
    read: list[tuple[datetime, datetime]] = []
    earliest = datetime(1970, 1, 1, tzinfo=UTC)
    for asked, now, latest, interrupted in history:
        before = known.watermark
        try:
            chosen = plan(asked, known, now)
        except (NoWatermark, BadRange):
            continue
        start, end = chosen.window.start, chosen.window.end
        if chosen.moves and not chosen.resumed:
            known.progress = open_window(start, end, write_all=chosen.write_all)
        if interrupted:
            continue
        read.append((start or earliest, end))
        if not chosen.moves:
            assert chosen.stays_because
            assert asked.is_given
            continue
        if asked.limit is not None:
            raise AssertionError("a trial moved the watermark")
        if asked.is_given and not chosen.resumed and before is not None:
            assert asked.until is None
            assert start is None or start <= moment(before)
        if begun == "never":
            begun = start
        known.watermark = max(known.watermark or "", stamp(end))
        known.covered = max(known.covered or "", stamp(windows.covered(end, latest)))
        known.progress = None
        assert before is None or known.watermark >= before
        reached = begun if isinstance(begun, datetime) else earliest
        for first, last in sorted(read):
            if first <= reached:
                reached = max(reached, last)
        assert reached >= moment(known.watermark)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (Range(), "delta"),
        (Range(full=True, changed=True), "full"),
        (Range(since=timedelta(hours=36)), "range"),
        (Range(full=True, until=timedelta(hours=1)), "range"),
        (Range(full=True, limit=5), "trial"),
        (Range(force=True), "forced"),
    ],
)
def test_what_was_asked_for_has_a_name(asked: Range, kind: str) -> None:
    assert asked.kind == kind
