"""The same pages, read ahead: one, not all of them (law 12)."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.prefetch import prefetched
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
