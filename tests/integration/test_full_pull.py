"""A first pull of 5,137 contacts that are hard on programs."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from crmsync.sandbox.compare import compare

from .world import Crmsync, Row, Sandbox, per_id

MODES = [
    ("job", 202, "partial"),
    ("job", 200, "all_or_nothing"),
    ("inline", 200, "partial"),
    ("inline", 200, "all_or_nothing"),
]


@dataclass(frozen=True)
class Pulled:
    """What a full pull did, and what both sides held and had seen afterwards."""

    result: Row
    contacts: list[Row]
    profiles: list[Row]
    writes: list[Row]
    sent: list[Row]
    sizes: list[int]
    differing: list[str]


@pytest.fixture(scope="module")
def pulled(nasty_org: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Pulled:
    """One pull without any refusal, for every test that only looks at what came of it."""
    nasty_org.freshen()
    crmsync = Crmsync(tmp_path_factory.mktemp("pulled") / "home", dict(nasty_org.environment))
    return Pulled(
        crmsync.pull("--full"),
        list(queried(nasty_org)),
        nasty_org.profiles(),
        nasty_org.cdp("writes", records=True),
        nasty_org.requests("experiture", "upsert-batch"),
        [batch["records"] for batch in nasty_org.batches()],
        compare(nasty_org.base_url).wrong,
    )


def test_the_profile_table_equals_the_mapping_for_every_row(pulled: Pulled) -> None:
    assert pulled.result["read"] == 5137
    assert pulled.result["written"] == len(pulled.profiles) > 4000
    assert pulled.differing == []


def test_the_profiles_are_what_the_guide_makes_of_the_rows_that_the_api_gives(pulled: Pulled) -> None:
    """Another route than the one above: rows by the real query API, the guide's own code as the mapping."""
    profiles = {profile["salesforce_id"]: profile for profile in pulled.profiles}
    without_phone = 0
    for row in pulled.contacts:
        profile = profiles.pop(row["Id"], None)
        address = (row["Email"] or "").strip().lower()
        if profile is None:
            assert not re.fullmatch(r"[a-z0-9]+@(example\.com|crm\.test)", address), row["Id"]
            continue
        assert profile["email"] == address
        for name, value in guides_record(row).items():
            assert squeezed(profile.get(name)) == squeezed(value), f"{row['Id']} {name}"
        if profile.get("phone"):
            assert re.fullmatch(r"\+[1-9]\d{6,14}", profile["phone"])
        elif (row["Phone"] or "").strip():
            without_phone += 1
    assert not profiles, "profiles of rows that the query does not give"
    assert without_phone == pulled.result["left_out"]["phone:invalid"]


def test_every_batch_but_the_last_holds_500(pulled: Pulled) -> None:
    full, rest = divmod(pulled.result["written"], 500)
    assert sorted(pulled.sizes, reverse=True) == [500] * full + [rest] * (rest > 0)


def test_no_record_lacks_its_match_key(pulled: Pulled) -> None:
    assert {write["match_key"] for write in pulled.writes} == {"salesforce_id"}
    assert all(
        re.fullmatch(r"003[0-9A-Za-z]{15}", write["record"]["salesforce_id"]) for write in pulled.writes
    )
    assert set(per_id(pulled.profiles).values()) == {1}


def test_no_record_has_a_null_or_a_field_of_another_owner(pulled: Pulled) -> None:
    records = [write["record"] for write in pulled.writes]
    assert all(value is not None for record in records for value in record.values())
    others = {"subscription_status", "order_count", "ltv", "email_opted_out"}
    assert not any(others & record.keys() for record in records)


def test_every_write_carries_a_uuid_of_version_4_of_its_own(pulled: Pulled) -> None:
    assert_keys_are_sound(pulled.sent)


@pytest.mark.parametrize(("mode", "status", "outcome"), MODES)
def test_every_way_of_answering_a_batch_leads_to_the_same_profiles(
    nasty: Sandbox, nasty_crmsync: Crmsync, mode: str, status: int, outcome: str
) -> None:
    """Inline or by a job, 200 or 202, all or nothing or in part: with six records that are always refused."""
    nasty.cdp("switches", batch_mode=mode, accept_status=status, outcome=outcome)
    poisoned = [row["Id"] for row in nasty.contacts() if is_ordinary(row)][::700][:6]
    for row_id in poisoned:
        nasty.cdp("poison", field="salesforce_id", value=row_id)
    result = nasty_crmsync.pull("--full")
    assert sum(result["refused"].values()) == len(poisoned)
    assert_keys_are_sound(nasty.requests("experiture", "upsert-batch"))
    nasty.cdp("clear_poison")
    retried = nasty_crmsync.run("rejects", "retry", *poisoned)
    assert (retried.code, f"{len(poisoned)} written" in retried.out) == (0, True), retried.said
    nasty.assert_in_step()


@pytest.mark.parametrize(
    ("validation", "path"),
    [
        ("at_accept", "first"),
        ("at_accept", "all"),
        ("at_accept", "none"),
        ("in_job", "first"),
        ("in_job", "none"),
    ],
)
def test_a_refused_batch_costs_only_the_records_at_fault(
    sandbox: Sandbox, crmsync: Crmsync, validation: str, path: str
) -> None:
    """Whether or not the refusal names the record, and when a job fails because of it."""
    sandbox.cdp("switches", outcome="all_or_nothing", error_path=path, validation=validation)
    ordinary = [row["Id"] for row in sandbox.contacts() if is_ordinary(row)]
    poisoned = {ordinary[0]} if path == "none" else {ordinary[0], ordinary[10], ordinary[11]}
    for row_id in poisoned:
        sandbox.cdp("poison", field="salesforce_id", value=row_id)
    result = crmsync.pull("--full")
    assert sum(result["refused"].values()) == len(poisoned)
    assert not poisoned & set(sandbox.delivered())
    sandbox.cdp("clear_poison")
    assert crmsync.run("rejects", "retry").code == 0
    assert_keys_are_sound(sandbox.requests("experiture", "upsert-batch"))
    sandbox.assert_in_step()


def assert_keys_are_sound(sent: list[Row]) -> None:
    """Every write carries a UUID of version 4, its own for every body."""
    keys = [entry["headers"]["Idempotency-Key"] for entry in sent]
    assert keys
    assert all(uuid.UUID(key).version == 4 and str(uuid.UUID(key)) == key for key in keys)
    assert len(set(keys)) == len(keys), "a key went with two bodies, though nothing had to be sent again"


def is_ordinary(row: Row) -> bool:
    return not row["IsDeleted"] and bool(re.fullmatch(r"[a-z0-9]+@example\.com", row["Email"] or ""))


def queried(sandbox: Sandbox) -> Iterator[Row]:
    """Every living contact, as any program gets it from the query API, page by page."""
    settings = sandbox.environment
    grant = {
        "grant_type": "client_credentials",
        "client_id": settings["SALESFORCE_CLIENT_ID"],
        "client_secret": settings["SALESFORCE_CLIENT_SECRET"],
    }
    token = requests.post(f"{sandbox.base_url}/services/oauth2/token", grant, timeout=30).json()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token['access_token']}"
    soql = (
        "SELECT Id, Email, FirstName, LastName, Phone, Title, Account.Name, LeadSource, LastModifiedDate "
        "FROM Contact"
    )
    url, params = "/services/data/v59.0/query", {"q": soql}
    while url:
        body: Any = session.get(sandbox.base_url + url, params=params, timeout=30).json()
        yield from body["records"]
        url, params = body.get("nextRecordsUrl", ""), {}


def guides_record(contact: Row) -> Row:
    """The record of the guide's sample code, without the fields that it normalizes."""
    return {
        "external_id": contact["Id"],
        "salesforce_id": contact["Id"],
        "first_name": contact.get("FirstName"),
        "last_name": contact.get("LastName"),
        "job_title": contact.get("Title"),
        "company_name": contact.get("Account", {}).get("Name") if contact.get("Account") else None,
        "lead_source": contact.get("LeadSource"),
        "crm_last_modified_at": contact["LastModifiedDate"].replace(".000+0000", "Z"),
    }


def squeezed(value: str | None) -> str:
    """Text without what cleaning may compose or take away: only its ASCII letters, digits and signs."""
    return re.sub(r"[^!-~]", "", unicodedata.normalize("NFD", value or ""))
