"""Reading an object's schema from Experiture's metadata. Pure (contract experiture 10).

Which keys hold the fields and their names could not be read from the documentation, so several are tried;
what is not understood is reported as None, and the caller warns instead of failing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crmsync.destinations.base import TargetField
from crmsync.text import did_you_mean, one_line

FIELD_LISTS = ("fields", "properties", "columns", "attributes", "fieldDefinitions", "schema")
NAMES = ("name", "fieldName", "field_name", "apiName", "key", "field")
TYPES = ("type", "dataType", "data_type", "fieldType", "field_type", "valueType")
NULLABLE = ("nullable", "isNullable", "is_nullable", "allowNull", "allowsNull")
REQUIRED = ("required", "isRequired", "is_required")
_KINDS: dict[str, Literal["text", "integer", "number", "boolean", "date", "instant"]] = {
    **dict.fromkeys(("string", "text", "varchar", "char", "email", "phone", "enum", "uuid", "url"), "text"),
    **dict.fromkeys(("integer", "int", "long", "bigint", "smallint"), "integer"),
    **dict.fromkeys(("number", "decimal", "double", "float", "numeric", "currency"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    "date": "date",
    **dict.fromkeys(("timestamp", "datetime", "timestamptz", "instant"), "instant"),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """An object's identity keys and fields by name, each None where the reply does not tell."""

    identity_keys: frozenset[str] | None
    fields: Mapping[str, TargetField] | None


def parse(body: Any) -> Schema:
    data = body.get("data") if isinstance(body, dict) else None
    data = data if isinstance(data, dict) else {}
    fields = next((found for name in FIELD_LISTS if (found := _fields(data.get(name)))), None)
    keys = _fields(data.get("identityKeys"))
    return Schema(frozenset(keys) if keys else None, fields)


def problems(
    schema: Schema, object_name: str, match_key: str, targets: Iterable[str]
) -> tuple[list[str], list[str]]:
    """What is wrong, and what could not be checked."""
    wrong, unclear = [], []
    if schema.identity_keys is None:
        unclear.append(f"the identity keys of {object_name} could not be read; {match_key} is used unchecked")
    elif match_key not in schema.identity_keys:
        wrong.append(
            f"match_key {match_key} is not an identity key of {object_name} "
            f"(those are: {', '.join(sorted(schema.identity_keys)) or 'none'})"
        )
    if schema.fields is not None:
        known = {*schema.fields, *(schema.identity_keys or ())}
        wrong += [
            f"{object_name} has no field {target}{did_you_mean(target, sorted(known))}"
            for target in targets
            if target not in known
        ]
    return wrong, unclear


def _fields(listed: Any) -> dict[str, TargetField] | None:
    """What a list of names or of objects describes, or a table by name. None where it is neither."""
    if isinstance(listed, dict):
        inner = next((listed[name] for name in FIELD_LISTS if name in listed), None)
        if inner is not None:
            return _fields(inner)
        return {str(name): _field(str(name), about) for name, about in listed.items()} or None
    if not isinstance(listed, list) or not listed:
        return None
    found = {}
    for entry in listed:
        name = entry if isinstance(entry, str) else _first(entry, NAMES, str)
        if name is None:
            return None
        found[name] = _field(name, entry)
    return found


def _field(name: str, about: Any) -> TargetField:
    """What is said of one field: `type` may be a word, or several of which one is null."""
    told = _first(about, TYPES, str)
    nullable = _first(about, NULLABLE, bool)
    if nullable is None and (required := _first(about, REQUIRED, bool)) is not None:
        nullable = not required
    several = _first(about, TYPES, list)
    if several:
        words = [word for word in several if isinstance(word, str)]
        told = next((word for word in words if word != "null"), None)
        nullable = "null" in words if nullable is None else nullable
    kind = _KINDS.get(re.sub(r"[^a-z]", "", (told or "").lower()))
    if kind == "text" and _first(about, ("format",), str) == "date-time":
        kind = "instant"
    return TargetField(name, one_line(told or "", 40), kind, nullable)


def _first(about: Any, names: Iterable[str], of: type) -> Any:
    """The first of these members that is of this type, None where there is none."""
    if not isinstance(about, dict):
        return None
    return next((about[name] for name in names if isinstance(about.get(name), of)), None)
