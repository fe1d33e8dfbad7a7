"""From a source row to the record that is delivered, by the rules of one sync. Pure: no I/O, no clock.

The rules are compiled once, into one small function per field, because `Mapper.map` runs for every row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from crmsync import normalize, regions
from crmsync.config.sync import FieldRule, Sync
from crmsync.paths import Getter, getter

# Raised by one whenever the code below or in `normalize` would map a row differently from before.
_RULES = 1

_ID_TYPES = frozenset({"id", "reference"})

_REJECTIONS = {
    "invalid_email": "is not a well-formed e-mail address",
    "missing_match_key": "is the match key, and the row has no usable value for it",
}


@dataclass(slots=True)
class Record:
    """A mapped row, ready to be delivered.

    `key` is the match key's value as text, `stamp` the cursor's value (UTC, `2024-05-01T10:11:12Z`, sorts as
    text), `body` the target fields as JSON with sorted keys, `digest` that of `body`.
    A `tombstone` flags its row as deleted.
    """

    id: str
    key: str
    stamp: str
    body: bytes
    digest: bytes
    tombstone: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """The target fields."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass(slots=True, frozen=True)
class Skip:
    """A row that the rules leave out. `reason` is `deleted`, or `no_` and the required target field."""

    id: str
    stamp: str
    reason: str


@dataclass(slots=True, frozen=True)
class Reject:
    """A row that cannot be delivered.

    `code` is `invalid_email` or `missing_match_key`, `field` the target field; `message` names fields, never
    values.
    """

    id: str
    stamp: str
    code: str
    field: str
    message: str


class _Fault(Enum):
    """What a field's reader gives in place of a value that must not be sent."""

    MALFORMED = "malformed"  # costs the row
    INVALID = "invalid"  # costs the field
    COMPOUND = "compound"  # costs the field


_Row = Mapping[str, Any]
_Converter = Callable[[Any, _Row], Any]
"""Gives the value to send for one that is there, None where that is blank, or a fault."""


class Mapper:
    """Maps rows by one sync's rules. Not for several threads at once, because of its counter.

    Rows are nested dicts as Salesforce's REST JSON has them, with Id, the column `cursor` and, where the
    object has it, IsDeleted. `types` is the type of each source path, as describe names it; `available` are
    the paths that exist, for the region hints (None: all of them); `default_region` is a country's code or
    name, for the phone numbers of rows that name no country.

    `columns` are the source paths that the fields are read from, in order. `left_out` counts the fields left
    out of records, as `<target>:invalid` and `<target>:compound`.
    """

    def __init__(
        self,
        sync: Sync,
        *,
        types: Mapping[str, str],
        available: Container[str] | None = None,
        default_region: str | None = None,
        cursor: str = "SystemModstamp",
    ) -> None:
        self._match_key = sync.match_key
        self._required = sync.require
        self._cursor = cursor
        self._sources = {rule.target: rule.source for rule in sync.fields}
        self._fields: list[tuple[str, str, Getter | None, _Converter, bool]] = []
        self.left_out: Counter[str] = Counter()
        columns: dict[str, None] = {}
        fallback = regions.iso2(default_region) if default_region else None
        for rule in sync.fields:
            hints = [path for path in _hints(rule) if available is None or path in available]
            if rule.const is None and rule.source is not None:
                columns |= dict.fromkeys((rule.source, *hints))
            convert = _converter(rule, types.get(rule.source or "", ""), hints, fallback)
            self._fields.append((rule.target, *_place(rule), convert, rule.on_blank == "clear"))
        self._fields.sort(key=lambda field: field[0])
        self.columns: tuple[str, ...] = tuple(columns)

    def map(self, row: _Row) -> Record | Skip | Reject:
        """Judge a row, in this order: deleted, a required field missing, a malformed address, no match key.

        A row whose cursor cannot be read gets an empty stamp, which sorts before every other. Raises KeyError
        for a row without Id.
        """
        row_id = normalize.id18(row["Id"])
        stamp = normalize.instant(row.get(self._cursor) or "") or ""
        if row.get("IsDeleted") is True:
            return Skip(row_id, stamp, "deleted")
        values: dict[str, Any] = {}
        malformed: list[str] = []
        left_out: list[str] = []
        for target, column, get, convert, clear in self._fields:
            value = row.get(column) if get is None else get(row)
            if value is not None:
                value = convert(value, row)
            if value is None:
                if clear:
                    values[target] = None
            elif value.__class__ is not _Fault:
                values[target] = value
            elif value is _Fault.MALFORMED:
                malformed.append(target)
            else:
                left_out.append(f"{target}:{value.value}")
        for target in self._required:
            if values.get(target) is None and target not in malformed:
                return Skip(row_id, stamp, f"no_{target}")
        if malformed:
            return self._reject(row_id, stamp, "invalid_email", malformed[0])
        key = values.get(self._match_key)
        if key is None or not str(key).strip():
            return self._reject(row_id, stamp, "missing_match_key", self._match_key)
        if left_out:
            self.left_out.update(left_out)
        body = _copied(orjson.dumps(values))  # in the order of the compiled fields, which is sorted
        return Record(row_id, str(key), stamp, body, digest(body))

    def _reject(self, row_id: str, stamp: str, code: str, target: str) -> Reject:
        source = self._sources.get(target)
        field = f"{target} (from {source})" if source else target
        return Reject(row_id, stamp, code, target, f"{field} {_REJECTIONS[code]}")


def encode(values: Mapping[str, Any]) -> bytes:
    """A record as JSON, the same bytes whatever the order of the fields."""
    return _copied(orjson.dumps(values, option=orjson.OPT_SORT_KEYS))


def _copied(text: bytes) -> bytes:
    """The same bytes in a place of their own: orjson leaves a short text in the buffer of 4 kB it was written in."""
    return b"%b" % text


def digest(body: bytes) -> bytes:
    """16 bytes that stand for an encoded record: of SHA-256, for which processors have instructions."""
    return hashlib.sha256(body).digest()[:16]


def fingerprint(sync: Sync, default_region: str | None) -> str:
    """A short hex text that changes when the sync would select or map rows otherwise than before.

    The order of fields, the sync's name and its owner make no difference.
    """
    rules = sorted((_essence(rule) for rule in sync.fields), key=lambda rule: str(rule[0]))
    by_region = any(rule.normalize == "phone" for rule in sync.fields)
    region = regions.iso2(default_region) if by_region and default_region else None
    whole = (
        _RULES,
        (sync.source, sync.object, sync.where),
        (sync.destination, sync.into, sync.match_key),
        sorted(sync.require),
        region,
        rules,
    )
    return hashlib.blake2b(orjson.dumps(whole), digest_size=8).hexdigest()


def _essence(rule: FieldRule) -> tuple[Any, ...]:
    if rule.const is not None:
        return rule.target, rule.const
    return rule.target, rule.source, rule.normalize, _hints(rule), rule.on_blank


def _hints(rule: FieldRule) -> tuple[str, ...]:
    return rule.region_from if rule.normalize == "phone" else ()


def _place(rule: FieldRule) -> tuple[str, Getter | None]:
    """Where a field's value is: the name of a column of the row itself, or what finds it."""
    if rule.const is not None or rule.source is None:
        return "", lambda _row: rule.const
    return (rule.source, None) if "." not in rule.source else ("", getter(rule.source))


def _converter(rule: FieldRule, kind: str, hints: list[str], default_region: str | None) -> _Converter:
    """What makes the value to send of the one that is there."""
    if rule.const is not None:
        return lambda value, _row: value
    match rule.normalize:
        case "email":
            return _checked(normalize.email, _Fault.MALFORMED)
        case "instant":
            return _checked(normalize.instant, _Fault.INVALID)
        case "phone":
            return _phone([getter(path) for path in hints], default_region)
        case "text":
            return _id if kind in _ID_TYPES else _text
        case "none":
            return _raw


def _checked(normalized: Callable[[str], str | None], fault: _Fault) -> _Converter:
    """Values that must be of a certain form, or are at `fault`."""

    def convert(value: Any, _row: _Row) -> Any:
        if not isinstance(value, str):
            return fault
        return normalized(value) or (fault if value.strip() else None)

    return convert


def _phone(hints: list[Getter], default_region: str | None) -> _Converter:
    def region(row: _Row) -> str | None:
        for hint in hints:
            country = hint(row)
            if isinstance(country, str) and (code := regions.iso2(country)):
                return code
        return default_region

    def convert(value: Any, row: _Row) -> Any:
        if not isinstance(value, str):
            return _Fault.INVALID
        return normalize.phone(value, region(row)) or (_Fault.INVALID if value.strip() else None)

    return convert


def _text(value: Any, _row: _Row) -> Any:
    """Text cleaned; numbers and booleans as they are."""
    if isinstance(value, str):
        return normalize.text(value) or None
    return _Fault.COMPOUND if isinstance(value, dict | list) else value


def _id(value: Any, row: _Row) -> Any:
    """Text, and of a 15-character Id the long form."""
    if isinstance(value, str) and len(value) == 18 and value.isascii() and value.isalnum():
        return value
    cleaned = _text(value, row)
    return normalize.id18(cleaned) if isinstance(cleaned, str) else cleaned


def _raw(value: Any, _row: _Row) -> Any:
    """Values as they are, if JSON can carry them; what is nested in them in one order."""
    if isinstance(value, str) and not value.strip():
        return None
    try:
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _Fault.INVALID
    return orjson.loads(written) if isinstance(value, dict | list) else value
