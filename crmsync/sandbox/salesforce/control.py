"""The control API of the sandbox's Salesforce: what tests and operators may do to the org behind its back.

Actions and their arguments (JSON; instants are ISO 8601 with a zone, `?` marks what may be left out):

    insert            object, rows, stamp?, transaction?         → ids
    update            object, id, fields, stamp?, transaction?
    update_many       object, fields, ids or where (a SOQL condition), limit?, stamp?, transaction? → ids
    touch             object, id or ids, stamp?, system? (true moves SystemModstamp only)
    delete            object, id, hard?, stamp?, transaction?
    undelete          object, id, stamp?
    merge             object, winner, losers, stamp?
    purge_delete_log  before?
    begin             → transaction · commit, rollback: transaction
    foreign_transaction  since? (now), open? (false ends it)
    hide_field, show_field   object, field
    rename_picklist   object, field, old, new                    → ids
    rename_field      object, field, new
    change_type       object, field, type, length?
    expire_sessions   after? (requests) · revoke  message? (null gives access back)
    quota             used?, max?, bulk_jobs?, bulk_jobs_max?, bulk_kilobytes?, bulk_kilobytes_max? → all six
    page_sizes        sizes
    switches          name: value, …  → all values (with no argument only that) · doubts → what each is about
    bulk_fate         outcome (finish, failed, aborted, stuck), message?, id? (else all jobs to come)
    precompute        on? (true): queries answered from bytes once they were asked, for benchmarks
    bulk_jobs         → every job · bulk_unsupported  objects
    dump              object → rows with all stored fields · counts → rows, alive and deleted, by object
    clock             skew_seconds?, advance?, freeze? (an instant, true for now, null to run) → now
    credentials       → everything that opens a session
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crmsync.sandbox.salesforce.bulk_job import OUTCOMES, RETRIED_TOO_OFTEN, Fate
from crmsync.sandbox.salesforce.metadata import change_type, rename_field, rename_picklist
from crmsync.sandbox.salesforce.soql import Path, SoqlError, parse_condition
from crmsync.sandbox.salesforce.soql_fields import Resolver
from crmsync.sandbox.salesforce.soql_filter import compile_where
from crmsync.sandbox.salesforce.values import instant, stamp

if TYPE_CHECKING:
    from crmsync.sandbox.salesforce.service import SalesforceService

Arguments = dict[str, Any]
_LOOKS = ("dump", "counts", "credentials", "doubts", "bulk_jobs", "clock")
_PYTHON_NAMES = {"object": "object_", "id": "id_", "type": "type_"}


class Control:
    """Carries out control calls. Raises ValueError for an unknown action or wrong arguments."""

    def __init__(self, service: SalesforceService) -> None:
        self._service = service
        self._org = service.org

    def __call__(self, action: str, arguments: Arguments) -> Any:
        actions = sorted(name for name in vars(type(self)) if not name.startswith("_"))
        if action not in actions:
            raise ValueError(f"no action {action!r}; there are {', '.join(actions)}")
        named = {_PYTHON_NAMES.get(name, name): value for name, value in arguments.items()}
        if action not in _LOOKS:
            self._service.precomputed.forget()
        try:
            return getattr(self, action)(**named)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{action}: {error}") from None

    # --- rows

    def insert(
        self, object_: str, rows: list[Arguments], stamp: str | None = None, transaction: str | None = None
    ) -> Any:
        return {"ids": self._org.insert(object_, rows, _written(stamp), transaction)}

    def update(
        self,
        object_: str,
        id_: str,
        fields: Arguments,
        stamp: str | None = None,
        transaction: str | None = None,
    ) -> Any:
        return self.update_many(object_, fields, [id_], stamp=stamp, transaction=transaction)

    def update_many(
        self,
        object_: str,
        fields: Arguments,
        ids: list[str] | None = None,
        where: str | None = None,
        limit: int | None = None,
        stamp: str | None = None,
        transaction: str | None = None,
    ) -> Any:
        if (ids is None) is (where is None):
            raise ValueError("update_many takes either ids or where")
        chosen = (ids if ids is not None else self._matching(object_, where or ""))[:limit]
        self._org.update(object_, self._known(object_, chosen), fields, _written(stamp), transaction)
        return {"ids": chosen}

    def touch(
        self,
        object_: str,
        id_: str | None = None,
        ids: list[str] | None = None,
        stamp: str | None = None,
        system: bool = False,
    ) -> Any:
        chosen = self._known(object_, [*(ids or []), *([id_] if id_ else [])])
        self._org.update(object_, chosen, {}, _written(stamp), system=system)
        return {"ids": chosen}

    def delete(
        self,
        object_: str,
        id_: str,
        hard: bool = False,
        stamp: str | None = None,
        transaction: str | None = None,
    ) -> Any:
        self._known(object_, [id_])
        self._org.delete(object_, id_, _written(stamp), transaction, hard=hard)
        return {"ids": [id_]}

    def undelete(self, object_: str, id_: str, stamp: str | None = None) -> Any:
        self._known(object_, [id_])
        self._org.undelete(object_, id_, _written(stamp))
        return {"ids": [id_]}

    def merge(self, object_: str, winner: str, losers: list[str], stamp: str | None = None) -> Any:
        self._known(object_, [winner, *losers])
        self._org.merge(object_, winner, losers, _written(stamp))
        return {"ids": [winner, *losers]}

    def rename_picklist(self, object_: str, field: str, old: str, new: str) -> Any:
        return {"ids": rename_picklist(self._org, object_, field, old, new)}

    def rename_field(self, object_: str, field: str, new: str) -> Any:
        rename_field(self._org, object_, field, new)

    def change_type(self, object_: str, field: str, type_: str, length: int = 0) -> Any:
        change_type(self._org, object_, field, type_, length)

    def dump(self, object_: str) -> Any:
        self._known(object_, [])
        entity = self._org.entities[object_]
        return [self._org.complete(entity, row) for row in self._org.tables[object_].ordered()]

    def counts(self) -> Any:
        return {
            name: {
                "alive": sum(not row.get("IsDeleted") for row in rows.values()),
                "deleted": sum(bool(row.get("IsDeleted")) for row in rows.values()),
            }
            for name, rows in self._org.rows().items()
        }

    # --- transactions, the delete log, rights

    def begin(self) -> Any:
        return {"transaction": self._org.begin()}

    def commit(self, transaction: str) -> Any:
        return self._org.commit(transaction)

    def rollback(self, transaction: str) -> Any:
        return self._org.rollback(transaction)

    def foreign_transaction(self, since: str | None = None, open: bool = True) -> Any:  # noqa: A002 - the wire's word
        began = instant(since) if since else self._org.clock.now()
        self._org.foreign_transaction_since = began if open else None

    def purge_delete_log(self, before: str | None = None) -> Any:
        return {"purged": self._org.purge_delete_log(instant(before) if before else self._org.clock.now())}

    def hide_field(self, object_: str, field: str) -> Any:
        self._org.hide_field(object_, field)

    def show_field(self, object_: str, field: str) -> Any:
        self._org.hide_field(object_, field, hidden=False)

    # --- sessions, limits, switches, the clock

    def credentials(self) -> Any:
        return self._service.credentials.values()

    def expire_sessions(self, after: int = 0) -> Any:
        self._service.sessions.expire(after)

    def revoke(self, message: str | None = "This session is not valid for use with the REST API") -> Any:
        self._service.sessions.refused_with = message

    def quota(self, **numbers: int) -> Any:
        quota = self._service.quota
        names = ("used", "max", "bulk_jobs", "bulk_jobs_max", "bulk_kilobytes", "bulk_kilobytes_max")
        for name, number in numbers.items():
            if name not in names or not isinstance(number, int) or number < 0:
                raise ValueError(f"quota takes whole numbers for {', '.join(names)}")
            setattr(quota, name, number)
        return {name: getattr(quota, name) for name in names}

    def bulk_fate(self, outcome: str, message: str = RETRIED_TOO_OFTEN, id_: str | None = None) -> Any:
        if outcome not in OUTCOMES:
            raise ValueError(f"a job's fate is one of {', '.join(OUTCOMES)}")
        fate = Fate(outcome, message)
        if id_ is None:
            self._service.bulk.fate = fate
        elif id_ in self._service.bulk.jobs:
            self._service.bulk.jobs[id_].fate = fate
        else:
            raise ValueError(f"there is no bulk job {id_}")

    def bulk_jobs(self) -> Any:
        return [job.document(self._org.clock.now()) for job in self._service.bulk.all()]

    def bulk_unsupported(self, objects: list[str]) -> Any:
        for name in objects:
            self._known(name, [])
        self._service.bulk.unsupported = frozenset(objects)

    def page_sizes(self, sizes: list[int]) -> Any:
        if any(not isinstance(size, int) or size < 0 for size in sizes):
            raise ValueError("page sizes are whole numbers, 0 for an empty page")
        if sizes and not any(sizes):
            raise ValueError("at least one page must have rows, or paging never ends")
        self._service.pager.set_sizes(sizes)

    def precompute(self, on: bool = True) -> Any:
        self._service.precomputed.on = on

    def doubts(self) -> Any:
        return self._service.switches.described()

    def switches(self, **values: Any) -> Any:
        for name, value in values.items():
            self._service.switches.set(name, value)
            if name == "country_picklists":
                self._org.metadata_touched()
        return self._service.switches.values()

    def clock(
        self,
        skew_seconds: float | None = None,
        advance: float | None = None,
        **freeze: str | bool | None,
    ) -> Any:
        clock = self._org.clock
        if freeze.keys() - {"freeze"}:
            raise ValueError("clock takes skew_seconds, advance and freeze")
        match freeze.get("freeze", ...):
            case str(at):
                clock.set_skew(0)
                clock.freeze(instant(at))
            case True:
                now = clock.now()
                clock.set_skew(0)
                clock.freeze(now)
            case None | False:
                clock.freeze(None)
        if skew_seconds is not None:
            clock.set_skew(skew_seconds)
        if advance is not None:
            clock.advance(advance)
        return {"now": clock.now().isoformat()}

    # --- within

    def _known(self, object_: str, ids: list[str]) -> list[str]:
        """The Ids, all of which the object has. Raises ValueError."""
        if object_ not in self._org.tables:
            raise ValueError(f"no object {object_!r}; there are {', '.join(self._org.tables)}")
        missing = [id_ for id_ in ids if id_ not in self._org.tables[object_].rows]
        if missing:
            raise ValueError(f"no {object_} has the Id {missing[0]}")
        return ids

    def _matching(self, object_: str, where: str) -> list[str]:
        """The Ids of the living rows that meet a SOQL condition, in the order of their stamps."""
        self._known(object_, [])
        try:
            resolver = Resolver(self._org, where, Path((object_,), 1, 1))
            wanted = compile_where(parse_condition(where), resolver)
        except SoqlError as error:
            raise ValueError(error.message) from None
        tables = self._org.rows()
        return [
            row["Id"]
            for row in self._org.tables[object_].ordered()
            if not row.get("IsDeleted") and (wanted is None or wanted(row, tables))
        ]


def _written(at: str | None) -> str | None:
    return stamp(instant(at)) if at else None
