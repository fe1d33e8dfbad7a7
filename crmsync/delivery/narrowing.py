"""Which records of a refused batch are at fault. Pure, given a way to try a part of it (law 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from crmsync.destinations.base import Reason, Refused, Settled
from crmsync.errors import ConfigError

Verdict = Settled | Refused
Judge = Callable[[list[int], bool], Verdict]
"""Tries the records at these indices under a fresh key. The second argument: with all the usual retries."""

SCHEMA_WIDE = 3
"""So many records in a row refused with 422 over one field, none written: it is the schema, not the row."""


@dataclass(slots=True)
class _Search:
    judge: Judge
    refused: dict[int, Reason] = field(default_factory=dict)
    left: list[list[int]] = field(default_factory=list)
    written: int = 0

    def take_in(self, piece: list[int], verdict: Verdict) -> list[int]:
        """Note what a verdict proves and give the rest: a piece that is known to hold a record at fault."""
        if isinstance(verdict, Settled):
            for index, reason in verdict.refused.items():
                self.refuse(piece[index], reason)
            named = {piece[index] for index in verdict.refused}
            rest = [index for index in piece if index not in named]
            if not verdict.unplaced:
                self.written += len(rest)
                return []
            return rest
        if verdict.index is not None and verdict.index < len(piece):
            culprit = piece[verdict.index]
            self.refuse(culprit, verdict.reason)
            self.left.append([index for index in piece if index != culprit])
            return []
        return piece

    def refuse(self, index: int, reason: Reason) -> None:
        self.refused[index] = reason
        alike = sum(r.status == 422 and r.field == reason.field for r in self.refused.values())
        if reason.status == 422 and not self.written and alike >= SCHEMA_WIDE:
            raise ConfigError(
                f"the destination's schema does not take these records ({reason.code}"
                f"{f', field {reason.field}' if reason.field else ''}, HTTP 422)",
                hint="Compare the mapping with the object's fields: `crmsync check`.",
            )

    def divide(self, suspect: list[int], verdict: Verdict) -> None:
        """Refuse a record that was tried alone, leave the halves of a larger piece to be tried."""
        if len(suspect) == 1:
            self.refuse(suspect[0], verdict.reason)
        elif suspect:
            self.left += _halves(suspect)

    def try_out(self, piece: list[int], *, patient: bool = False) -> tuple[list[int], Verdict]:
        verdict = self.judge(piece, patient)
        return self.take_in(piece, verdict), verdict


def narrow(size: int, refusal: Verdict, judge: Judge) -> dict[int, Reason]:
    """Give the records at fault with their reasons; every other record has been written.

    A path in the error names the record. Without one, the first culprit is hunted by halves: what is written
    clears the tried half and convicts the other, so that one bad record among 500 costs about eleven tries.
    Should there be more, the rest is divided plainly, but for a 422 while nothing is written: whether that is the
    schema, a few culprits tell sooner. A record is refused only by name or when tried alone.
    Raises ConfigError when the schema refuses everything.
    """
    search = _Search(judge)
    everything = list(range(size))
    if isinstance(refusal, Refused) and refusal.kind == "passing":
        refusal = judge(everything, False)
    suspect = search.take_in(everything, refusal)
    if len(suspect) > 1 and not _too_large(refusal):
        _hunt(search, suspect)
    elif suspect:
        search.divide(suspect, refusal)
    while search.left:
        piece = search.left.pop(0)
        if piece:
            rest, verdict = search.try_out(piece, patient=len(piece) == 1)
            if len(rest) > 1 and verdict.reason.status == 422 and not search.written:
                _hunt(search, rest)
            else:
                search.divide(rest, verdict)
    return search.refused


def _hunt(search: _Search, suspect: list[int]) -> None:
    """Find one culprit in a piece that holds one. What stays unjudged is left for later as one piece."""
    unjudged: list[int] = []
    while len(suspect) > 1:
        first, second = _halves(suspect)
        rest, verdict = search.try_out(first)
        cleared = isinstance(verdict, Settled) and not verdict.refused and not rest
        suspect = second if cleared else rest
        if not cleared:
            unjudged += second
    if suspect:
        search.divide(*search.try_out(suspect, patient=True))
    search.left.append(sorted(unjudged))


def _too_large(refusal: Verdict) -> bool:
    return isinstance(refusal, Refused) and refusal.kind == "size"


def _halves(piece: list[int]) -> list[list[int]]:
    middle = (len(piece) + 1) // 2
    return [piece[:middle], piece[middle:]]
