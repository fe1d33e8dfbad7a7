"""Which way the changes of a window are read, and what becomes of a killed run's job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmsync.errors import Outage
from crmsync.sources.base import Job, Page, Window
from crmsync.sources.salesforce.adaptive import LARGE, AdaptiveChanges, is_large
from crmsync.sources.salesforce.bulk import BulkRefused
from crmsync.sources.salesforce.errors import QueryTimeout, Refusal

END = datetime(2026, 5, 10, tzinfo=UTC)
LONG = Window(END - timedelta(days=3), END)
SHORT = Window(END - LARGE + timedelta(seconds=1), END)
FULL = Window(None, END)
THRESHOLD = 100


def too_slow() -> QueryTimeout:
    return QueryTimeout(Refusal(400, "QUERY_TIMEOUT", "running for too long"), "query")


class Rest:
    """Two pages, or an error in the place of the second."""

    name = "changes"

    def __init__(self, error: Exception | None = None, at: int = 1) -> None:
        self.error, self.at = error, at
        self.asked: list[datetime | None] = []

    def pages(self, start: datetime | None) -> Iterator[Page]:
        self.asked.append(start)
        for number in range(2):
            if number == self.at and self.error:
                raise self.error
            yield Page([{"Id": f"rest{number}"}], f"2026-05-08T00:00:0{number}Z")


class Bulk:
    """The Bulk API, and every query of it. `adopts`: whether the job that is kept can be gone on with."""

    def __init__(self, *, refuses: str = "", adopts: bool = True) -> None:
        self.refuses, self.adopts = refuses, adopts
        self.done: list[str] = []
        self.starts: list[datetime | None] = []

    def __call__(self, start: datetime | None) -> Query:
        self.starts.append(start)
        return Query(self)


class Query:
    total = 7

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self._job = ""

    def create(self) -> str:
        self._do("create")
        self._job = "new"
        return "new"

    def adopt(self, name: str) -> bool:
        self._bulk.done.append(f"adopt {name}")
        self._job = name
        return self._bulk.adopts

    def rows(self) -> Iterator[list[dict[str, Any]]]:
        self._do("rows")
        yield [{"Id": "bulk"}]

    def clear_away(self) -> None:
        if self._job:
            self._bulk.done.append(f"clear {self._job}")
        self._job = ""

    def close(self) -> None:
        self.clear_away()

    def _do(self, what: str) -> None:
        if self._bulk.refuses == what:
            raise BulkRefused("not by this way")
        self._bulk.done.append(what)


class Marks:
    """A bookmark with a job in it, or with none."""

    def __init__(self, kept: Job | None = None) -> None:
        self.kept = kept
        self.noted: list[str] = []

    def job(self) -> Job | None:
        return self.kept

    def note_job(self, name: str) -> None:
        self.noted.append(name)


def never(_start: datetime | None) -> int:
    raise AssertionError("nothing is to be counted")


def stream(
    bulk: Bulk,
    rest: Rest | None = None,
    *,
    window: Window = FULL,
    count: Callable[[datetime | None], int] = never,
    marks: Marks | None = None,
    api: str = "auto",
) -> AdaptiveChanges:
    return AdaptiveChanges(
        rest or Rest(),  # type: ignore[arg-type]  # stands in for Changes
        window,
        bulk,  # type: ignore[arg-type]  # stands in for BulkQuery
        count,
        marks or Marks(),
        api=api,  # type: ignore[arg-type]  # from the parametrization
        threshold=THRESHOLD,
    )


def read(changes: AdaptiveChanges, start: datetime | None = None) -> list[str]:
    found = [row["Id"] for page in changes.pages(start) for row in page.rows]
    changes.close()
    return found


BY_REST = ["rest0", "rest1"]


@pytest.mark.parametrize(
    ("api", "window", "rows", "way"),
    [
        ("auto", FULL, THRESHOLD + 1, ["bulk"]),
        ("auto", FULL, THRESHOLD, BY_REST),
        ("auto", LONG, THRESHOLD + 1, ["bulk"]),
        ("auto", LONG, 0, BY_REST),
        ("auto", SHORT, None, BY_REST),
        ("rest", FULL, None, BY_REST),
        ("bulk", FULL, None, ["bulk"]),
        ("bulk", SHORT, None, ["bulk"]),
    ],
)
def test_which_way_is_chosen(api: str, window: Window, rows: int | None, way: list[str]) -> None:
    counted: list[datetime | None] = []

    def count(start: datetime | None) -> int:
        assert rows is not None, "nothing is to be counted"
        counted.append(start)
        return rows

    assert read(stream(Bulk(), window=window, count=count, api=api)) == way
    assert counted == ([] if rows is None else [window.start])


def test_an_interrupted_window_is_counted_and_read_from_where_it_had_come_to() -> None:
    bulk, start = Bulk(), END - timedelta(days=2)
    counted: list[datetime | None] = []

    def count(since: datetime | None) -> int:
        counted.append(since)
        return THRESHOLD + 1

    assert read(stream(bulk, window=FULL, count=count), start) == ["bulk"]
    assert (counted, bulk.starts) == ([start], [start])


def test_what_cannot_be_counted_is_many() -> None:
    def count(_start: datetime | None) -> int:
        raise too_slow()

    assert read(stream(Bulk(), count=count)) == ["bulk"]
    assert is_large(lambda: count(None), THRESHOLD)


def test_the_rows_of_a_job_carry_no_position_and_how_many_there_are() -> None:
    (page,) = stream(Bulk(), api="bulk").pages(None)
    assert (page.position, page.total) == (None, 7)


@pytest.mark.parametrize("refuses", ["create", "rows"])
@pytest.mark.parametrize("api", ["auto", "bulk"])
def test_what_no_job_can_do_is_done_by_rest(refuses: str, api: str) -> None:
    bulk, rest = Bulk(refuses=refuses), Rest()
    changes = stream(bulk, rest, count=lambda _: THRESHOLD + 1, api=api)
    found = [row["Id"] for page in changes.pages(LONG.start) for row in page.rows]
    assert (found, rest.asked) == (BY_REST, [LONG.start])
    assert bulk.done == (["create", "clear new"] if refuses == "rows" else [])


@pytest.mark.parametrize("api", ["auto", "bulk"])
def test_where_rest_takes_too_long_a_job_reads_the_rest(api: str) -> None:
    """From the last position on, and it is not kept: the positions say how far the window is."""
    bulk, marks = Bulk(), Marks()
    if api == "bulk":
        bulk.refuses = "create"
    changes = stream(bulk, Rest(too_slow()), count=lambda _: 0, marks=marks, api=api)
    pages = changes.pages(None)
    assert next(pages).rows == [{"Id": "rest0"}]
    bulk.refuses = ""
    (page,) = pages
    assert (page.rows, page.position, page.total) == ([{"Id": "bulk"}], None, None)
    assert bulk.starts[-1] == datetime(2026, 5, 8, tzinfo=UTC)
    assert marks.noted == []
    changes.close()
    assert bulk.done == ["create", "rows", "clear new"]


def test_with_rest_asked_for_it_is_an_error() -> None:
    bulk = Bulk()
    with pytest.raises(QueryTimeout):
        read(stream(bulk, Rest(too_slow()), api="rest"))
    assert bulk.starts == []


def test_where_neither_way_leads_it_is_the_querys_error() -> None:
    with pytest.raises(QueryTimeout):
        read(stream(Bulk(refuses="create"), Rest(too_slow(), at=0), count=lambda _: 0))


def test_other_errors_are_no_reason_to_go_another_way() -> None:
    bulk = Bulk()
    with pytest.raises(Outage):
        read(stream(bulk, Rest(Outage("down")), count=lambda _: 0))
    assert bulk.starts == []


# --- after a crash

CURRENT, STALE = Job("kept", is_current=True), Job("kept", is_current=False)


@pytest.mark.parametrize("api", ["auto", "bulk"])
def test_a_job_of_a_run_that_was_killed_is_gone_on_with_without_counting(api: str) -> None:
    bulk, marks = Bulk(), Marks(CURRENT)
    assert read(stream(bulk, marks=marks, api=api, window=SHORT)) == ["bulk"]
    assert bulk.done == ["adopt kept", "rows", "clear kept"]
    assert marks.noted == []


def test_once_something_has_been_sent_it_is_cleared_away_and_another_one_made() -> None:
    bulk, marks = Bulk(), Marks(STALE)
    assert read(stream(bulk, marks=marks)) == ["bulk"]
    assert bulk.done == ["adopt kept", "clear kept", "create", "rows", "clear new"]
    assert marks.noted == ["new"]


def test_so_it_is_where_nothing_can_come_of_it() -> None:
    bulk, marks = Bulk(adopts=False), Marks(CURRENT)
    assert read(stream(bulk, marks=marks)) == ["bulk"]
    assert bulk.done == ["adopt kept", "clear kept", "create", "rows", "clear new"]
    assert marks.noted == ["new"]


def test_with_rest_asked_for_it_is_cleared_away() -> None:
    bulk, marks = Bulk(), Marks(CURRENT)
    assert read(stream(bulk, marks=marks, api="rest")) == BY_REST
    assert bulk.done == ["adopt kept", "clear kept"]


def test_a_job_is_kept_before_its_first_row() -> None:
    marks = Marks()
    pages = stream(Bulk(), marks=marks, api="bulk").pages(None)
    next(pages)
    assert marks.noted == ["new"]


def test_one_that_is_closed_in_another_thread_before_its_job_is_made_leaves_none() -> None:
    closed: list[Query] = []

    class Late(Bulk):
        def __call__(self, start: datetime | None) -> Query:
            query = super().__call__(start)
            changes.close()
            query.close = lambda: closed.append(query)  # type: ignore[method-assign]  # it takes its place
            return query

    changes = stream(Late(), api="bulk")
    next(changes.pages(None))
    assert closed
