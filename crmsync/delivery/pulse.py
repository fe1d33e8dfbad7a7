"""Whether a destination still takes anything while a refused batch is narrowed: bad rows or an outage (law 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from crmsync.delivery.narrowing import Judge, Verdict
from crmsync.destinations.base import Reason, Refused, Settled
from crmsync.errors import Outage

SILENCE = 25
"""After so many failed tries in a row it is made sure that something still succeeds."""


@dataclass(slots=True)
class Pulse:
    """Watches the tries of one narrowing, of a batch of `size` records.

    `send` tries records by their indices. `successes` counts what the whole run has delivered so far, `heard` is
    that count when it was last looked at: at first, when the batch was sent. `passing` is the last answer that
    might have been another one later; as long as there is none, nothing is in doubt.
    """

    size: int
    send: Judge
    successes: Callable[[], int]
    heard: int
    passing: Reason | None
    _failures: int = 0
    _written: list[int] = field(default_factory=list)

    def judge(self, indices: list[int], patient: bool) -> Verdict:
        """Try these records. Raises Outage when nothing succeeds any more."""
        verdict = self.send(indices, patient)
        if isinstance(verdict, Refused) and verdict.kind == "passing":
            self.passing = verdict.reason
        if isinstance(verdict, Settled) and not verdict.refused and not verdict.unplaced:
            self._written = indices[:1]
        if self.size > 1 and self.successes() > self.heard:
            self.heard, self._failures = self.successes(), 0
        else:
            self._failures += 1
        if self._failures >= SILENCE:
            self.make_sure()
        return verdict

    def make_sure(self) -> None:
        """Where the last tries may have met an outage, send once more a record that was taken before.

        Raises Outage if that fails too, or there is none and nothing else has been delivered since.
        """
        if self.passing and self._is_silent() and self._written:
            self.send(self._written, True)
        if self.passing and self._is_silent():
            raise Outage(
                f"the destination answers every batch with HTTP {self.passing.status} {self.passing.code}",
                hint="Nothing is lost: the next run sends the same batches again.",
            )
        self._failures = 0

    def _is_silent(self) -> bool:
        return self._failures > 0 and self.successes() == self.heard
