"""Children of parents that have changed: a parent's change moves no stamp of theirs (contract 2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from crmsync import parents
from crmsync.sources.base import Link, Memory, Page, Row, Window
from crmsync.sources.salesforce import soql
from crmsync.sources.salesforce.changes import Changes, restarting
from crmsync.sources.salesforce.client import SalesforceClient


class ParentChanges:
    """The children of one parent object's changed rows, unless they are known to show those values already."""

    def __init__(
        self,
        client: SalesforceClient,
        object_name: str,
        columns: list[str],
        window: Window,
        link: Link,
        memory: Memory,
        *,
        cursor: str,
        bookkeeping: list[str],
        where: str | None = None,
        overlap: timedelta = timedelta(0),
    ) -> None:
        self.name = f"parents:{link.chain}"
        self._client = client
        self._object = object_name
        self._columns = columns
        self._link = link
        self._memory = memory
        self._where = soql.operators_own(where)
        self._changed = Changes(
            client,
            link.object,
            list(dict.fromkeys([*bookkeeping, cursor, *link.fields])),
            window,
            cursor=cursor,
            overlap=overlap,
        )

    def pages(self, start: datetime | None) -> Iterator[Page]:
        for page in self._changed.pages(start):
            yield from self._children(sorted(self._to_read(page.rows)))

    def close(self) -> None:
        """A query leaves nothing behind."""

    def _to_read(self, rows: Iterable[Row]) -> set[str]:
        """The parents whose children have to be read: those with other values, and winners of merges.

        A merge moves children to the winner, and whether that moves their stamps is not documented.
        """
        rows = list(rows)
        alive = [row for row in rows if not row.get("IsDeleted")]
        values = {
            row["Id"]: parents.digest(row["Id"], [row.get(name) for name in self._link.fields])
            for row in alive
        }
        winners = {row["MasterRecordId"] for row in rows if row.get("MasterRecordId")}
        return self._memory.changed_parents(self._link.chain, values) | winners

    def _children(self, parent_ids: list[str]) -> Iterator[Page]:
        for at in range(0, len(parent_ids), soql.IDS_PER_QUERY):
            among = f"{self._link.key} IN {soql.id_list(parent_ids[at : at + soql.IDS_PER_QUERY])}"
            query = soql.select(self._columns, self._object, [among, self._where])
            for body in restarting(self._client, query, what="children"):
                yield Page(body.get("records") or [])
