"""What a parent's change does to its children, and what a kill does to either."""

from __future__ import annotations

import pytest

from .conftest import MakeWorld
from .registry import Faults
from .world import DEFAULT_FIELDS, TIMELESS_FIELDS, World, sync_toml

FAULTS = Faults()


def contact_queries(world: World) -> list[str]:
    return [entry["query"] for entry in world.requests("salesforce", "/query", "FROM Contact")]


def children(world: World, account: str) -> list[str]:
    """The delivered contacts of an account."""
    delivered = set(world.delivered())
    return [row["Id"] for row in world.contacts() if row["AccountId"] == account and row["Id"] in delivered]


def busiest(world: World) -> str:
    """The account with the most delivered contacts."""
    accounts = [row["Id"] for row in world.crm("dump", object="Account")]
    return max(accounts, key=lambda account: len(children(world, account)))


@FAULTS.add("11-parent-renamed", contacts=0)
def _(world: World) -> None:
    """Renaming an account with 40 contacts writes exactly those 40, whose own stamps did not move."""
    accounts = world.crm("insert", object="Account", rows=[{"Name": "Forty"}, {"Name": "Others"}])["ids"]
    people = [
        {"LastName": f"N{n}", "Email": f"n{n}@example.com", "AccountId": accounts[n >= 40]} for n in range(90)
    ]
    world.crm("insert", object="Contact", rows=people)
    world.advance()
    world.pull("--full")
    world.advance(3600)
    world.change(accounts[0], "Account", Name="Quarante")
    assert world.pull()["written"] == 40
    assert {row["company_name"] for row in world.profiles()} == {"Quarante", "Others"}
    world.assert_in_step()
    world.advance()
    assert world.pull()["written"] == 0


@FAULTS.add("11-parent-touched")
def _(world: World) -> None:
    """An account that changes in what is not mapped costs no write, and no contact is read for it."""
    world.pull("--full")
    world.advance(3600)
    world.change(busiest(world), "Account", Website="https://www.example.com")
    world.forget_requests()
    result = world.pull()
    assert (result["written"], result["read"]) == (0, 0)
    assert len(contact_queries(world)) == 1
    assert not world.requests("salesforce", query="AccountId IN")


@FAULTS.add("11-parent-renamed-and-back")
def _(world: World) -> None:
    """An account renamed and named back between two runs costs no write."""
    world.pull("--full")
    world.advance(3600)
    account = busiest(world)
    name = next(row["Name"] for row in world.crm("dump", object="Account") if row["Id"] == account)
    world.change(account, "Account", Name="For a moment")
    world.change(account, "Account", Name=name)
    assert world.pull()["written"] == 0


@FAULTS.add("11-grandparent-renamed")
def _(world: World) -> None:
    """Two levels up it is the same: renaming an account's owner writes just the contacts of the account."""
    world.configure(sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Account.Owner.LastName"')))
    world.pull("--full")
    world.advance(3600)
    owner = world.crm("dump", object="User")[0]["Id"]
    owned = {row["Id"] for row in world.crm("dump", object="Account") if row["OwnerId"] == owner}
    theirs = [row["Id"] for row in world.contacts() if row["AccountId"] in owned]
    wanted = set(theirs) & set(world.delivered())
    world.change(owner, "User", LastName="Newname")
    assert world.pull()["written"] == len(wanted) > 0
    assert {row["salesforce_id"] for row in world.profiles() if row.get("job_title") == "Newname"} == wanted


@FAULTS.add("11-parents-merged")
def _(world: World) -> None:
    """Contacts of an account that was merged away show the winner's name, though no stamp of theirs moved."""
    world.crm("switches", reparent_bumps_stamp=False)
    world.pull("--full")
    world.advance(3600)
    loser = busiest(world)
    winner = next(row["Id"] for row in world.crm("dump", object="Account") if row["Id"] != loser)
    moved = children(world, loser)
    world.crm("merge", object="Account", winner=winner, losers=[loser])
    world.advance()
    world.pull()
    assert moved
    world.assert_in_step()


@FAULTS.add("11-formula-changed")
def _(world: World) -> None:
    """A formula's change moves no stamp: a pull cannot see it, `fields` warns, `--refresh-formulas` delivers it."""
    world.configure(sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Account_Rating__c"')))
    world.pull("--full")
    world.advance(3600)
    account = busiest(world)
    world.change(account, "Account", Rating="Warm")
    world.change(account, "Account", Rating="Hot")
    world.pull()
    assert "formula" in world.run("fields").said
    world.pull("--refresh-formulas")
    assert {world.profile(row_id)["job_title"] for row_id in children(world, account)} == {"Hot"}
    assert world.pull("--refresh-formulas")["written"] == 0


@pytest.mark.parametrize("name", FAULTS.known)
def test_fault(make_world: MakeWorld, name: str) -> None:
    fault = FAULTS.known[name]
    fault.check(make_world(fault.contacts, login=fault.login))


# --- with a kill


def test_a_rename_and_a_hard_delete_before_a_kill_are_seen_by_the_rerun(make_world: MakeWorld) -> None:
    """The window that was killed at 60 % is finished, and what happened meanwhile is delivered too."""
    world = make_world(110)
    world.configure(sync_toml(deletes='"flag"'))
    world.pull("--full")
    world.advance(3600)
    account = busiest(world)
    theirs, changed = children(world, account), sorted(world.delivered())
    gone = next(row_id for row_id in changed if row_id not in theirs)
    world.crm("page_sizes", sizes=[20])
    world.change(changed, Title="Changed")

    def meanwhile(batch: int) -> None:
        if batch == 4:
            world.crm("update", object="Account", id=account, fields={"Name": "Renamed meanwhile"})
            world.crm("delete", object="Contact", id=gone, hard=True)

    small = {"CRMSYNC_BATCH_SIZE": "10", "CRMSYNC_IN_FLIGHT": "1"}
    world.pull_killed_at_batch(6, at=meanwhile, **small)
    world.advance()
    assert world.pull(**small)["resumed"]
    assert {world.profile(row_id)["company_name"] for row_id in theirs} == {"Renamed meanwhile"}
    assert world.profile(gone)["crm_deleted_at"]
    alive = [row for row in world.profiles() if row["salesforce_id"] != gone]
    assert {row["job_title"] for row in alive} == {"Changed"}
    world.advance()
    assert world.pull()["written"] == 0


def test_a_value_that_goes_there_and_back_across_a_kill_ends_where_it_began(world: World) -> None:
    """B was sent and never proved: that A was delivered before no longer counts."""
    world.configure(sync_toml(TIMELESS_FIELDS))
    chosen = sorted(world.due())[0]
    world.change(chosen, Title="A")
    world.pull("--full")
    world.change(chosen, Title="B")
    world.pull_killed_at_batch(1)
    assert world.profile(chosen)["job_title"] == "B"
    world.change(chosen, Title="A")
    world.pull()
    assert world.profile(chosen)["job_title"] == "A"


def test_a_rename_whose_children_were_under_way_at_a_kill_is_finished(world: World) -> None:
    world.pull("--full")
    world.advance(3600)
    account = busiest(world)
    world.change(account, "Account", Name="Renamed")
    world.pull_killed_at_batch(1, CRMSYNC_BATCH_SIZE="1", CRMSYNC_IN_FLIGHT="1")
    world.advance()
    world.pull()
    assert {world.profile(row_id)["company_name"] for row_id in children(world, account)} == {"Renamed"}
    world.advance()
    assert world.pull()["written"] == 0
