"""What becomes of a row: a record, a skip or a reject, and with which values."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from crmsync.config.sync import FieldRule, Sync
from crmsync.mapping import Mapper, Record, Reject, Skip, digest, encode, fingerprint

HINTS = ("MailingCountryCode", "MailingCountry")
TYPES = {"Id": "id", "Email": "email", "Phone": "phone", "Account.Name": "string", "OwnerId": "reference"}
ID = "0035000000abcdeAAA"

DEFAULT = (
    FieldRule("email", "Email", "email"),
    FieldRule("external_id", "Id"),
    FieldRule("salesforce_id", "Id"),
    FieldRule("first_name", "FirstName"),
    FieldRule("last_name", "LastName"),
    FieldRule("phone", "Phone", "phone", HINTS),
    FieldRule("job_title", "Title"),
    FieldRule("company_name", "Account.Name"),
    FieldRule("lead_source", "LeadSource"),
    FieldRule("crm_last_modified_at", "LastModifiedDate", "instant"),
)


def sync(*fields: FieldRule, **others: Any) -> Sync:
    settings: dict[str, Any] = {"match_key": "salesforce_id", "require": ("email",), **others}
    return Sync(
        name="contacts",
        source="salesforce",
        object="Contact",
        into="profiles",
        owner="crm",
        fields=fields or DEFAULT,
        **settings,
    )


def only(rule: FieldRule, **others: Any) -> Sync:
    """A sync of one field beside the match key, with nothing required."""
    return sync(FieldRule("salesforce_id", "Id"), rule, **{"require": (), **others})


def row(**columns: Any) -> dict[str, Any]:
    return {
        "attributes": {"type": "Contact", "url": f"/services/data/v61.0/sobjects/Contact/{ID}"},
        "Id": ID,
        "IsDeleted": False,
        "SystemModstamp": "2024-05-01T10:11:13.000+0000",
        "Email": " Jane@Example.com ",
        "FirstName": "Jane",
        "LastName": None,
        "Phone": "(415) 555-2671",
        "MailingCountryCode": None,
        "MailingCountry": "United States",
        "Title": "  ",
        "Account": {"attributes": {"type": "Account"}, "Name": "Acme"},
        "LeadSource": "Web",
        "LastModifiedDate": "2024-05-01T10:11:12.000+0000",
        **columns,
    }


def mapper(of: Sync | None = None, **settings: Any) -> Mapper:
    return Mapper(of or sync(), **{"types": TYPES, **settings})


def values(of: Sync, source: dict[str, Any], **settings: Any) -> dict[str, Any]:
    mapped = mapper(of, **settings).map(source)
    assert isinstance(mapped, Record)
    return mapped.values


def test_the_default_sync_maps_a_contact() -> None:
    mapped = mapper().map(row())
    expected = {
        "email": "jane@example.com",
        "external_id": ID,
        "salesforce_id": ID,
        "first_name": "Jane",
        "phone": "+14155552671",
        "company_name": "Acme",
        "lead_source": "Web",
        "crm_last_modified_at": "2024-05-01T10:11:12Z",
    }
    body = encode(expected)
    assert mapped == Record(ID, ID, "2024-05-01T10:11:13Z", body, digest(body))
    assert mapped.values == expected


def test_a_path_through_a_missing_parent_is_blank() -> None:
    accounts: list[Any] = [None, {"attributes": {}}, {"Name": None}, "Acme"]
    for account in accounts:
        assert "company_name" not in values(sync(), row(Account=account))
    without = row()
    del without["Account"], without["FirstName"]
    assert {"company_name", "first_name"}.isdisjoint(values(sync(), without))


def test_a_path_goes_through_several_parents() -> None:
    deep = only(FieldRule("parent", "Account.Parent.Name"))
    assert values(deep, row(Account={"Parent": {"Name": "Holding"}}))["parent"] == "Holding"
    assert "parent" not in values(deep, row(Account={"Parent": None}))


def test_a_deleted_row_is_skipped_before_anything_else() -> None:
    assert mapper().map(row(IsDeleted=True, Email="broken")) == Skip(ID, "2024-05-01T10:11:13Z", "deleted")


@pytest.mark.parametrize("blank", [None, "", " \u3000\u00a0"])
def test_a_row_without_a_required_field_is_skipped(blank: str | None) -> None:
    assert mapper().map(row(Email=blank)) == Skip(ID, "2024-05-01T10:11:13Z", "no_email")


def test_a_required_field_that_was_invalid_is_missing() -> None:
    strict = mapper(sync(require=("phone",)))
    assert strict.map(row(Phone="n/a")) == Skip(ID, "2024-05-01T10:11:13Z", "no_phone")
    assert strict.left_out == Counter()


def test_a_required_field_is_missed_before_an_address_is_found_malformed() -> None:
    assert mapper(sync(require=("last_name",))).map(row(Email="broken")) == Skip(
        ID, "2024-05-01T10:11:13Z", "no_last_name"
    )


def test_false_and_zero_are_values() -> None:
    of = sync(FieldRule("salesforce_id", "Id"), FieldRule("vip", "Vip__c"), require=("vip",))
    assert values(of, row(Vip__c=False))["vip"] is False
    assert values(of, row(Vip__c=0))["vip"] == 0


@pytest.mark.parametrize("malformed", ["jane@", "\x00", 7, {"address": "jane@example.com"}])
def test_a_malformed_address_rejects_the_row_without_telling_it(malformed: Any) -> None:
    rejected = mapper().map(row(Email=malformed))
    assert isinstance(rejected, Reject)
    assert (rejected.id, rejected.stamp) == (ID, "2024-05-01T10:11:13Z")
    assert (rejected.code, rejected.field) == ("invalid_email", "email")
    assert rejected.message == "email (from Email) is not a well-formed e-mail address"


def test_any_address_counts_whether_it_is_required_or_not() -> None:
    second = sync(*DEFAULT, FieldRule("assistant_email", "Assistant__c", "email"))
    rejected = mapper(second).map(row(Assistant__c="nobody"))
    assert isinstance(rejected, Reject)
    assert rejected.field == "assistant_email"
    assert isinstance(mapper(second).map(row(Assistant__c=" ")), Record)


def test_the_address_is_judged_before_the_match_key() -> None:
    rejected = mapper(sync(match_key="last_name")).map(row(Email="jane@"))
    assert isinstance(rejected, Reject)
    assert rejected.code == "invalid_email"


@pytest.mark.parametrize("on_blank", ["keep", "clear"])
@pytest.mark.parametrize("blank", [None, " ", "\x00"])
def test_a_row_without_match_key_is_rejected(blank: str | None, on_blank: Any) -> None:
    keyed = only(FieldRule("crm_no", "Number__c", on_blank=on_blank), match_key="crm_no")
    rejected = mapper(keyed).map(row(Number__c=blank))
    assert isinstance(rejected, Reject)
    assert (rejected.code, rejected.field) == ("missing_match_key", "crm_no")
    assert "crm_no (from Number__c)" in rejected.message


def test_a_blank_constant_is_no_match_key() -> None:
    rejected = mapper(only(FieldRule("crm_no", const=" "), match_key="crm_no")).map(row())
    assert isinstance(rejected, Reject)
    assert rejected.message == "crm_no is the match key, and the row has no usable value for it"


def test_a_match_key_that_was_invalid_or_is_not_mapped_is_missing() -> None:
    for rule in (FieldRule("phone", "Phone", "phone"), FieldRule("other", "Title")):
        rejected = mapper(only(rule, match_key="phone")).map(row(Phone="n/a"))
        assert isinstance(rejected, Reject)
        assert rejected.code == "missing_match_key"


def test_the_key_is_text_and_the_value_keeps_its_type() -> None:
    mapped = mapper(only(FieldRule("crm_no", "Number__c"), match_key="crm_no")).map(row(Number__c=12))
    assert isinstance(mapped, Record)
    assert (mapped.key, mapped.values["crm_no"]) == ("12", 12)


def test_a_blank_value_clears_only_where_the_rule_says_so() -> None:
    for blank in (None, "", " \t", "\u3000"):
        for normalization in ("text", "none", "phone", "instant", "email"):
            for on_blank, expected in (("keep", {}), ("clear", {"field": None})):
                rule = FieldRule("field", "Field__c", normalization, on_blank=on_blank)  # type: ignore[arg-type] # a loop's plain str
                assert values(only(rule), row(Field__c=blank)) == {"salesforce_id": ID, **expected}


def test_an_invalid_value_is_left_out_and_counted_and_never_clears() -> None:
    of = sync(
        FieldRule("salesforce_id", "Id"),
        FieldRule("phone", "Phone", "phone", on_blank="clear"),
        FieldRule("born_at", "Born__c", "instant", on_blank="clear"),
        FieldRule("address", "MailingAddress", on_blank="clear"),
        require=(),
    )
    counting = mapper(of, default_region="US")
    for _ in range(2):
        mapped = counting.map(row(Phone="5551234", Born__c="2024-05-01", MailingAddress={"city": "Rome"}))
        assert isinstance(mapped, Record)
        assert mapped.values == {"salesforce_id": ID}
    assert counting.left_out == Counter({"phone:invalid": 2, "born_at:invalid": 2, "address:compound": 2})


def test_values_of_the_wrong_type_are_invalid() -> None:
    of = only(FieldRule("field", "Field__c", "phone"))
    assert "field" not in values(of, row(Field__c=4155552671), default_region="US")
    of = only(FieldRule("field", "Field__c", "instant"))
    assert "field" not in values(of, row(Field__c=1714557072))


@pytest.mark.parametrize(
    ("hints", "region", "sent"),
    [
        ({"MailingCountryCode": "DE", "MailingCountry": "France"}, None, "+4930901820"),
        ({"MailingCountryCode": None, "MailingCountry": "Deutschland"}, "US", "+4930901820"),
        ({"MailingCountryCode": "Atlantis", "MailingCountry": "GERMANY"}, None, "+4930901820"),
        ({"MailingCountryCode": 49, "MailingCountry": " "}, "DE", "+4930901820"),
        ({"MailingCountryCode": None, "MailingCountry": None}, "germany", "+4930901820"),
        ({"MailingCountryCode": "US", "MailingCountry": None}, "DE", None),
        ({"MailingCountryCode": None, "MailingCountry": None}, None, None),
    ],
)
def test_a_phone_number_is_read_with_the_rows_country_else_the_default(
    hints: dict[str, Any], region: str | None, sent: str | None
) -> None:
    of = only(FieldRule("phone", "Phone", "phone", HINTS))
    assert values(of, row(Phone="030 901820", **hints), default_region=region).get("phone") == sent


def test_columns_are_the_paths_read_once_each_and_in_order() -> None:
    extra = sync(
        *DEFAULT, FieldRule("source_system", const="crm"), FieldRule("title", "Title", region_from=("X",))
    )
    assert mapper(extra, available={"MailingCountry"}).columns == (
        "Email",
        "Id",
        "FirstName",
        "LastName",
        "Phone",
        "MailingCountry",
        "Title",
        "Account.Name",
        "LeadSource",
        "LastModifiedDate",
    )
    assert mapper(only(FieldRule("phone", "Phone", "phone", HINTS))).columns == ("Id", "Phone", *HINTS)


def test_a_hint_that_is_not_available_is_not_read() -> None:
    of = only(FieldRule("phone", "Phone", "phone", HINTS))
    source = row(Phone="030 901820", MailingCountryCode="DE", MailingCountry=None)
    assert "phone" in values(of, source, available={"MailingCountryCode"})
    assert "phone" not in values(of, source, available=set())


def test_short_ids_are_completed_for_id_columns_only() -> None:
    of = sync(
        FieldRule("salesforce_id", "Id"),
        FieldRule("owner_id", "OwnerId"),
        FieldRule("serial", "Serial__c"),
        require=(),
    )
    mapped = mapper(of).map(row(Id=ID[:15], OwnerId="005A0000006Vm9r", Serial__c="001A0000006Vm9r"))
    assert isinstance(mapped, Record)
    assert (mapped.id, mapped.key) == (ID, ID)
    assert mapped.values["owner_id"] == "005A0000006Vm9rIAC"
    assert mapped.values["serial"] == "001A0000006Vm9r"
    assert mapper().map(row(Id=ID[:15], IsDeleted=True)).id == ID


@pytest.mark.parametrize("value", [True, False, 0, 3.0, -1])
def test_numbers_and_booleans_pass_through_text(value: Any) -> None:
    sent = values(only(FieldRule("field", "Field__c")), row(Field__c=value))["field"]
    assert (sent, type(sent)) == (value, type(value))


@pytest.mark.parametrize("value", ["  Two\nlines ", "e\u0301", {"city": "Rome"}, ["a"], True, 1.5])
def test_none_passes_a_value_as_it_is(value: Any) -> None:
    assert values(only(FieldRule("field", "Field__c", "none")), row(Field__c=value))["field"] == value


def test_the_order_within_a_compound_value_makes_no_difference() -> None:
    raw = mapper(only(FieldRule("field", "Field__c", "none")))
    one, other = (
        raw.map(row(Field__c=value)) for value in ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}})
    )
    assert one == other


def test_none_leaves_out_what_json_cannot_carry() -> None:
    raw = mapper(only(FieldRule("field", "Field__c", "none")))
    mapped = raw.map(row(Field__c="half \ud83d a pair"))
    assert isinstance(mapped, Record)
    assert mapped.values == {"salesforce_id": ID}
    assert raw.left_out == Counter({"field:invalid": 1})


@pytest.mark.parametrize("const", ["crm", " as is ", 7, 1.5, True, False])
def test_a_constant_is_put_as_it_is(const: Any) -> None:
    put = values(only(FieldRule("field", const=const)), row())["field"]
    assert (put, type(put)) == (const, type(const))


def test_the_stamp_is_the_cursors() -> None:
    by_date = mapper(cursor="LastModifiedDate").map(row(LastModifiedDate="2024-05-01T12:00:00.000+02:00"))
    assert by_date.stamp == "2024-05-01T10:00:00Z"
    for unreadable in (None, "", "yesterday"):
        assert mapper().map(row(SystemModstamp=unreadable)).stamp == ""


def test_mapping_leaves_the_row_alone() -> None:
    source = row()
    mapper().map(source)
    assert source == row()


def test_the_digest_tells_values_apart() -> None:
    looks_alike: list[dict[str, Any]] = [
        {"a": 1},
        {"a": "1"},
        {"a": True},
        {"a": None},
        {"a": 1.5},
        {},
        {"b": 1},
        {"a": 1, "b": 1},
    ]
    assert len({digest(encode(fields)) for fields in looks_alike}) == len(looks_alike)
    assert len(digest(encode({}))) == 16


def test_the_fingerprint_changes_with_what_changes_the_records() -> None:
    phone = FieldRule("phone", "Phone", "phone", HINTS)
    others = [field for field in DEFAULT if field.target != "phone"]
    variants = [
        (sync(), None),
        (sync(), "US"),
        (sync(), "DE"),
        (sync(require=()), None),
        (sync(match_key="external_id"), None),
        (sync(where="IsActive = true"), None),
        (sync(*others), None),
        (sync(*others, dataclasses.replace(phone, source="MobilePhone")), None),
        (sync(*others, dataclasses.replace(phone, target="mobile")), None),
        (sync(*others, dataclasses.replace(phone, normalize="text")), None),
        (sync(*others, dataclasses.replace(phone, on_blank="clear")), None),
        (sync(*others, dataclasses.replace(phone, region_from=HINTS[::-1])), None),
        (sync(*others, FieldRule("phone", const="1")), None),
        (sync(*others, FieldRule("phone", const=1)), None),
        (sync(*others, FieldRule("phone", const=True)), None),
        (dataclasses.replace(sync(), object="Lead"), None),
        (dataclasses.replace(sync(), into="leads"), None),
    ]
    marks = {fingerprint(of, region) for of, region in variants}
    assert len(marks) == len(variants)
    assert all(int(mark, 16) >= 0 and len(mark) <= 16 for mark in marks)


def test_the_fingerprint_stays_when_the_records_do() -> None:
    mark = fingerprint(sync(), "US")
    assert fingerprint(sync(*reversed(DEFAULT)), "US") == mark
    assert fingerprint(sync(), "United States") == mark
    assert fingerprint(dataclasses.replace(sync(), name="people", owner="sales"), "US") == mark
    without_phones = [field for field in DEFAULT if field.normalize != "phone"]
    assert fingerprint(sync(*without_phones), "US") == fingerprint(sync(*without_phones), "DE")
