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

    source: str | None = Field(
        None, alias="from", description="The source path, such as Email or Account.Name."
    )
    normalize: Normalization = Field(
        "text",
        description="What is made of the value: email lower-cases an address, and a malformed one costs the row; "
        "phone gives E.164, and instant UTC to the second, where an unreadable value costs the field; text is "
        "cleaned of control characters; none leaves it as it is.",
    )
    region_from: Names = Field(
        [], description="With phone: source paths that tell the number's country, the best first."
    )
    on_blank: Literal["keep", "clear"] = Field(
        "keep", description="What a blank value does: keep leaves the field out, clear empties it."
    )
    const: Constant = Field(None, description="A fixed value, instead of `from`.")

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

    name: str = Field(description="What the sync is called, by commands and in the state.")
    source: str = Field("salesforce", description="Where rows come from.")
    object: str = Field(description="The source's object, by its API name.")
    into: str = Field("profiles", description="The destination's object.")
    destination: str = Field("experiture", description="Where records go.")
    match_key: str = Field(
        description="The mapped field that finds the profile: an identity key of the destination's object."
    )
    owner: str = Field("crm", description="In whose name the sync writes; see `[ownership]`.")
    require: Names = Field([], description="Mapped fields without which a row is skipped, and counted.")
    where: str | None = Field(None, description="A condition of your own on the source's rows, in SOQL.")
    deletes: Literal["ignore", "flag"] = Field(
        "ignore",
        description="What becomes of deleted rows: flag fills crm_deleted_at and crm_merged_into, which must "
        "exist in the destination.",
    )
    fields: dict[str, Annotated[FieldTable, BeforeValidator(_as_table)]] = Field(
        description="The mapping, as a table: a target field to a source path, or to the keys below."
    )

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
