"""What an org offers: objects, fields, relationships, and which field can serve as the cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crmsync.errors import ConfigError
from crmsync.sources.base import Link, SourceField, ValueKind
from crmsync.text import did_you_mean

CURSORS = ("SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime")
"""In order of preference (contract 2.1)."""

COMPOUND_TYPES = frozenset({"address", "location"})
VOLATILE = frozenset({"LastViewedDate", "LastReferencedDate"})
"""What the user who asks did last with a row."""
_KINDS: Mapping[str, ValueKind] = {
    **dict.fromkeys(COMPOUND_TYPES, "compound"),
    "email": "email",
    "phone": "phone",
    "id": "id",
    "reference": "id",
    "int": "integer",
    "long": "integer",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "boolean": "boolean",
    "date": "date",
    "datetime": "instant",
    "base64": "binary",
}
"""Of describe's types; what is not named here is text."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object, as describe has it."""

    name: str
    type: str
    filterable: bool
    sortable: bool
    nillable: bool
    calculated: bool
    relationship: str | None
    refers_to: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """One object. `fields` and `parents` are keyed by lower-case name."""

    name: str
    fields: Mapping[str, Field]
    parents: Mapping[str, Field]
    replicateable: bool

    def field(self, name: str) -> Field | None:
        return self.fields.get(name.lower())


@dataclass(frozen=True, slots=True)
class Column:
    """A source path found in the org: in the org's own spelling, with the type of what it ends in."""

    path: str
    type: str
    calculated: bool
    polymorphic: bool

    @property
    def doubt(self) -> str | None:
        """Why a change of this field may go unnoticed, None where it does not."""
        way_out = "its changes arrive only with `crmsync pull --refresh-formulas`"
        if self.calculated:
            return f"{self.path} is a formula, whose changes move no stamp; {way_out}"
        if self.polymorphic:
            return f"{self.path} goes through a parent of several kinds, which cannot be followed; {way_out}"
        return None


def parse(body: Mapping[str, Any]) -> Description:
    """A description from describe's JSON, or from what `condensed` kept of one."""
    fields = [
        Field(
            name=str(raw["name"]),
            type=str(raw.get("type", "string")),
            filterable=bool(raw.get("filterable", True)),
            sortable=bool(raw.get("sortable", True)),
            nillable=bool(raw.get("nillable", True)),
            calculated=bool(raw.get("calculated", False)),
            relationship=raw.get("relationshipName") or None,
            refers_to=tuple(raw.get("referenceTo") or ()),
            label=str(raw.get("label") or ""),
        )
        for raw in body["fields"]
    ]
    return Description(
        name=str(body["name"]),
        fields={field.name.lower(): field for field in fields},
        parents={f.relationship.lower(): f for f in fields if f.relationship and f.refers_to},
        replicateable=bool(body.get("replicateable", True)),
    )


def condensed(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of describe's JSON that `parse` reads, small enough to be kept between runs."""
    kept = (
        "name",
        "label",
        "type",
        "filterable",
        "sortable",
        "nillable",
        "calculated",
        "relationshipName",
        "referenceTo",
    )
    return {
        "name": body["name"],
        "replicateable": body.get("replicateable", True),
        "fields": [{key: raw.get(key) for key in kept if key in raw} for raw in body["fields"]],
    }


def cursor_of(description: Description) -> str:
    """The best cursor field the object has. Raises ConfigError where none can serve."""
    for name in CURSORS:
        field = description.field(name)
        if field and field.type == "datetime" and field.filterable and field.sortable and not field.nillable:
            return field.name
    raise ConfigError(
        f"{description.name} has no field to follow changes by (none of {', '.join(CURSORS)} will do)",
        hint="Choose another object, or ask your administrator about the field's visibility.",
    )


def find(path: str, root: Description, describe: Callable[[str], Description]) -> Column | str:
    """Look a path up level by level. Gives a sentence saying what is missing where it is not there."""
    *relationships, last = path.split(".")
    current, spelled, polymorphic = root, [], False
    for relationship in relationships:
        link = current.parents.get(relationship.lower())
        if link is None:
            near = did_you_mean(relationship, [f.relationship or "" for f in current.parents.values()])
            return f"{current.name} has no parent {relationship}{near}"
        polymorphic = polymorphic or len(link.refers_to) > 1
        spelled.append(str(link.relationship))
        try:
            current = describe(_leads_to(link))
        except ConfigError as missing:
            return missing.message
    field = current.field(last)
    if field is None:
        near = did_you_mean(last, [f.name for f in current.fields.values()])
        return f"{current.name} has no field {last}, or the integration user may not see it{near}"
    return Column(".".join([*spelled, field.name]), field.type, field.calculated, polymorphic)


def offered(description: Description) -> list[SourceField]:
    """What an object offers, in its own order."""
    return [
        SourceField(
            path=field.name,
            type=field.type,
            kind=_KINDS.get(field.type, "text"),
            label=field.label,
            formula=field.calculated,
            volatile=field.name in VOLATILE,
        )
        for field in description.fields.values()
    ]


def offered_by_parent(column: Column) -> SourceField:
    """The same of a mapped path through parents."""
    return SourceField(
        path=column.path,
        type=column.type,
        kind=_KINDS.get(column.type, "text"),
        formula=column.calculated,
        volatile=column.path.rpartition(".")[2] in VOLATILE,
    )


def links(
    paths: Iterable[str], root: Description, describe: Callable[[str], Description]
) -> tuple[Link, ...]:
    """The parents that these paths go through, the nearest first; those of several kinds cannot be followed."""
    fields: dict[str, list[str]] = {}
    for path in sorted(paths):
        chain, _, name = path.rpartition(".")
        if chain:
            fields.setdefault(chain, []).append(name)
    found = []
    for chain in sorted(fields, key=lambda chain: (chain.count("."), chain)):
        *before, last = chain.split(".")
        owner, steps = root, []
        for relationship in before:
            steps.append(owner.parents[relationship.lower()])
            owner = describe(_leads_to(steps[-1]))
        link = owner.parents[last.lower()]
        if all(len(step.refers_to) == 1 for step in [*steps, link]):
            key = ".".join([*before, link.name])
            found.append(Link(chain, key, link.refers_to[0], tuple(fields[chain])))
    return tuple(found)


def _leads_to(link: Field) -> str:
    """The object to describe behind a relationship: of several kinds, the user."""
    return "User" if "User" in link.refers_to else link.refers_to[0]
