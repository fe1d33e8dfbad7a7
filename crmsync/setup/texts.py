"""The two files that settings go into: crmsync.toml, and `.env` for secrets. Pure.

Answers are settings by variable, as an operator would write them, `…_FILE` ones included. What they mean is
taken from the registry of settings, and the sync is the one that stands without any file, so that neither
file can say something else than crmsync does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from crmsync.config import DEFAULT_SYNC
from crmsync.config.settings import SETTINGS, Setting
from crmsync.config.written import table, value

_HEAD = """\
# `crmsync config show` lists every setting there is, and where each value comes from. Unknown keys are
# refused. Secrets are in .env beside this file.
"""
_SECTIONS = ("", "salesforce", "experiture", "hubspot")
_WIDTH = 110
_SHELL_SAFE = re.compile(r"[A-Za-z0-9_./:@%+=,!~^-]+")
_SYNCS = re.compile(r"^[ \t]*\[\[ *sync *\]\]|^[ \t]*\[ *ownership *\]", re.MULTILINE)
_IN_DOUBLE_QUOTES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def env_text(answers: Mapping[str, str]) -> str:
    """`.env`: the secrets, quoted where they need it."""
    lines = ["# Secrets of crmsync. Nobody but the user who runs it may read this file."]
    for setting in SETTINGS:
        if setting.secret and setting.variable in answers:
            lines += ["", f"# {setting.about}", f"{setting.variable}={quoted(answers[setting.variable])}"]
    return "\n".join(lines) + "\n"


def toml_text(answers: Mapping[str, str], syncs: str | None = None) -> str:
    """crmsync.toml: every other setting under what it means, then `syncs`, or the one that stands without."""
    parts = [_HEAD]
    for section in sorted({setting.section for setting in SETTINGS}, key=_SECTIONS.index):
        lines = list(_settings(section, answers))
        if lines:
            parts.append("\n".join([f"[{section}]", *lines] if section else lines) + "\n")
    return "\n".join([*parts, syncs or table(DEFAULT_SYNC) + "\n"])


def syncs_of(toml: str) -> str | None:
    """What an earlier file says from its first sync on, letter for letter; None where it has none."""
    found = _SYNCS.search(toml)
    return toml[found.start() :] if found else None


def quoted(text: str) -> str:
    """A value as python-dotenv reads it back, whatever is in it; a shell too, where there is no quote in it."""
    if _SHELL_SAFE.fullmatch(text):
        return text
    if text.isprintable():
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return '"' + "".join(_IN_DOUBLE_QUOTES.get(character, character) for character in text) + '"'


def _settings(section: str, answers: Mapping[str, str]) -> Iterator[str]:
    for setting in SETTINGS:
        if setting.section != section or not setting.in_files:
            continue
        for key, variable in _keys(setting):
            if variable in answers:
                yield from _wrapped(setting.about)
                written = answers[variable]
                yield f"{key} = {value(int(written) if setting.kind == 'integer' else written)}"


def _keys(setting: Setting) -> Iterable[tuple[str, str]]:
    """The toml keys that a setting may have, each with its variable. A secret has only the one for its file."""
    if setting.secret:
        return [(f"{setting.key}_file", setting.file_variable)]
    return [(setting.key, setting.variable)]


def _wrapped(about: str) -> Iterator[str]:
    from textwrap import wrap

    yield from wrap(about, _WIDTH, initial_indent="# ", subsequent_indent="# ")
