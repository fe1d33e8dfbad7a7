"""The metadata answers: which objects there are, and what one consists of. No I/O."""

from __future__ import annotations

from typing import Any

from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.experiture.tables import Field, ObjectSchema


def object_item(schema: ObjectSchema) -> dict[str, Any]:
    """One object as the list shows it."""
    return {
        "objectName": schema.name,
        "displayName": schema.display_name,
        "pluralDisplayName": f"{schema.display_name}s",
        "objectType": schema.object_type,
        "activeVersion": schema.active_version,
        "primaryProfileRoot": schema.name == "profiles",
        "ingestion": {"single": True, "jsonBatch": True, "fileImport": True, "defaultWriteMode": "upsert"},
    }


def object_details(schema: ObjectSchema, switches: Switches) -> dict[str, Any]:
    """One object with its fields and identity keys."""
    data = object_item(schema) | {"description": f"The {schema.name} of this workspace."}
    data[switches["fields_key"]] = [_field(column, switches) for column in schema.fields.values()]
    if switches["identity_keys"] == "names":
        data["identityKeys"] = list(schema.identity_keys)
    elif switches["identity_keys"] == "objects":
        name = switches["field_name_key"]
        data["identityKeys"] = [
            {name: key, "indexed": True, "primary": key == schema.primary_key} for key in schema.identity_keys
        ]
    return data


def _field(column: Field, switches: Switches) -> dict[str, Any]:
    described: dict[str, Any] = {
        switches["field_name_key"]: column.name,
        "type": column.type,
        "nullable": column.nullable,
    }
    if column.enum:
        described["enum"] = list(column.enum)
    if column.format:
        described["format"] = column.format
    return described
