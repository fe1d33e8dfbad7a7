"""Law 6: only owned fields are written, and no field by two syncs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crmsync.config import DEFAULT_SYNC, FieldRule, Sync
from crmsync.ownership import DEFAULT_OWNERSHIP, TOMBSTONE_FIELDS, problems, written_fields


def sync(name: str, *targets: str, **changes: object) -> Sync:
    fields = tuple(FieldRule(target, "Id") for target in targets)
    return replace(DEFAULT_SYNC, name=name, fields=fields, match_key=targets[0], **changes)


def test_default_sync_breaks_nothing() -> None:
    assert problems([DEFAULT_SYNC], DEFAULT_OWNERSHIP) == []


@pytest.mark.parametrize("target", ["subscription_status", "order_count", "ltv", "email_opted_out"])
def test_field_of_another_owner_is_a_problem(target: str) -> None:
    (problem,) = problems([sync("a", "salesforce_id", target)], DEFAULT_OWNERSHIP)
    assert problem.startswith(f"sync a, field {target}: belongs to {DEFAULT_OWNERSHIP[target][0]}")


def test_one_of_several_owners_is_enough() -> None:
    for owner, expected in (("crm", 0), ("sms", 0), ("esp", 1)):
        assert (
            len(problems([sync("a", "salesforce_id", "phone", owner=owner)], DEFAULT_OWNERSHIP)) == expected
        )


def test_unlisted_field_belongs_to_whoever_maps_it_and_an_empty_list_to_nobody() -> None:
    one = sync("a", "salesforce_id", "favourite_colour")
    assert problems([one], {}) == []
    assert "nobody" in problems([one], {"favourite_colour": ()})[0]


def test_two_syncs_may_not_write_one_field() -> None:
    found = problems([sync("a", "a_id", "stage"), sync("b", "b_id", "stage")], {})
    assert found == ["syncs a and b both write stage of profiles; give one of them a field of its own"]


def test_field_of_any_owner_may_be_shared() -> None:
    assert problems([sync("a", "a_id", "email"), sync("b", "b_id", "email")], DEFAULT_OWNERSHIP) == []


def test_match_key_may_be_shared_only_as_the_match_key_of_both() -> None:
    assert problems([sync("a", "crm_id"), sync("b", "crm_id")], {}) == []
    assert len(problems([sync("a", "crm_id"), sync("b", "b_id", "crm_id")], {})) == 1


def test_other_objects_and_destinations_are_apart() -> None:
    one = sync("a", "a_id", "stage")
    assert problems([one, sync("b", "b_id", "stage", into="companies")], {}) == []
    assert problems([one, sync("b", "b_id", "stage", destination="elsewhere")], {}) == []


def test_flagged_deletes_write_the_tombstone_fields() -> None:
    flagged = sync("a", "a_id", deletes="flag")
    assert written_fields(flagged) == ("a_id", *TOMBSTONE_FIELDS)
    assert len(problems([flagged], {"crm_deleted_at": ("esp",)})) == 1
    assert len(problems([flagged, sync("b", "b_id", deletes="flag")], {})) == len(TOMBSTONE_FIELDS)
