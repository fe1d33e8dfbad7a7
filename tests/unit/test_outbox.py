"""Batches, durable before they leave, as they were when they come back (law 4)."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import StateError
from crmsync.state.dry import DryStore
from crmsync.state.outbox import Outbox, Parcel
from crmsync.state.store import FileStore

ENTRIES = [("a", "ka", "s1", b"\x01" * 32), ("b", "kb", "s2", b"\x02" * 32), ("c", "kc", "s3", b"\x03" * 32)]


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


@pytest.fixture
def outbox(store):
    return Outbox(store, "contacts")


def test_a_parcel_comes_back_as_it_was(store, outbox):
    parcel = Parcel.of(ENTRIES, b'{"records":[\n1]}')
    outbox.add(parcel)
    assert Outbox(store, "contacts").parcels() == [parcel]
    assert (parcel.ids, parcel.keys, parcel.stamps) == (
        ("a", "b", "c"),
        ("ka", "kb", "kc"),
        ("s1", "s2", "s3"),
    )


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(
    body=st.binary(max_size=200),
    entries=st.lists(
        st.tuples(text, text, text, st.binary(min_size=32, max_size=32)), min_size=1, max_size=5
    ),
)
def test_whatever_its_bytes_are(tmp_path_factory, body, entries):
    outbox = Outbox(DryStore(FileStore(tmp_path_factory.getbasetemp() / "none")), "contacts")
    parcel = Parcel.of(entries, body)
    outbox.add(parcel)
    assert outbox.parcels() == [parcel]


def test_a_parcel_with_its_digests_in_a_list_is_read_too(store, outbox):
    parcel = Parcel.of(ENTRIES, b"body")
    outbox.add(parcel)
    (name,) = store.names("contacts/outbox")
    head, _, body = store.read(name).data.partition(b"\n")
    listed = {**orjson.loads(head), "digests": [digest.hex() for *_, digest in ENTRIES]}
    store.put(name, orjson.dumps(listed) + b"\n" + body)
    assert outbox.parcels() == [parcel]


def test_every_parcel_has_a_fresh_key_and_name(outbox):
    parcels = [Parcel.of(ENTRIES, b"same") for _ in range(50)]
    assert len({parcel.key for parcel in parcels}) == 50
    assert len({parcel.name for parcel in parcels}) == 50
    assert {uuid.UUID(parcel.key).version for parcel in parcels} == {4}


def test_a_part_has_its_own_key_and_only_its_records():
    whole = replace(Parcel.of(ENTRIES, b"abc"), job_id="job-1")
    part = whole.part([0, 2], b"ac")
    assert part.key != whole.key
    assert part.name != whole.name
    assert (part.ids, part.keys, part.digests) == (("a", "c"), ("ka", "kc"), b"\x01" * 32 + b"\x03" * 32)
    assert (part.body, part.job_id) == (b"ac", None)


def test_parcels_come_back_oldest_first(outbox):
    parcels = [Parcel.of(ENTRIES, b"%d" % n) for n in range(12)]
    for parcel in reversed(parcels):
        outbox.add(parcel)
    assert [parcel.body for parcel in outbox.parcels()] == [b"%d" % n for n in range(12)]


def test_a_removed_parcel_is_gone_and_so_is_its_job(store, outbox):
    parcel = Parcel.of(ENTRIES, b"x")
    outbox.add(parcel)
    outbox.note_job(parcel, "job-1")
    outbox.note_job(parcel, "job-2")
    (kept,) = outbox.parcels()
    assert kept == replace(parcel, job_id="job-2")
    outbox.remove(kept)
    assert outbox.is_empty()
    assert store.names("contacts/jobs") == []


def test_the_bytes_of_a_parcel_that_is_waited_for_come_back(outbox):
    parcel = Parcel.of(ENTRIES, b"x")
    outbox.add(parcel)
    waiting = parcel.waiting_for("job-1")
    assert (waiting.body, waiting.job_id) == (None, "job-1")
    assert outbox.body_of(waiting) == outbox.body_of(parcel) == b"x"


def test_the_bytes_of_a_parcel_that_somebody_took_away_are_a_clear_error(outbox):
    with pytest.raises(StateError, match="outbox"):
        outbox.body_of(Parcel.of(ENTRIES, b"x").waiting_for("job-1"))


def test_a_job_belongs_to_its_parcel_alone(outbox):
    parcels = [Parcel.of(ENTRIES, b"x"), Parcel.of(ENTRIES, b"y")]
    for parcel in parcels:
        outbox.add(parcel)
    outbox.note_job(parcels[1], "job-1")
    assert [parcel.job_id for parcel in outbox.parcels()] == [None, "job-1"]


def test_syncs_have_outboxes_of_their_own(store, outbox):
    outbox.add(Parcel.of(ENTRIES, b"x"))
    assert Outbox(store, "leads").is_empty()


def test_a_key_is_used_for_23_hours():
    parcel = Parcel.of(ENTRIES, b"x")
    assert parcel.key_is_good
    assert replace(parcel, made_at=time.time() - 22.9 * 3600).key_is_good
    assert not replace(parcel, made_at=time.time() - 23.1 * 3600).key_is_good


@pytest.mark.parametrize("data", [b"", b"{", b"null\nx", b"{}\nx", b'{"name":"n"}\nx', b"\xff\xfe", b"[]\n"])
def test_a_parcel_that_cannot_be_read_is_refused_and_kept(store, outbox, data):
    store.write("contacts/outbox/00000000000000000001-aa", data, None)
    with pytest.raises(StateError, match="00000000000000000001-aa") as caught:
        outbox.parcels()
    assert (caught.value.exit_code, "--since" in caught.value.hint) == (78, True)
    assert not outbox.is_empty()


def test_its_words_show_no_record(outbox):
    assert "SECRET" not in repr(Parcel.of(ENTRIES, b"SECRET"))
