"""How single values are brought into the form the CDP gets.

Every function is pure and idempotent. Those that can fail return None for a value that is not what it should
be, and never raise; whether that costs the field or the row, and what is blank, the mapping decides.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache

from crmsync import phones

_PLAIN_EMAIL = re.compile(
    r"[a-z0-9_+-]++(?:\.[a-z0-9_+-]++)*+@(?:[a-z0-9]++(?:-[a-z0-9]++)*+\.)++[a-z]{2,24}"
)
_LONGEST_LABEL = 63

# Last labels that the validator refuses in every mode, though nothing is wrong with such an address as text.
_SPECIAL_USE = re.compile(r"(?<=[@.])(?:test|local|localhost|invalid|onion|arpa)\Z")

_SALESFORCE_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:\.[0-9]+)?(?:Z|\+0000)"
)

# Category Cc, and the lone surrogates that no UTF-8 text can carry.
_UNSENDABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID_15 = re.compile(r"[A-Za-z0-9]{15}")


def email(value: str) -> str | None:
    """The address trimmed and lower-cased, otherwise as it was written; None if it is malformed."""
    address = value.strip().lower()
    return address if is_plain_email(address) or is_valid_email(address) else None


def is_plain_email(address: str) -> bool:
    """Whether this is an everyday lower-case address, which the full validator accepts as well.

    A property test holds it to that. None of its labels is too long, for the whole of it is not.
    """
    return len(address) <= _LONGEST_LABEL and _PLAIN_EMAIL.fullmatch(address) is not None


def is_valid_email(address: str) -> bool:
    """Whether email-validator accepts the syntax of a trimmed, lower-case address. Nothing is looked up.

    Reserved domains (`.test`, `.local`, `localhost`, …) are fine. A domain with a numeric last label is not,
    nor one without a dot, other than `localhost`.
    """
    if "@" not in address or len(address.encode("utf-8", "replace")) > 254:
        return False
    from email_validator import validate_email

    if address.endswith("@localhost"):
        ordinary = address.removesuffix("localhost") + "a.com"
    else:
        ordinary = _SPECIAL_USE.sub("com", address)
    try:
        validate_email(ordinary, check_deliverability=False)
    except ValueError:
        return False
    return True


def phone(value: str, region: str | None = None) -> str | None:
    """The number in E.164 (`+14155552671`); None if it is not a valid number. An extension is dropped.

    `region` is the alpha-2 code of the country in whose way a number without `+` is written. A value with two
    numbers in it is not valid.
    """
    return phones.everyday(value, region) or any_phone(value, region)


@lru_cache(maxsize=4096)
def any_phone(value: str, region: str | None) -> str | None:
    """The same by the library's general parser, which reads anything and takes its time for it."""
    import phonenumbers

    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=1024)
def instant(value: str) -> str | None:
    """An ISO 8601 instant as `2024-05-01T10:11:12Z`: UTC, fraction cut; None if unreadable or zoneless."""
    written = value.strip()
    salesforce = _SALESFORCE_INSTANT.fullmatch(written)
    return _checked(salesforce[1]) if salesforce else _parsed(written)


def _checked(clock: str) -> str | None:
    """`clock` (UTC, to the second) as an instant, if the calendar has that day."""
    try:
        datetime.fromisoformat(clock)
    except ValueError:
        return None
    return clock + "Z"


def _parsed(written: str) -> str | None:
    from dateutil.parser import isoparse

    try:
        moment = isoparse(written)
        if moment.tzinfo is None:
            return None
        utc = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return utc.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def text(value: str) -> str:
    """Without control characters (line breaks and tabs are such), in NFC, trimmed. May be empty."""
    if value.isascii() and value.isprintable():
        return value.strip()
    return unicodedata.normalize("NFC", _UNSENDABLE.sub("", value)).strip()


def id18(value: str) -> str:
    """A 15-character Salesforce Id with its three checksum characters; any other text as it is.

    Each of the three tells which of five characters are upper-case: Ids then differ even where case is lost.
    """
    if len(value) != 15 or not _ID_15.fullmatch(value):
        return value
    return value + "".join(_ID_ALPHABET[_upper_bits(value[start : start + 5])] for start in (0, 5, 10))


def _upper_bits(chunk: str) -> int:
    return sum(1 << position for position, character in enumerate(chunk) if character.isupper())
