"""Laws of normalizing and mapping, on inputs that people and old systems really produce."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import email_validator
import phonenumbers
import pytest
from dateutil.parser import isoparse
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from crmsync import normalize, regions
from crmsync.config.sync import FieldRule, Sync
from crmsync.mapping import Mapper, Record, Reject, Skip, digest, encode

usual = settings(deadline=None)
often = settings(deadline=None, max_examples=300)

ID_ALPHABET = "ABCXYZabcxyz0159"
NASTY = [
    *(
        "\x00",
        "\t",
        "\r\n",
        "\x1c",
        "\x7f",
        "\x85",
        "\x9f",
    ),  # control characters, some of which are also spaces
    *(
        " ",
        "\u00a0",
        "\u1680",
        "\u2000",
        "\u2003",
        "\u2028",
        "\u3000",
        "\u200b",
        "\ufeff",
    ),  # spaces, and not quite
    *(
        "e\u0301",
        "\u0308",
        "\u0345",
        "\u1100\u1161",
        "\u0f73",
        "\u212b",
        "\ufb01",
        "İ",
        "ß",
        "ΑΣ",
    ),  # normal forms
    *("\u200f", "\u202e", "שלום", "سلام", "👩‍👩‍👧", "🇩🇪", "\ud83d", "\udc00", "\U0010ffff"),
    *("a", "Z", "0", "-", "'", '"', "@", ".", "+", "NA", "null"),
]

nasty_text = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=4)), max_size=8).map("".join)
spaces = st.sampled_from(["", "", " ", "\u3000", "\u00a0\t", "\u2028"])

label = st.one_of(st.text("abzAB09é", min_size=1, max_size=6), st.text("ab0-", min_size=1, max_size=6))
local_part = st.one_of(st.text("abAÉ+_'!", min_size=1, max_size=8), st.text("ab.-@ ", min_size=1, max_size=6))
last_label = st.sampled_from(
    ["com", "test", "local", "localhost", "invalid", "onion", "arpa", "DE", "c", "9", "рф"]
)
domain = st.builds(lambda labels, last: ".".join([*labels, last]), st.lists(label, max_size=3), last_label)
address = st.builds(lambda a, local, at, b: f"{a}{local}@{at}{b}", spaces, local_part, domain, spaces)
addresses = st.one_of(address, nasty_text)

country = st.sampled_from(
    [None, "US", "de", "United States", "Deutschland", "Côte d’Ivoire", "Atlantis", " ", 49]
)
region = st.sampled_from([None, "US", "DE", "GB", "IT", "MX", "BR", "AR", "CI", "NU", "XK"])
digits = st.text("0123456789", min_size=3, max_size=13)
prefix = st.sampled_from(["", "+", "0", "00", "+49 ", "+1 (", "tel:"])
phone_text = st.one_of(
    st.builds(lambda head, body: head + body, prefix, digits),
    st.builds(lambda number: f"(415) 555-{number:04d}", st.integers(0, 9999)),
    st.builds(lambda number: f"030 {number}", st.integers(100_000, 99_999_999)),
    st.sampled_from(
        ["415-555-2671; 415-555-2672", "1-800-FLOWERS", "(415) 555-2671 x12", "４１５５５５２６７１"]
    ),
    nasty_text,
)

zone = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moment = st.datetimes(timezones=zone).filter(lambda at: 1 < at.year < 9999)
good_instant = st.one_of(
    st.datetimes().map(lambda at: f"{at.replace(microsecond=0).isoformat()}.000+0000"),
    moment.map(datetime.isoformat),
)
clock = st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,8})?", fullmatch=True
)
offset = st.sampled_from(["Z", "+0000", "+00:00", "-07:30", "+02", "", "+0000Z", "+99:00"])
odd_instant = st.builds(lambda a, at, zone, b: a + at + zone + b, spaces, clock, offset, spaces)
instant_text = st.one_of(good_instant, odd_instant, nasty_text)

json_numbers = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False)
)


def is_clean(text: str) -> bool:
    return (
        text == text.strip()
        and unicodedata.is_normalized("NFC", text)
        and not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)
    )


# The rules once more, written for being read instead of for speed.


@contextmanager
def nothing_reserved() -> Iterator[None]:
    """Make email-validator judge reserved domains as any other."""
    names = email_validator.SPECIAL_USE_DOMAIN_NAMES
    kept = names.copy()
    names.clear()
    try:
        yield
    finally:
        names.extend(kept)


def plain_email(value: str) -> str | None:
    address = value.strip().lower()
    with nothing_reserved():
        try:
            email_validator.validate_email(
                address, check_deliverability=False, globally_deliverable=not address.endswith("@localhost")
            )
        except email_validator.EmailNotValidError:
            return None
    return address


def plain_phone(value: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    return (
        f"+{number.country_code}{phonenumbers.national_significant_number(number)}"
        if (phonenumbers.is_valid_number(number))
        else None
    )


def plain_instant(value: str) -> str | None:
    try:
        moment = isoparse(value.strip())
        offset = moment.utcoffset()
        if offset is None:
            return None
        utc = moment.replace(tzinfo=None) - offset
    except (ValueError, OverflowError):
        return None
    return f"{utc.year:04}-{utc.month:02}-{utc.day:02}T{utc.hour:02}:{utc.minute:02}:{utc.second:02}Z"


def plain_text(value: str) -> str:
    kept = [c for c in value if unicodedata.category(c) not in ("Cc", "Cs")]
    return unicodedata.normalize("NFC", "".join(kept)).strip()


def plain_read(row: dict[str, Any], path: str) -> Any:
    found: Any = row
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def plain_map(
    sync: Sync, row: dict[str, Any], default_region: str | None
) -> tuple[dict[str, Any] | str, Counter[str]]:
    """The values to send, or the reason why not; and what was left out of them."""
    values: dict[str, Any] = {}
    left_out: Counter[str] = Counter()
    malformed = []
    if row.get("IsDeleted"):
        return "deleted", Counter()
    for rule in sync.fields:
        if rule.const is not None:
            values[rule.target] = rule.const
            continue
        value = plain_read(row, rule.source or "")
        is_text = isinstance(value, str)
        blank = value is None or (is_text and not value.strip())
        if rule.normalize == "text" and is_text and not plain_text(value):
            blank = True
        if blank:
            if rule.on_blank == "clear":
                values[rule.target] = None
            continue
        fault, sent = "invalid", None
        if rule.normalize == "email":
            sent = plain_email(value) if is_text else None
            if sent is None:
                malformed.append(rule.target)
                continue
        elif rule.normalize == "phone":
            countries = [
                regions.iso2(c) for p in rule.region_from if isinstance(c := plain_read(row, p), str)
            ]
            region = next((code for code in countries if code), default_region)
            sent = plain_phone(value, region) if is_text else None
        elif rule.normalize == "instant":
            sent = plain_instant(value) if is_text else None
        elif isinstance(value, dict):
            fault = "compound"
        else:
            sent = plain_text(value) if is_text else value
        if sent is None:
            left_out[f"{rule.target}:{fault}"] += 1
        else:
            values[rule.target] = sent
    for name in sync.require:
        if values.get(name) is None and name not in malformed:
            return f"no_{name}", Counter()
    if malformed:
        return "invalid_email", Counter()
    if values.get(sync.match_key) is None:
        return "missing_match_key", Counter()
    return values, left_out


HINTS = ("MailingCountryCode", "MailingCountry")
FIELDS = (
    FieldRule("email", "Email", "email"),
    FieldRule("external_id", "Id"),
    FieldRule("salesforce_id", "Id"),
    FieldRule("first_name", "FirstName"),
    FieldRule("phone", "Phone", "phone", HINTS),
    FieldRule("job_title", "Title", on_blank="clear"),
    FieldRule("company_name", "Account.Name"),
    FieldRule("crm_last_modified_at", "LastModifiedDate", "instant", on_blank="clear"),
)
PLAIN = Sync("contacts", "salesforce", "Contact", "profiles", "salesforce_id", "crm", FIELDS, ("email",))
KEYED_BY_TITLE = Sync(
    "contacts",
    "salesforce",
    "Contact",
    "profiles",
    "job_title",
    "crm",
    (*FIELDS, FieldRule("assistant_email", "Assistant__c", "email"), FieldRule("system", const="crm")),
    ("company_name",),
)


def mostly(common: st.SearchStrategy[Any], otherwise: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 3).flatmap(lambda chance: common if chance else otherwise)


column = mostly(nasty_text, st.one_of(st.none(), spaces, json_numbers, st.just({"city": "Rome"})))
rows = st.fixed_dictionaries(
    {
        "Id": st.text(ID_ALPHABET, min_size=18, max_size=18),
        "SystemModstamp": st.just("2024-05-01T10:11:12.000+0000"),
        "Email": mostly(st.sampled_from(["Jane@Example.com", " jane@crm.test"]), st.one_of(address, column)),
        "Phone": mostly(phone_text, column),
        "LastModifiedDate": mostly(instant_text, column),
        "FirstName": column,
        "Title": column,
        "Account": mostly(st.fixed_dictionaries({"Name": column}), st.none()),
    },
    optional={
        "Assistant__c": mostly(st.sampled_from([None, "Joe@example.com"]), addresses),
        "IsDeleted": mostly(st.just(False), st.booleans()),
        "MailingCountryCode": country,
        "MailingCountry": country,
    },
)


@usual
@given(nasty_text)
def test_text_comes_out_clean_and_stays_as_it_is(value: str) -> None:
    once = normalize.text(value)
    assert is_clean(once)
    assert once == plain_text(value)
    assert normalize.text(once) == once


@often
@given(addresses)
@example("a@localhost")
@example("a@LOCALHOST\u3000")
@example("a@b.localhost")
def test_an_address_is_what_the_plain_rule_says_and_stays_as_it_is(value: str) -> None:
    once = normalize.email(value)
    assert once == plain_email(value)
    if once is not None:
        assert once == value.strip().lower()
        assert normalize.email(once) == once


plain_label = st.one_of(st.text("az09", min_size=1, max_size=64), st.text("a0-", min_size=3, max_size=6))
plain_address = st.builds(
    lambda local, labels, last: f"{local}@{'.'.join([*labels, last])}",
    st.one_of(st.text("az09_+-", min_size=1, max_size=250), st.text("az.", min_size=1, max_size=8)),
    st.lists(plain_label, min_size=1, max_size=5),
    st.sampled_from(["com", "test", "localhost", "co", "museum", "xn", "c"]),
)


@often
@given(plain_address)
def test_the_fast_path_for_addresses_says_yes_only_where_the_validator_does(value: str) -> None:
    assume(normalize.is_plain_email(value))
    assert normalize.is_valid_email(value)


@often
@given(phone_text, region, region)
def test_a_phone_number_has_the_shape_of_e164_and_stays_as_it_is(
    value: str, home: str | None, other: str | None
) -> None:
    once = normalize.phone(value, home)
    assert once == plain_phone(value, home)
    if once is not None:
        assert re.fullmatch(r"\+[1-9][0-9]{6,14}", once)
        assert normalize.phone(once, other) == once


@often
@given(instant_text)
def test_an_instant_is_what_the_plain_rule_says_and_stays_as_it_is(value: str) -> None:
    once = normalize.instant(value)
    assert once == plain_instant(value)
    if once is not None:
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", once)
        assert normalize.instant(once) == once


@usual
@given(moment, moment)
def test_instants_sort_as_text_as_they_do_in_time(one: datetime, other: datetime) -> None:
    first, second = (at.astimezone(UTC).replace(microsecond=0) for at in (one, other))
    texts = (normalize.instant(one.isoformat()), normalize.instant(other.isoformat()))
    assert texts == tuple(normalize.instant(at.isoformat()) for at in (first, second))
    assert (texts[0] < texts[1], texts[0] == texts[1]) == (first < second, first == second)  # type: ignore[operator] # none is None


short_id = st.text(ID_ALPHABET, min_size=15, max_size=15)


@usual
@given(short_id, short_id)
def test_long_ids_are_as_distinct_without_case_as_short_ones_with_it(one: str, other: str) -> None:
    for pair in ((one, other), (one, one.swapcase()), (one, one.lower())):
        long = [normalize.id18(short) for short in pair]
        assert [len(text) for text in long] == [18, 18]
        assert [text[:15] for text in long] == list(pair)
        assert [normalize.id18(text) for text in long] == long
        assert (long[0].casefold() == long[1].casefold()) == (pair[0] == pair[1])


@usual
@given(
    st.one_of(nasty_text, st.sampled_from(["Côte d’Ivoire", "Türkiye", "Republic of Korea", "St. Lucia"])),
    spaces,
)
def test_a_countrys_code_is_known_by_itself_and_in_any_case(value: str, space: str) -> None:
    code = regions.iso2(value)
    assert code is None or (len(code) == 2 and regions.iso2(code.lower()) == code)
    assert regions.iso2(space + value + space) == code


@pytest.mark.parametrize("of", [PLAIN, KEYED_BY_TITLE], ids=["default", "other key"])
@pytest.mark.parametrize("default_region", [None, "US"])
def test_the_mapper_agrees_with_the_plain_rules(of: Sync, default_region: str | None) -> None:
    @often
    @given(rows)
    def agrees(row: dict[str, Any]) -> None:
        mapper = Mapper(of, types={"Id": "id"}, default_region=default_region)
        mapped = mapper.map(row)
        expected, left_out = plain_map(of, row, default_region)
        match mapped:
            case Record():
                assert mapped.values == expected
                assert (mapped.id, mapped.key) == (row["Id"], str(mapped.values[of.match_key]))
                assert mapped.digest == digest(encode(mapped.values))
            case Skip():
                assert mapped.reason == expected
            case Reject():
                assert mapped.code == expected
        assert mapper.left_out == left_out
        assert mapped.stamp == "2024-05-01T10:11:12Z"

    agrees()


@often
@given(rows)
def test_nothing_blank_or_unclean_is_ever_sent(row: dict[str, Any]) -> None:
    row["Email"], row["IsDeleted"] = "jane@example.com", False
    mapped = Mapper(PLAIN, types={"Id": "id"}, default_region="US").map(row)
    assert isinstance(mapped, Record)
    may_clear = {rule.target for rule in FIELDS if rule.on_blank == "clear"}
    for target, value in mapped.values.items():
        if isinstance(value, str):
            assert value
            assert is_clean(value)
        elif value is None:
            assert target in may_clear
        else:
            assert isinstance(value, bool | int | float)


@often
@given(rows)
def test_mapping_an_already_normal_record_changes_nothing(row: dict[str, Any]) -> None:
    row["Email"], row["IsDeleted"] = "jane@example.com", False
    fields = tuple(dataclasses.replace(rule, on_blank="keep") for rule in FIELDS)
    mapper = Mapper(dataclasses.replace(PLAIN, fields=fields), types={"Id": "id"}, default_region="US")
    once = mapper.map(row)
    assert isinstance(once, Record)
    again: dict[str, Any] = {"Id": once.id, "SystemModstamp": once.stamp}
    for rule in fields:
        name, _, nested = (rule.source or "").partition(".")
        value = once.values.get(rule.target)
        again[name] = {nested: value} if nested else value
    assert mapper.map(again) == once


scalars = st.one_of(st.none(), st.text(max_size=5), json_numbers)


@usual
@given(st.dictionaries(st.text(max_size=5), scalars, max_size=6), st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_fields(values: dict[str, Any], chance: Any) -> None:
    items = list(values.items())
    chance.shuffle(items)
    assert digest(encode(dict(items))) == digest(encode(values))


@usual
@given(st.dictionaries(st.text(max_size=5), scalars, min_size=1, max_size=6), st.data())
def test_the_digest_depends_on_every_field(values: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(values)))
    without = {target: value for target, value in values.items() if target != name}
    assert digest(encode(without)) != digest(encode(values))
    assert digest(encode({**values, name: "another value"})) != digest(encode(values))


@usual
@given(rows, st.text("qxj", min_size=8, max_size=8))
def test_a_reject_tells_no_value(row: dict[str, Any], secret: str) -> None:
    row.update(
        Email=f"{secret} {secret}@", FirstName=secret, Title=secret, Account={"Name": secret}, IsDeleted=False
    )
    rejected = Mapper(PLAIN, types={}).map(row)
    assert isinstance(rejected, Reject)
    assert secret not in rejected.message
