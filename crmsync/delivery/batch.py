"""The batch that is being filled: at most one record per match key, of two the newer (law 5). Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from crmsync.mapping import Record


@dataclass(slots=True)
class Batch:
    """Records in the order of arrival, by match key. `size` is the bytes of their bodies and separators.

    `pages` counts, by its number, how many records each page brought. Those of records that gave way to newer
    ones are among them: what they said is durable no sooner than the batch is proved.
    """

    records: dict[str, Record] = field(default_factory=dict)
    size: int = 0
    pages: Counter[int] = field(default_factory=Counter)

    def put(self, record: Record, page: int) -> Record | None:
        """Take a record of this page in. Gives the one that stays outside: an older one of its key, or itself.

        One that gave way is settled with the batch; one that did not get in is none of its business.
        """
        rival = self.records.get(record.key)
        if rival is not None:
            if _age(rival) > _age(record):
                return record
            self.size -= len(rival.body) + 1
        self.records[record.key] = record
        self.size += len(record.body) + 1
        self.pages[page] += 1
        return rival


def _age(record: Record) -> tuple[str, str]:
    """Sorts versions of one key: by stamp, and by Id where two rows share the second."""
    return record.stamp, record.id
