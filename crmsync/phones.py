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
    """How a region dials. `trunk` is what is dialled before a number within it. `home` matches that, or nothing, at
    the beginning of a number that is surely one of the region's own: no call to another country, nor a number that
    may be meant with what looks like a trunk prefix. `rewrites` says that what `home` captures is not just left out.
    """

    calling_code: str
    trunk: re.Pattern[str]
    home: re.Pattern[str]
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
    code, number = _from_abroad(digits) if abroad else _at_home(digits, region)
    return f"+{code}{number}" if _valid(code, len(number)).fullmatch(number) else None


def _from_abroad(digits: str) -> tuple[str, str]:
    """Calling code and number; empty where no code fits, or a trunk prefix follows it."""
    codes = _codes()
    for length in (1, 2, 3):
        code = digits[:length]
        if code in codes:
            number = digits[length:]
            plan = _plan(codes[code][0])
            return (code, number) if plan and not plan.trunk.match(number) else ("", "")
    return "", ""


def _at_home(digits: str, region: str | None) -> tuple[str, str]:
    """Calling code and number, without the trunk prefix; empty where they are not clear."""
    plan = _plan(region) if region else None
    dialled = plan.home.match(digits) if plan else None
    if plan is None or dialled is None:
        return "", ""
    if at := dialled.end():
        if len(digits) - at not in plan.lengths or (plan.rewrites and dialled.lastindex):
            return "", ""
        return plan.calling_code, digits[at:]
    return plan.calling_code, digits


@cache
def _codes() -> dict[str, tuple[str, ...]]:
    """The regions of each calling code, the main one first; codes of no region are left out."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return {str(c): regions for c, regions in COUNTRY_CODE_TO_REGION_CODE.items() if regions[0] != "001"}


@cache
def _plan(region: str) -> _Plan | None:
    """None for a region that is not known."""
    from phonenumbers import PhoneMetadata

    found = PhoneMetadata.metadata_for_region(region, None)
    if found is None or found.general_desc is None:
        return None
    trunk = found.national_prefix_for_parsing or _NOTHING
    general = found.general_desc.national_number_pattern or _NOTHING
    elsewhere = rf"{found.international_prefix or _NOTHING}|{found.country_code}"
    return _Plan(
        str(found.country_code),
        re.compile(trunk),
        re.compile(rf"(?!{elsewhere})(?:(?!(?:{general})\Z)(?>{trunk})|(?!{trunk}))"),
        frozenset(found.general_desc.possible_length),
        bool(found.national_prefix_transform_rule),
    )


@cache
def _valid(code: str, length: int) -> re.Pattern[str]:
    """The numbers of one length that some region of a calling code has. The first that claims one decides."""
    numbers = _NOTHING
    for region in reversed(_codes().get(code, ())):
        leading, own = _numbers(region, length)
        numbers = f"(?={leading}){own}|(?!{leading})(?:{numbers})" if leading else f"{own}|{numbers}"
    return re.compile(numbers)


def _numbers(region: str, length: int) -> tuple[str | None, str]:
    """What a region's numbers begin with, where that tells it from others, and its numbers of one length."""
    from phonenumbers import PhoneMetadata

    found = PhoneMetadata.metadata_for_region(region, None)
    assert found is not None
    leading = f"(?:{found.leading_digits})" if found.leading_digits else None
    general = _pattern(found.general_desc, length)
    kinds = dict.fromkeys(_pattern(getattr(found, name), length) or _NOTHING for name in _KINDS)
    return leading, rf"(?={general or _NOTHING}\Z)(?:{'|'.join(kinds)})\Z"


def _pattern(description: PhoneNumberDesc | None, length: int) -> str | None:
    """The numbers of one length that a description allows, None where it allows none of them."""
    if description is None or not description.national_number_pattern:
        return None
    if description.possible_length and length not in description.possible_length:
        return None
    return f"(?:{description.national_number_pattern})"
