"""At most one record per match key in a batch, of two the newer (law 5)."""

from __future__ import annotations

from collections import Counter

from delivery_fakes import record
from hypothesis import given
from hypothesis import strategies as st

from crmsync.delivery.batch import Batch
from crmsync.mapping import Record


def put(batch: Batch, *args, page: int = 1, **kwargs) -> Record | None:
    return batch.put(record(*args, **kwargs), page)


def inside(batch: Batch) -> list[str]:
    return [record.id for record in batch.records.values()]


def test_other_keys_stand_side_by_side_in_the_order_of_arrival():
    batch = Batch()
    assert put(batch, "b", 1) is None
    assert put(batch, "a", 2) is None
    assert inside(batch) == ["b", "a"]


def test_the_newer_of_two_rows_with_one_key_stays():
    batch = Batch()
    put(batch, "a", 1, key="k", page=1)
    outside = put(batch, "b", 2, key="k", page=2)
    assert outside is not None
    assert outside.id == "a"
    assert inside(batch) == ["b"]
    assert batch.pages == Counter({1: 1, 2: 1})


def test_an_older_newcomer_stays_outside():
    batch = Batch()
    put(batch, "a", 2, key="k")
    outside = put(batch, "b", 1, key="k")
    assert outside is not None
    assert outside.id == "b"
    assert inside(batch) == ["a"]
    assert batch.pages == Counter({1: 1})


def test_within_one_second_the_id_decides_whichever_came_first():
    for order in (["a", "b"], ["b", "a"]):
        batch = Batch()
        for row in order:
            put(batch, row, 5, key="k")
        assert inside(batch) == ["b"]


def test_the_same_row_read_twice_gives_its_later_reading():
    batch = Batch()
    put(batch, "a", 5, "early")
    outside = put(batch, "a", 5, "late")
    assert outside is not None
    assert batch.records["a"].values["v"] == "late"


rows = st.tuples(st.sampled_from("abcdef"), st.integers(0, 4), st.text(max_size=5), st.sampled_from("xyz"))


@given(st.lists(rows, max_size=40))
def test_every_record_is_inside_or_outside_and_the_newest_of_each_key_is_inside(arrivals):
    batch = Batch()
    records = [record(row, stamp, text, key=key) for row, stamp, text, key in arrivals]
    pages = range(len(records))
    given_back = [batch.put(each, page) for each, page in zip(records, pages, strict=True)]
    outside = [each for each in given_back if each is not None]
    assert sorted(map(id, [*outside, *batch.records.values()])) == sorted(map(id, records))
    for key in {each.key for each in records}:
        newest = max((each.stamp, each.id) for each in records if each.key == key)
        kept = batch.records[key]
        assert (kept.stamp, kept.id) == newest
    assert batch.records.keys() == {each.key for each in records}
    assert batch.size == sum(len(each.body) + 1 for each in batch.records.values())
    turned_away = [page for page in pages if given_back[page] is records[page]]
    assert batch.pages == Counter(set(pages) - set(turned_away))
