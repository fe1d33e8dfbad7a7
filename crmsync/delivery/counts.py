"""What a run counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Rows and records of one run.

    `read` rows arrived; each of them ends in exactly one of `written`, `unchanged`, `skipped` (by reason),
    `rejected` (here, by code) or `refused` (by the destination, by code). `left_out` counts fields, not rows.
    `expected` is how many rows there are to read, where the source tells; `compared` Ids were held against
    the ledger.
    """

    read: int = 0
    written: int = 0
    unchanged: int = 0
    replayed: int = 0
    batches: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    expected: int | None = None
    compared: int = 0

    @property
    def rejects(self) -> int:
        return sum([*self.rejected.values(), *self.refused.values()])

    def as_dict(self) -> dict[str, object]:
        return {
            "read": self.read,
            "written": self.written,
            "unchanged": self.unchanged,
            "replayed": self.replayed,
            "batches": self.batches,
            "skipped": dict(self.skipped),
            "rejected": dict(self.rejected),
            "refused": dict(self.refused),
            "left_out": dict(self.left_out),
        }
