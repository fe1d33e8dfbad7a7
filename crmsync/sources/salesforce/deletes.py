"""Which delivered rows are gone: from the recycle bin, the delete log, and merges (contract 1.8, 2.5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from crmsync.errors import AuthError
from crmsync.sources.base import Deletion, Deletions, Fates, Window
from crmsync.sources.salesforce import soql
from crmsync.sources.salesforce.changes import restarting
from crmsync.sources.salesforce.client import SalesforceClient
from crmsync.sources.salesforce.errors import SalesforceError

log = logging.getLogger(__name__)

HORIZON = timedelta(days=15)
"""How far back the delete log goes (contract 1.8)."""
LEAST_RANGE = timedelta(minutes=3)
LONGEST_CHAIN = 20
_CHUNK = 2000


class DeleteLog:
    """One object's deletions in a window, narrowed to the Ids that were delivered."""

    def __init__(
        self,
        client: SalesforceClient,
        object_name: str,
        *,
        cursor: str,
        has_is_deleted: bool,
        has_master: bool,
        replicateable: bool,
    ) -> None:
        self._client = client
        self._object = object_name
        self._cursor = cursor
        self._has_is_deleted = has_is_deleted
        self._has_master = has_master
        self._replicateable = replicateable
        self._columns = ["Id", cursor, "IsDeleted"] + ["MasterRecordId"] * has_master
        self._warnings: list[str] = []

    def read(self, window: Window, delivered: Callable[[Sequence[str]], set[str]]) -> Deletions:
        """Every delivered Id that is gone by now.

        What the log names is looked up once more: a row that was restored meanwhile is alive, one that cannot
        be found has been deleted for good.
        """
        found: dict[str, Deletion] = {}
        for row in self._binned(window):
            found[row["Id"]] = self._deletion(row)
        named = {row_id: at for row_id, at in self._logged(window) if row_id not in found}
        wanted = list({*found, *named})
        known: set[str] = set()
        for at in range(0, len(wanted), _CHUNK):
            known |= delivered(wanted[at : at + _CHUNK])
        rows = {row["Id"]: row for row in self._look_up(sorted(known & named.keys()))}
        for row_id in known & named.keys():
            present = rows.get(row_id)
            if present is None:
                found[row_id] = Deletion(row_id, named[row_id])
            elif present.get("IsDeleted"):
                found[row_id] = self._deletion(present)
        gone = [self._resolved(deletion, found) for row_id, deletion in found.items() if row_id in known]
        return Deletions(sorted(gone, key=lambda d: (d.stamp, d.id)), self._warnings)

    def fates(self, ids: Sequence[str], end: datetime) -> Fates:
        """What became of these Ids by `end`, the source's now."""
        rows = {row["Id"]: row for row in self._look_up(sorted(ids))} if ids else {}
        gone = {row_id: self._deletion(row) for row_id, row in rows.items() if row.get("IsDeleted")}
        absent = [row_id for row_id in ids if row_id not in rows]
        logged = {row_id for row_id, _ in self._logged(Window(None, end))} if absent else set()
        return Fates(
            deleted=[self._resolved(deletion, gone) for deletion in list(gone.values())],
            alive=[row_id for row_id in rows if row_id not in gone],
            absent=absent,
            logged=frozenset(logged.intersection(absent)),
        )

    def _binned(self, window: Window) -> Iterator[dict[str, Any]]:
        if not self._has_is_deleted:
            return
        conditions = ["IsDeleted = true", soql.between(self._cursor, window.start, window.end)]
        query = soql.select(self._columns, self._object, conditions)
        for body in restarting(self._client, query, what="deleted rows"):
            yield from body.get("records") or ()

    def _logged(self, window: Window) -> Iterator[tuple[str, str]]:
        if not self._replicateable:
            self._warn("keeps no delete log, so rows deleted for good are only found by `crmsync reconcile`")
            return
        earliest = window.end - HORIZON + timedelta(hours=1)
        start = min(window.start or earliest, window.end - LEAST_RANGE)
        if start < earliest:
            start = earliest
            if window.start is not None:
                self._warn("was not synced for longer than the delete log reaches back")
        bounds = f"start={soql.instant(start)}&end={soql.instant(window.end)}"
        try:
            body = self._client.get(f"/sobjects/{self._object}/deleted/?{bounds}", "deleted")
        except (SalesforceError, AuthError) as error:
            log.info("no delete log: %s", error)
            self._warn("has a delete log that does not answer for this window")
            return
        available = str(body.get("earliestDateAvailable") or "")[:19]
        if window.start is not None and available > soql.instant(start)[:19]:
            self._warn("has a delete log that was purged within this window")
        for entry in body.get("deletedRecords") or ():
            yield str(entry["id"]), f"{entry['deletedDate'][:19]}Z"

    def _look_up(self, ids: list[str]) -> Iterator[dict[str, Any]]:
        columns = self._columns if self._has_is_deleted else ["Id", self._cursor]
        for at in range(0, len(ids), soql.IDS_PER_QUERY):
            among = f"Id IN {soql.id_list(ids[at : at + soql.IDS_PER_QUERY])}"
            query = soql.select(columns, self._object, [among])
            for body in restarting(self._client, query, what="deleted rows"):
                yield from body.get("records") or ()

    def _deletion(self, row: dict[str, Any]) -> Deletion:
        return Deletion(row["Id"], f"{row[self._cursor][:19]}Z", row.get("MasterRecordId") or None)

    def _resolved(self, deletion: Deletion, found: dict[str, Deletion]) -> Deletion:
        """Follow a merge to its last winner: A merged into B, B later into C."""
        winner = deletion.merged_into
        for _ in range(LONGEST_CHAIN):
            if winner is None:
                break
            if winner not in found:
                row = next(iter(self._look_up([winner])), None)
                if row is None or not row.get("IsDeleted"):
                    break
                found[winner] = self._deletion(row)
            further = found[winner].merged_into
            if further is None:
                break
            winner = further
        return Deletion(deletion.id, deletion.stamp, winner)

    def _warn(self, what: str) -> None:
        sentence = f"{self._object} {what}; run `crmsync reconcile` to be sure of its deletions"
        if sentence not in self._warnings:
            self._warnings.append(sentence)
