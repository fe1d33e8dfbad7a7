"""Field paths of a query, resolved against the org: which field they mean and how to read it from a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.schema import Entity, Field
from crmsync.sandbox.salesforce.soql import Path, SoqlError, located
from crmsync.sandbox.salesforce.tables import Row, Tables

MOST_PARENTS = 5
_CUSTOM = "If you are attempting to use a custom"
_SEE = ". Please reference your WSDL or the describe call for the appropriate names."
_ADDRESS_PARTS = {
    "city": "City",
    "country": "Country",
    "countryCode": "CountryCode",
    "geocodeAccuracy": "GeocodeAccuracy",
    "latitude": "Latitude",
    "longitude": "Longitude",
    "postalCode": "PostalCode",
    "state": "State",
    "stateCode": "StateCode",
    "street": "Street",
}

Reader = Callable[[Row, Tables], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A resolved path: `parents` are the reference fields on the way, `entities` the objects passed.

    The first object is the query's own; `value` reads the field from a row of the last one.
    """

    parents: tuple[Field, ...]
    entities: tuple[Entity, ...]
    field: Field
    value: Reader

    @property
    def read(self) -> Reader:
        """Reads the field from a row of the first object."""
        return _through(self.parents, self.value)

    @property
    def name(self) -> str:
        """The path in canonical case."""
        return ".".join([*(link.relationship or "" for link in self.parents), self.field.name])

    def from_parent(self) -> Column:
        """The same column, seen from the first parent."""
        return Column(self.parents[1:], self.entities[1:], self.field, self.value)


class Resolver:
    """Resolves the paths of one query. Raises SoqlError with INVALID_TYPE or INVALID_FIELD."""

    def __init__(self, org: Org, text: str, entity: Path) -> None:
        self._org = org
        self._text = text
        self._visible: dict[str, dict[str, Field]] = {}
        found = org.entity(entity.text)
        if found is None:
            problem = f"sObject type '{entity.text}' is not supported. {_CUSTOM} object"
            advice = f", be sure to append the '__c' after the entity name{_SEE}"
            raise self.error("INVALID_TYPE", entity, problem + advice)
        self.entity = found

    def error(self, code: str, path: Path, message: str) -> SoqlError:
        return SoqlError(code, located(self._text, path.line, path.column, message))

    def column(self, path: Path) -> Column:
        entity = self.entity
        entities = [entity]
        names = list(path.parts)
        if len(names) - 1 > MOST_PARENTS:
            raise self.error("INVALID_FIELD", path, f"a path may lead over {MOST_PARENTS} parents at most")
        parents: list[Field] = []
        for name in names[:-1]:
            link = self._link(entity, name)
            if link is None or link.reference is None:
                problem = f"Didn't understand relationship '{name}' in field path. {_CUSTOM} relationship"
                advice = f", be sure to append the '__r' after the custom relationship name{_SEE}"
                raise self.error("INVALID_FIELD", path, problem + advice)
            parents.append(link)
            entity = self._org.entities[link.reference]
            entities.append(entity)
        field = self._fields(entity).get(names[-1].lower())
        if field is None:
            problem = f"No such column '{names[-1]}' on entity '{entity.name}'. {_CUSTOM} field"
            advice = f", be sure to append the '__c' after the custom field name{_SEE}"
            raise self.error("INVALID_FIELD", path, problem + advice)
        return Column(tuple(parents), tuple(entities), field, self._reader(entity, field))

    def _fields(self, entity: Entity) -> Mapping[str, Field]:
        if entity.name not in self._visible:
            visible = self._org.visible_fields(entity)
            self._visible[entity.name] = {field.name.lower(): field for field in visible}
        return self._visible[entity.name]

    def _link(self, entity: Entity, relationship: str) -> Field | None:
        wanted = relationship.lower()
        return next(
            (each for each in self._fields(entity).values() if (each.relationship or "").lower() == wanted),
            None,
        )

    def _reader(self, entity: Entity, field: Field) -> Reader:
        if field.type == "address":
            parts = {
                key: f"{field.name.removesuffix('Address')}{part}" for key, part in _ADDRESS_PARTS.items()
            }
            shown = {key: name for key, name in parts.items() if name.lower() in self._fields(entity)}
            return lambda row, tables: _address(row, shown)
        if field.formula:
            relationship, _, source = field.formula.partition(".")
            link = next(each for each in entity.fields.values() if each.relationship == relationship)
            return _through([link], lambda row, tables: row.get(source))
        name, default = field.name, False if field.type == "boolean" else None
        return lambda row, tables: row.get(name, default)


def parent_row(row: Row, link: Field, tables: Tables) -> Row | None:
    """The row that a reference field leads to, None where it leads nowhere."""
    return tables[link.reference or ""].get(row.get(link.name, ""))


def _through(parents: Sequence[Field], read: Reader) -> Reader:
    if not parents:
        return read

    def reader(row: Row, tables: Tables) -> Any:
        current: Row | None = row
        for link in parents:
            current = parent_row(current, link, tables) if current is not None else None
        return None if current is None else read(current, tables)

    return reader


def _address(row: Row, parts: Mapping[str, str]) -> dict[str, Any] | None:
    found = {key: row.get(name) for key, name in parts.items()}
    return found if any(value is not None for value in found.values()) else None
