"""The short way for everyday phone numbers: where it answers, it agrees with the library's parser."""

from __future__ import annotations

import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat as Format

from crmsync import normalize, phones

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
TYPES = range(11)
"""Of phonenumbers.PhoneNumberType, but those that no plan has."""
FORMATS = (Format.E164, Format.INTERNATIONAL, Format.NATIONAL)
LARGEST = (
    *("IN", "CN", "US", "ID", "PK", "NG", "BR", "BD", "RU", "ET"),
    *("MX", "JP", "EG", "PH", "CD", "VN", "IR", "TR", "DE", "TH"),
)
"""The twenty countries with the most people."""
SIGNS = "0123456789 ().-/+"


def examples(region: str) -> list[phonenumbers.PhoneNumber]:
    """A number of each type that the region's plan has."""
    found = (phonenumbers.example_number_for_type(region, kind) for kind in TYPES)
    return [number for number in found if number is not None]


WRITTEN = {
    region: sorted({phonenumbers.format_number(n, form) for n in examples(region) for form in FORMATS})
    for region in REGIONS
}


def assert_agrees(written: str, region: str | None) -> bool:
    """Whether the short way answers at all."""
    short = phones.everyday(written, region)
    if short is not None:
        assert short == normalize.any_phone(written, region), (written, region)
    return short is not None


def test_an_example_of_every_kind_in_every_form_and_region() -> None:
    answered = total = 0
    for region, numbers in WRITTEN.items():
        for written in numbers:
            for default in (region, None):
                answered += assert_agrees(written, default)
                total += 1
    assert total > 5_000
    assert answered > total / 2


def test_the_same_in_the_way_of_another_country() -> None:
    """A country's number in a row of another one: the digits may mean something there, or nothing."""
    chance = random.Random(1)
    for numbers in WRITTEN.values():
        for written in numbers:
            for region in chance.sample(REGIONS, 4):
                assert_agrees(written, region)


def test_nearly_such_numbers() -> None:
    """A digit changed, left out or put in, a separator more or less, the trunk prefix doubled or left out."""
    chance = random.Random(2)
    for region, numbers in WRITTEN.items():
        for written in numbers:
            for _ in range(4):
                at = chance.randrange(len(written))
                sign = chance.choice(SIGNS)
                for changed in (
                    written[:at] + sign + written[at + 1 :],
                    written[:at] + written[at + 1 :],
                    written[:at] + sign + written[at:],
                    written[0] + written,
                ):
                    assert_agrees(changed, region)


@st.composite
def nearly_numbers(draw: st.DrawFn) -> tuple[str, str | None]:
    region = draw(st.sampled_from(REGIONS))
    signs = list(draw(st.sampled_from(WRITTEN[region])))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(signs)))
        signs[at : at + draw(st.integers(0, 2))] = draw(st.text(SIGNS + "00０٣ x#", max_size=2))
    return "".join(signs), draw(st.none() | st.just(region) | st.sampled_from([*REGIONS, "XX", ""]))


@given(nearly_numbers())
def test_whatever_is_written(drawn: tuple[str, str | None]) -> None:
    assert_agrees(*drawn)


@given(st.text(SIGNS, max_size=20), st.sampled_from([None, *REGIONS]))
def test_any_digits(written: str, region: str | None) -> None:
    assert_agrees(written, region)


@pytest.mark.parametrize("region", LARGEST)
def test_it_does_answer_for_the_usual_forms_of_a_large_country(region: str) -> None:
    """Of fixed lines and mobiles, as people write them at home and abroad."""
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
        number = phonenumbers.example_number_for_type(region, kind)
        sent = phonenumbers.format_number(number, Format.E164)
        at_home = phonenumbers.format_number(number, Format.NATIONAL)
        abroad = phonenumbers.format_number(number, Format.INTERNATIONAL)
        assert phones.everyday(at_home, region) == sent
        assert phones.everyday(abroad, region) == phones.everyday(abroad, None) == sent
        assert phones.everyday(sent.replace("+", "+ "), "US") == sent


@pytest.mark.parametrize(
    "written", ["", "12", "+", "()", "----", "+ () -", "call me", "030 901820 ext. 3", "030/901820 o. 901821"]
)
def test_what_is_not_everyday_is_left_to_the_library(written: str) -> None:
    assert phones.everyday(written, "DE") is None
