"""What a run counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Rows and records of one run.

    `read` rows arrived; each of them ends in exactly one of `written`, `unchanged`, `skipped` (by reason),
    `rejected` (here, by code) or `refused` (by the destination, by code). `left_out` counts fields, not rows.
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

    @property
    def rejects(self) -> int:
        return self.rejected.total() + self.refused.total()

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
