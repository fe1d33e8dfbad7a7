"""A sync as it is written in crmsync.toml, and the values there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from crmsync.config.sync import FieldRule, Sync

_TEXTS = ("name", "source", "object", "destination", "into", "match_key", "owner")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def table(sync: Sync) -> str:
    """The `[[sync]]` of a sync."""
    lines = ["[[sync]]", *(f"{key} = {value(getattr(sync, key))}" for key in _TEXTS)]
    if sync.require:
        lines.append(f"require = {value(sync.require)}")
    if sync.where is not None:
        lines.append(f"where = {value(sync.where)}")
    lines += [f"deletes = {value(sync.deletes)}", "", "[sync.fields]", *map(field, sync.fields)]
    return "\n".join(lines)


def suggestion(sync: Sync, more: Iterable[tuple[FieldRule, str | None]]) -> str:
    """The same with rules that could be added, those with a reason against them as comments."""
    added = [f"# {field(rule)}   # {reason}" if reason else field(rule) for rule, reason in more]
    heading = "# not mapped before:" if added else "# nothing else that the source offers has a counterpart"
    return "\n".join([table(sync), heading, *added])


def field(rule: FieldRule) -> str:
    """One line of `[sync.fields]`, as short as it can be."""
    keys = {
        "from": rule.source,
        "const": rule.const,
        "normalize": rule.normalize if rule.normalize != "text" else None,
        "region_from": rule.region_from or None,
        "on_blank": rule.on_blank if rule.on_blank != "keep" else None,
    }
    given = {key: value(told) for key, told in keys.items() if told is not None}
    target = rule.target if _BARE_KEY.fullmatch(rule.target) else value(rule.target)
    if list(given) == ["from"]:
        return f"{target} = {given['from']}"
    return f"{target} = {{ {', '.join(f'{key} = {told}' for key, told in given.items())} }}"


def value(told: object) -> str:
    """A text, a number, true, false or several of them, as TOML has it.

    A basic string of TOML escapes as JSON does; whatever cannot be seen is escaped as well.
    """
    if isinstance(told, list | tuple):
        return f"[{', '.join(map(value, told))}]"
    written = json.dumps(told, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)
