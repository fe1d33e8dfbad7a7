"""Lengths of time as operators write them: `90s`, `10m`, `36h`, `7d`, `1h30m`; a bare integer is seconds."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SHAPE = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+){unit})?" for unit in _UNITS), re.IGNORECASE)
_LONGEST = timedelta(days=36_525)


def parse_duration(text: str) -> timedelta:
    """The duration that `text` means: units from days to seconds, largest first, each at most once.

    Raises ValueError, with a sentence that says what would be right.
    """
    compact = "".join(text.split())
    if compact.isascii() and compact.isdigit():
        compact += "s"
    found = _SHAPE.fullmatch(compact)
    if not compact or found is None:
        raise ValueError("must be a duration such as 90s, 10m, 36h, 7d or 1h30m")
    seconds = sum(int(number) * _UNITS[unit] for unit, number in found.groupdict().items() if number)
    if seconds > _LONGEST.total_seconds():
        raise ValueError("must be a duration of at most a hundred years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same whole seconds: `1h30m`, `0s`."""
    left = int(duration.total_seconds())
    text = ""
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"
