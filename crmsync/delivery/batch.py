"""The batch that is being filled: at most one record per match key, of two the newer (law 5). Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crmsync.mapping import Record


@dataclass(slots=True)
class Slot:
    """A record waiting to be sent, and the number of the page it came with."""

    record: Record
    page: int


@dataclass(slots=True)
class Batch:
    """Records in the order of arrival, by match key. `size` is the bytes of their bodies and separators.

    `replaced` are the pages of the records that gave way to newer ones: what they said is durable no sooner
    than the batch is proved.
    """

    slots: dict[str, Slot] = field(default_factory=dict)
    size: int = 0
    replaced: Counter[int] = field(default_factory=Counter)

    def put(self, slot: Slot) -> Slot | None:
        """Take a record in. Gives the slot that had to stay outside: an older one of the same key, or itself."""
        rival = self.slots.get(slot.record.key)
        if rival is not None and _age(rival.record) > _age(slot.record):
            return slot
        self.slots[slot.record.key] = slot
        if rival is not None:
            self.replaced[rival.page] += 1
        self.size += len(slot.record.body) + 1 - (len(rival.record.body) + 1 if rival else 0)
        return rival

    def pages(self) -> Counter[int]:
        return Counter(slot.page for slot in self.slots.values())

    def records(self) -> list[Record]:
        return [slot.record for slot in self.slots.values()]

    def __len__(self) -> int:
        return len(self.slots)


def _age(record: Record) -> tuple[str, str]:
    """Sorts versions of one key: by stamp, and by Id where two rows share the second."""
    return record.stamp, record.id
