"""The rules for single values, one example per rule; the property tests look for what the examples miss."""

from __future__ import annotations

import re
import subprocess
import sys

import phonenumbers
import pytest

from crmsync import normalize, regions


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("jane@example.com", "jane@example.com"),
        ("  Jane.Doe@Example.COM\t", "jane.doe@example.com"),
        ("\u3000\u00a0jane@example.com\u2003\n", "jane@example.com"),
        ("A.B+Tag@Sub.Example.CO.UK", "a.b+tag@sub.example.co.uk"),
        ("O'Brien@example.com", "o'brien@example.com"),
        ("jane@MÜNCHEN.de", "jane@münchen.de"),
        ("jane@xn--mnchen-3ya.de", "jane@xn--mnchen-3ya.de"),
        ("Zoë@example.com", "zoë@example.com"),
    ],
)
def test_an_address_is_only_trimmed_and_lower_cased(written: str, sent: str) -> None:
    assert normalize.email(written) == sent


@pytest.mark.parametrize(
    "domain",
    ["test", "local", "localhost", "example", "invalid"],
)
def test_addresses_under_reserved_domains_pass(domain: str) -> None:
    assert normalize.email(f"Jane@crm.{domain}") == f"jane@crm.{domain}"
    assert normalize.email(f"Zoë@crm.{domain}") == f"zoë@crm.{domain}"


def test_localhost_is_the_only_domain_without_a_dot() -> None:
    assert normalize.email("root@localhost") == "root@localhost"
    assert [normalize.email(f"root@{name}") for name in ("intranet", "test", "local", "invalid")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    "written",
    [
        "jane",
        "jane@",
        "@example.com",
        "jane@@example.com",
        "jane doe@example.com",
        "jane..doe@example.com",
        ".jane@example.com",
        "jane@-example.com",
        "jane@example..com",
        "jane@ab--cd.com",
        "jane@10.0.0.1",
        "Jane <jane@example.com>",
        '"jane"@example.com',
        "jane@example.com, joe@example.com",
        "ja\x00ne@example.com",
        "jane@example.com\x00",
        "jane@exa\u202emple.com",
        "\ud800@example.com",
        "j" * 250 + "@example.com",
        "j" * 100_000 + "@example.com",
        "",
    ],
)
def test_a_malformed_address_is_refused(written: str) -> None:
    assert normalize.email(written) is None


@pytest.mark.parametrize("domain", ["localhost", "crm.test", "crm.localhost", "example.com"])
def test_the_length_limit_counts_the_address_itself(domain: str) -> None:
    room = 254 - len(f"@{domain}")
    assert normalize.email("j" * room + f"@{domain}") is not None
    assert normalize.email("j" * (room + 1) + f"@{domain}") is None
    assert normalize.email("é" + "j" * (room - 1) + f"@{domain}") is None


@pytest.mark.parametrize(
    ("written", "region", "sent"),
    [
        ("(415) 555-2671", "US", "+14155552671"),
        ("+49 30 901820", None, "+4930901820"),
        ("+49 30 901820", "US", "+4930901820"),
        ("030 901820", "DE", "+4930901820"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("(415) 555-2671 ext. 12", "US", "+14155552671"),
        ("\u202a+1 415 555 2671\u202c", None, "+14155552671"),
        ("４１５５５５２６７１", "US", "+14155552671"),
        ("06 698 12345", "IT", "+390669812345"),
    ],
)
def test_a_phone_number_becomes_e164(written: str, region: str | None, sent: str) -> None:
    assert normalize.phone(written, region) == sent


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("5551234", "US"),  # possible without an area code, yet not valid
        ("0049 30 901820", "US"),  # another country's prefix for calls abroad
        ("415-555-2671; 415-555-2672", "US"),
        ("4155552671", None),
        ("4155552671", "AQ"),  # a country that has no numbers of its own
        ("+999 123 456", "US"),
        ("n/a", "US"),
        ("\ud800", "US"),
        ("1" * 10_000, "US"),
    ],
)
def test_what_is_not_a_valid_number_is_none(written: str, region: str | None) -> None:
    assert normalize.phone(written, region) is None


def test_every_countrys_example_number_has_the_shape_of_e164_and_stays_as_it_is() -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number(region)
        assert example is not None
        national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
        number = normalize.phone(national, region)
        assert number is not None, region
        assert re.fullmatch(r"\+[1-9][0-9]{6,14}", number), region
        assert normalize.phone(number) == number, region


def test_what_the_general_parser_read_is_cached_within_a_bound() -> None:
    normalize.any_phone.cache_clear()
    for _ in range(3):
        normalize.phone("(415) 555-2671 ext. 9", "US")
        normalize.phone("(415) 555-2671 ext. 9", "DE")
    counts = normalize.any_phone.cache_info()
    assert (counts.misses, counts.hits) == (2, 4)
    assert counts.maxsize is not None
    assert counts.maxsize <= 100_000


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("2024-05-01T10:11:12.000+0000", "2024-05-01T10:11:12Z"),
        ("2024-05-01T10:11:12.000Z", "2024-05-01T10:11:12Z"),
        ("2024-05-01T10:11:12Z", "2024-05-01T10:11:12Z"),
        (" 2024-05-01T10:11:12Z\n", "2024-05-01T10:11:12Z"),
        ("2024-05-01T10:11:12.999+0000", "2024-05-01T10:11:12Z"),
        ("2024-05-01T10:11:12.999999999+02:00", "2024-05-01T08:11:12Z"),
        ("2024-05-01T23:30:00.5-07:30", "2024-05-02T07:00:00Z"),
        ("20240501T101112Z", "2024-05-01T10:11:12Z"),
        ("2024-05-01T24:00:00.000Z", "2024-05-02T00:00:00Z"),
        ("2024-02-29T00:00:00.000+0000", "2024-02-29T00:00:00Z"),
        ("0999-12-31T23:59:59.000+0000", "0999-12-31T23:59:59Z"),
        ("0999-12-31T23:59:59+01:00", "0999-12-31T22:59:59Z"),
    ],
)
def test_an_instant_is_in_utc_to_the_second(written: str, sent: str) -> None:
    assert normalize.instant(written) == sent


@pytest.mark.parametrize(
    "written",
    [
        "2024-05-01T10:11:12",
        "2024-05-01",
        "2024",
        "10",
        "may",
        "2023-02-29T00:00:00.000+0000",
        "2024-13-01T00:00:00.000Z",
        "2024-05-01T10:11:60Z",
        "2024-05-01T10:11:12+0000Z",
        "2024-05-01T10:11:12+99:00",
        "0001-01-01T00:00:00+14:00",
        "２０２４-05-01T10:11:12Z",
        "\ud800",
        "",
    ],
)
def test_an_instant_that_is_unreadable_or_has_no_zone_is_none(written: str) -> None:
    assert normalize.instant(written) is None


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("VP of Sales", "VP of Sales"),
        ("  VP  of Sales ", "VP  of Sales"),
        ("\u3000\u00a0VP\u2028", "VP"),
        ("V\x00P\x07\x9f", "VP"),
        ("one\r\ntwo\tthree", "onetwothree"),
        (" \x00 VP \x00 ", "VP"),
        ("Zoe\u0308", "Zoë"),
        ("Zoe\x00\u0308", "Zoë"),
        ("Å", "Å"),
        ("א\u200fב 👩‍👩‍👧", "א\u200fב 👩‍👩‍👧"),
        ("half\ud83d a pair", "half a pair"),
        ("NA", "NA"),
        ("null", "null"),
        (" \x00\t ", ""),
    ],
)
def test_text_is_composed_trimmed_and_free_of_control_characters(written: str, sent: str) -> None:
    assert normalize.text(written) == sent


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("001A0000006Vm9r", "001A0000006Vm9rIAC"),
        ("0035000000abcde", "0035000000abcdeAAA"),
        ("ABCDEABCDEABCDE", "ABCDEABCDEABCDE555"),
        ("aBcDe00000zzzzZ", "aBcDe00000zzzzZKAQ"),
        ("001A0000006Vm9rIAC", "001A0000006Vm9rIAC"),
        ("001A0000006Vm9", "001A0000006Vm9"),
        ("001A0000-06Vm9r", "001A0000-06Vm9r"),
        ("", ""),
    ],
)
def test_a_short_id_gets_its_checksum(written: str, sent: str) -> None:
    assert normalize.id18(written) == sent


def test_short_ids_that_differ_in_case_only_stay_apart_without_it() -> None:
    pair = [normalize.id18("0035000000abcDe"), normalize.id18("0035000000abcde")]
    assert len({long.casefold() for long in pair}) == 2


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("US", "US"),
        ("us", "US"),
        ("USA", "US"),
        ("U.S.A.", "US"),
        ("u.s.", "US"),
        (" na ", "NA"),
        (" united  states ", "US"),
        ("The United States of America", "US"),
        ("UK", "GB"),
        ("England", "GB"),
        ("Northern Ireland", "GB"),
        ("DEU", "DE"),
        ("Deutschland", "DE"),
        ("Osterreich", "AT"),
        ("ÖSTERREICH", "AT"),
        ("Cote d’Ivoire", "CI"),
        ("Netherlands, The", "NL"),
        ("Korea, Republic of", "KR"),
        ("Republic of Korea", "KR"),
        ("Korea, Democratic People's Republic of", "KP"),
        ("Congo, the Democratic Republic of the", "CD"),
        ("Trinidad & Tobago", "TT"),
        ("St. Lucia", "LC"),
        ("TÜRKİYE", "TR"),
        ("日本", "JP"),
        ("Россия", "RU"),
        ("مصر", "EG"),
        ("भारत", "IN"),
    ],
)
def test_a_country_is_known_by_code_name_and_alias(written: str, code: str) -> None:
    assert regions.iso2(written) == code


@pytest.mark.parametrize("written", ["", "  ", "Atlantis", "n/a", "N.A.", "-", "California", "the", "I.D."])
def test_an_unknown_country_has_no_code(written: str) -> None:
    assert regions.iso2(written) is None


def test_every_country_that_has_phone_numbers_is_known() -> None:
    without_a_code_of_their_own = {"AC", "TA"}
    known = {code for code in phonenumbers.SUPPORTED_REGIONS if regions.iso2(code) == code}
    assert phonenumbers.SUPPORTED_REGIONS - known == without_a_code_of_their_own


def test_the_heavy_libraries_are_imported_on_first_use_only() -> None:
    asked = "import sys, crmsync.mapping; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert not {"phonenumbers", "email_validator", "dateutil"} & set(loaded.split())
