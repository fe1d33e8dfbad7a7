"""What must hold of a sync beyond its shape: names that can be names, keys that are mapped. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from crmsync.config import condition
from crmsync.config.sync import FieldRule, Sync
from crmsync.text import did_you_mean

MOST_PARENTS = 5
"""Levels of parents that a source path may climb."""

_SYNC_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TARGET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def problems(syncs: Mapping[int, Sync]) -> Iterator[str]:
    """Every problem of the syncs, by their number in the file: `sync[0].match_key: must be …`."""
    first: dict[str, int] = {}
    for number, sync in syncs.items():
        yield from (f"sync[{number}].{at}: {wrong}" for at, wrong in _sync(sync))
        if sync.name in first:
            yield f"sync[{number}].name: is already the name of sync[{first[sync.name]}]"
        first.setdefault(sync.name, number)


def _sync(sync: Sync) -> Iterator[tuple[str, str]]:
    if not _SYNC_NAME.fullmatch(sync.name):
        yield "name", "must be of a-z, 0-9, - and _, and at most 64 long"
    if not _API_NAME.fullmatch(sync.object):
        yield "object", "must be the API name of an object, such as Contact or Invoice__c"
    for at, text in (("into", sync.into), ("source", sync.source), ("destination", sync.destination)):
        if not _TARGET_NAME.fullmatch(text):
            yield at, "must be of letters, digits, - and _"
    if not sync.owner.strip():
        yield "owner", "must not be blank"
    if not sync.fields:
        yield "fields", "must map at least one field"
    for rule in sync.fields:
        yield from ((f"fields.{rule.target}{at}", wrong) for at, wrong in _field(rule))
    yield from _match_key(sync)
    mapped = [rule.target for rule in sync.fields]
    for target in sync.require:
        if target not in mapped:
            yield "require", f"names {target}, which [sync.fields] does not map{did_you_mean(target, mapped)}"
    if sync.where is not None:
        yield from (("where", wrong) for wrong in condition.problems(sync.where))


def _match_key(sync: Sync) -> Iterator[tuple[str, str]]:
    rule = sync.rule(sync.match_key)
    if rule is None:
        near = did_you_mean(sync.match_key, [rule.target for rule in sync.fields])
        yield "match_key", f"must be a field of [sync.fields], and {sync.match_key} is none{near}"
    elif rule.const is not None:
        yield "match_key", f"must come from the source: {sync.match_key} has one value for every record"
    elif rule.on_blank == "clear":
        yield "match_key", f'must not be cleared: take on_blank = "clear" from {sync.match_key}'


def _field(rule: FieldRule) -> Iterator[tuple[str, str]]:
    if not _TARGET_NAME.fullmatch(rule.target):
        yield "", "must be named with letters, digits, - and _"
    if (rule.source is None) == (rule.const is None):
        yield "", "must have either from or const"
    if rule.source is not None:
        yield from ((".from", wrong) for wrong in _path(rule.source))
    if rule.region_from and rule.normalize != "phone":
        yield ".region_from", 'is of use only with normalize = "phone"'
    for path in rule.region_from:
        yield from ((".region_from", wrong) for wrong in _path(path))
    if rule.const is not None and (rule.on_blank == "clear" or rule.normalize not in ("text", "none")):
        yield ".const", "is written as it is: take normalize and on_blank away"


def _path(path: str) -> Iterator[str]:
    names = path.split(".")
    if not all(_API_NAME.fullmatch(name) for name in names):
        yield "must be the API name of a field, such as Email or Account.Name"
    elif len(names) > MOST_PARENTS + 1:
        yield f"must climb at most {MOST_PARENTS} parents"
