"""Who may write which target field (law 6). Pure.

A field of the ownership matrix is written only by a sync whose owner stands beside it; `any` beside a field
lets every sync write it; an empty list lets none. A field that the matrix does not name belongs to the sync
that maps it.

Two syncs never write one field of the same destination object, or the later run would undo the earlier: only
a field owned by `any` may be shared, and the field that is the match key of both, which finds the row rather
than describing it. A second sync into the same object therefore brings fields of its own, such as
`lead_status` and `lead_source_id`. A sync with `deletes = "flag"` also writes the tombstone fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crmsync.config.sync import Sync

ANY = "any"
TOMBSTONE_FIELDS = ("crm_deleted_at", "crm_merged_into")

DEFAULT_OWNERSHIP: Mapping[str, tuple[str, ...]] = {
    "email": (ANY,),
    "first_name": ("crm",),
    "last_name": ("crm",),
    "phone": ("crm", "sms"),
    "job_title": ("crm",),
    "company_name": ("crm",),
    "subscription_status": ("billing",),
    "order_count": ("commerce",),
    "ltv": ("commerce",),
    "email_opted_out": ("esp",),
}
"""The matrix of the vendor's guide."""


def written_fields(sync: Sync) -> tuple[str, ...]:
    """The target fields a sync may write, in the order of its mapping, tombstone fields last."""
    mapped = tuple(rule.target for rule in sync.fields)
    return mapped + TOMBSTONE_FIELDS if sync.deletes == "flag" else mapped


def problems(syncs: Sequence[Sync], ownership: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Every breach of law 6, one sentence each; empty where there is none."""
    return [*_foreign_fields(syncs, ownership), *_shared_fields(syncs, ownership)]


def _foreign_fields(syncs: Sequence[Sync], ownership: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for sync in syncs:
        for target in dict.fromkeys(written_fields(sync)):
            owners = ownership.get(target)
            if owners is not None and sync.owner not in owners and ANY not in owners:
                belongs = f"belongs to {' or '.join(owners)}" if owners else "is to be written by nobody"
                yield (
                    f"sync {sync.name}, field {target}: {belongs}, and the sync writes as {sync.owner}; "
                    f"take it out of the sync, or name {sync.owner} beside it under [ownership]"
                )


def _shared_fields(syncs: Sequence[Sync], ownership: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for one, other in combinations(syncs, 2):
        if (one.destination, one.into) != (other.destination, other.into):
            continue
        for target in dict.fromkeys(written_fields(one)):
            is_key_of_both = target == one.match_key == other.match_key
            if (
                target in written_fields(other)
                and not is_key_of_both
                and ANY not in ownership.get(target, ())
            ):
                yield (
                    f"syncs {one.name} and {other.name} both write {target} of {one.into}; "
                    f"give one of them a field of its own"
                )
