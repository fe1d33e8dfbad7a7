"""Comparing every Id of the org with what was delivered, both ways; and the brake on open rejects."""

from __future__ import annotations

from typing import Any

import pytest

from crmsync import journal

from .conftest import MakeWorld
from .world import World, sync_toml

OLD = "2020-01-01T00:00:00Z"


@pytest.fixture
def flagging(make_world: MakeWorld) -> World:
    """60 contacts, delivered, each of which can be; deletions are flagged."""
    world = make_world(0)
    people = [{"LastName": f"N{n}", "Email": f"n{n}@example.com"} for n in range(60)]
    world.crm("insert", object="Contact", rows=people)
    world.advance()
    world.configure(sync_toml(deletes='"flag"'))
    world.pull("--full")
    world.advance(3600)
    return world


def reconcile(world: World, *arguments: str, code: int = 0) -> Any:
    run = world.run("reconcile", "--json", *arguments)
    assert run.code == code, run.said
    return run.json


def flagged(world: World) -> set[str]:
    return {row["salesforce_id"] for row in world.profiles() if row.get("crm_deleted_at")}


def test_an_org_in_step_has_nothing_to_mend(flagging: World) -> None:
    before = len(flagging.writes())
    found = reconcile(flagging, "--repair")
    assert (found["in_org"], found["in_ledger"]) == (60, 60)
    assert [found[name] for name in ("undelivered", "deleted", "confirmed", "unconfirmed", "outside")] == [
        0
    ] * 5
    assert len(flagging.writes()) == before


def test_a_row_that_no_window_showed_is_delivered(flagging: World) -> None:
    """Made visible by a change of access, for one: its stamp lies far back."""
    person = {"LastName": "Hidden", "Email": "hidden@example.com"}
    (row_id,) = flagging.crm("insert", object="Contact", rows=[person], stamp=OLD)["ids"]
    flagging.pull()
    assert reconcile(flagging)["undelivered"] == 1
    assert row_id not in flagging.delivered()
    assert reconcile(flagging, "--repair")["written"] == 1
    assert row_id in flagging.delivered()
    assert reconcile(flagging)["undelivered"] == 0


def test_a_row_that_is_not_there_is_flagged_when_a_second_look_confirms_it(flagging: World) -> None:
    flagging.crm("switches", hard_deletes_in_log=False)
    gone = flagging.delivered()[0]
    flagging.crm("delete", object="Contact", id=gone, hard=True)
    first = reconcile(flagging, "--repair")
    assert (first["unconfirmed_ids"], first["confirmed"], flagged(flagging)) == ([gone], 0, set())
    second = reconcile(flagging, "--repair")
    assert (second["confirmed_ids"], second["unconfirmed"]) == ([gone], 0)
    assert flagged(flagging) == {gone}
    assert reconcile(flagging, "--repair")["confirmed"] == 0


def test_a_row_that_the_delete_log_names_is_flagged_at_once(flagging: World) -> None:
    gone = flagging.delivered()[0]
    flagging.crm("delete", object="Contact", id=gone, hard=True)
    flagging.advance()
    assert reconcile(flagging, "--repair")["confirmed_ids"] == [gone]
    assert flagged(flagging) == {gone}


def test_a_row_in_the_recycle_bin_is_flagged_at_once(flagging: World) -> None:
    gone = flagging.delivered()[0]
    flagging.crm("delete", object="Contact", id=gone, stamp=OLD)
    assert reconcile(flagging, "--repair")["deleted"] == 1
    assert flagged(flagging) == {gone}


def test_a_row_that_left_the_condition_is_alive(flagging: World) -> None:
    chosen = flagging.delivered()[:5]
    flagging.change(chosen, Title="Out")
    flagging.configure(sync_toml(deletes='"flag"', where='''"Title = null"'''))
    found = reconcile(flagging, "--repair")
    assert (found["outside"], found["confirmed"], found["unconfirmed"]) == (5, 0, 0)
    assert flagged(flagging) == set()


def test_without_repair_nothing_is_written(flagging: World) -> None:
    flagging.crm("delete", object="Contact", id=flagging.delivered()[0])
    before = len(flagging.writes())
    for _ in range(2):
        reconcile(flagging)
    assert len(flagging.writes()) == before


def test_without_a_ledger_nothing_is_flagged_and_everything_is_sent_again(flagging: World) -> None:
    for file in (flagging.state / "contacts").glob("ledger.sqlite*"):
        file.unlink()
    (flagging.state / "contacts" / "overlap.json").unlink(missing_ok=True)
    flagging.crm("switches", hard_deletes_in_log=False)
    gone = flagging.delivered()[0]
    flagging.crm("delete", object="Contact", id=gone, hard=True)
    found = reconcile(flagging, "--repair")
    assert (found["undelivered"], found["written"], found["tombstones"]) == (59, 59, 0)
    assert flagged(flagging) == set()
    assert any("ledger" in note for note in found["notes"])
    assert len(flagging.profiles()) == 60


def test_too_many_absent_rows_stop_the_repair(make_world: MakeWorld) -> None:
    world = make_world(0)
    people = [{"LastName": f"N{n}", "Email": f"n{n}@example.com"} for n in range(130)]
    world.crm("insert", object="Contact", rows=people)
    world.advance()
    world.configure(sync_toml(deletes='"flag"'))
    world.pull("--full")
    world.advance(3600)
    for row_id in world.delivered()[:101]:
        world.crm("delete", object="Contact", id=row_id, hard=True)
    world.advance()
    before = len(world.writes())
    reconcile(world, "--repair", code=4)
    assert len(world.writes()) == before
    assert reconcile(world, "--repair", "--allow-deletes")["tombstones"] == 101


def test_a_reconciliation_moves_no_watermark(flagging: World) -> None:
    before = flagging.saved()
    reconcile(flagging, "--repair")
    after = flagging.saved()
    assert [after[name] for name in ("watermark", "covered")] == [
        before[name] for name in ("watermark", "covered")
    ]


# --- the brake on open rejects


def test_too_many_open_rejects_stop_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal.MOST_OPEN_REJECTS == 100_000
    monkeypatch.setattr(journal, "MOST_OPEN_REJECTS", 3)
    run = world.run("pull", "--full", "--json")
    assert (run.code, run.sync["watermark"]) == (4, None)
    assert "crmsync rejects" in run.err
    assert len(world.rejects()) == run.sync["open_rejects"] >= 3
    world.run("rejects", "drop", "--all")
    monkeypatch.setattr(journal, "MOST_OPEN_REJECTS", 100)
    world.pull("--full")
    world.assert_in_step()
