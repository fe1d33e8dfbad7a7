"""The profile tables of the sandbox's CDP: schema, what a record may hold, upsert and append. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

FieldType = Literal["string", "integer", "number", "boolean", "timestamp", "date"]
Record = dict[str, Any]

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(:?)\d\d)")
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_EMAIL = {
    "lenient": re.compile(r"[^\s@]+@[^\s@]+"),
    "strict": re.compile(rf"{_ATOM}(\.{_ATOM})*@([a-z0-9-]+\.)+[a-z]{{2,}}", re.ASCII | re.IGNORECASE),
}
_E164 = re.compile(r"\+[1-9]\d{6,14}")


@dataclass(frozen=True, slots=True)
class Field:
    """One column. `enum` limits a string's values; `format` is checked where the rules say so."""

    name: str
    type: FieldType = "string"
    nullable: bool = True
    enum: tuple[str, ...] = ()
    format: Literal["email", "phone"] | None = None


@dataclass(slots=True)
class ObjectSchema:
    """One object of the workspace. `primary_key` matches where a write names no key."""

    name: str
    display_name: str
    fields: dict[str, Field]
    identity_keys: list[str]
    primary_key: str
    object_type: Literal["profile", "event"] = "profile"
    active_version: int = 1

    def add(self, column: Field, *, identity: bool = False) -> None:
        self.fields[column.name] = column
        if identity and column.name not in self.identity_keys:
            self.identity_keys.append(column.name)
        self.active_version += 1

    def remove(self, name: str) -> None:
        """Raises ValueError for a field that is not there or that is the primary key."""
        if name not in self.fields or name == self.primary_key:
            raise ValueError(f"{self.name} has no field {name} that could be removed")
        del self.fields[name]
        self.identity_keys = [key for key in self.identity_keys if key != name]
        self.active_version += 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What the documentation leaves open about values; see the switches of the same names."""

    coercion: bool = False
    empty_string: Literal["keep", "null", "refuse"] = "keep"
    email_format: Literal["lenient", "strict", "off"] = "lenient"
    phone_format: bool = False
    offset_without_colon: bool = False
    longest_string: int | None = None
    missing_key: Literal["insert", "refuse"] = "insert"


class Flaw(Exception):
    """Why a record cannot be taken. `unknown` marks a field that the schema does not have."""

    def __init__(self, message: str, name: str | None, value: Any = None, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.message, self.field, self.value, self.unknown = message, name, value, unknown


def cleaned(record: Any, schema: ObjectSchema, rules: Rules, match_key: str | None) -> Record:
    """The record as it will be stored. `match_key` is None for an append. Raises Flaw."""
    if not isinstance(record, dict) or not record:
        raise Flaw("a record must be an object with at least one property", None, record)
    clean: Record = {}
    for name, value in record.items():
        column = schema.fields.get(name)
        if column is None:
            raise Flaw(f"field '{name}' is not in the schema of {schema.name}", name, value, unknown=True)
        clean[name] = _value(column, value, rules)
    if match_key is not None and rules.missing_key == "refuse" and blank(clean.get(match_key)):
        raise Flaw(f"the match key '{match_key}' is missing or blank", match_key, clean.get(match_key))
    return clean


def blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _value(column: Field, value: Any, rules: Rules) -> Any:
    if value == "" and isinstance(value, str) and rules.empty_string != "keep":
        if rules.empty_string == "refuse":
            raise Flaw(f"'{column.name}' must not be empty", column.name, value)
        value = None
    if value is None:
        if not column.nullable:
            raise Flaw(f"'{column.name}' must not be null", column.name, value)
        return None
    if rules.coercion:
        value = _coerced(column, value)
    if not _has_type(column, value, rules):
        raise Flaw(f"'{column.name}' is not a valid {column.type}", column.name, value)
    if isinstance(value, str) and value and not _well_formed(column, value, rules):
        raise Flaw(f"'{column.name}' has a value that its format does not allow", column.name, value)
    return value


def _has_type(column: Field, value: Any, rules: Rules) -> bool:
    match column.type:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "timestamp":
            return isinstance(value, str) and _is_instant(value, rules)
        case "date":
            return isinstance(value, str) and _is_date(value)


def _is_instant(value: str, rules: Rules) -> bool:
    """An ISO 8601 instant that names its offset; naive ones are refused."""
    found = _INSTANT.fullmatch(value)
    if found is None or (found[1] == "" and not rules.offset_without_colon):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _well_formed(column: Field, value: str, rules: Rules) -> bool:
    if column.enum and value not in column.enum:
        return False
    if rules.longest_string is not None and len(value) > rules.longest_string:
        return False
    if column.format == "email":
        return rules.email_format == "off" or _EMAIL[rules.email_format].fullmatch(value) is not None
    if column.format == "phone" and rules.phone_format:
        return _E164.fullmatch(value) is not None
    return True


def _coerced(column: Field, value: Any) -> Any:
    """`"5"` → 5, `"true"` → true, 5 → `"5"`; what cannot be turned stays as it is."""
    try:
        if column.type == "string" and isinstance(value, bool | int | float):
            return str(value).lower() if isinstance(value, bool) else str(value)
        if column.type in ("integer", "number") and isinstance(value, str):
            return int(value) if column.type == "integer" else float(value)
    except ValueError:
        return value
    if column.type == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


@dataclass(slots=True, eq=False)
class Row:
    """One stored row. `writes` counts how often it was written, its insertion included."""

    number: int
    fields: Record
    inserted_at: datetime
    updated_at: datetime
    writes: int = 1

    def dumped(self) -> Record:
        return {
            **self.fields,
            "_row": self.number,
            "_inserted_at": self.inserted_at.isoformat(),
            "_updated_at": self.updated_at.isoformat(),
            "_writes": self.writes,
        }


@dataclass(slots=True)
class Table:
    """The rows of one object, with an exact, case-sensitive index per identity key."""

    schema: ObjectSchema
    rows: list[Row] = field(default_factory=list)
    _index: dict[str, dict[Any, list[Row]]] = field(default_factory=dict)

    def upsert(self, record: Record, match_key: str, now: datetime) -> tuple[Row, bool]:
        """Merge into the oldest row with the same key, else insert; True where inserted.

        Null clears a field, an omitted one keeps its value. A record without a key value is always inserted.
        """
        key = record.get(match_key)
        found = None if blank(key) else self._lookup(match_key).get(key)
        if not found:
            return self.append(record, now), True
        row = min(found, key=lambda row: row.number)
        for name in record.keys() & self._index.keys():
            if record[name] != row.fields.get(name):
                self._unlist(name, row)
                row.fields[name] = record[name]
                self._list(name, row)
        row.fields.update(record)
        row.updated_at = now
        row.writes += 1
        return row, False

    def append(self, record: Record, now: datetime) -> Row:
        """Add a row, whatever is there already."""
        row = Row(len(self.rows) + 1, dict(record), now, now)
        self.rows.append(row)
        for name in self._index:
            self._list(name, row)
        return row

    def duplicates(self, key: str) -> int:
        """How many rows share their value of `key` with an older row."""
        values = Counter(row.fields.get(key) for row in self.rows if not blank(row.fields.get(key)))
        return sum(count - 1 for count in values.values())

    def drop_column(self, name: str) -> None:
        self._index.pop(name, None)
        for row in self.rows:
            row.fields.pop(name, None)

    def _lookup(self, key: str) -> dict[Any, list[Row]]:
        """The index of an identity key, built when it is first asked for."""
        if key not in self._index:
            self._index[key] = {}
            for row in self.rows:
                self._list(key, row)
        return self._index[key]

    def _list(self, key: str, row: Row) -> None:
        value = row.fields.get(key)
        if not blank(value):
            self._index[key].setdefault(value, []).append(row)

    def _unlist(self, key: str, row: Row) -> None:
        value = row.fields.get(key)
        if not blank(value):
            self._index[key][value].remove(row)


def default_schemas() -> dict[str, ObjectSchema]:
    """`profiles`, and `contacts` with the same columns keyed on `external_id`."""
    return {
        "profiles": ObjectSchema("profiles", "Profile", _columns(), list(IDENTITY_KEYS), "email"),
        "contacts": ObjectSchema("contacts", "Contact", _columns(), list(IDENTITY_KEYS), "external_id"),
    }


IDENTITY_KEYS = ("email", "external_id", "customer_id", "salesforce_id", "hubspot_contact_id")

_TEXTS = (
    "external_id",
    "customer_id",
    "anonymous_id",
    "salesforce_id",
    "hubspot_contact_id",
    "first_name",
    "last_name",
    "job_title",
    "company_name",
    "lead_source",
    "crm_merged_into",
    "crm_lead_status",
    "crm_lifecycle_stage",
)


def _columns() -> dict[str, Field]:
    columns = [
        Field("email", format="email"),
        *(Field(name) for name in _TEXTS),
        Field("phone", format="phone"),
        Field("crm_last_modified_at", "timestamp"),
        Field("crm_deleted_at", "timestamp"),
        Field("subscription_status", enum=("active", "trialing", "past_due", "canceled", "none")),
        Field("order_count", "integer"),
        Field("ltv", "number"),
        Field("email_opted_out", "boolean"),
    ]
    return {column.name: column for column in columns}
