"""One sync's Salesforce object, as the pull sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from crmsync.config import Config, Sync
from crmsync.errors import AuthError, ConfigError, TryAgain
from crmsync.http import Budget, Retry, Stopper
from crmsync.sources.base import (
    Bookmark,
    Deletions,
    Fates,
    Link,
    Memory,
    Row,
    Shape,
    SourceField,
    Stream,
    Vault,
    Window,
)
from crmsync.sources.salesforce import describe, soql
from crmsync.sources.salesforce.adaptive import AdaptiveChanges, prefers_bulk
from crmsync.sources.salesforce.auth import SalesforceAuth
from crmsync.sources.salesforce.bulk import BulkQuery, BulkRefused
from crmsync.sources.salesforce.bulk_rows import RowReader
from crmsync.sources.salesforce.changes import Changes, restarting
from crmsync.sources.salesforce.client import SalesforceClient
from crmsync.sources.salesforce.deletes import DeleteLog
from crmsync.sources.salesforce.errors import SalesforceError
from crmsync.sources.salesforce.parents import ParentChanges
from crmsync.text import did_you_mean

log = logging.getLogger(__name__)

CATALOG_LIFETIME = timedelta(days=1)
COVERED_RANGE = timedelta(minutes=10)
"""How far back `/updated` is asked: only its `latestDateCovered` is of interest (contract 1.8)."""

BOOKKEEPING = ("Id", "IsDeleted", "MasterRecordId")
"""Selected wherever describe has them, beside the cursor."""


class SalesforceSource:
    """Reads one object. Logs in when the first request needs it."""

    def __init__(
        self,
        config: Config,
        sync: Sync,
        *,
        vault: Vault,
        catalog: dict[str, Any] | None = None,
        stopper: Stopper | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._settings = config.salesforce
        self._max_quota = config.max_quota
        self._overlap = config.overlap
        self._sync = sync
        self._budget = Budget()
        self._stopper = stopper or Stopper()
        self._retry = retry or Retry()
        self._auth = SalesforceAuth(
            config.salesforce,
            vault,
            allowed_http_hosts=config.allow_http_hosts,
            budget=self._budget,
            retry=self._retry,
            stopper=self._stopper,
        )
        self._connected: SalesforceClient | None = None
        self._shape: Shape | None = None
        self.catalog = catalog or {}

    @property
    def client(self) -> SalesforceClient:
        """The org's client, logged in."""
        if self._connected is None:
            session = self._auth.session()
            self._connected = SalesforceClient(
                session.instance_url,
                self._auth,
                version=self._settings.api_version or None,
                clock_hint=session.clock,
                budget=self._budget,
                retry=self._retry,
                stopper=self._stopper,
                max_quota=self._max_quota,
            )
            self._open_catalog(self._connected)
        return self._connected

    def requests(self) -> dict[str, int]:
        sent = dict(self._connected.http.requests) if self._connected else {}
        return {**({"login": self._auth.requests} if self._auth.requests else {}), **sent}

    def now(self) -> datetime:
        return self.client.now()

    def quota(self) -> tuple[int, int] | None:
        return self._connected.usage if self._connected else None

    def shape(self) -> Shape:
        """Describe the object and look up every mapped path; those not there come with the nearest names."""
        if self._shape is None:
            self._shape = self._look_up(self.description(self._sync.object))
        return self._shape

    def look_again(self) -> None:
        self._shape = None
        self.catalog.pop("objects", None)

    def description(self, name: str) -> describe.Description:
        """An object as the org describes it. Raises ConfigError where the org does not have it."""
        objects = self.catalog.setdefault("objects", {})
        if name not in objects:
            try:
                body = self.client.get(f"/sobjects/{soql.identifier(name)}/describe", "describe")
            except SalesforceError as error:
                if error.refusal.status != 404:
                    raise
                raise ConfigError(self._no_such_object(name)) from None
            objects[name] = describe.condensed(body)
        return describe.parse(objects[name])

    def fields(self) -> list[SourceField]:
        self.look_again()
        root = self.description(self._sync.object)
        mapped = dict.fromkeys(
            rule.source for rule in self._sync.fields if rule.source and "." in rule.source
        )
        found = (describe.find(path, root, self.description) for path in mapped)
        parents = [describe.offered_by_parent(column) for column in found if not isinstance(column, str)]
        return [*describe.offered(root), *parents]

    def streams(
        self,
        window: Window,
        columns: Iterable[str],
        memory: Memory,
        bookmark: Bookmark,
        limit: int | None = None,
    ) -> list[Stream]:
        """The changes; then, unless everything is read anyway, the children of each changed parent object."""
        shape = self.shape()
        select = self._select(columns)
        changes = Changes(
            self.client,
            self._sync.object,
            select,
            window,
            cursor=shape.cursor,
            where=self._sync.where,
            limit=limit,
            overlap=self._overlap,
        )
        if limit is not None:
            return [changes]
        adaptive = self._adaptive(changes, select, window, bookmark)
        if window.start is None:
            return [adaptive]
        return [adaptive, *(self._parents(link, select, window, memory) for link in shape.links)]

    def deletions(self, window: Window, delivered: Callable[[Sequence[str]], set[str]]) -> Deletions:
        return self._delete_log().read(window, delivered)

    def ids(self) -> Iterator[list[str]]:
        query = soql.select(["Id"], self._sync.object, [soql.operators_own(self._sync.where)])
        if prefers_bulk(self._settings.api, self.count, self._settings.bulk_threshold):
            job = self._bulk(query, ["Id"], everything=False)
            try:
                for rows in job.started().rows():
                    yield [row["Id"] for row in rows]
                return
            except BulkRefused as refused:
                log.warning("the Bulk API cannot be used (%s); reading by REST", refused)
            finally:
                job.close()
        for body in restarting(self.client, query, what="ids", everything=False):
            yield [row["Id"] for row in body.get("records") or ()]

    def fates(self, ids: Sequence[str]) -> Fates:
        return self._delete_log().fates(ids, self.now())

    def _adaptive(
        self, changes: Changes, select: list[str], window: Window, bookmark: Bookmark
    ) -> AdaptiveChanges:
        """These changes by REST or by a bulk job, as configured."""
        own = soql.operators_own(self._sync.where)
        cursor = self.shape().cursor

        def from_on(start: datetime | None, columns: list[str]) -> str:
            return soql.select(columns, self._sync.object, [soql.between(cursor, start, window.end), own])

        def count(start: datetime | None) -> int:
            return int(self.client.query(from_on(start, ["COUNT()"]), what="count")["totalSize"])

        return AdaptiveChanges(
            changes,
            window,
            lambda start: self._bulk(from_on(start, select), select),
            count,
            bookmark,
            api=self._settings.api,
            threshold=self._settings.bulk_threshold,
        )

    def _bulk(self, query: str, columns: list[str], *, everything: bool = True) -> BulkQuery:
        described = self.description(self._sync.object)
        types = {column: field.type for column in columns if (field := described.field(column))}
        return BulkQuery(
            self.client,
            query,
            RowReader(columns, {**types, **self.shape().types}),
            stopper=self._stopper,
            deadline=self._settings.bulk_deadline,
            everything=everything,
        )

    def _delete_log(self) -> DeleteLog:
        described = self.description(self._sync.object)
        return DeleteLog(
            self.client,
            self._sync.object,
            cursor=self.shape().cursor,
            has_is_deleted=described.field("IsDeleted") is not None,
            has_master=described.field("MasterRecordId") is not None,
            replicateable=described.replicateable,
        )

    def _parents(self, link: Link, select: list[str], window: Window, memory: Memory) -> ParentChanges:
        parent = self.description(link.object)
        return ParentChanges(
            self.client,
            self._sync.object,
            select,
            window,
            link,
            memory,
            cursor=describe.cursor_of(parent),
            bookkeeping=[name for name in BOOKKEEPING if parent.field(name)],
            where=self._sync.where,
            overlap=self._overlap,
        )

    def latest_covered(self, window: Window) -> datetime | None:
        """`latestDateCovered` of `/updated`: a refusal of any kind is no information (law 2)."""
        if not self.description(self._sync.object).replicateable:
            return None
        start, end = (soql.instant(m) for m in (window.end - COVERED_RANGE, window.end))
        try:
            body = self.client.get(
                f"/sobjects/{self._sync.object}/updated/?start={start}&end={end}", "updated"
            )
            return datetime.strptime(body["latestDateCovered"], "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)
        except (SalesforceError, AuthError, TryAgain) as error:
            log.info("no latestDateCovered: %s", error)
        except (KeyError, TypeError, ValueError):
            log.info("no latestDateCovered in what /updated answered")
        return None

    def count(self) -> int:
        """By COUNT() over everything a full pull reads, deleted rows included."""
        query = soql.select(["COUNT()"], self._sync.object, [soql.operators_own(self._sync.where)])
        return int(self.client.query(query, what="count")["totalSize"])

    def read(self, ids: Iterable[str], columns: Iterable[str]) -> Iterator[Row]:
        wanted = list(dict.fromkeys(ids))
        select = self._select(columns)
        for at in range(0, len(wanted), soql.IDS_PER_QUERY):
            among = f"Id IN {soql.id_list(wanted[at : at + soql.IDS_PER_QUERY])}"
            query = soql.select(select, self._sync.object, [among, soql.operators_own(self._sync.where)])
            for body in restarting(self.client, query, what="read"):
                yield from body.get("records") or ()

    def close(self) -> None:
        if self._connected:
            self._connected.close()

    def _select(self, columns: Iterable[str]) -> list[str]:
        """Bookkeeping columns first, then the mapped ones and the keys of their parents, none twice."""
        described = self.description(self._sync.object)
        bookkeeping = [name for name in BOOKKEEPING if described.field(name)]
        shape = self.shape()
        keys = [link.key for link in shape.links]
        return list(dict.fromkeys([*bookkeeping, shape.cursor, *columns, *keys]))

    def _look_up(self, root: describe.Description) -> Shape:
        missing: dict[str, str] = {}
        found: dict[str, describe.Column] = {}
        mapped = {rule.source: rule.target for rule in self._sync.fields if rule.source}
        hints = {hint for rule in self._sync.fields for hint in rule.region_from}
        for path in dict.fromkeys([*mapped, *sorted(hints)]):
            column = describe.find(path, root, self.description)
            if isinstance(column, str):
                missing |= {path: column} if path in mapped else {}
            elif column.type in describe.COMPOUND_TYPES and path in mapped:
                missing[path] = f"{path} is a compound field; map its parts instead"
            else:
                found[path] = column
        return Shape(
            paths={path: column.path for path, column in found.items()},
            types={column.path: column.type for column in found.values()},
            cursor=describe.cursor_of(root),
            missing=missing,
            links=describe.links({c.path for p, c in found.items() if p in mapped}, root, self.description),
            advice=tuple(
                f"field {mapped[path]}: {column.doubt}"
                for path, column in found.items()
                if path in mapped and column.doubt
            ),
        )

    def _no_such_object(self, name: str) -> str:
        body = self.client.get("/sobjects", "sobjects")
        names = [str(entry["name"]) for entry in body.get("sobjects", ())]
        return (
            f"sync {self._sync.name}: the org has no object {name} for this user{did_you_mean(name, names)}"
        )

    def _open_catalog(self, client: SalesforceClient) -> None:
        """Use the kept catalog if it is this org's and fresh, else begin one; settle the API version."""
        now = datetime.now(UTC)
        kept = self.catalog
        usable = (
            kept.get("origin") == client.http.origin
            and kept.get("configured_version") == self._settings.api_version
            and _moment(kept.get("read_at")) > now - CATALOG_LIFETIME
        )
        if not usable:
            kept.clear()
            kept.update(
                origin=client.http.origin,
                configured_version=self._settings.api_version,
                read_at=now.isoformat(timespec="seconds"),
                version=client.version,
            )
        client.use_version(str(kept["version"]))


def _moment(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
