"""Positions are reached in order, whatever the order of proof (law 1)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crmsync.delivery.tracker import Position, Tracker


def at(number: int) -> Position:
    return Position("changes", f"2026-05-01T00:00:{number:02d}Z")


def test_a_page_is_reached_once_all_its_rows_are_settled():
    tracker = Tracker()
    page = tracker.open(2, at(1))
    tracker.settle(Counter({page: 1}))
    assert tracker.reached() == []
    tracker.settle(Counter({page: 1}))
    assert tracker.reached() == [at(1)]
    assert tracker.reached() == []


def test_a_later_page_waits_for_the_earlier_one():
    tracker = Tracker()
    first, second = tracker.open(1, at(1)), tracker.open(1, at(2))
    tracker.settle(Counter({second: 1}))
    assert tracker.reached() == []
    tracker.settle(Counter({first: 1}))
    assert tracker.reached() == [at(1), at(2)]


def test_an_empty_page_is_reached_with_those_before_it():
    tracker = Tracker()
    first = tracker.open(1, None)
    tracker.open(0, Position("changes", "done"))
    assert tracker.reached() == []
    tracker.settle(Counter({first: 1}))
    assert tracker.reached() == [Position("changes", "done")]


def test_a_page_without_a_position_holds_the_next_back_all_the_same():
    tracker = Tracker()
    tracker.open(1, None)
    tracker.open(0, at(2))
    assert tracker.reached() == []


@given(st.data())
def test_it_agrees_with_a_naive_model(data):
    """The model: a list of pages, of which the longest settled beginning is reached."""
    tracker = Tracker()
    pages: list[list[int]] = []  # [number, outstanding]
    reported: list[Position] = []
    for _ in range(data.draw(st.integers(0, 30), label="steps")):
        unsettled = [page for page in pages if page[1]]
        if unsettled and data.draw(st.booleans(), label="settle"):
            chosen = data.draw(st.lists(st.sampled_from(unsettled), min_size=1, max_size=3), label="pages")
            rows: Counter[int] = Counter()
            for page in chosen:
                if page[1]:
                    page[1] -= 1
                    rows[page[0]] += 1
            tracker.settle(rows)
        else:
            size = data.draw(st.integers(0, 3), label="rows")
            number = tracker.open(size, at(len(pages)))
            pages.append([number, size])
        reported += tracker.reached()
        settled = 0
        while settled < len(pages) and pages[settled][1] == 0:
            settled += 1
        assert reported == [at(index) for index in range(settled)]
