"""At most one record per match key in a batch, of two the newer (law 5)."""

from __future__ import annotations

from collections import Counter

from delivery_fakes import record
from hypothesis import given
from hypothesis import strategies as st

from crmsync.delivery.batch import Batch, Slot


def put(batch: Batch, *args, page: int = 1, **kwargs) -> Slot | None:
    return batch.put(Slot(record(*args, **kwargs), page))


def test_other_keys_stand_side_by_side_in_the_order_of_arrival():
    batch = Batch()
    assert put(batch, "b", 1) is None
    assert put(batch, "a", 2) is None
    assert [r.id for r in batch.records()] == ["b", "a"]


def test_the_newer_of_two_rows_with_one_key_stays():
    batch = Batch()
    put(batch, "a", 1, key="k", page=1)
    outside = put(batch, "b", 2, key="k", page=2)
    assert outside is not None
    assert (outside.record.id, outside.page) == ("a", 1)
    assert batch.pages() == Counter({2: 1})


def test_an_older_newcomer_stays_outside():
    batch = Batch()
    put(batch, "a", 2, key="k")
    outside = put(batch, "b", 1, key="k")
    assert outside is not None
    assert outside.record.id == "b"
    assert [r.id for r in batch.records()] == ["a"]


def test_within_one_second_the_id_decides_whichever_came_first():
    for order in (["a", "b"], ["b", "a"]):
        batch = Batch()
        for row in order:
            put(batch, row, 5, key="k")
        assert [r.id for r in batch.records()] == ["b"]


def test_the_same_row_read_twice_gives_its_later_reading():
    batch = Batch()
    put(batch, "a", 5, "early")
    outside = put(batch, "a", 5, "late")
    assert outside is not None
    assert batch.records()[0].values["v"] == "late"


rows = st.tuples(st.sampled_from("abcdef"), st.integers(0, 4), st.text(max_size=5), st.sampled_from("xyz"))


@given(st.lists(rows, max_size=40))
def test_every_record_is_inside_or_outside_and_the_newest_of_each_key_is_inside(arrivals):
    batch = Batch()
    slots = [
        Slot(record(row, stamp, text, key=key), page) for page, (row, stamp, text, key) in enumerate(arrivals)
    ]
    outside = [slot for slot in map(batch.put, slots) if slot is not None]
    inside = list(batch.slots.values())
    assert sorted(map(id, outside + inside)) == sorted(map(id, slots))
    for key in {slot.record.key for slot in slots}:
        newest = max((s.record.stamp, s.record.id) for s in slots if s.record.key == key)
        kept = batch.slots[key].record
        assert (kept.stamp, kept.id) == newest
    assert len(batch) == len(inside) == len({slot.record.key for slot in slots})
    assert batch.size == sum(len(r.body) + 1 for r in batch.records())
    assert batch.pages() == Counter(slot.page for slot in inside)
