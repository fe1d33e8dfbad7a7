"""The same pages, read ahead: one, not all of them (law 12). Pages side by side: so many, not all of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.prefetch import prefetched, side_by_side
from crmsync.sources.base import Page


def pages(count: int) -> list[Page]:
    return [Page([{"Id": str(n)}], str(n)) for n in range(count)]


def rest() -> None:
    """Nothing to do meanwhile."""


@given(st.integers(0, 8))
def test_every_page_comes_once_and_in_order(count):
    source = pages(count)
    assert list(prefetched(iter(source), rest, rest)) == source


def test_the_next_page_is_read_while_one_is_worked_on():
    read = threading.Semaphore(0)

    def reading():
        for page in pages(3):
            read.release()
            yield page

    arriving = prefetched(reading(), rest, rest)
    next(arriving)
    assert read.acquire(timeout=5)
    assert read.acquire(timeout=5), "nothing was read ahead"
    assert len(list(arriving)) == 2


def test_it_never_reads_far_ahead():
    asked, worked = [0], [0]
    ahead: list[int] = []

    def reading():
        for page in pages(50):
            asked[0] += 1
            ahead.append(asked[0] - worked[0])
            yield page

    for _ in prefetched(reading(), rest, rest):
        worked[0] += 1
    assert worked[0] == 50
    assert max(ahead) <= 4


def test_while_no_page_is_ready_the_pause_is_used():
    used = threading.Event()

    def reading():
        assert used.wait(5)
        yield from pages(1)

    def meanwhile() -> None:
        used.set()

    assert len(list(prefetched(reading(), meanwhile, rest))) == 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_what_the_reading_raises_is_raised_after_the_pages_before_it(error):
    def reading():
        yield from pages(2)
        raise error

    arriving = prefetched(reading(), rest, rest)
    assert [next(arriving), next(arriving)] == pages(2)
    with pytest.raises(type(error)) as caught:
        next(arriving)
    assert caught.value is error


def test_what_is_met_meanwhile_stops_it():
    go = threading.Event()

    def reading():
        go.wait(5)
        yield from pages(1)

    def meanwhile() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        list(prefetched(reading(), meanwhile, rest))
    go.set()


def test_a_reader_that_is_left_alone_reads_no_further():
    asked = [0]

    def reading():
        for page in pages(1000):
            asked[0] += 1
            yield page

    arriving = prefetched(reading(), rest, rest)
    next(arriving)
    arriving.close()
    for thread in [t for t in threading.enumerate() if t.name == "prefetch"]:
        thread.join(5)
        assert not thread.is_alive()
    assert asked[0] <= 4


def test_a_page_that_is_ready_ends_the_pause():
    go, woken = threading.Event(), threading.Event()

    def reading():
        assert go.wait(5)
        yield from pages(1)

    def meanwhile() -> None:
        go.set()
        assert woken.wait(5), "nobody ended the pause"

    assert len(list(prefetched(reading(), meanwhile, woken.set))) == 1


# --- side by side


def ended(patience: float = 5.0) -> bool:
    """Whether every reading thread comes to its end."""
    deadline = time.monotonic() + patience
    for thread in [t for t in threading.enumerate() if t.name == "prefetch"]:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not [t for t in threading.enumerate() if t.name == "prefetch"]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=9), st.integers(1, 5))
def test_every_item_of_every_iterator_comes_once_and_those_of_one_in_order(sources, at_once):
    numbered = [[(place, nth, item) for nth, item in enumerate(items)] for place, items in enumerate(sources)]
    came = list(side_by_side(iter([iter(items) for items in numbered]), at_once))
    assert Counter(came) == Counter(item for items in numbered for item in items)
    for place, items in enumerate(numbered):
        assert [item for item in came if item[0] == place] == items


def test_so_many_are_read_at_once():
    """Each waits for the other two: it ends only if three are under way."""
    together = threading.Barrier(3)

    def source(number: int) -> Iterator[int]:
        together.wait(timeout=5)
        yield number

    assert sorted(side_by_side((source(n) for n in range(6)), 3)) == list(range(6))


@given(st.integers(1, 4), st.integers(1, 6))
def test_no_more_is_read_ahead_than_there_is_room_for(at_once, taken):
    """A place for each reader, and what each has in its hand."""
    asked, guard = [0], threading.Lock()

    def source() -> Iterator[int]:
        for number in range(1000):
            with guard:
                asked[0] += 1
            yield number

    arriving = side_by_side(iter([source() for _ in range(3)]), at_once)
    for _ in range(taken):
        next(arriving)
    arriving.close()
    assert ended()
    assert asked[0] <= taken + 2 * at_once + 1


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_what_one_of_them_raises_is_raised_and_ends_the_others(error):
    def failing() -> Iterator[int]:
        yield 1
        raise error

    def endless() -> Iterator[int]:
        while True:
            yield 0

    with pytest.raises(type(error)) as caught:
        for _ in side_by_side(iter([endless(), failing(), endless()]), 3):
            pass
    assert caught.value is error
    assert ended()


def test_so_is_what_finding_the_iterators_raises():
    def sources() -> Iterator[Iterator[int]]:
        yield iter([1, 2])
        raise ValueError("no more lists")

    came = []
    with pytest.raises(ValueError, match="no more lists"):
        came.extend(side_by_side(sources(), 3))
    assert ended()


def test_when_nobody_takes_any_more_what_was_open_is_closed():
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    arriving = side_by_side(iter([source()]), 2)
    next(arriving)
    arriving.close()
    assert closed.wait(5)
    assert ended()


def test_no_iterators_are_no_items():
    assert list(side_by_side(iter(()), 3)) == []
