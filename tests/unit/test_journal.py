"""Where a window's job is kept, and whether its rows may still be used (law 1)."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from crmsync.config import DEFAULT_SYNC
from crmsync.journal import Journal
from crmsync.sources.base import Job, Window
from crmsync.state.checkpoint import Checkpoint, Progress, new_state
from crmsync.state.dry import DryStore
from crmsync.state.store import FileStore, Store
from crmsync.window import Plan

END = datetime(2026, 5, 1, tzinfo=UTC)
PLAN = Plan(Window(None, END), moves=True)
RESUMED = dataclasses.replace(PLAN, resumed=True)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


def opened(store: Store, plan: Plan = PLAN) -> Journal:
    """A run's journal, its window taken up."""
    journal = Journal(store, DEFAULT_SYNC, "run", timedelta(minutes=10))
    journal.open_window(plan)
    return journal


def killed(store: Store, *, sends: bool = False, before_it: bool = False) -> None:
    """A run that notes its job, sends something before or after that, and comes to no end."""
    journal = opened(store)
    if before_it:
        journal.begin_generation()
    journal.bookmark(PLAN).note_job("job")
    if sends:
        journal.begin_generation()
    journal.ledger.close()


def test_a_window_has_no_job_at_first(store):
    assert opened(store).bookmark(PLAN).job() is None


def test_a_job_is_durable_at_once(store):
    killed(store)
    document = orjson.loads(store.read("contacts/state.json").data)
    assert document["progress"]["job"] == "job"


def test_it_is_current_as_long_as_nothing_was_sent_since(store):
    killed(store)
    assert opened(store, RESUMED).bookmark(RESUMED).job() == Job("job", is_current=True)


def test_what_was_sent_before_it_was_made_does_not_matter(store):
    """Its rows are newer than that."""
    killed(store, before_it=True)
    assert opened(store, RESUMED).bookmark(RESUMED).job() == Job("job", is_current=True)


def test_once_something_was_sent_it_is_not(store):
    killed(store, sends=True)
    assert opened(store, RESUMED).bookmark(RESUMED).job() == Job("job", is_current=False)


def test_nor_is_it_when_the_next_run_has_sent_something_by_the_time_it_asks(store):
    """Its outbox is brought to its end first."""
    killed(store)
    journal = opened(store, RESUMED)
    journal.begin_generation()
    assert journal.bookmark(RESUMED).job() == Job("job", is_current=False)


def test_another_one_takes_its_place(store):
    killed(store, sends=True)
    journal = opened(store, RESUMED)
    journal.bookmark(RESUMED).note_job("another")
    journal.ledger.close()
    assert opened(store, RESUMED).bookmark(RESUMED).job() == Job("another", is_current=True)


def test_another_window_has_none(store):
    killed(store)
    journal = opened(store, RESUMED)
    journal.close_window(RESUMED, has_sent=False)
    following = Plan(Window(END, END + timedelta(hours=1)), moves=True)
    journal.open_window(following)
    assert journal.bookmark(following).job() is None


def test_a_window_that_moves_no_watermark_has_no_place_for_one(store):
    """A range by hand beside an open window: it neither uses nor replaces that window's job."""
    killed(store)
    by_hand = Plan(Window(END - timedelta(days=9), END), moves=False)
    journal = opened(store, by_hand)
    bookmark = journal.bookmark(by_hand)
    assert bookmark.job() is None
    bookmark.note_job("by hand")
    journal.ledger.close()
    assert opened(store, RESUMED).bookmark(RESUMED).job() == Job("job", is_current=True)


def test_a_rehearsal_leaves_it_alone(store):
    killed(store)
    before = store.read("contacts/state.json").data
    bookmark = opened(DryStore(store), RESUMED).bookmark(RESUMED)
    assert bookmark.job() is None
    bookmark.note_job("rehearsed")
    assert store.read("contacts/state.json").data == before


def test_a_state_from_before_there_were_jobs_has_none(store):
    state = new_state("contacts", "Contact", "profiles")
    state.progress = Progress(None, "2026-05-01T00:00:00Z")
    checkpoint = Checkpoint(store, "contacts")
    checkpoint.save(state)
    document = store.read("contacts/state.json")
    body = orjson.loads(document.data)
    del body["progress"]["job"], body["progress"]["job_generation"]
    store.write("contacts/state.json", orjson.dumps(body), document.version)
    assert opened(store, RESUMED).bookmark(RESUMED).job() is None
