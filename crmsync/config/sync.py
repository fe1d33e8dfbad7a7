"""What one sync is: one source object into one destination object, with its mapping. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Normalization = Literal["email", "phone", "instant", "text", "none"]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How one target field is filled.

    `source` is the source path (`Email`, `Account.Name`), None where `const` gives a fixed value instead.
    `region_from` are source paths that hint at a phone number's country, in order of preference.
    `on_blank` says what a blank value does: "keep" leaves the field out, "clear" sends null.
    """

    target: str
    source: str | None = None
    normalize: Normalization = "text"
    region_from: tuple[str, ...] = ()
    on_blank: Literal["keep", "clear"] = "keep"
    const: str | int | float | bool | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """One sync. `fields` is in the order of the configuration; `require` names target fields."""

    name: str
    source: str
    object: str
    into: str
    match_key: str
    owner: str
    fields: tuple[FieldRule, ...]
    require: tuple[str, ...] = ()
    where: str | None = None
    deletes: Literal["ignore", "flag"] = "ignore"
    destination: str = "experiture"

    def spelled(self, paths: Mapping[str, str]) -> Sync:
        """The same sync, its source paths in the source's own spelling, hints that do not exist left out."""
        fields = tuple(
            replace(
                rule,
                source=paths.get(rule.source, rule.source) if rule.source else None,
                region_from=tuple(paths[hint] for hint in rule.region_from if hint in paths),
            )
            for rule in self.fields
        )
        return replace(self, fields=fields)

    def rule(self, target: str) -> FieldRule | None:
        return next((rule for rule in self.fields if rule.target == target), None)
