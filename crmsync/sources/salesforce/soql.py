"""SOQL text: literals, conditions and whole queries. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from crmsync.errors import ConfigError

LONGEST_QUERY = 100_000
IDS_PER_QUERY = 200
"""Ids in one IN list: keeps the URL within its limit."""

_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*){0,5}")
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


def instant(moment: datetime) -> str:
    """A datetime literal in UTC, whole seconds, `Z`: the one form that needs no escaping (contract 1.6)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def id_list(ids: Iterable[str]) -> str:
    """`('003…','003…')`. Raises ConfigError for what is no Salesforce Id."""
    checked = []
    for value in ids:
        if not _ID.fullmatch(value):
            raise ConfigError(f"{value[:40]!r} is no Salesforce Id (15 or 18 letters and digits)")
        checked.append(f"'{value}'")
    return f"({','.join(checked)})"


def identifier(path: str) -> str:
    """Give a field path or object name back if it is one. Raises ConfigError."""
    if not _PATH.fullmatch(path):
        raise ConfigError(f"{path[:60]!r} is no Salesforce name")
    return path


def select(
    columns: Iterable[str],
    object_name: str,
    conditions: Iterable[str | None],
    *,
    order: str | None = None,
    limit: int | None = None,
) -> str:
    """A whole query, its conditions joined by AND (None: left out). Raises ConfigError if too long."""
    names = ", ".join(column if column == "COUNT()" else identifier(column) for column in columns)
    parts = [f"SELECT {names} FROM {identifier(object_name)}"]  # noqa: S608 - every name is checked
    wanted = [condition for condition in conditions if condition]
    if wanted:
        parts.append("WHERE " + " AND ".join(wanted))
    if order:
        parts.append(f"ORDER BY {order}")
    if limit is not None:
        parts.append(f"LIMIT {limit}")
    query = " ".join(parts)
    if len(query) > LONGEST_QUERY:
        raise ConfigError(f"the query on {object_name} is longer than Salesforce takes ({LONGEST_QUERY:,})")
    return query


def operators_own(where: str | None) -> str | None:
    """The sync's own condition, parenthesised so that it cannot reach around ours."""
    return f"({where})" if where else None


def between(cursor: str, start: datetime | None, end: datetime) -> str:
    """`start <= cursor < end`."""
    lower = f"{cursor} >= {instant(start)} AND " if start else ""
    return f"{lower}{cursor} < {instant(end)}"


def within_second(cursor: str, second: datetime, after_id: str) -> str:
    """The rest of one second's rows, behind `after_id`. Stamps have whole seconds (contract 1.6)."""
    following = second + timedelta(seconds=1)
    return f"{between(cursor, second, following)} AND Id > {id_list([after_id])[1:-1]}"
