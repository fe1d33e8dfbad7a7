"""Reading an object's schema from metadata, whose shape nobody has published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.destinations.base import TargetField
from crmsync.destinations.experiture.metadata import Schema, parse, problems

FIELDS = ("email", "salesforce_id", "first_name")


def schema(**data: Any) -> Schema:
    return parse({"success": True, "data": {"objectName": "profiles", **data}})


def named(*names: str) -> dict[str, TargetField]:
    return {name: TargetField(name) for name in names}


@pytest.mark.parametrize(
    "key", ["fields", "properties", "columns", "attributes", "fieldDefinitions", "schema"]
)
@pytest.mark.parametrize("name", ["name", "fieldName", "field_name", "apiName", "key", "field"])
def test_fields_are_found_under_any_likely_name(key: str, name: str) -> None:
    listed = [{name: field, "type": "string", "nullable": True} for field in FIELDS]
    assert set(schema(**{key: listed}).fields or ()) == set(FIELDS)


@pytest.mark.parametrize(
    "listed",
    [
        list(FIELDS),
        {field: {"type": "string"} for field in FIELDS},
        {"fields": [{"name": field} for field in FIELDS]},
        {"type": "object", "properties": {field: {} for field in FIELDS}},
    ],
)
def test_fields_may_come_as_names_or_as_a_mapping(listed: Any) -> None:
    assert set(schema(schema=listed).fields or ()) == set(FIELDS)


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"type": "string", "nullable": True}, ("string", "text", True)),
        ({"dataType": "TIMESTAMP", "required": True}, ("TIMESTAMP", "instant", False)),
        ({"fieldType": "big_int", "isNullable": False}, ("big_int", "integer", False)),
        ({"type": ["null", "number"]}, ("number", "number", True)),
        ({"type": ["string"], "format": "date-time"}, ("string", "instant", False)),
        ({"type": "geo_point"}, ("geo_point", None, None)),
        ({"type": {"name": "string"}, "nullable": "yes"}, ("", None, None)),
        ({}, ("", None, None)),
    ],
)
def test_type_and_nullability_are_read_as_far_as_they_are_told(about: Any, expected: Any) -> None:
    fields = schema(fields=[{"name": "one", **about}]).fields
    assert fields is not None
    one = fields["one"]
    assert (one.type, one.kind, one.nullable) == expected


@pytest.mark.parametrize(
    "listed",
    [
        ["email", "salesforce_id"],
        [{"name": "email", "indexed": True}, {"name": "salesforce_id"}],
        [{"field": "email"}, {"fieldName": "salesforce_id", "id": "key_2"}],
        {"email": {"primary": True}, "salesforce_id": {}},
    ],
)
def test_identity_keys_may_be_names_or_objects(listed: Any) -> None:
    assert schema(identityKeys=listed).identity_keys == {"email", "salesforce_id"}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"data": None},
        {"data": []},
        {"data": {"fields": [], "identityKeys": []}},
        {"data": {"fields": [{"id": "fld_1"}, {"id": "fld_2"}], "identityKeys": "email"}},
        {"data": {"fields": [{"name": "email"}, 3], "identityKeys": [None]}},
        {"data": {"fields": {}, "identityKeys": {}}},
        {"data": {"fields": 7, "identityKeys": True}},
    ],
)
def test_what_is_not_understood_is_not_guessed(body: Any) -> None:
    assert parse(body) == Schema(None, None)


def test_a_right_mapping_has_no_problems() -> None:
    read = Schema(frozenset({"email", "salesforce_id"}), named(*FIELDS))
    assert problems(read, "profiles", "salesforce_id", FIELDS) == ([], [])


def test_a_match_key_that_is_no_identity_key_is_wrong() -> None:
    read = Schema(frozenset({"email", "anonymous_id"}), named(*FIELDS))
    wrong, unclear = problems(read, "profiles", "salesforce_id", FIELDS)
    assert wrong == [
        "match_key salesforce_id is not an identity key of profiles (those are: anonymous_id, email)"
    ]
    assert unclear == []


def test_every_unknown_field_is_wrong_and_told_with_the_nearest() -> None:
    read = Schema(frozenset({"email"}), named("email", "first_name"))
    wrong, _ = problems(read, "profiles", "email", ["email", "frist_name", "xyzzy"])
    assert len(wrong) == 2
    assert "profiles has no field frist_name (did you mean first_name" in wrong[0]
    assert wrong[1] == "profiles has no field xyzzy"


def test_an_identity_key_counts_as_a_field() -> None:
    read = Schema(frozenset({"external_id"}), named("email"))
    assert problems(read, "profiles", "external_id", ["external_id", "email"]) == ([], [])


def test_unreadable_identity_keys_are_told_and_nothing_is_refused() -> None:
    wrong, unclear = problems(Schema(None, None), "profiles", "salesforce_id", FIELDS)
    assert wrong == []
    assert len(unclear) == 1
    assert "salesforce_id" in unclear[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "fields", "identityKeys", "name", "schema", "x"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_metadata_whatever_breaks_the_reading(body: Any) -> None:
    wrong, unclear = problems(parse(body), "profiles", "email", ["email"])
    assert all(isinstance(sentence, str) for sentence in [*wrong, *unclear])
