"""The sandbox's org: what changes do to rows, stamps, the delete log, and the people it starts with."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmsync import normalize
from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.metadata import rename_picklist
from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.people import populate
from crmsync.sandbox.salesforce.people_words import (
    BLANK_EMAILS,
    MALFORMED_EMAILS,
    NASTY_NAMES,
    NASTY_PHONES,
    ODD_EMAILS,
)
from crmsync.sandbox.salesforce.replication import deleted, updated
from crmsync.sandbox.salesforce.switches import SWITCHES, Switches
from crmsync.sandbox.salesforce.values import instant, is_id, long_id, make_id, stamp
from crmsync.sandbox.web import Clock

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = {"start": "2026-05-01T11:30:00Z", "end": "2026-05-01T12:30:00Z"}


@pytest.fixture
def org() -> Org:
    clock = Clock()
    clock.freeze(NOON)
    return Org(clock, Switches(), seed=1)


def later(org: Org, minutes: float) -> str:
    org.clock.advance(minutes * 60)
    return stamp(org.clock.now())


def contact(org: Org, **fields: Any) -> str:
    (id_,) = org.insert("Contact", [{"LastName": "x", **fields}])
    return id_


def row(org: Org, id_: str, object_: str = "Contact") -> dict[str, Any]:
    return org.complete(org.entities[object_], org.tables[object_].rows[id_])


def deletions(org: Org, **arguments: str) -> list[str]:
    return [
        entry["id"] for entry in deleted(org, org.entities["Contact"], HOUR | arguments)["deletedRecords"]
    ]


def test_id_checksums() -> None:
    assert long_id("00130000000abcd") == "00130000000abcdAAA"
    assert long_id("001D000000IRFma") == "001D000000IRFmaIAH"
    assert make_id("003", "Fk", 62) == long_id("003Fk0000000010")


@pytest.mark.parametrize(
    "text", ["2026-05-01", "2026-05-01T00:00:00", "2026-05-01T00:00:00 00:00", "", "may"]
)
def test_instants_need_a_zone(text: str) -> None:
    with pytest.raises(ValueError):
        instant(text)


def test_a_change_moves_both_stamps_and_a_system_change_one(org: Org) -> None:
    id_ = contact(org, FirstName="Ann")
    assert row(org, id_)["Name"] == "Ann x"
    changed = later(org, 1)
    org.update("Contact", [id_], {"LastName": "y"})
    org.update("Contact", [id_], {}, stamp=(moved := later(org, 1)), system=True)
    seen = row(org, id_)
    assert (seen["Name"], seen["CreatedDate"]) == ("Ann y", stamp(NOON))
    assert (seen["LastModifiedDate"], seen["SystemModstamp"]) == (changed, moved)


def test_a_version_that_somebody_holds_does_not_change(org: Org) -> None:
    id_ = contact(org)
    held = org.tables["Contact"].rows[id_]
    org.update("Contact", [id_], {"LastName": "y"})
    assert held["LastName"] == "x"


@pytest.mark.parametrize("field", ["Nonsense", "SystemModstamp", "MailingAddress", "Account_Rating__c", "Id"])
def test_fields_that_cannot_be_set(org: Org, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        contact(org, **{field: "x"})


def test_a_transaction_stamps_at_its_start_and_shows_at_its_commit(org: Org) -> None:
    id_ = contact(org)
    opened = later(org, 1)
    name = org.begin()
    later(org, 9)
    org.update("Contact", [id_], {"LastName": "late"}, transaction=name)
    (made,) = org.insert("Contact", [{"LastName": "new"}], transaction=name)
    assert row(org, id_)["LastName"] == "x"
    assert made not in org.tables["Contact"].rows
    with pytest.raises(ValueError, match="UNABLE_TO_LOCK_ROW"):
        org.update("Contact", [id_], {"LastName": "other"})
    covered = updated(org, org.entities["Contact"], HOUR)["latestDateCovered"]
    assert covered == opened
    org.commit(name)
    assert row(org, id_)["LastName"] == "late"
    assert row(org, id_)["SystemModstamp"] == row(org, made)["SystemModstamp"] == opened
    assert updated(org, org.entities["Contact"], HOUR)["latestDateCovered"] == stamp(org.clock.now())


def test_a_commit_never_makes_a_row_older(org: Org) -> None:
    id_ = contact(org)
    name = org.begin()
    newest = later(org, 2)
    org.update("Contact", [id_], {"LastName": "y"})
    org.update("Contact", [id_], {"LastName": "z"}, transaction=name)
    org.commit(name)
    assert row(org, id_)["SystemModstamp"] == newest


def test_a_rollback_leaves_nothing(org: Org) -> None:
    id_ = contact(org)
    name = org.begin()
    org.delete("Contact", id_, transaction=name)
    org.rollback(name)
    assert row(org, id_)["IsDeleted"] is False
    assert org.deletions == []


def test_deleting_and_bringing_back(org: Org) -> None:
    id_ = contact(org)
    gone = later(org, 1)
    org.delete("Contact", id_)
    assert (row(org, id_)["IsDeleted"], row(org, id_)["SystemModstamp"]) == (True, gone)
    assert deletions(org) == [id_]
    back = later(org, 1)
    org.undelete("Contact", id_)
    assert (row(org, id_)["IsDeleted"], row(org, id_)["SystemModstamp"]) == (False, back)
    org.switches.set("undeleted_in_log", False)
    assert deletions(org) == []


def test_an_undelete_that_moves_no_stamp(org: Org) -> None:
    org.switches.set("undelete_bumps_stamp", False)
    id_ = contact(org)
    gone = later(org, 1)
    org.delete("Contact", id_)
    later(org, 1)
    org.undelete("Contact", id_)
    assert row(org, id_)["SystemModstamp"] == gone


def test_a_hard_delete_removes_the_row_and_shows_in_the_log_by_switch(org: Org) -> None:
    soft, hard = contact(org), contact(org)
    org.delete("Contact", soft)
    org.delete("Contact", soft, hard=True)
    org.delete("Contact", hard, hard=True)
    assert not org.tables["Contact"].rows
    assert deletions(org) == [soft, hard]
    org.switches.set("hard_deletes_in_log", False)
    assert deletions(org) == [soft]


def test_an_account_takes_its_contacts_with_it_and_brings_them_back(org: Org) -> None:
    (account,) = org.insert("Account", [{"Name": "a"}])
    child, before, other = contact(org, AccountId=account), contact(org, AccountId=account), contact(org)
    org.delete("Contact", before)
    later(org, 1)
    org.delete("Account", account)
    assert [row(org, each)["IsDeleted"] for each in (child, before, other)] == [True, True, False]
    later(org, 1)
    org.undelete("Account", account)
    assert [row(org, each)["IsDeleted"] for each in (child, before, other)] == [False, True, False]


def test_a_merge_chain(org: Org) -> None:
    first, second, third = contact(org), contact(org), contact(org)
    child = contact(org, ReportsToId=first)
    later(org, 1)
    org.merge("Contact", second, [first])
    merged = later(org, 1)
    org.merge("Contact", third, [second])
    assert [row(org, each)["MasterRecordId"] for each in (first, second, third)] == [second, third, None]
    assert [row(org, each)["IsDeleted"] for each in (first, second, third)] == [True, True, False]
    assert row(org, third)["SystemModstamp"] == merged
    assert (row(org, child)["ReportsToId"], row(org, child)["SystemModstamp"]) == (third, merged)
    assert sorted(deletions(org)) == sorted([first, second])
    with pytest.raises(ValueError, match="deleted"):
        org.merge("Contact", third, [first])


def test_merged_accounts_move_their_contacts_with_or_without_a_stamp(org: Org) -> None:
    winner, loser = org.insert("Account", [{"Name": "a"}, {"Name": "b"}])
    child = contact(org, AccountId=loser)
    org.switches.set("reparent_bumps_stamp", False)
    later(org, 1)
    org.merge("Account", winner, [loser])
    assert (row(org, child)["AccountId"], row(org, child)["SystemModstamp"]) == (winner, stamp(NOON))
    assert row(org, child)["IsDeleted"] is False


def test_a_renamed_picklist_value_moves_only_the_system_stamp(org: Org) -> None:
    id_, other = contact(org, LeadSource="Web"), contact(org, LeadSource="Other")
    changed = later(org, 1)
    assert rename_picklist(org, "Contact", "LeadSource", "Web", "Online") == [id_]
    seen = row(org, id_)
    assert (seen["LeadSource"], seen["SystemModstamp"], seen["LastModifiedDate"]) == (
        "Online",
        changed,
        stamp(NOON),
    )
    assert row(org, other)["SystemModstamp"] == stamp(NOON)
    assert "Online" in org.entities["Contact"].fields["LeadSource"].picklist


def test_seconds_of_replication_bounds_are_ignored_and_both_minutes_count(org: Org) -> None:
    ids = [
        org.insert("Contact", [{"LastName": "x"}], stamp=at)[0]
        for at in (
            "2026-05-01T11:29:59.000+0000",
            "2026-05-01T11:30:00.000+0000",
            "2026-05-01T11:40:59.000+0000",
        )
    ]
    arguments = {"start": "2026-05-01T11:30:40Z", "end": "2026-05-01T13:40:10+02:00"}
    assert updated(org, org.entities["Contact"], arguments)["ids"] == ids[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        {"start": "2026-05-01T12:00:00Z", "end": "2026-05-01T12:01:59Z"},
        {"start": "2026-05-01T12:00:00Z", "end": "2026-05-01T11:00:00Z"},
        {"start": "2026-05-01T11:00:00 00:00", "end": "2026-05-01T12:00:00Z"},
        {"start": "2026-05-01T11:00:00", "end": "2026-05-01T12:00:00Z"},
        {"start": "2026-04-16T11:59:00Z", "end": "2026-05-01T12:00:00Z"},
        {"end": "2026-05-01T12:00:00Z"},
    ],
)
def test_replication_dates_that_are_refused(org: Org, arguments: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        deleted(org, org.entities["Contact"], arguments)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_REPLICATION_DATE")


def test_updated_reaches_thirty_days_back(org: Org) -> None:
    arguments = {"start": "2026-04-01T12:00:00Z", "end": "2026-05-01T12:00:00Z"}
    assert updated(org, org.entities["Contact"], arguments)["latestDateCovered"] == stamp(NOON)
    with pytest.raises(ApiError):
        updated(org, org.entities["Contact"], arguments | {"start": "2026-04-01T11:59:00Z"})


def test_a_foreign_transaction_freezes_only_what_is_covered(org: Org) -> None:
    org.foreign_transaction_since = NOON - timedelta(days=2, seconds=30)
    id_ = contact(org)
    answer = updated(org, org.entities["Contact"], HOUR)
    assert answer == {"ids": [id_], "latestDateCovered": "2026-04-29T11:59:00.000+0000"}
    org.switches.set("deleted_behind", "refuse")
    with pytest.raises(ApiError, match="latest date covered"):
        deleted(org, org.entities["Contact"], HOUR)


def test_a_purged_delete_log(org: Org) -> None:
    early = contact(org)
    org.delete("Contact", early)
    later(org, 10)
    late = contact(org)
    org.delete("Contact", late)
    assert org.purge_delete_log(org.clock.now()) == 1
    with pytest.raises(ApiError, match="purged"):
        deletions(org)
    org.switches.set("purged_delete_log", "answer")
    answer = deleted(org, org.entities["Contact"], HOUR)
    assert [entry["id"] for entry in answer["deletedRecords"]] == [late]
    assert answer["earliestDateAvailable"] == stamp(NOON + timedelta(minutes=10))


def test_too_many_ids(org: Org) -> None:
    org.switches.set("replication_id_limit", 1)
    contact(org)
    assert len(updated(org, org.entities["Contact"], HOUR)["ids"]) == 1
    contact(org)
    with pytest.raises(ApiError) as refused:
        updated(org, org.entities["Contact"], HOUR)
    assert refused.value.code == "EXCEEDED_ID_LIMIT"


def test_country_picklists_are_an_option(org: Org) -> None:
    entity = org.entities["Contact"]
    assert "MailingCountryCode" in {field.name for field in org.visible_fields(entity)}
    org.switches.set("country_picklists", False)
    assert "MailingCountryCode" not in {field.name for field in org.visible_fields(entity)}


def test_switches_refuse_what_they_do_not_know() -> None:
    switches = Switches()
    assert switches.values() == {name: switch.default for name, switch in SWITCHES.items()}
    for name, value in (
        ("nonsense", True),
        ("limit_header", "loud"),
        ("soap_login", 1),
        ("locator_lifetime", -1),
    ):
        with pytest.raises(ValueError, match=name):
            switches.set(name, value)


# --- the people


@pytest.fixture(scope="module")
def crowd() -> Org:
    clock = Clock()
    clock.freeze(NOON)
    org = Org(clock, Switches(), seed=7)
    populate(org, 2_000, seed=7, marker="QxMark")
    return org


def rows(org: Org, object_: str = "Contact") -> list[dict[str, Any]]:
    return [row(org, id_, object_) for id_ in org.tables[object_].rows]


def test_a_seed_gives_the_same_people(crowd: Org) -> None:
    again = Org(crowd.clock, Switches(), seed=7)
    populate(again, 2_000, seed=7, marker="QxMark")
    assert rows(again) == rows(crowd)
    other = Org(crowd.clock, Switches(), seed=8)
    populate(other, 2_000, seed=8, marker="QxMark")
    assert rows(other) != rows(crowd)


def test_stamps_are_tied_past_and_in_order(crowd: Org) -> None:
    stamps = Counter(each["SystemModstamp"] for each in rows(crowd))
    tied = sum(number for _, number in stamps.most_common(4))
    assert 0.35 < tied / 2_000 < 0.45
    assert max(stamps) <= stamp(NOON - timedelta(minutes=15))
    assert all(
        each["CreatedDate"] <= each["LastModifiedDate"] <= each["SystemModstamp"] for each in rows(crowd)
    )
    assert any(each["LastModifiedDate"] < each["SystemModstamp"] for each in rows(crowd))


def test_every_nasty_value_is_there(crowd: Org) -> None:
    contacts = rows(crowd)
    assert {first for first, _ in NASTY_NAMES} <= {each["FirstName"] for each in contacts}
    phones = {each["Phone"] for each in contacts}
    assert set(NASTY_PHONES) <= phones
    emails = [each["Email"] for each in contacts]
    assert None in emails
    assert any(each and each.isspace() for each in emails)
    assert {shape for shape in MALFORMED_EMAILS if "{" not in shape} <= set(emails)
    assert any(each["Name"] != unicodedata.normalize("NFC", each["Name"]) for each in contacts)
    assert any(len(each["Title"] or "") == 128 for each in contacts)
    assert any(each["AccountId"] is None for each in contacts)
    assert any(each["Phone"] is None and each["Email"] is None and each["OwnerId"] for each in contacts)


def email_kinds(contacts: int) -> tuple[list[str | None], Counter[str]]:
    """The addresses of an org of that size, and how often each of the special shapes occurs."""
    org = Org(Clock(), Switches(), seed=7)
    populate(org, contacts, seed=7)
    emails = [each["Email"] for each in rows(org)]
    shapes = {
        shape: re.escape(shape) for shape in (*MALFORMED_EMAILS, *ODD_EMAILS, *filter(None, BLANK_EMAILS))
    }
    for shape, pattern in shapes.items():
        for word in ("local", "domain", "UPPER", "DOMAIN"):
            pattern = pattern.replace(rf"\{{{word}\}}", r"\w+" if word in ("local", "UPPER") else r"[\w.]+")
        shapes[shape] = pattern
    shapes["{UPPER}@{DOMAIN}"] = "P[0-9]+@[A-Z.]+"
    counts = {
        shape: sum(bool(email) and re.fullmatch(pattern, email) is not None for email in emails)
        for shape, pattern in shapes.items()
    }
    return emails, Counter(counts)


def test_few_addresses_are_malformed_and_yet_every_kind_is_there() -> None:
    emails, kinds = email_kinds(5_137)
    blank = sum(not (email or "").strip() for email in emails)
    malformed = sum(bool((email or "").strip()) and normalize.email(email) is None for email in emails)
    assert 0.045 < blank / 5_137 < 0.055
    assert 0.015 < malformed / 5_137 < 0.025
    assert len(kinds) == len(MALFORMED_EMAILS) + len(ODD_EMAILS) + 2
    assert min(kinds.values()) >= 5
    emails, kinds = email_kinds(300)
    assert min(kinds.values()) >= 1
    malformed = sum(bool((email or "").strip()) and normalize.email(email) is None for email in emails)
    assert malformed / 300 < 0.05


def test_addresses_are_shared_also_in_another_case(crowd: Org) -> None:
    emails = [each["Email"] for each in rows(crowd) if each["Email"] and "@" in each["Email"]]
    assert max(Counter(emails).values()) > 1
    assert len({email.lower() for email in emails}) < len(set(emails))


def test_only_reserved_domains(crowd: Org) -> None:
    for each in rows(crowd) + rows(crowd, "Lead") + rows(crowd, "User"):
        for piece in (each["Email"] or "").lower().split("@")[1:]:
            domain = piece.strip().strip(">").split(",")[0]
            assert (
                not domain
                or domain == "localhost"
                or domain.split(".")[-1] in ("test", "example", "com", "org", "net")
            )
            if domain.endswith((".com", ".org", ".net")):
                assert domain.removeprefix("mail.") in ("example.com", "example.org", "example.net")


def test_the_marker_is_in_every_name_and_address(crowd: Org) -> None:
    for each in rows(crowd):
        assert "QxMark" in each["Name"]
        assert (
            "@" not in (each["Email"] or "")
            or "qxmark" in each["Email"].lower()
            or each["Email"].startswith("@")
        )


def test_relations_ids_and_states_hold_together(crowd: Org) -> None:
    known = {id_ for table in crowd.tables.values() for id_ in table.rows}
    for object_, entity in crowd.entities.items():
        for each in rows(crowd, object_):
            assert is_id(each["Id"])
            assert each["Id"].startswith(entity.prefix)
            for field in entity.fields.values():
                assert field.reference is None or each[field.name] is None or each[field.name] in known
                assert not field.length or len(each.get(field.name) or "") <= field.length
    assert any(each["IsDeleted"] for each in rows(crowd))
    assert any(each["IsConverted"] for each in rows(crowd, "Lead"))
    assert {entry.id for entry in crowd.deletions} == {
        each["Id"] for name in ("Contact", "Lead") for each in rows(crowd, name) if each["IsDeleted"]
    }


def test_small_and_empty_orgs() -> None:
    for contacts in (0, 1, 3):
        org = Org(Clock(), Switches(), seed=contacts)
        populate(org, contacts, seed=contacts)
        assert len(org.tables["Contact"].rows) == contacts
