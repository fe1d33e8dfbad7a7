"""Small helpers for sentences meant for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str], most: int = 3) -> list[str]:
    """The choices most like `word`, best first, whatever their case."""
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=most, cutoff=0.55)
    return [by_folded[name] for name in found]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A clause such as ` (did you mean Email or EmailBouncedDate?)`, empty where nothing is near."""
    names = nearest(word, choices)
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def one_line(text: object, most: int = 200) -> str:
    """Somebody else's words fit to stand within a sentence of ours: on one line, and not too long."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `5,137 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """How long, for people, in its two largest units: `12s`, `4m`, `1h 5m`, `2d 3h`."""
    left = round(abs(seconds))
    if left < 60:
        return f"{left}s"
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if days:
        parts = (f"{days}d", f"{hours % 24}h" if hours % 24 else "")
    elif hours:
        parts = (f"{hours}h", f"{minutes % 60}m" if minutes % 60 else "")
    else:
        parts = (f"{minutes}m", "")
    return " ".join(part for part in parts if part)
