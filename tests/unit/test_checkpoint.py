"""State is refused, never reset (law 11), and written by compare-and-swap (law 1)."""

from __future__ import annotations

from datetime import datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import StateConflict, StateError
from crmsync.state.checkpoint import Checkpoint, Progress, moment, new_state, stamp
from crmsync.state.dry import DryStore
from crmsync.state.store import FileStore

STAMP = "2026-05-01T10:00:00Z"
FIRST = datetime.fromisoformat("1970-01-02T00:00:00")


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


def saved(store, **changes):
    """A whole state on the store; the document as a dict with these changes."""
    state = new_state("contacts", "Contact", "profiles")
    state.watermark = state.covered = STAMP
    state.progress = Progress(None, STAMP, positions={"changes": STAMP, "parents": "done"})
    Checkpoint(store, "contacts").save(state)
    body = orjson.loads((document := store.read("contacts/state.json")).data)
    body |= changes
    store.write("contacts/state.json", orjson.dumps(body), document.version)
    return state


def test_a_sync_without_a_state_has_none(store):
    assert Checkpoint(store, "contacts").load() is None


def test_what_was_saved_is_loaded(store):
    state = saved(store)
    assert Checkpoint(store, "contacts").load() == state


def test_the_state_before_is_kept_beside_it(store, tmp_path):
    checkpoint = Checkpoint(store, "contacts")
    state = new_state("contacts", "Contact", "profiles")
    checkpoint.save(state)
    state.watermark = STAMP
    checkpoint.save(state)
    assert orjson.loads((tmp_path / "contacts/state.json.previous").read_bytes())["watermark"] is None


def test_a_second_run_that_saves_first_makes_the_other_lose(store):
    saved(store)
    mine, theirs = Checkpoint(store, "contacts"), Checkpoint(store, "contacts")
    my_state, their_state = mine.load(), theirs.load()
    their_state.watermark = "2026-05-01T11:00:00Z"
    theirs.save(their_state)
    with pytest.raises(StateConflict) as caught:
        mine.save(my_state)
    assert caught.value.exit_code == 75
    assert Checkpoint(store, "contacts").load().watermark == "2026-05-01T11:00:00Z"


def test_a_state_that_appeared_meanwhile_is_not_overwritten(store):
    mine = Checkpoint(store, "contacts")
    assert mine.load() is None
    saved(store)
    with pytest.raises(StateConflict):
        mine.save(new_state("contacts", "Contact", "profiles"))


def refused(store, data: bytes | None = None, words: str | None = None) -> None:
    """It is refused with exit code 78 and a way out, and the document stays as it is."""
    if data is not None:
        (present := store.read("contacts/state.json"))
        store.write("contacts/state.json", data, present.version if present else None)
    before = store.read("contacts/state.json")
    with pytest.raises(StateError, match=words) as caught:
        Checkpoint(store, "contacts").load()
    assert caught.value.exit_code == 78
    assert caught.value.hint
    assert store.read("contacts/state.json") == before


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 40, b"{", b"null", b"[]", b'"x"', b"7", b"{}", b'{"sync":"contacts"}', b"\xff\xfe"],
)
def test_what_cannot_be_read_is_refused(store, data):
    refused(store, data)


@pytest.mark.parametrize("form", [2, 0, "1", None])
def test_an_unknown_format_is_refused(store, form):
    saved(store, format=form)
    refused(store, words="format")


def test_another_syncs_state_is_refused(store):
    saved(store, sync="leads")
    refused(store, words="leads")


@pytest.mark.parametrize(
    "changes",
    [
        {"watermark": "yesterday"},
        {"watermark": "2026-05-01T10:00:00"},
        {"watermark": 5},
        {"covered": "2026-05-01"},
        {"generation": None},
        {"generation": 5},
        {"fingerprint": []},
        {"object": None},
        {"progress": 5},
        {"progress": []},
        {"progress": {}},
        {"progress": "open"},
        {"progress": {"start": None, "end": None}},
        {"progress": {"start": "x", "end": STAMP}},
        {"progress": {"start": None, "end": STAMP, "positions": {"changes": "far"}}},
        {"progress": {"start": None, "end": STAMP, "positions": {"changes": None}}},
        {"progress": {"start": None, "end": STAMP, "positions": ["changes"]}},
    ],
)
def test_a_damaged_state_is_refused(store, changes):
    saved(store, **changes)
    refused(store, words="damaged")


@given(st.data())
def test_a_state_cut_short_anywhere_is_refused(tmp_path_factory, data):
    store = DryStore(FileStore(tmp_path_factory.getbasetemp() / "none"))
    saved(store)
    whole = store.read("contacts/state.json").data
    refused(store, whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.datetimes(min_value=FIRST, max_value=FIRST + timedelta(days=300_000), timezones=st.timezones()))
def test_a_stamp_is_the_instant_cut_to_whole_seconds(value):
    cut = moment(stamp(value))
    assert 0 <= (value - cut).total_seconds() < 1
