"""Changes to the objects themselves, as an administrator makes them while programs are running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crmsync.sandbox.salesforce.org import SYSTEM_FIELDS, Org
from crmsync.sandbox.salesforce.schema import NUMBER_TYPES, TEXT_TYPES, Entity, Field

CHANGEABLE_TYPES = (TEXT_TYPES | NUMBER_TYPES | {"boolean"}) - {"picklist", "multipicklist"}
_UNLENGTHY = NUMBER_TYPES | {"boolean"}


def rename_picklist(org: Org, object_: str, name: str, old: str, new: str) -> list[str]:
    """Rename a picklist value, which moves SystemModstamp only. Returns the Ids that had it."""
    entity, field = _plain_field(org, object_, name)
    if old not in field.picklist:
        raise ValueError(f"{object_}.{name} has no picklist value {old!r}")
    ids = [id_ for id_, row in org.tables[object_].rows.items() if row.get(name) == old]
    org.update(object_, ids, {name: new}, system=True)
    values = tuple(new if value == old else value for value in field.picklist)
    _replace_field(org, entity, name, replace(field, picklist=values))
    return ids


def rename_field(org: Org, object_: str, name: str, new: str) -> None:
    """Give a field another API name. Rows keep their values and stamps; a formula follows."""
    entity, field = _plain_field(org, object_, name)
    if not new.isidentifier() or any(
        new.lower() == known.lower() for known in entity.fields if known != name
    ):
        raise ValueError(f"{object_} cannot have a field {new!r}, or has it already")
    _replace_field(org, entity, name, replace(field, name=new))
    if (object_, name) in org.hidden:
        org.hidden ^= {(object_, name), (object_, new)}
    _rewrite(org, object_, lambda row: {new if key == name else key: value for key, value in row.items()})
    for other in list(org.entities.values()):
        for each in other.fields.values():
            if (
                each.formula
                and each.formula.partition(".")[2] == name
                and _formula_parent(other, each) == object_
            ):
                relationship = each.formula.partition(".")[0]
                _replace_field(org, other, each.name, replace(each, formula=f"{relationship}.{new}"))


def change_type(org: Org, object_: str, name: str, type_: str, length: int = 0) -> None:
    """Give a field another type. Values that do not fit are lost; no stamp moves."""
    entity, field = _plain_field(org, object_, name)
    if type_ not in CHANGEABLE_TYPES:
        raise ValueError(f"a field cannot become {type_!r}; there are {', '.join(sorted(CHANGEABLE_TYPES))}")
    length = 0 if type_ in _UNLENGTHY else length or field.length or 255
    _replace_field(org, entity, name, replace(field, type=type_, length=length, picklist=()))

    def converted(row: dict[str, Any]) -> dict[str, Any]:
        value = _converted(row.pop(name, None), type_, length)
        return row if value is None else {**row, name: value}

    _rewrite(org, object_, converted)


def _plain_field(org: Org, object_: str, name: str) -> tuple[Entity, Field]:
    """An object and one of its fields that nothing else in the org hangs on. Raises ValueError."""
    field = org.entities[object_].fields.get(name) if object_ in org.entities else None
    if field is None:
        raise ValueError(f"there is no field {object_}.{name}")
    if not field.writable or field.reference or field.compound or field.name_field or name in SYSTEM_FIELDS:
        raise ValueError(f"{object_}.{name} is not the administrator's to change")
    return org.entities[object_], field


def _replace_field(org: Org, entity: Entity, name: str, field: Field) -> None:
    fields = [field if each.name == name else each for each in entity.fields.values()]
    org.entities[entity.name] = replace(entity, fields={each.name: each for each in fields})
    org.metadata_touched(entity.name)


def _rewrite(org: Org, object_: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    for row in list(org.tables[object_].rows.values()):
        org.tables[object_].put(change(dict(row)))


def _formula_parent(entity: Entity, field: Field) -> str | None:
    relationship = (field.formula or "").partition(".")[0]
    return next(
        (each.reference for each in entity.fields.values() if each.relationship == relationship), None
    )


def _converted(value: Any, type_: str, length: int) -> Any:
    """The value as the new type has it, None where it cannot be."""
    if value is None:
        return None
    if type_ in TEXT_TYPES:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return text[:length]
    if type_ == "boolean":
        return value is True or str(value).strip().lower() in ("true", "1")
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if type_ == "int" else number
