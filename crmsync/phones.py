"""The everyday phone number in E.164, without the library's general parser. Pure.

phonenumbers reads anything that a person may have written, and takes 30 µs for it. Most numbers are digits with
the usual separators, of a form that its metadata settle at once: those are answered here, from the same metadata.
Whatever needs more than that is left to the library, and where both answer they agree (a property test holds
them to it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import PhoneNumberDesc

_SEPARATORS = b" -()./"
_LONGEST = 31
_NOTHING = "(?!)"
_KINDS = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("voip", "personal_number", "pager", "uan", "voicemail"),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a region dials. `trunk` matches what is dialled before a number within it, `elsewhere` what may begin a
    call to another country, or a number with its calling code. `rewrites` says that what the last group of `trunk`
    captures is not just left out.
    """

    calling_code: str
    trunk: re.Pattern[str]
    elsewhere: re.Pattern[str]
    general: re.Pattern[str]
    lengths: frozenset[int]
    rewrites: bool


def everyday(value: str, region: str | None) -> str | None:
    """The number in E.164 if it is surely a valid one, else None: ask the library.

    `region` is the alpha-2 code of the country in whose way a number without `+` is written.
    """
    if not value.isascii() or len(value) > _LONGEST:
        return None
    abroad = value.startswith("+")
    digits = value[abroad:].encode().translate(None, _SEPARATORS).decode()
    if not digits.isdigit():
        return None
    if abroad:
        code, number = _split(digits)
        plan = _plan_of_code(code) if code else None
        if plan is None or plan.trunk.match(number):
            return None
    else:
        plan = _plan(region) if region else None
        if plan is None or plan.elsewhere.match(digits):
            return None
        code, number = plan.calling_code, digits
        if trunk := plan.trunk.match(number):
            if plan.general.fullmatch(number) or (plan.rewrites and trunk[trunk.re.groups] is not None):
                return None
            number = number[trunk.end() :]
            if len(number) not in plan.lengths:
                return None
    return f"+{code}{number}" if _is_valid(code, number) else None


def _split(digits: str) -> tuple[str, str]:
    """Calling code and number; no code where none fits."""
    codes = _codes()
    for length in (1, 2, 3):
        if digits[:length] in codes:
            return digits[:length], digits[length:]
    return "", digits


@cache
def _codes() -> dict[str, tuple[str, ...]]:
    """The regions of each calling code, the main one first; codes of no region are left out."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return {str(c): regions for c, regions in COUNTRY_CODE_TO_REGION_CODE.items() if regions[0] != "001"}


def _plan_of_code(code: str) -> _Plan | None:
    return _plan(_codes()[code][0])


@cache
def _plan(region: str) -> _Plan | None:
    """None for a region that is not known."""
    from phonenumbers import PhoneMetadata

    found = PhoneMetadata.metadata_for_region(region, None)
    if found is None or found.general_desc is None:
        return None
    return _Plan(
        str(found.country_code),
        re.compile(found.national_prefix_for_parsing or _NOTHING),
        re.compile(f"(?:{found.international_prefix or _NOTHING})|{found.country_code}"),
        re.compile(found.general_desc.national_number_pattern or _NOTHING),
        frozenset(found.general_desc.possible_length),
        bool(found.national_prefix_transform_rule),
    )


def _is_valid(code: str, number: str) -> bool:
    """Whether some region of this calling code has such a number. The first that claims it decides."""
    for leading, valid in _claims(code, len(number)):
        if leading is not None:
            if leading.match(number):
                return valid.fullmatch(number) is not None
        elif valid.fullmatch(number):
            return True
    return False


@cache
def _claims(code: str, length: int) -> tuple[tuple[re.Pattern[str] | None, re.Pattern[str]], ...]:
    """The patterns of each region of a calling code."""
    return tuple(_patterns(region, length) for region in _codes()[code])


def _patterns(region: str, length: int) -> tuple[re.Pattern[str] | None, re.Pattern[str]]:
    """What a region's numbers begin with, where that tells it from others, and its numbers of one length."""
    from phonenumbers import PhoneMetadata

    found = PhoneMetadata.metadata_for_region(region, None)
    assert found is not None
    leading = re.compile(found.leading_digits) if found.leading_digits else None
    general = _pattern(found.general_desc, length)
    kinds = [pattern for name in _KINDS if (pattern := _pattern(getattr(found, name), length))]
    if general is None or not kinds:
        return leading, re.compile(_NOTHING)
    return leading, re.compile(rf"(?={general}\Z)(?:{'|'.join(kinds)})")


def _pattern(description: PhoneNumberDesc | None, length: int) -> str | None:
    """The numbers of one length that a description allows, None where it allows none of them."""
    if description is None or not description.national_number_pattern:
        return None
    if description.possible_length and length not in description.possible_length:
        return None
    return f"(?:{description.national_number_pattern})"
