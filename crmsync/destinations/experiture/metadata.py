"""Reading an object's schema from Experiture's metadata. Pure (contract experiture 10).

Which keys hold the fields and their names could not be read from the documentation, so several are tried;
what is not understood is reported as None, and the caller warns instead of failing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crmsync.text import did_you_mean

FIELD_LISTS = ("fields", "properties", "columns", "attributes", "fieldDefinitions", "schema")
NAMES = ("name", "fieldName", "field_name", "apiName", "key", "field")


@dataclass(frozen=True, slots=True)
class Schema:
    """An object's identity keys and fields, each None where the reply does not tell."""

    identity_keys: frozenset[str] | None
    fields: frozenset[str] | None


def parse(body: Any) -> Schema:
    data = body.get("data") if isinstance(body, dict) else None
    data = data if isinstance(data, dict) else {}
    fields = next((names for name in FIELD_LISTS if (names := _names(data.get(name)))), None)
    return Schema(_names(data.get("identityKeys")), fields)


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
        known = schema.fields | (schema.identity_keys or frozenset())
        wrong += [
            f"{object_name} has no field {target}{did_you_mean(target, sorted(known))}"
            for target in targets
            if target not in known
        ]
    return wrong, unclear


def _names(listed: Any) -> frozenset[str] | None:
    """The names in a list of names or of objects, or the keys of an object. None where it is neither."""
    if isinstance(listed, dict):
        inner = next((listed[name] for name in FIELD_LISTS if name in listed), None)
        return _names(inner) if inner is not None else frozenset(str(key) for key in listed) or None
    if not isinstance(listed, list) or not listed:
        return None
    found = []
    for entry in listed:
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict):
            found += [str(entry[name]) for name in NAMES if isinstance(entry.get(name), str)][:1]
    return frozenset(found) if len(found) == len(listed) else None
