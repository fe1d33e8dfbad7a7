"""HTML and SVG, put together so that nothing but this module's own callers can be markup. Pure.

Whatever comes from a CRM, a CDP or a file is text here, and is escaped in this one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from crmsync.health.redaction import printable

VOID = frozenset({"meta", "wbr"})


class Html(str):
    """Markup that this module has made. Everything else is text."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. `class_` is `class`, other underscores are hyphens; an attribute that is None is left out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>" if name in VOID else f"<{name}{said}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Markup and texts after one another; None is left out."""
    parts = []
    for child in children:
        if isinstance(child, str):
            parts.append(text(child))
        elif child is not None:
            parts.append(join(child))
    return Html("".join(parts))


def text(value: str) -> Html:
    """A text as it shows, with control and direction characters made visible; markup as it is."""
    return value if isinstance(value, Html) else Html(escape(printable(value)))
