"""How Salesforce writes Ids and instants, and reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)",
)


def make_id(prefix: str, pod: str, number: int) -> str:
    """The 18-character Id of row `number` that `pod` (two characters) made of the object with `prefix`."""
    digits = ""
    for _ in range(9):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return long_id(f"{prefix}{pod}0{digits}")


def long_id(short: str) -> str:
    """A 15-character Id with its three-character checksum, which tells upper from lower case."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << place for place, letter in enumerate(short[start : start + 5]) if letter.isupper())
        suffix += _SUFFIX[bits]
    return short + suffix


def is_id(text: str) -> bool:
    """Whether `text` has the shape of a 15 or 18-character Id."""
    return _ID.fullmatch(text) is not None


def stamp(instant: datetime) -> str:
    """An instant as REST writes it: UTC, whole seconds, `2024-05-01T10:11:12.000+0000`.

    The text has a fixed width, so stamps compare as text the way the instants do.
    """
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def instant(text: str) -> datetime:
    """A zoned ISO date and time in UTC, cut to whole seconds. Raises ValueError for anything else."""
    match = _INSTANT.fullmatch(text)
    if not match:
        raise ValueError(f"not a date and time with a zone: {text!r}")
    day, minutes, seconds, zone = match.groups()
    zone = "+00:00" if zone == "Z" else zone
    return datetime.fromisoformat(f"{day}T{minutes}:{seconds or '00'}{zone}").astimezone(UTC)
