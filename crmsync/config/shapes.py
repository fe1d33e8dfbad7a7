"""The pydantic models of crmsync.toml's tables. Shape only; checks.py does the rest."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from crmsync.config.sync import FieldRule, Normalization, Sync


def _as_list(written: object) -> object:
    """One text stands for a list of one."""
    return [written] if isinstance(written, str) else written


def _as_table(written: object) -> object:
    """A field's shorthand, `"Email"`, stands for `{ from = "Email" }`."""
    return {"from": written} if isinstance(written, str) else written


def _constant(written: object) -> object:
    if isinstance(written, str | int) or (isinstance(written, float) and isfinite(written)):
        return written
    raise ValueError("must be a text, a number, true or false")


def _as_owners(written: object) -> object:
    return tuple(written) if isinstance(written, list) else (written,)


def _distinct(written: list[str]) -> list[str]:
    return list(dict.fromkeys(written))


Names = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_distinct)]
Constant = Annotated[object, AfterValidator(_constant)]


class FieldTable(BaseModel):
    """One entry of `[sync.fields]`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: str | None = Field(None, alias="from")
    normalize: Normalization = "text"
    region_from: Names = []
    on_blank: Literal["keep", "clear"] = "keep"
    const: Constant = None

    def rule(self, target: str) -> FieldRule:
        return FieldRule(
            target=target,
            source=self.source,
            normalize=self.normalize,
            region_from=tuple(self.region_from),
            on_blank=self.on_blank,
            const=self.const,  # type: ignore[arg-type]  # _constant let nothing else through
        )


class SyncTable(BaseModel):
    """One `[[sync]]`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    source: str = "salesforce"
    object: str
    into: str = "profiles"
    destination: str = "experiture"
    match_key: str
    owner: str = "crm"
    require: Names = []
    where: str | None = None
    deletes: Literal["ignore", "flag"] = "ignore"
    fields: dict[str, Annotated[FieldTable, BeforeValidator(_as_table)]]

    def sync(self) -> Sync:
        return Sync(
            name=self.name,
            source=self.source,
            object=self.object,
            into=self.into,
            match_key=self.match_key,
            owner=self.owner,
            fields=tuple(table.rule(target) for target, table in self.fields.items()),
            require=tuple(self.require),
            where=self.where,
            deletes=self.deletes,
            destination=self.destination,
        )


OWNERSHIP = TypeAdapter(dict[str, Annotated[tuple[str, ...], BeforeValidator(_as_owners)]])
"""`[ownership]`: target field to its owners."""
