"""The operator's own SOQL condition: what may stand in `where`, and why the rest may not. Pure.

crmsync puts the condition in parentheses beside its own window and order, so a condition must not be able to
reach out of them, nor mean something else tomorrow: relative dates depend on the day and on the zone of the
user who asks. A semi-join (`Id IN (SELECT …)`) is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.)*')|(?P<comment>--|//|/\*|\*/)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>[^\s])""",
    re.DOTALL,
)
_CLAUSE = re.compile(
    r"\b(ORDER\s+BY|GROUP\s+BY|LIMIT|OFFSET|HAVING|FOR|WITH|USING|ALL\s+ROWS|UPDATE)\b", re.IGNORECASE
)
_PERIOD = "(DAY|WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR)"
_RELATIVE = re.compile(
    rf"YESTERDAY|TODAY|TOMORROW|(LAST|THIS|NEXT)_{_PERIOD}|(LAST|NEXT)_90_DAYS|(LAST|NEXT)_N_{_PERIOD}S|N_{_PERIOD}S_AGO",
    re.IGNORECASE,
)


def problems(condition: str) -> list[str]:
    """What is wrong with a condition, each the end of a sentence; empty where nothing is."""
    tokens = [(found.lastgroup or "", found[0]) for found in _TOKEN.finditer(condition)]
    return list(dict.fromkeys([*_marks(tokens), *_words(tokens)]))


def _marks(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """Whatever could end the condition early, or hide a part of it."""
    depth = 0
    for kind, text in tokens:
        if kind == "comment":
            yield "must not hold a comment (-- , // or /* */)"
        elif text == "(":
            depth += 1
        elif text == ")":
            depth -= 1
            if depth < 0:
                yield "must have balanced parentheses"
                depth = 0
        elif text in ("'", '"'):
            yield "must have balanced single quotes, and no double ones outside them"
        elif text == ";":
            yield "must not hold a semicolon"
    if depth:
        yield "must have balanced parentheses"


def _words(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """Clauses that are not conditions, and words whose meaning moves."""
    if not tokens:
        yield "must not be blank: leave the key out"
    outside_strings = " ".join("''" if kind == "string" else text for kind, text in tokens)
    if re.match(r"(WHERE|SELECT)\b", outside_strings, re.IGNORECASE):
        yield "must be a condition only, without the words before it"
    for clause in _CLAUSE.finditer(outside_strings):
        yield f"must be a condition only, without {' '.join(clause[0].upper().split())}"
    for kind, text in tokens:
        if kind == "word" and _RELATIVE.fullmatch(text):
            yield f"must not use the relative date {text}: its meaning moves with the day and the user's zone"
