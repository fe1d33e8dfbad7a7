"""Rows that are gone, and rows that come back: with `deletes = "flag"` the profiles say so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from .conftest import MakeWorld
from .registry import Check, Faults
from .world import Row, World, sync_toml

FAULTS = Faults()
FLAG = sync_toml(deletes='"flag"')


def delivered_and_flagging(world: World) -> list[str]:
    """Everything has been delivered; the Ids, in order."""
    world.configure(FLAG)
    world.pull("--full")
    world.advance(3600)
    return sorted(world.delivered())


def flags(world: World, row_id: str) -> tuple[bool, str | None]:
    """Whether a profile is flagged as deleted, and into what it was merged."""
    profile = world.profile(row_id)
    return profile.get("crm_deleted_at") is not None, profile.get("crm_merged_into")


def flagged(world: World) -> set[str]:
    return {row["salesforce_id"] for row in world.profiles() if row.get("crm_deleted_at")}


def quiet(world: World) -> None:
    """The next run writes nothing."""
    world.advance()
    result = world.pull()
    assert (result["written"], result["tombstones"]) == (0, 0)


@FAULTS.add("10-soft-delete")
def _(world: World) -> None:
    """A row in the recycle bin is flagged with its stamp; its other fields stay, and no other row is touched."""
    gone, *_ = delivered_and_flagging(world)
    before = world.profile(gone)
    world.crm("delete", object="Contact", id=gone)
    world.advance()
    result = world.pull()
    assert (result["tombstones"], flagged(world)) == (1, {gone})
    after = world.profile(gone)
    assert after["crm_deleted_at"][:19] == world.contact(gone)["SystemModstamp"][:19]
    assert {**after, "crm_deleted_at": None} == {**before, "crm_deleted_at": None} | _bookkeeping(after)
    quiet(world)


def _bookkeeping(row: Row) -> Row:
    """The sandbox's own columns of a dumped row."""
    return {name: value for name, value in row.items() if name.startswith("_")}


@FAULTS.add("10-hard-delete")
def _(world: World) -> None:
    """A row removed for good is found in the delete log and flagged."""
    gone, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=gone, hard=True)
    world.advance()
    world.pull()
    assert flagged(world) == {gone}
    quiet(world)


@FAULTS.add("10-purge")
def _(world: World) -> None:
    """A row that was emptied out of the recycle bin before the run is flagged all the same."""
    gone, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=gone)
    world.crm("delete", object="Contact", id=gone, hard=True)
    world.advance()
    world.pull()
    assert flagged(world) == {gone}
    quiet(world)


@FAULTS.add("10-hard-delete-outside-the-log")
def _(world: World) -> None:
    """Where the delete log leaves out hard deletes, a pull cannot know; `reconcile` finds them."""
    gone, *_ = delivered_and_flagging(world)
    world.crm("switches", hard_deletes_in_log=False)
    world.crm("delete", object="Contact", id=gone, hard=True)
    world.advance()
    world.pull()
    assert flagged(world) == set()
    for confirmed in (0, 1):
        assert world.run("reconcile", "--repair", "--json").json["confirmed"] == confirmed
    assert flagged(world) == {gone}


@FAULTS.add("10-merge")
def _(world: World) -> None:
    """The winner of a merge is written before its loser is flagged, and the flag names it."""
    loser, winner, *_ = delivered_and_flagging(world)
    world.crm("update", object="Contact", id=winner, fields={"Title": "Both of us"})
    world.crm("merge", object="Contact", winner=winner, losers=[loser])
    world.advance()
    before = len(world.writes())
    world.pull()
    assert flags(world, loser) == (True, winner)
    assert world.profile(winner)["job_title"] == "Both of us"
    assert [write["key"] for write in world.writes(before)] == [winner, loser]
    quiet(world)


@FAULTS.add("10-merge-chain")
def _(world: World) -> None:
    """A row merged into one that was merged on is flagged as merged into the last."""
    first, second, third, *_ = delivered_and_flagging(world)
    world.crm("merge", object="Contact", winner=second, losers=[first])
    world.crm("merge", object="Contact", winner=third, losers=[second])
    world.advance()
    world.pull()
    assert [flags(world, row_id) for row_id in (first, second)] == [(True, third)] * 2
    assert flags(world, third) == (False, None)
    quiet(world)


@FAULTS.add("10-undelete")
def _(world: World) -> None:
    """A row that comes back is written whole, and its flag is taken back."""
    row_id, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=row_id)
    world.advance()
    world.pull()
    world.crm("undelete", object="Contact", id=row_id)
    world.advance()
    world.pull()
    assert flagged(world) == set()
    world.assert_in_step()
    quiet(world)


@FAULTS.add("10-undelete-that-moves-no-stamp")
def _(world: World) -> None:
    """Where an undelete moves no stamp, a pull cannot know; `reconcile --repair` brings the row back."""
    world.crm("switches", undelete_bumps_stamp=False)
    row_id, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=row_id)
    world.advance(3600)
    world.pull()
    world.crm("undelete", object="Contact", id=row_id)
    world.advance(3600)
    world.pull()
    assert world.run("reconcile", "--repair").code == 0
    assert flagged(world) == set()
    world.assert_in_step()


@FAULTS.add("10-delete-and-undelete-in-one-window")
def _(world: World) -> None:
    """A row deleted and restored within a window is alive, whatever the delete log says of it."""
    row_id, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=row_id)
    world.crm("undelete", object="Contact", id=row_id)
    world.advance()
    world.pull()
    assert flagged(world) == set()
    world.assert_in_step()


def _between_pages(shown: str) -> Check:
    def check(world: World) -> None:
        world.crm("switches", deleted_between_pages=shown)
        ids = delivered_and_flagging(world)
        world.change(ids, Title="Changed")
        world.crm("page_sizes", sizes=[15])
        stays, returns = ids[-1], ids[-2]
        more, pages = world.salesforce.pager.more, iter(range(100))

        def disturbed(*arguments: Any) -> Any:
            match next(pages):
                case 0:
                    world.crm("delete", object="Contact", id=stays)
                    world.crm("delete", object="Contact", id=returns)
                case 1:
                    world.crm("undelete", object="Contact", id=returns)
            return more(*arguments)

        with mock.patch.object(world.salesforce.pager, "more", disturbed):
            world.pull()
        world.advance()
        world.pull()
        assert flagged(world) == {stays}
        assert world.profile(returns)["job_title"] == "Changed"
        quiet(world)

    check.__doc__ = (
        "A row deleted while paging is flagged by the next run at the latest, one restored again is not."
    )
    return check


for _shown in ("vanish", "appear"):
    FAULTS.add(f"10-deleted-between-pages-{_shown}")(_between_pages(_shown))


def _uncertain(promise: str, **switches: Any) -> Check:
    def check(world: World) -> None:
        gone, *_ = delivered_and_flagging(world)
        world.crm("switches", **switches)
        world.crm("delete", object="Contact", id=gone)
        world.advance(60)
        world.crm("purge_delete_log")
        world.advance(60)
        assert any("crmsync reconcile" in note for note in world.pull()["notes"])
        assert flagged(world) == {gone}

    check.__doc__ = promise
    return check


_PURGED = "A delete log purged within the window is a warning to reconcile; the recycle bin is flagged all the same."
FAULTS.add("10-delete-log-purged")(_uncertain(_PURGED))
FAULTS.add("10-delete-log-purged-silently")(_uncertain(_PURGED, purged_delete_log="answer"))
FAULTS.add("10-delete-log-forbidden")(
    _uncertain("A delete log that may not be read is a warning to reconcile.", deleted="forbidden")
)
FAULTS.add("10-no-delete-log")(
    _uncertain("An object without a delete log is a warning to reconcile.", deleted="not_replicateable")
)


@FAULTS.add("10-too-many-ids")
def _(world: World) -> None:
    """More deletions than the delete log gives at once are a warning to reconcile, not an error."""
    one, two, *_ = delivered_and_flagging(world)
    world.crm("switches", replication_id_limit=1)
    for row_id in (one, two):
        world.crm("delete", object="Contact", id=row_id)
    world.advance()
    assert any("crmsync reconcile" in note for note in world.pull()["notes"])
    assert flagged(world) == {one, two}


@FAULTS.add("10-gap-beyond-the-log")
def _(world: World) -> None:
    """After more than 15 days without a run the delete log no longer tells everything: a warning to reconcile."""
    gone, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=gone, hard=True)
    world.advance(timedelta(days=16).total_seconds())
    assert any("crmsync reconcile" in note for note in world.pull()["notes"])
    world.advance()
    assert world.pull()["notes"] == []


@pytest.mark.parametrize("name", FAULTS.known)
def test_fault(make_world: MakeWorld, name: str) -> None:
    fault = FAULTS.known[name]
    fault.check(make_world(fault.contacts, login=fault.login))


# --- what is never flagged


def test_nothing_is_flagged_where_deletes_are_ignored(settled: World) -> None:
    settled.crm("delete", object="Contact", id=settled.delivered()[0])
    settled.advance()
    assert settled.pull()["tombstones"] == 0
    assert flagged(settled) == set()


def test_a_row_that_was_never_delivered_is_not_flagged(world: World) -> None:
    delivered_and_flagging(world)
    outside = next(row["Id"] for row in world.contacts() if not row["Email"] and not row["IsDeleted"])
    before = len(world.profiles())
    world.crm("delete", object="Contact", id=outside)
    world.advance()
    assert world.pull()["tombstones"] == 0
    assert len(world.profiles()) == before


# --- the brake


@pytest.fixture
def massacre(make_world: MakeWorld) -> World:
    """150 delivered contacts of which 101 have been deleted since."""
    world = make_world(0)
    people = [{"LastName": f"N{n}", "Email": f"n{n}@example.com"} for n in range(150)]
    world.crm("insert", object="Contact", rows=people)
    world.advance()
    world.configure(FLAG)
    world.pull("--full")
    world.advance(3600)
    for row_id in world.delivered()[:101]:
        world.crm("delete", object="Contact", id=row_id)
    world.advance()
    return world


def test_too_many_deletions_stop_the_run_before_the_first(massacre: World) -> None:
    before, watermark = len(massacre.writes()), massacre.saved()["watermark"]
    for _ in range(2):
        run = massacre.run("pull", "--json")
        assert (run.code, run.sync["tombstones"]) == (4, 0)
        assert "--allow-deletes" in run.err
    assert len(massacre.writes()) == before
    assert massacre.saved()["watermark"] == watermark


def test_allowed_deletions_are_flagged_that_once(massacre: World) -> None:
    assert massacre.pull("--allow-deletes")["tombstones"] == 101
    assert len(flagged(massacre)) == 101
    quiet(massacre)


def test_a_hundred_deletions_need_no_permission(massacre: World) -> None:
    massacre.crm("undelete", object="Contact", id=massacre.delivered()[0])
    massacre.advance()
    assert massacre.pull()["tombstones"] == 100


def test_flags_whose_proof_was_lost_to_a_kill_are_made_once_more(world: World) -> None:
    gone, *_ = delivered_and_flagging(world)
    world.crm("delete", object="Contact", id=gone)
    world.advance()
    world.pull_killed_at_batch(1)
    world.advance()
    world.pull()
    assert flagged(world) == {gone}
    quiet(world)
