"""Keeps secrets and personal data out of whatever is shown (law 10). Applied where text leaves the program."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterable
from urllib.parse import quote

from crmsync.errors import CrmsyncError

MASK = "********"
_ATOM = r"""[^\s@<>"'(),:;=\[\]]"""
_ODD = r"""[^\s@<>"(),:;\[\]]"""

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=!-]{6,}"), r"\1 " + MASK),
    (re.compile(r"\b00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?![A-Za-z0-9._]+"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), MASK),
    (
        re.compile(
            r"""(?ix)(["']?\b(?:\w*(?:password|secret|token|api_?key|assertion|signature|sessionid))\b["']?
            \s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"""
        ),
        r"\1" + MASK,
    ),
    (re.compile(r"(?i)\b(https?://)[^\s/@]+@"), r"\1" + MASK + "@"),
    (re.compile(r"(?i)([?&](?:X-(?:Amz|Goog)-[A-Za-z-]+|sig)=)[^&\s\"']+"), r"\1" + MASK),
    (
        re.compile(rf"(?<!{_ATOM})(?:{_ATOM}|(?<=\w)'(?=\w))+(?:@|%40){_ATOM}+\.{_ATOM}+"),
        "[e-mail]",
    ),
    (re.compile(rf"(?<!{_ODD}){_ODD}+(?:@|%40){_ATOM}+\.{_ATOM}+"), "[e-mail]"),
    (re.compile(r"(?<![\w+/])(?:\+|%2B)[ (]?\d(?:[ ().\-/]{0,3}\d){6,}"), "[phone]"),
    (re.compile(r"(?<![\w.+-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"), "[phone]"),
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


class Redactor:
    """Masks known secrets by their value, and what looks like a secret, an e-mail or a phone number."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spelled = {spelling for secret in secrets for spelling in _spellings(secret)}
        self._secrets = sorted((s for s in spelled if len(s) >= 6), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for pattern, mask in _PATTERNS:
            text = pattern.sub(mask, text)
        return text


def _spellings(secret: str) -> set[str]:
    """A secret as it is, and as it stands in a URL, a form, JSON or a Python literal."""
    in_url = quote(secret, safe="", errors="surrogateescape")
    return {secret, in_url, in_url.replace("%20", "+"), json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def hanging(text: str) -> str:
    """The lines after the first one indented: what is quoted cannot pass for a line of its own."""
    first, *others = text.split("\n")
    return "\n".join([first, *(line if line.startswith("  ") else f"    {line}" for line in others)])


def anatomy(error: BaseException) -> str:
    """Where an error arose and what led to it: frames and kinds. Messages are left out, for they quote values,
    but for those of errors raised on purpose.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    parts = []
    for link in reversed(chain):
        said = f": {link.message}" if isinstance(link, CrmsyncError) else ""
        frames = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{type(link).__qualname__}{said}")
    return "\n\nwhich led to\n\n".join(parts)


def printable(text: str) -> str:
    """Control and direction characters made visible: nothing that is shown may steer a terminal."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
