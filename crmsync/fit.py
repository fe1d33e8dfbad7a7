"""Fitting a sync's mapping to what the source offers today. Pure.

A field that was never delivered and is not there is a mistake in the configuration. One that was delivered and
has vanished since (deleted, renamed, or hidden from the integration user) is left out, loudly, so that the other
fields go on; unless the row makes no sense without it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from crmsync.config.sync import Sync
from crmsync.errors import ConfigError
from crmsync.mapping import Mapper
from crmsync.sources.base import Shape


@dataclass(frozen=True, slots=True)
class Fit:
    """A mapping that works today. `paths` are the source paths it reads, `dropped` those left out."""

    mapper: Mapper
    paths: list[str]
    dropped: list[str]


def fit(sync: Sync, shape: Shape, default_region: str | None, delivered: Collection[str]) -> Fit:
    """Compile the mapping. `delivered` are the source paths that earlier runs have delivered.

    Raises ConfigError naming every field that is missing and cannot be left out.
    """
    indispensable = {sync.match_key, *sync.require}
    problems = [
        f"sync {sync.name}, field {rule.target}: {shape.missing[rule.source]}"
        for rule in sync.fields
        if rule.source
        and rule.source in shape.missing
        and (rule.source not in delivered or rule.target in indispensable)
    ]
    if problems:
        raise ConfigError(problems, hint="`crmsync check` tries every field and says what is there.")
    left = tuple(rule for rule in sync.fields if rule.source not in shape.missing)
    mapper = Mapper(
        replace(sync, fields=left).spelled(shape.paths),
        types=shape.types,
        default_region=default_region,
        cursor=shape.cursor,
    )
    return Fit(
        mapper,
        paths=sorted({rule.source for rule in left if rule.source}),
        dropped=sorted({path for path in shape.missing if any(rule.source == path for rule in sync.fields)}),
    )
