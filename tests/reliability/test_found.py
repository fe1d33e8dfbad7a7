"""What the searches beside this file have found, each as small as it can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from property.model import Model, begins_again_at
from property.rig import How, Rig

from crmsync.state.ledger import Ledger
from crmsync.window import Range


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, 30, 1, "ignore")
    yield rig
    rig.close()


@pytest.fixture
def model(rig: Rig) -> Model:
    model = Model(rig)
    rig.on_save = model.check_state
    return model


def when(step: str, action: Callable[[], Any], *, after: int = 0) -> Callable[[int, str], None]:
    """Do something once, before a run's first step whose name begins so, or when `after` of them have been."""
    seen = [0]

    def meanwhile(_number: int, what: str) -> None:
        seen[0] += what.startswith(step)
        if what.startswith(step) and seen[0] == after + 1:
            action()

    return meanwhile


def synced(rig: Rig) -> list[str]:
    """Pull everything, an hour ago, and give the Ids that have a profile."""
    assert rig.run(How(Range(full=True))).ended_well
    rig.crm("clock", advance=3600)
    assert rig.run(How()).ended_well
    rig.crm("clock", advance=3600)
    return [profile["salesforce_id"] for profile in rig.cdp("dump")]


def settle(rig: Rig, model: Model) -> None:
    """Let the next pulls come to their end, and compare."""
    for _ in range(2):
        rig.crm("clock", advance=3600)
        assert rig.run(How()).ended_well
    model.check_writes()
    model.check_end(flags=False)
    assert not model.wrong, model.wrong


def test_a_long_transaction_that_ends_while_the_window_is_read_is_in_the_next_one(
    rig: Rig, model: Model
) -> None:
    """How far no transaction is open has to be asked before the rows, not when the window is closed."""
    row_id, *_ = synced(rig)
    name = rig.crm("begin")["transaction"]
    rig.crm("update", object="Contact", id=row_id, fields={"Title": "Late"}, transaction=name)
    rig.crm("clock", advance=1500)

    def commit() -> None:
        rig.crm("commit", transaction=name)
        model.observe()

    rows_are_there = next(
        w for w in rig.run(How()).steps if w.startswith("answer") and w.endswith("queryAll/")
    )
    assert rig.run(How(meanwhile=when(rows_are_there, commit))).ended_well
    settle(rig, model)


def test_a_row_that_shows_its_newest_stamp_in_its_old_place_carries_no_position(
    rig: Rig, model: Model
) -> None:
    """What lies behind it in the order has not been read yet."""
    rig.crm("page_sizes", sizes=[5])
    rows = sorted(rig.crm("dump", object="Contact"), key=lambda row: (row["SystemModstamp"], row["Id"]))
    name = rig.crm("begin")["transaction"]
    rig.crm("update", object="Contact", id=rows[9]["Id"], fields={"Title": "Late"}, transaction=name)
    rig.crm("clock", advance=60)

    def commit() -> None:
        rig.crm("commit", transaction=name)
        model.observe()

    rig.run(How(Range(full=True), batch=1, meanwhile=when("answer GET http", commit, after=3)))
    settle(rig, model)


def test_a_lost_page_link_behind_such_a_row_costs_no_row(rig: Rig, model: Model) -> None:
    rig.crm("page_sizes", sizes=[5])
    rows = sorted(rig.crm("dump", object="Contact"), key=lambda row: (row["SystemModstamp"], row["Id"]))
    name = rig.crm("begin")["transaction"]
    rig.crm("update", object="Contact", id=rows[9]["Id"], fields={"Title": "Late"}, transaction=name)
    rig.crm("clock", advance=60)

    def commit() -> None:
        rig.crm("commit", transaction=name)
        model.observe()
        rig.crm("expire_sessions", after=1)

    rig.run(How(Range(full=True), meanwhile=when("answer GET http", commit, after=3)))
    settle(rig, model)


def test_a_parent_that_a_crashed_run_found_changed_is_not_known_before_its_children_are(
    rig: Rig, model: Model
) -> None:
    synced(rig)
    (account, *_) = [
        row["Id"]
        for row in rig.crm("dump", object="Account")
        if any(row["Id"] == c["AccountId"] for c in rig.crm("dump", object="Contact"))
    ]
    rig.crm("update", object="Account", id=account, fields={"Name": "Renamed"})
    model.observe()
    rig.crm("clock", advance=60)
    assert rig.run(How(crash_at="store put contacts/outbox")).crashed
    rig.crm("clock", advance=60)
    rig.crm("touch", object="Account", id=account)
    rig.crm("clock", advance=60)
    settle(rig, model)


def test_a_row_that_gave_way_to_a_newer_reading_in_the_batch_is_not_settled_before_it(
    rig: Rig, model: Model
) -> None:
    """The changes bring it, and then its renamed account once more: both wait for the same batch."""
    ids = synced(rig)
    contact = next(row for row in rig.crm("dump", object="Contact") if row["Id"] in ids and row["AccountId"])
    rig.crm("update", object="Contact", id=contact["Id"], stamp=past(rig, 4000), fields={"Title": "New"})
    rig.crm("update", object="Account", id=contact["AccountId"], fields={"Name": "Renamed"})
    model.observe()
    rig.crm("clock", advance=3600)
    settle(rig, model)


def test_reading_rows_by_their_ids_survives_a_lost_page_link(rig: Rig, model: Model) -> None:
    ids = synced(rig)
    rig.crm("page_sizes", sizes=[5])
    expire = when("answer GET http", lambda: rig.crm("expire_sessions"))
    ran = rig.run(How(redo=tuple(ids), meanwhile=expire))
    assert ran.ended_well, ran.error


def test_interruptions_move_no_position_back(rig: Rig, model: Model) -> None:
    """A resumed stream begins an overlap before its position; one more crash must not lose what was reached."""
    rig.crm("clock", advance=3600)
    for number in range(60):
        row = {"LastName": f"Number {number}", "Email": f"someone{number}@acme.com"}
        rig.crm("insert", object="Contact", rows=[row], stamp=past(rig, 3000 - 30 * number))
    model.observe()
    rig.crm("page_sizes", sizes=[4])
    resumed: list[datetime] = []
    rig.on_save = lambda document: resumed.extend(filter(None, [begins_again_at(document)]))
    for step in (350, 60, 60, 70, 80, 90, 100):
        assert rig.run(How(Range() if rig.has_begun() else Range(full=True), batch=2, crash_at=step)).crashed
    assert len(set(resumed)) > 3
    assert resumed == sorted(resumed)


def test_the_thread_that_reads_ahead_and_the_runs_own_share_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    errors: list[BaseException] = []

    def read_ahead() -> None:
        try:
            for number in range(60):
                ledger.changed_parents("Account", {f"a{number}-{i}": b"x" for i in range(20)})
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            errors.append(error)

    thread = threading.Thread(target=read_ahead)
    thread.start()
    for number in range(60):
        ledger.remember([(f"c{number}-{i}", "k", "2026-01-01T00:00:00Z", b"d") for i in range(20)])
    thread.join()
    assert not errors, errors
    assert len(ledger) == 1200
    ledger.close()


def past(rig: Rig, seconds: int) -> str:
    return (rig.salesforce.clock.now() - timedelta(seconds=seconds)).isoformat()
