"""Profiles matched by e-mail, which several contacts may share: one profile per address, the newer row wins."""

from __future__ import annotations

from collections import defaultdict

import pytest

from .world import Crmsync, Install, Row, Sandbox, StartSandbox

BY_EMAIL = """
[[sync]]
name = "contacts"
object = "Contact"
match_key = "email"
require = ["email"]
[sync.fields]
email = { from = "Email", normalize = "email" }
salesforce_id = "Id"
last_name = "LastName"
job_title = "Title"
crm_last_modified_at = { from = "LastModifiedDate", normalize = "instant" }
"""
STAMPS = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")


@pytest.fixture
def empty_org(start_sandbox: StartSandbox) -> Sandbox:
    sandbox = start_sandbox(0)
    sandbox.crm("clock", freeze="2026-04-02T00:00:00Z")
    return sandbox


@pytest.fixture
def by_email(empty_org: Sandbox, install: Install) -> Crmsync:
    crmsync = install(empty_org)
    crmsync.configure(BY_EMAIL)
    return crmsync


def add(sandbox: Sandbox, email: str, title: str, stamp: str) -> str:
    row = {"LastName": "Somebody", "Email": email, "Title": title}
    (row_id,) = sandbox.crm("insert", object="Contact", rows=[row], stamp=stamp)["ids"]
    return str(row_id)


def change(sandbox: Sandbox, row_id: str, stamp: str, **fields: str) -> None:
    sandbox.crm("update", object="Contact", id=row_id, fields=fields, stamp=stamp)


def titles(sandbox: Sandbox) -> dict[str, str]:
    """The title of every profile by its address, of which no two are the same."""
    profiles = sandbox.profiles()
    found = {profile["email"]: profile["job_title"] for profile in profiles}
    assert len(found) == len(profiles)
    return found


def test_contacts_that_share_an_address_make_one_profile_and_the_newer_wins(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    """In the whole org of nasty contacts, and the same again however often it is pulled."""
    crmsync.configure(BY_EMAIL)
    crmsync.pull("--full", env={"CRMSYNC_BATCH_SIZE": "7"})
    groups = by_address(sandbox.contacts())
    assert max(map(len, groups.values())) > 1
    newest = {address: max(group, key=age)["Id"] for address, group in groups.items()}
    for _ in range(2):
        profiles = sandbox.profiles()
        holders = {profile["email"]: profile["salesforce_id"] for profile in profiles}
        assert len(holders) == len(profiles)
        assert holders == {address: newest[address] for address in holders}
        crmsync.pull("--full")


def by_address(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        address = (row["Email"] or "").strip().lower()
        if address and not row["IsDeleted"]:
            groups[address].append(row)
    return groups


def age(row: Row) -> tuple[str, str]:
    """Of two with the same stamp the one with the greater Id counts as the newer."""
    return row["SystemModstamp"][:19], row["Id"]


def test_the_older_of_two_does_not_come_back_when_it_is_read_again(
    empty_org: Sandbox, by_email: Crmsync
) -> None:
    """However often, in whatever range."""
    add(empty_org, "a@example.com", "older", STAMPS[0])
    add(empty_org, "A@Example.com", "newer", STAMPS[1])
    by_email.pull("--full")
    assert titles(empty_org) == {"a@example.com": "newer"}
    before = empty_org.cdp("counts")["writes"]
    for arguments in (
        ("--since", "2026-01-01"),
        ("--full", "--changed"),
        ("--full", "--until", "2026-01-02"),
    ):
        by_email.pull(*arguments)
        assert titles(empty_org) == {"a@example.com": "newer"}
    written = empty_org.cdp("writes", since=before, records=True)
    assert {write["record"]["job_title"] for write in written} == {"newer"}


def test_the_older_of_two_wins_once_it_changes(empty_org: Sandbox, by_email: Crmsync) -> None:
    older = add(empty_org, "a@example.com", "older", STAMPS[0])
    add(empty_org, "a@example.com", "newer", STAMPS[1])
    by_email.pull("--full")
    change(empty_org, older, STAMPS[2], Title="changed last")
    empty_org.crm("clock", advance=60)
    by_email.pull("--since", STAMPS[0])
    assert titles(empty_org) == {"a@example.com": "changed last"}


def test_two_that_swap_their_addresses_swap_their_profiles(empty_org: Sandbox, by_email: Crmsync) -> None:
    """By way of a third address, or both at once: either way each profile shows its address's last holder."""
    one = add(empty_org, "a@example.com", "one", STAMPS[0])
    two = add(empty_org, "b@example.com", "two", STAMPS[0])
    by_email.pull("--full")
    assert titles(empty_org) == {"a@example.com": "one", "b@example.com": "two"}
    change(empty_org, one, STAMPS[1], Email="b@example.com")
    change(empty_org, two, STAMPS[1], Email="a@example.com")
    by_email.pull("--since", STAMPS[0])
    assert titles(empty_org) == {"a@example.com": "two", "b@example.com": "one"}
    change(empty_org, one, STAMPS[2], Email="a@example.com")
    change(empty_org, two, STAMPS[3], Email="b@example.com")
    by_email.pull("--since", STAMPS[0])
    assert titles(empty_org) == {"a@example.com": "one", "b@example.com": "two"}


@pytest.mark.parametrize("batch", ["1", "500"])
def test_of_two_with_the_very_same_stamp_always_the_same_one_wins(
    empty_org: Sandbox, by_email: Crmsync, batch: str
) -> None:
    ids = [add(empty_org, "a@example.com", f"number {n}", STAMPS[0]) for n in range(3)]
    winner = f"number {ids.index(max(ids))}"
    for _ in range(2):
        by_email.pull("--full", env={"CRMSYNC_BATCH_SIZE": batch})
        assert titles(empty_org) == {"a@example.com": winner}
