"""Describe: paths looked up in the org's own spelling, near names, parents, and the choice of the cursor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
import responses

from crmsync.config import DEFAULT_SYNC, FieldRule, Sync, load
from crmsync.errors import ConfigError
from crmsync.http import Stopper
from crmsync.sources.base import Shape
from crmsync.sources.salesforce import SalesforceSource, describe
from crmsync.sources.salesforce.describe import Column, Description

RECORDED = json.loads((Path(__file__).resolve().parents[1] / "data/describes.json").read_text())
"""What crmsync reads of the describes of a real org, without its own fields."""


def a_field(name: str, type_: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": type_,
        "filterable": True,
        "sortable": True,
        "nillable": True,
        "calculated": False,
        "relationshipName": None,
        "referenceTo": [],
        **more,
    }


def a_stamp(name: str, **more: Any) -> dict[str, Any]:
    return a_field(name, "datetime", **{"nillable": False, **more})


def to(relationship: str, *objects: str) -> dict[str, Any]:
    return a_field(f"{relationship}Id", "reference", relationshipName=relationship, referenceTo=list(objects))


def an_object(name: str, *fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "replicateable": True, "fields": [a_field("Id", "id"), *fields], **more}


BODIES = {
    body["name"]: body
    for body in (
        an_object(
            "Contact",
            a_field("Email", "email"),
            a_field("EmailBouncedReason"),
            a_field("MailingAddress", "address"),
            a_field("MailingCity"),
            a_field("Score__c", "double", calculated=True),
            to("Account", "Account"),
            to("Owner", "Group", "User"),
            to("Secret", "Hidden__c"),
            a_stamp("SystemModstamp"),
        ),
        an_object(
            "Account",
            a_field("Name"),
            to("Owner", "User"),
            to("Parent", "Account"),
            a_stamp("SystemModstamp"),
        ),
        an_object("Group", a_field("Name")),
        an_object("User", a_field("Email", "email"), to("Manager", "User"), a_stamp("SystemModstamp")),
    )
}


def described(name: str) -> Description:
    if name not in BODIES:
        raise ConfigError(f"the org has no object {name}")
    return describe.parse(BODIES[name])


def find(path: str) -> Column | str:
    return describe.find(path, described("Contact"), described)


# --- paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "spelled", "type_"),
    [
        ("Email", "Email", "email"),
        ("eMAIL", "Email", "email"),
        ("account.NAME", "Account.Name", "string"),
        ("Account.Owner.Email", "Account.Owner.Email", "email"),
        ("Account.Parent.Parent.Name", "Account.Parent.Parent.Name", "string"),
        ("MailingAddress", "MailingAddress", "address"),
    ],
)
def test_paths_come_in_the_orgs_spelling(path: str, spelled: str, type_: str) -> None:
    column = find(path)
    assert isinstance(column, Column)
    assert (column.path, column.type) == (spelled, type_)
    assert column.doubt is None


def test_a_formula_is_doubted() -> None:
    column = find("score__c")
    assert isinstance(column, Column)
    assert column.calculated
    assert column.doubt is not None
    assert "Score__c" in column.doubt


def test_a_parent_of_several_kinds_is_taken_for_a_user_and_doubted() -> None:
    column = find("Owner.Email")
    assert isinstance(column, Column)
    assert column.polymorphic
    assert column.doubt is not None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("Emial", ["Contact has no field Emial", "did you mean Email"]),
        ("Account.Nmae", ["Account has no field Nmae", "did you mean Name"]),
        ("Acount.Name", ["Contact has no parent Acount", "did you mean Account"]),
        ("AccountId.Name", ["Contact has no parent AccountId"]),
        ("Email.Name", ["Contact has no parent Email"]),
        ("Xyzzy__c", ["Contact has no field Xyzzy__c", "integration user may not see it"]),
        ("Secret.Name", ["the org has no object Hidden__c"]),
        ("", ["Contact has no field"]),
    ],
)
def test_what_is_not_there_is_told_with_the_nearest_names(path: str, words: list[str]) -> None:
    sentence = find(path)
    assert isinstance(sentence, str)
    assert all(word in sentence for word in words)


def test_nothing_near_is_suggested_where_nothing_is_near() -> None:
    assert "did you mean" not in str(find("Xyzzy__c"))


# --- links --------------------------------------------------------------------------------------------------


def links(*paths: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    found = describe.links(paths, described("Contact"), described)
    return [(link.chain, link.key, link.object, link.fields) for link in found]


def test_parents_are_followed_by_their_keys() -> None:
    assert links("Email", "Account.Owner.Email", "Account.Name") == [
        ("Account", "AccountId", "Account", ("Name",)),
        ("Account.Owner", "Account.OwnerId", "User", ("Email",)),
    ]


def test_parents_of_several_kinds_are_not_followed_nor_what_is_behind_them() -> None:
    assert links("Owner.Email", "Owner.Manager.Email", "Owner.Manager.Manager.Email") == []


# --- the cursor ---------------------------------------------------------------------------------------------

LADDER = ("SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime")


@pytest.mark.parametrize("best", LADDER)
def test_the_best_cursor_there_is_gets_chosen(best: str) -> None:
    offered = reversed(LADDER[LADDER.index(best) :])
    body = an_object("Thing", *(a_stamp(name) for name in offered))
    assert describe.cursor_of(describe.parse(body)) == best


@pytest.mark.parametrize(
    "flaw", [{"nillable": True}, {"filterable": False}, {"sortable": False}, {"type": "date"}]
)
def test_a_field_that_cannot_be_followed_is_passed_over(flaw: dict[str, Any]) -> None:
    body = an_object("Thing", {**a_stamp("SystemModstamp"), **flaw}, a_stamp("CreatedDate"))
    assert describe.cursor_of(describe.parse(body)) == "CreatedDate"


def test_an_object_without_a_cursor_is_refused() -> None:
    with pytest.raises(ConfigError, match="no field to follow changes by"):
        describe.cursor_of(describe.parse(an_object("Thing", a_field("Name"))))


# --- what is kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BODIES))
def test_what_is_kept_of_a_describe_reads_the_same(name: str) -> None:
    body = {**BODIES[name], "childRelationships": ["x" * 1000]}
    kept = describe.condensed(body)
    assert describe.parse(orjson.loads(orjson.dumps(kept))) == describe.parse(body)
    assert "childRelationships" not in kept


def test_an_object_outside_replication_says_so() -> None:
    assert not describe.parse({**an_object("Thing"), "replicateable": False}).replicateable


# --- the recorded describes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "object_name"), [("contact", "Contact"), ("account", "Account"), ("lead", "Lead")]
)
def test_recorded_describes_are_read_and_kept_whole(name: str, object_name: str) -> None:
    body = RECORDED[name]
    read = describe.parse(body)
    assert read.name == object_name
    assert len(read.fields) == len(body["fields"])
    assert describe.parse(describe.condensed(body)) == read
    wordy = {**body, "fields": [{**field, "inlineHelpText": "x" * 500} for field in body["fields"]]}
    assert len(orjson.dumps(describe.condensed(wordy))) < len(orjson.dumps(wordy)) / 2
    assert describe.cursor_of(read) == "SystemModstamp"
    assert read.replicateable


def test_a_recorded_owner_of_several_kinds_is_found() -> None:
    lead = describe.parse(RECORDED["lead"])
    user = describe.parse(an_object("User", a_field("Email", "email")))
    column = describe.find("Owner.Email", lead, {"User": user}.__getitem__)
    assert column == Column("Owner.Email", "email", False, True)


# --- the source ---------------------------------------------------------------------------------------------


class NoVault:
    def load(self) -> str | None:
        return None

    def save(self, refresh_token: str) -> None:
        raise AssertionError("a given token is never rotated")

    def exclusive(self) -> AbstractContextManager[None]:
        return nullcontext()


INSTANCE = "https://acme.my.salesforce.com"
BASE = f"{INSTANCE}/services/data/v62.0"


@pytest.fixture
def org() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def source_of(tmp_path: Path) -> Callable[[Sync], SalesforceSource]:
    config = load(
        environ={
            "HOME": str(tmp_path),
            "SALESFORCE_INSTANCE_URL": INSTANCE,
            "SALESFORCE_ACCESS_TOKEN": "00D!1",
            "SALESFORCE_API_VERSION": "62.0",
            "EXPERITURE_API_KEY": "key",
        },
        cwd=tmp_path,
    )
    return lambda sync: SalesforceSource(config, sync, vault=NoVault(), stopper=Stopper())


def serve(org: responses.RequestsMock, bodies: Mapping[str, Any]) -> None:
    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        body = bodies.get(str(request.url).rsplit("/", 2)[1])
        refusal = [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]
        return (200, {}, json.dumps(body)) if body else (404, {}, json.dumps(refusal))

    org.add_callback("GET", re.compile(rf"{BASE}/sobjects/\w+/describe"), callback=answer)
    org.get(f"{BASE}/sobjects", json={"sobjects": [{"name": name} for name in bodies]})


def shape_of(source_of: Callable[[Sync], SalesforceSource], *rules: FieldRule) -> Shape:
    return source_of(replace(DEFAULT_SYNC, fields=rules)).shape()


def test_the_default_sync_resolves_fully_in_a_recorded_org(
    org: responses.RequestsMock, source_of: Callable[[Sync], SalesforceSource]
) -> None:
    serve(org, {"Contact": RECORDED["contact"], "Account": RECORDED["account"]})
    shape = source_of(DEFAULT_SYNC).shape()
    assert shape.missing == {}
    assert shape.cursor == "SystemModstamp"
    assert {rule.source for rule in DEFAULT_SYNC.fields} <= set(shape.paths)
    assert all(path == spelled for path, spelled in shape.paths.items())
    assert shape.types["Email"] == "email"
    assert shape.types["Phone"] == "phone"
    assert shape.types["LastModifiedDate"] == "datetime"
    assert "MailingCountry" in shape.paths
    assert "MailingCountryCode" not in shape.paths
    assert [(link.chain, link.key) for link in shape.links] == [("Account", "AccountId")]
    assert shape.advice == ()
    assert [str(call.request.url).rsplit("/", 2)[1] for call in org.calls] == ["Contact", "Account"]


def test_every_path_that_is_missing_is_told(
    org: responses.RequestsMock, source_of: Callable[[Sync], SalesforceSource]
) -> None:
    serve(org, BODIES)
    shape = shape_of(
        source_of,
        FieldRule("email", "emial"),
        FieldRule("city", "mailingcity"),
        FieldRule("company", "Acount.Name"),
        FieldRule("address", "MailingAddress"),
        FieldRule("secret", "Secret.Name"),
    )
    assert set(shape.missing) == {"emial", "Acount.Name", "MailingAddress", "Secret.Name"}
    assert "compound" in shape.missing["MailingAddress"]
    assert "Hidden__c" in shape.missing["Secret.Name"]
    assert shape.paths == {"mailingcity": "MailingCity"}


def test_a_hint_that_is_not_there_is_no_error(
    org: responses.RequestsMock, source_of: Callable[[Sync], SalesforceSource]
) -> None:
    serve(org, BODIES)
    hints = ("NoCountry", "Secret.Country", "mailingcity")
    shape = shape_of(source_of, FieldRule("phone", "Email", "phone", region_from=hints))
    assert shape.missing == {}
    assert shape.paths == {"Email": "Email", "mailingcity": "MailingCity"}


def test_an_object_that_is_not_there_is_told_with_the_nearest_names(
    org: responses.RequestsMock, source_of: Callable[[Sync], SalesforceSource]
) -> None:
    serve(org, BODIES)
    with pytest.raises(ConfigError, match=r"no object Kontact.*did you mean Contact"):
        source_of(replace(DEFAULT_SYNC, object="Kontact")).shape()


def test_describes_are_kept_until_the_org_is_looked_at_again(
    org: responses.RequestsMock, source_of: Callable[[Sync], SalesforceSource]
) -> None:
    serve(org, BODIES)
    source = source_of(replace(DEFAULT_SYNC, fields=(FieldRule("email", "Email"),)))
    source.shape()
    source.shape()
    assert len(org.calls) == 1
    source.look_again()
    source.shape()
    assert len(org.calls) == 2
