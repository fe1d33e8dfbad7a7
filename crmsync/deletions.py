"""Rows that are gone: flagged from a window's deletions, or found by comparing all Ids with the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from crmsync.config.sync import Sync
from crmsync.delivery import Counts, Delivery
from crmsync.errors import BrakeError
from crmsync.sources.base import Deletion, Source, Window
from crmsync.state.ledger import Ledger
from crmsync.state.store import Store
from crmsync.tombstones import allowed, tombstone

_CHUNK = 2000


@dataclass(slots=True)
class Reconciliation:
    """How org and ledger compare. `undelivered`: Ids in the org that no proof is known of; rows that the rules
    leave out are among them. `deleted`: delivered rows that the source calls deleted. `confirmed`: delivered
    rows that are not there at all, as the delete log or an earlier reconciliation says too. `unconfirmed`:
    not there, for the first time. `outside`: alive, but no longer within the sync's condition.
    """

    in_org: int = 0
    in_ledger: int = 0
    undelivered: list[str] = field(default_factory=list)
    deleted: list[Deletion] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


class Deletions:
    """Finds and flags the rows of one sync that are gone.

    `deliver_again` reads rows by Id and delivers them, to the end: the winner of a merge is written before its
    losers are flagged. `check` raises where the run is to stop.
    """

    def __init__(
        self,
        sync: Sync,
        source: Source,
        ledger: Ledger,
        delivery: Delivery,
        store: Store,
        counts: Counts,
        *,
        deliver_again: Callable[[Sequence[str]], None],
        check: Callable[[], None],
        unlimited: bool,
    ) -> None:
        self._sync = sync
        self._source = source
        self._ledger = ledger
        self._delivery = delivery
        self._store = store
        self._counts = counts
        self._deliver_again = deliver_again
        self._check = check
        self._unlimited = unlimited
        self._name = f"{sync.name}/reconcile.json"

    def flag_window(self, window: Window) -> tuple[int, list[str]]:
        """Flag what was deleted in a window. Gives how many, and what may be missing, in sentences.

        Raises BrakeError before the first, where there are more than one run may flag unasked.
        """
        found = self._source.deletions(window, self._ledger.delivered)
        return self._flag(found.rows), found.warnings

    def compare(self) -> Reconciliation:
        """Read every Id of the org and hold it against the ledger. Nothing is written."""
        result = Reconciliation(in_ledger=len(self._ledger))
        comparison = self._ledger.compare(self._counted(self._source.ids()))
        result.in_org = comparison.others
        result.undelivered = comparison.only_others
        fates = self._source.fates(comparison.only_here)
        result.deleted, result.outside = fates.deleted, fates.alive
        known_before = self._absent_before()
        for row_id in fates.absent:
            sure = row_id in fates.logged or row_id in known_before
            (result.confirmed if sure else result.unconfirmed).append(row_id)
        return result

    def remember_absent(self, ids: list[str]) -> None:
        """Keep the Ids that were not there, for the next reconciliation to confirm."""
        present = self._store.read(self._name)
        self._store.write(self._name, orjson.dumps({"absent": ids}), present.version if present else None)

    def repair(self, found: Reconciliation, stamp: str) -> int:
        """Deliver what is undelivered, flag what is surely gone. Gives the number of tombstones."""
        for at in range(0, len(found.undelivered), _CHUNK):
            self._deliver_again(found.undelivered[at : at + _CHUNK])
        if self._sync.deletes != "flag":
            return 0
        return self._flag([*found.deleted, *(Deletion(row_id, stamp) for row_id in found.confirmed)])

    def _counted(self, pages: Iterator[list[str]]) -> Iterator[list[str]]:
        for ids in pages:
            self._check()
            self._counts.compared += len(ids)
            yield ids

    def _flag(self, rows: list[Deletion]) -> int:
        most = allowed(len(self._ledger))
        if len(rows) > most and not self._unlimited:
            raise BrakeError(
                f"{len(rows):,} delivered rows are gone, more than the {most:,} that one run flags unasked",
                hint=f"If that is right: `crmsync pull {self._sync.name} --allow-deletes`, once.",
            )
        winners = list(dict.fromkeys(row.merged_into for row in rows if row.merged_into))
        if winners:
            self._deliver_again(winners)
        for at in range(0, len(rows), _CHUNK):
            chunk = rows[at : at + _CHUNK]
            entries = self._ledger.lookup([row.id for row in chunk])
            self._delivery.add(
                [tombstone(self._sync, r.id, entries[r.id].key, r.stamp, r.merged_into) for r in chunk], None
            )
        self._delivery.drain()
        return len(rows)

    def _absent_before(self) -> set[str]:
        document = self._store.read(self._name)
        try:
            return set(orjson.loads(document.data)["absent"]) if document else set()
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return set()
