"""A sync as it is written in crmsync.toml."""

from __future__ import annotations

import json
from collections.abc import Iterable

from crmsync.config.sync import FieldRule, Sync

_TEXTS = ("name", "source", "object", "destination", "into", "match_key", "owner")


def table(sync: Sync, more: Iterable[tuple[FieldRule, str | None]] = ()) -> str:
    """The `[[sync]]` of a sync. `more` are rules to suggest, those with a reason against them as comments."""
    lines = ["[[sync]]", *(f"{key} = {_text(getattr(sync, key))}" for key in _TEXTS)]
    if sync.require:
        lines.append(f"require = {_texts(sync.require)}")
    if sync.where is not None:
        lines.append(f"where = {_text(sync.where)}")
    lines += [f"deletes = {_text(sync.deletes)}", "", "[sync.fields]", *map(field, sync.fields)]
    added = list(more)
    lines.append(
        "# not mapped before:" if added else "# nothing else that the source offers has a counterpart"
    )
    for rule, reason in added:
        lines.append(f"# {field(rule)}   # {reason}" if reason else field(rule))
    return "\n".join(lines)


def field(rule: FieldRule) -> str:
    """One line of `[sync.fields]`, as short as it can be."""
    told = []
    if rule.source is not None:
        told.append(f"from = {_text(rule.source)}")
    if rule.const is not None:
        told.append(f"const = {_constant(rule.const)}")
    if rule.normalize != "text":
        told.append(f"normalize = {_text(rule.normalize)}")
    if rule.region_from:
        told.append(f"region_from = {_texts(rule.region_from)}")
    if rule.on_blank != "keep":
        told.append(f"on_blank = {_text(rule.on_blank)}")
    if len(told) == 1 and rule.source is not None:
        return f"{rule.target} = {_text(rule.source)}"
    return f"{rule.target} = {{ {', '.join(told)} }}"


def _constant(value: str | float | bool) -> str:
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _texts(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    """A basic string of TOML, which escapes as JSON does; whatever cannot be seen is escaped as well."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
