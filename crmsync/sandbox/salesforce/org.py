"""The data of the sandbox's org, and everything that may happen to it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

from crmsync.sandbox.salesforce.describe import cascades
from crmsync.sandbox.salesforce.schema import ENTITIES, Entity, Field
from crmsync.sandbox.salesforce.switches import Switches
from crmsync.sandbox.salesforce.tables import Deletion, Row, Table, Tables, Transaction
from crmsync.sandbox.salesforce.values import make_id, stamp
from crmsync.sandbox.web import Clock

PODS = ("Fk", "4C")
SYSTEM_FIELDS = frozenset({"Id", "SystemModstamp", "IsDeleted", "MasterRecordId"})


class Org:
    """One org. Hold `lock` around every use.

    Methods that change rows take an optional `stamp` (as REST writes it; now by default), some also the name
    of an open transaction. They raise ValueError for a call that makes no sense.
    """

    def __init__(self, clock: Clock, switches: Switches, seed: int) -> None:
        self.lock = RLock()
        self.clock = clock
        self.switches = switches
        self.entities: dict[str, Entity] = dict(ENTITIES)
        self.tables: dict[str, Table] = {name: Table() for name in ENTITIES}
        self.deletions: list[Deletion] = []
        self.purged_until: datetime | None = None
        self.foreign_transaction_since: datetime | None = None
        self.transactions: dict[str, Transaction] = {}
        self.hidden: set[tuple[str, str]] = set()
        self._metadata_changed = dict.fromkeys(ENTITIES, clock.now() - timedelta(days=1))
        self._numbers = itertools.count(seed % 1000 * 100_000 + 1)
        self._pods = random.Random(seed)
        self._transaction_numbers = itertools.count(1)

    # --- what there is

    def rows(self) -> dict[str, dict[str, Row]]:
        return {name: table.rows for name, table in self.tables.items()}

    def snapshot(self) -> Tables:
        """All rows as they are now, whatever happens to the org afterwards."""
        return {name: table.snapshot() for name, table in self.tables.items()}

    def entity(self, name: str) -> Entity | None:
        """The object of that name in any case."""
        return next((each for each in self.entities.values() if each.name.lower() == name.lower()), None)

    def visible_fields(self, entity: Entity) -> list[Field]:
        """The fields that the running user may see, in describe's order."""
        picklists = self.switches["country_picklists"]
        return [
            each
            for each in entity.fields.values()
            if (entity.name, each.name) not in self.hidden and (picklists or not each.country_picklist)
        ]

    def metadata_changed(self, entity: Entity) -> datetime:
        return self._metadata_changed[entity.name]

    def metadata_touched(self, *objects: str) -> None:
        """Note that describe has changed, at a later second than the last time."""
        for name in objects or self.entities:
            self._metadata_changed[name] = max(
                self.clock.now(), self._metadata_changed[name] + timedelta(seconds=1)
            )

    def complete(self, entity: Entity, row: Row) -> dict[str, Any]:
        """A row with all of its stored fields, null or not."""
        return {
            each.name: row.get(each.name, False if each.type == "boolean" else None)
            for each in entity.fields.values()
            if each.type != "address" and each.formula is None
        }

    def new_id(self, object_: str) -> str:
        return make_id(self._entity(object_).prefix, self._pods.choice(PODS), next(self._numbers))

    def load(self, object_: str, rows: Iterable[Row]) -> None:
        """Put in finished rows, with their Ids and stamps."""
        for row in rows:
            self.tables[object_].put(row)

    # --- changes to rows

    def insert(
        self, object_: str, rows: Sequence[Row], stamp: str | None = None, transaction: str | None = None
    ) -> list[str]:
        """Add rows and return their Ids."""
        entity = self._entity(object_)
        for row in rows:
            self._check_fields(entity, row)
        ids = tuple(self.new_id(object_) for _ in rows)
        owner = next(iter(self.tables["User"].rows), None)

        def apply(now: str) -> None:
            for id_, row in zip(ids, rows, strict=True):
                made = {"CreatedDate": now, "CreatedById": owner, "LastModifiedById": owner}
                made |= {"OwnerId": owner} if "OwnerId" in entity.fields else {}
                self._put(entity, {"Id": id_, "SystemModstamp": now, "LastModifiedDate": now, **made, **row})

        self._do(object_, ids, apply, stamp, transaction)
        return list(ids)

    def update(
        self,
        object_: str,
        ids: Sequence[str],
        fields: Row,
        stamp: str | None = None,
        transaction: str | None = None,
        *,
        system: bool = False,
    ) -> None:
        """Set `fields` in the rows. A `system` change leaves LastModifiedDate alone."""
        entity = self._entity(object_)
        self._check_fields(entity, fields)

        def apply(now: str) -> None:
            moved = {"SystemModstamp": now} | ({} if system else {"LastModifiedDate": now})
            for id_ in ids:
                self._put(entity, {**self._row(object_, id_), **moved, **fields})

        self._do(object_, tuple(ids), apply, stamp, transaction)

    def delete(
        self,
        object_: str,
        id_: str,
        stamp: str | None = None,
        transaction: str | None = None,
        *,
        hard: bool = False,
    ) -> None:
        """Put a row in the recycle bin, or (`hard`) remove it for good, also from the bin."""
        if not self._entity(object_).deletable:
            raise ValueError(f"{object_} rows cannot be deleted")
        in_bin = bool(self._row(object_, id_).get("IsDeleted"))
        if in_bin and not hard:
            raise ValueError(f"{id_} is in the recycle bin already")
        family = self._family(object_, id_, deleted=in_bin)

        def apply(now: str) -> None:
            for name, member in family:
                self._remove(name, member, now, hard=hard)

        self._do(object_, tuple(member for _, member in family), apply, stamp, transaction)

    def undelete(self, object_: str, id_: str, stamp: str | None = None) -> None:
        """Bring a row back from the recycle bin, with what was deleted along with it."""
        if not self._row(object_, id_).get("IsDeleted"):
            raise ValueError(f"{id_} is not in the recycle bin")
        deleted_at = self._row(object_, id_)["SystemModstamp"]
        family = [
            (name, member)
            for name, member in self._family(object_, id_, deleted=True)
            if self._row(name, member)["SystemModstamp"] == deleted_at
        ]

        def apply(now: str) -> None:
            for name, member in family:
                row = {**self._row(name, member), "IsDeleted": False}
                if self.switches["undelete_bumps_stamp"]:
                    row["SystemModstamp"] = now
                if not self.switches["undelete_keeps_master"]:
                    row.pop("MasterRecordId", None)
                self._put(self._entity(name), row)
                for entry in self.deletions:
                    entry.undeleted |= entry.id == member

        self._do(object_, tuple(member for _, member in family), apply, stamp, None)

    def merge(self, object_: str, winner: str, losers: Sequence[str], stamp: str | None = None) -> None:
        """Merge one or two rows into `winner`, which gets their children."""
        alive = [winner, *losers]
        if not 2 <= len(set(alive)) <= 3 or len(set(alive)) != len(alive):
            raise ValueError("a merge takes a winner and one or two losers")
        if any(self._row(object_, id_).get("IsDeleted") for id_ in alive):
            raise ValueError("a deleted row cannot be merged")

        def apply(now: str) -> None:
            self._reparent(object_, winner, set(losers), now)
            entity = self._entity(object_)
            for loser in losers:
                self._put(entity, {**self._row(object_, loser), "MasterRecordId": winner})
                self._remove(object_, loser, now, hard=False)
            moved = {"SystemModstamp": now, "LastModifiedDate": now}
            self._put(entity, {**self._row(object_, winner), **moved})

        self._do(object_, tuple(alive), apply, stamp, None)

    # --- transactions, rights, the delete log

    def begin(self) -> str:
        name = f"t{next(self._transaction_numbers)}"
        self.transactions[name] = Transaction(name, self.clock.now())
        return name

    def commit(self, name: str) -> None:
        """Make the changes visible, stamped with the start; never older than the row they change."""
        done = self._transaction(name)
        del self.transactions[name]
        for object_, ids, apply in done.changes:
            rows = self.tables[object_].rows
            known = [rows[id_]["SystemModstamp"] for id_ in ids if id_ in rows]
            apply(max([stamp(done.started), *known]))

    def rollback(self, name: str) -> None:
        self._transaction(name)
        del self.transactions[name]

    def hide_field(self, object_: str, field_: str, *, hidden: bool = True) -> None:
        """Take a field from the running user's sight, or give it back."""
        if field_ not in self._entity(object_).fields:
            raise ValueError(f"{object_} has no field {field_}")
        (self.hidden.add if hidden else self.hidden.discard)((object_, field_))
        self.metadata_touched(object_)

    def purge_delete_log(self, before: datetime) -> int:
        """Forget deletions older than `before`; returns how many."""
        kept = [entry for entry in self.deletions if entry.stamp >= stamp(before)]
        purged = len(self.deletions) - len(kept)
        self.deletions, self.purged_until = kept, before
        return purged

    # --- within

    def _entity(self, name: str) -> Entity:
        if name not in self.entities:
            raise ValueError(f"no object {name!r}; there are {', '.join(self.entities)}")
        return self.entities[name]

    def _row(self, object_: str, id_: str) -> Row:
        if id_ not in self.tables[object_].rows:
            raise ValueError(f"no {object_} has the Id {id_}")
        return self.tables[object_].rows[id_]

    def _transaction(self, name: str) -> Transaction:
        if name not in self.transactions:
            raise ValueError(f"no open transaction {name!r}")
        return self.transactions[name]

    @staticmethod
    def _check_fields(entity: Entity, fields: Row) -> None:
        for name in fields:
            known = entity.fields.get(name)
            if known is None or known.type == "address" or known.formula or name in SYSTEM_FIELDS:
                raise ValueError(f"{entity.name}.{name} does not exist or cannot be set")

    def _do(
        self,
        object_: str,
        ids: tuple[str, ...],
        apply: Callable[[str], None],
        at: str | None,
        transaction: str | None,
    ) -> None:
        """Carry out a change, or keep it for the commit. An open transaction locks the rows it changes."""
        for other in self.transactions.values():
            if other.name != transaction and not other.ids.isdisjoint(ids):
                raise ValueError(f"UNABLE_TO_LOCK_ROW: {other.name} holds {', '.join(other.ids & set(ids))}")
        if transaction is None:
            apply(at or stamp(self.clock.now()))
            return
        if at:
            raise ValueError("a transaction gives its own stamp")
        opened = self._transaction(transaction)
        opened.ids.update(ids)
        opened.changes.append((object_, ids, apply))

    def _put(self, entity: Entity, row: Row) -> None:
        derived: dict[str, Any] = {}
        if "LastName" in entity.fields:
            derived["Name"] = " ".join(filter(None, (row.get("FirstName"), row.get("LastName")))) or None
        if "IsEmailBounced" in entity.fields:
            derived["IsEmailBounced"] = row.get("EmailBouncedDate") is not None
        full = {**row, **derived}
        self.tables[entity.name].put({name: value for name, value in full.items() if value is not None})

    def _family(self, object_: str, id_: str, *, deleted: bool) -> list[tuple[str, str]]:
        """The row and, in the same state, the children that are deleted and brought back with it."""
        found = [(object_, id_)]
        for child in self.entities.values():
            for each in child.fields.values():
                if each.reference == object_ and cascades(child, each):
                    found += [
                        (child.name, row["Id"])
                        for row in self.tables[child.name].rows.values()
                        if row.get(each.name) == id_ and row.get("IsDeleted", False) == deleted
                    ]
        return found

    def _remove(self, object_: str, id_: str, now: str, *, hard: bool) -> None:
        row = self._row(object_, id_)
        if not row.get("IsDeleted"):
            self.deletions.append(Deletion(object_, id_, now, hard))
        if hard:
            self.tables[object_].drop(id_)
        else:
            self._put(self._entity(object_), {**row, "IsDeleted": True, "SystemModstamp": now})

    def _reparent(self, object_: str, winner: str, losers: set[str], now: str) -> None:
        for child in self.entities.values():
            links = [
                each.name for each in child.fields.values() if each.reference == object_ and each.writable
            ]
            for row in list(self.tables[child.name].rows.values()):
                moved = {name: winner for name in links if row.get(name) in losers}
                if moved:
                    bump = {"SystemModstamp": now} if self.switches["reparent_bumps_stamp"] else {}
                    self._put(child, {**row, **moved, **bump})
