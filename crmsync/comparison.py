"""What the source offers beside what the destination has: mapped, could be mapped, does not fit. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from crmsync.config.sync import FieldRule, Normalization, Sync
from crmsync.destinations.base import TargetField
from crmsync.ownership import ANY, TOMBSTONE_FIELDS
from crmsync.sources.base import SourceField
from crmsync.text import did_you_mean

_SENDS: Mapping[Normalization, str] = {"email": "text", "phone": "text", "instant": "instant"}
"""What a normalization makes of any value; the others leave its kind as it is."""
_TAKES: Mapping[str, frozenset[str]] = {
    "text": frozenset({"text", "email", "phone", "id", "date", "instant", "raw instant"}),
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "number"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "instant": frozenset({"instant"}),
}
"""The values that a target of each kind takes. A destination may be more lenient; it is not relied upon."""
_GUESSES: Mapping[str, Normalization] = {"email": "email", "phone": "phone", "instant": "instant"}
_CUSTOM = re.compile(r"__(c|pc)$", re.IGNORECASE)
_SOURCE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TARGET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Pair:
    """A source field and a target field that belong together, or one that stands alone.

    `state`: "mapped"; "candidate", which could be; "source" and "target" for one without the other. `notes` say
    what deserves attention. `rule` is the mapping, or the one that could be.
    """

    state: Literal["mapped", "candidate", "source", "target"]
    source: str | None
    source_type: str
    target: str | None
    target_type: str
    label: str = ""
    notes: tuple[str, ...] = ()
    rule: FieldRule | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else bears on a mapping. `missing`: sentences about mapped paths that are not there, by path.
    `taken`: targets that other syncs write into the same object, with the name of the sync.
    """

    ownership: Mapping[str, tuple[str, ...]]
    missing: Mapping[str, str] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)


def compare(
    sync: Sync, offered: Sequence[SourceField], targets: Sequence[TargetField] | None, around: Surroundings
) -> list[Pair]:
    """The mapping in its order; then what could be mapped, what has no counterpart here, and there.

    Without the destination's `targets` nothing is said about them.
    """
    by_path = {each.path.lower(): each for each in offered}
    by_target = None if targets is None else {each.name: each for each in targets}
    mapped = [_mapped(sync, rule, by_path, by_target, around) for rule in sync.fields]
    used = {rule.source.lower() for rule in sync.fields if rule.source}
    left = [each for each in offered if each.path.lower() not in used and "." not in each.path]
    counterparts = _counterparts(left, targets or ())
    candidates = [
        _candidate(sync, each, counterparts[each.path], around) for each in left if each.path in counterparts
    ]
    alone = [
        Pair("source", each.path, each.type, None, "", each.label, (*_doubts(each), *_unmappable(each)))
        for each in left
        if each.path not in counterparts
    ]
    met = {pair.target for pair in [*mapped, *candidates]}
    unmet = [
        Pair("target", None, "", each.name, each.type, notes=tuple(_owners(sync, each.name, around)))
        for each in targets or ()
        if each.name not in met
    ]
    return [*mapped, *candidates, *alone, *unmet]


def suggested(pairs: Sequence[Pair]) -> Iterator[tuple[FieldRule, str | None]]:
    """The rules to add to a mapping, each with the reason why it had better not be, None where there is none."""
    filled: set[str] = set()
    for pair in pairs:
        if pair.state != "candidate" or pair.rule is None:
            continue
        again = pair.rule.target in filled
        yield pair.rule, "; ".join(pair.notes) or ("a second source for this field" if again else None)
        if not pair.notes:
            filled.add(pair.rule.target)


def _mapped(
    sync: Sync,
    rule: FieldRule,
    by_path: Mapping[str, SourceField],
    by_target: Mapping[str, TargetField] | None,
    around: Surroundings,
) -> Pair:
    source = by_path.get((rule.source or "").lower())
    target = by_target.get(rule.target) if by_target is not None else None
    notes: list[str] = []
    if rule.source and rule.source in around.missing:
        notes.append(around.missing[rule.source])
    if source is not None:
        notes += _doubts(source)
    if by_target is not None and target is None:
        notes.append(f"{sync.into} has no field {rule.target}{did_you_mean(rule.target, by_target)}")
    notes += _misfits(rule, source, target)
    return Pair(
        "mapped",
        source.path if source else rule.source,
        source.type if source else "",
        rule.target,
        target.type if target else "",
        source.label if source else "",
        tuple(notes),
        rule,
    )


def _candidate(sync: Sync, source: SourceField, target: TargetField, around: Surroundings) -> Pair:
    hints = next((rule.region_from for rule in sync.fields if rule.region_from), ())
    guess = _GUESSES.get(source.kind, "text")
    guess = "text" if guess == "instant" and target.kind not in ("instant", "text", None) else guess
    rule = FieldRule(target.name, source.path, guess, region_from=hints if guess == "phone" else ())
    taken = sync.rule(target.name)
    notes = [f"{target.name} comes from {taken.source or 'a constant'}"] if taken else []
    notes += [*_owners(sync, target.name, around), *_doubts(source), *_misfits(rule, source, target)]
    return Pair(
        "candidate", source.path, source.type, target.name, target.type, source.label, tuple(notes), rule
    )


def _counterparts(sources: Sequence[SourceField], targets: Sequence[TargetField]) -> dict[str, TargetField]:
    """For each source path the target of the same name, however either side spells it."""
    by_name: dict[str, TargetField] = {}
    for target in targets:
        if _TARGET_NAME.fullmatch(target.name):
            by_name.setdefault(_squashed(target.name), target)
    named = [each for each in sources if _SOURCE_NAME.fullmatch(each.path)]
    return {each.path: by_name[name] for each in named if (name := _squashed(each.path)) in by_name}


def _squashed(name: str) -> str:
    """`MobilePhone`, `mobile_phone` and `Mobile_Phone__c` are one name."""
    return re.sub(r"[_-]", "", _CUSTOM.sub("", name)).lower()


def _doubts(source: SourceField) -> Iterator[str]:
    if source.formula:
        yield "a formula: its changes move no stamp"
    if source.volatile:
        yield "changes whenever somebody looks at the row"


def _misfits(rule: FieldRule, source: SourceField | None, target: TargetField | None) -> Iterator[str]:
    if source is not None and source.kind in ("compound", "binary"):
        yield from _unmappable(source)
        return
    if target is None:
        return
    if rule.on_blank == "clear" and target.nullable is False:
        yield 'takes no null, which on_blank = "clear" sends'
    sends = _sent(rule, source)
    if target.kind is None or sends is None or sends in _TAKES[target.kind]:
        return
    if sends == "raw instant":
        yield 'the types fit with normalize = "instant" only'
    else:
        yield f"the types do not fit: {sends} into {target.type}"


def _unmappable(source: SourceField) -> Iterator[str]:
    if source.kind == "compound":
        yield "compound: map its parts instead"
    elif source.kind == "binary":
        yield "binary: cannot be mapped"


def _sent(rule: FieldRule, source: SourceField | None) -> str | None:
    """The kind of value that a rule sends, None where that is not known."""
    if rule.const is not None:
        by_type = {bool: "boolean", int: "integer", float: "number", str: "text"}
        return by_type[type(rule.const)]
    if rule.normalize in _SENDS:
        return _SENDS[rule.normalize]
    if source is None:
        return None
    return "raw instant" if source.kind == "instant" else source.kind


def _owners(sync: Sync, target: str, around: Surroundings) -> Iterator[str]:
    if sync.deletes == "flag" and target in TOMBSTONE_FIELDS:
        yield "flags deleted rows"
    owners = around.ownership.get(target)
    if owners is not None and sync.owner not in owners and ANY not in owners:
        yield f"belongs to {' or '.join(owners) or 'nobody'}"
    if target in around.taken and ANY not in (owners or ()):
        yield f"is written by sync {around.taken[target]}"


Written = Callable[[Sync], Collection[str]]


def taken_by_others(sync: Sync, syncs: Sequence[Sync], written: Written) -> dict[str, str]:
    """The targets of this sync's object that other syncs write."""
    return {
        target: other.name
        for other in syncs
        if other.name != sync.name and (other.destination, other.into) == (sync.destination, sync.into)
        for target in written(other)
    }
