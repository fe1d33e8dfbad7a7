"""The source's fields beside the destination's: what is marked, and what may be suggested."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crmsync.comparison import Pair, Surroundings, compare, suggested, taken_by_others
from crmsync.config import load
from crmsync.config.sync import FieldRule, Sync
from crmsync.config.tables import DEFAULT_SYNC
from crmsync.config.written import suggestion, table
from crmsync.destinations.base import TargetField
from crmsync.ownership import DEFAULT_OWNERSHIP, written_fields
from crmsync.sources.base import SourceField, ValueKind

NOWHERE = Surroundings(DEFAULT_OWNERSHIP)


def offered(path: str, kind: ValueKind = "text", **more: Any) -> SourceField:
    return SourceField(path, kind, kind, **more)


def target(name: str, kind: Any = "text", *, nullable: bool | None = None) -> TargetField:
    return TargetField(name, kind or "blob", kind, nullable)


def sync(*rules: FieldRule, **more: Any) -> Sync:
    key = FieldRule("salesforce_id", "Id")
    return replace(DEFAULT_SYNC, fields=(key, *rules), require=(), **more)


def pair_of(pairs: list[Pair], name: str) -> Pair:
    (found,) = (pair for pair in pairs if name in (pair.source, pair.target))
    return found


def candidate(source: SourceField, to: TargetField, around: Surroundings = NOWHERE, **more: Any) -> Pair:
    return pair_of(compare(sync(**more), [source], [to], around), source.path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("MobilePhone", "mobile_phone"),
        ("Foo__c", "foo"),
        ("Loyalty_Tier__c", "loyalty_tier"),
        ("Loyalty_Tier__pc", "LoyaltyTier"),
        ("Fax", "fax"),
    ],
)
def test_names_that_are_spelled_in_either_sides_way_belong_together(path: str, name: str) -> None:
    pair = candidate(offered(path), target(name))
    assert (pair.state, pair.target, pair.notes) == ("candidate", name, ())


def test_what_has_no_counterpart_stands_alone() -> None:
    pairs = compare(sync(), [offered("Fax")], [target("ltv", "number")], NOWHERE)
    assert pair_of(pairs, "Fax").state == "source"
    assert (pair_of(pairs, "ltv").state, pair_of(pairs, "ltv").notes) == ("target", ("belongs to commerce",))


@pytest.mark.parametrize(
    ("kind", "into", "fits"),
    [
        ("text", "text", True),
        ("id", "text", True),
        ("date", "text", True),
        ("date", "date", True),
        ("integer", "number", True),
        ("boolean", "boolean", True),
        ("instant", "instant", True),
        ("text", None, True),
        ("number", "integer", False),
        ("number", "text", False),
        ("boolean", "text", False),
        ("text", "number", False),
        ("date", "instant", False),
        ("instant", "date", False),
        ("compound", "text", False),
        ("binary", "text", False),
    ],
)
def test_types_that_do_not_fit_are_marked(kind: ValueKind, into: str | None, fits: bool) -> None:
    assert (not candidate(offered("Foo__c", kind), target("foo", into)).notes) is fits


def test_an_instant_that_is_sent_as_it_comes_is_marked() -> None:
    rules = sync(FieldRule("foo", "Foo__c"))
    pair = pair_of(compare(rules, [offered("Foo__c", "instant")], [target("foo", "instant")], NOWHERE), "foo")
    assert pair.notes == ('the types fit with normalize = "instant" only',)


def test_doubtful_fields_are_marked_wherever_they_stand() -> None:
    formula = offered("Score__c", formula=True)
    seen = offered("LastViewedDate", "instant", volatile=True)
    for pairs in (
        compare(sync(), [formula, seen], [], NOWHERE),
        compare(sync(), [formula, seen], [target("score"), target("last_viewed_date", "instant")], NOWHERE),
        compare(
            sync(FieldRule("score", "Score__c"), FieldRule("seen_at", "LastViewedDate", "instant")),
            [formula, seen],
            None,
            NOWHERE,
        ),
    ):
        assert "a formula" in pair_of(pairs, "Score__c").notes[0]
        assert "looks at" in pair_of(pairs, "LastViewedDate").notes[0]


def test_a_mapped_field_that_is_hidden_or_nowhere_to_go_is_marked() -> None:
    around = replace(NOWHERE, missing={"Foo__c": "Contact has no field Foo__c"})
    pairs = compare(sync(FieldRule("fo", "Foo__c")), [], [target("foo")], around)
    pair = pair_of(pairs, "fo")
    assert pair.notes == ("Contact has no field Foo__c", "profiles has no field fo (did you mean foo?)")


def test_clearing_a_field_that_takes_no_null_is_marked() -> None:
    rules = sync(FieldRule("foo", "Foo__c", on_blank="clear"))
    pairs = compare(rules, [offered("Foo__c")], [target("foo", nullable=False)], NOWHERE)
    assert "no null" in pair_of(pairs, "foo").notes[0]


def test_without_the_destinations_schema_nothing_is_said_of_it() -> None:
    pairs = compare(sync(FieldRule("foo", "Foo__c")), [offered("Foo__c"), offered("Fax")], None, NOWHERE)
    assert [pair.state for pair in pairs] == ["mapped", "mapped", "source"]
    assert all(pair.notes == () for pair in pairs)


def test_fields_of_other_owners_and_other_syncs_are_no_suggestion() -> None:
    around = replace(NOWHERE, taken={"fax": "leads"})
    for path, name, why in (
        ("Ltv__c", "ltv", "belongs to commerce"),
        ("Fax", "fax", "is written by sync leads"),
    ):
        assert candidate(offered(path), target(name), around).notes == (why,)


def test_what_other_syncs_write_into_the_same_object_is_taken() -> None:
    other = replace(sync(FieldRule("fax", "Fax")), name="leads")
    elsewhere = replace(other, name="orders", into="orders")
    assert taken_by_others(sync(), [sync(), other, elsewhere], written_fields) == {
        "salesforce_id": "leads",
        "fax": "leads",
    }


HOSTILE = [
    offered('Evil"\n[[sync]]\nname = "x', label="\x1b[2J"),
    offered("MobilePhone", "phone"),
    offered("AssistantEmail__c", "email"),
    offered("CreatedDate", "instant"),
    offered("Fax"),
    offered("Fax__c"),
    offered("Score__c", "number", formula=True),
    offered("Ltv__c", "number"),
]
ROOM = [
    target("mobile_phone"),
    target("assistant_email"),
    target("created_date", "instant"),
    target("fax"),
    target("score", "number"),
    target("ltv", "number"),
    TargetField('evil"\n[[sync]]\nname = "x', "text\n[x]", "text"),
]


def test_a_suggestion_is_a_valid_configuration_with_what_is_safe_in_it(tmp_path: Path) -> None:
    known = replace(
        DEFAULT_SYNC, where="Title != 'Ünfug \u202e\x7f\"'", fields=(*DEFAULT_SYNC.fields, CONSTANT)
    )
    text = suggestion(known, suggested(compare(known, HOSTILE, ROOM, NOWHERE)))
    (written,) = loaded(text, tmp_path)
    assert written == replace(known, fields=(*known.fields, *NEW))
    assert '# fax = "Fax__c"   # a second source for this field' in text
    assert '# score = "Score__c"   # a formula: its changes move no stamp' in text
    assert '# ltv = "Ltv__c"   # belongs to commerce' in text


CONSTANT = FieldRule("origin", const='sal"es\nforce')
HINTS = ("MailingCountryCode", "MailingCountry")
NEW = (
    FieldRule("mobile_phone", "MobilePhone", "phone", region_from=HINTS),
    FieldRule("assistant_email", "AssistantEmail__c", "email"),
    FieldRule("created_date", "CreatedDate", "instant"),
    FieldRule("fax", "Fax"),
)


def test_every_kind_of_rule_is_written_as_it_was_read(tmp_path: Path) -> None:
    rules = (
        FieldRule("a", "A__c", "none"),
        FieldRule("b", "B__c", on_blank="clear"),
        FieldRule("c", const=True),
        FieldRule("d", const=1.5),
        FieldRule("e", const=7),
    )
    known = sync(*rules, deletes="flag", name="more", into="contacts", owner="esp")
    assert loaded(table(known), tmp_path) == (known,)


def loaded(text: str, folder: Path) -> tuple[Sync, ...]:
    assert tomllib.loads(text)
    (folder / "crmsync.toml").write_text(text)
    environment = {"CRMSYNC_STATE": str(folder)}
    return load(environ=environment, cwd=folder, require=()).syncs
