"""The run: from the watermark to the watermark.

Lock, bring an interrupted run's batches to their end, choose the window, read its streams into delivery, move
the positions as proof becomes contiguous, close the window. It knows protocols, not Salesforce, not HTTP, not
files.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from crmsync import window as windows
from crmsync.config.sync import Sync
from crmsync.deletions import Deletions, Reconciliation
from crmsync.delivery import Counts, Courier, Delivery, Limits, Position, RecordLag
from crmsync.destinations.base import Destination
from crmsync.errors import NoWatermark, SourceChanged, Unconfirmed
from crmsync.fit import fit
from crmsync.http import Stopper
from crmsync.journal import Journal
from crmsync.mapping import Mapper, Skip, fingerprint
from crmsync.parents import Showing
from crmsync.prefetch import prefetched
from crmsync.sources.base import Link, Source, Stream
from crmsync.state.checkpoint import DONE, moment, stamp
from crmsync.state.lock import Lock
from crmsync.state.store import Store
from crmsync.window import Plan, Range

log = logging.getLogger(__name__)

DRAG_WORTH_SAYING = timedelta(minutes=15)
REDELIVERIES = 3
"""How often rows whose batch was given up are read and sent again within a run."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run needs of the configuration. `grace` is how long a stop waits for what is in flight."""

    overlap: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=5)
    job_deadline: timedelta = timedelta(minutes=30)
    grace: float = 20.0
    allow_deletes: bool = False
    default_region: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Report:
    """What a run did. `window`, `watermark`: stamps, None where there is none. `notes`: for people.

    `lag_seconds` is the source's clock at the end less the watermark, None where either is not known.
    `record_lag_seconds` is the longest time from a change to its proof, None where no change was delivered.
    """

    counts: Counts = field(default_factory=Counts)
    window: tuple[str | None, str] | None = None
    watermark: str | None = None
    lag_seconds: float | None = None
    record_lag_seconds: float | None = None
    moved: bool = False
    resumed: bool = False
    new_rejects: int = 0
    open_rejects: int = 0
    abandoned: int = 0
    tombstones: int = 0
    dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


class Pull:
    """One run of one sync. `run` may be called once; `report` tells what was done, also after an error."""

    def __init__(
        self,
        sync: Sync,
        source: Source,
        destination: Destination,
        store: Store,
        lock: Lock,
        asked: Range,
        settings: Settings,
        *,
        run_id: str,
        stopper: Stopper,
    ) -> None:
        self._sync = sync
        self._source = source
        self._destination = destination
        self._store = store
        self._lock = lock
        self._asked = asked
        self._settings = settings
        self._run_id = run_id
        self._stopper = stopper
        self._mapping: Mapper | None = None
        self._links: tuple[Link, ...] = ()
        self._current: Plan | None = None
        self._clock_is_known = False
        self._record_lag = RecordLag(source.now)
        self.report = Report()

    def run(self) -> Report:
        """Raises what stopped it, after everything that was proved by then has been kept."""
        with self._at_work():
            plan = self._plan(self._asked)
            self._read(plan)
            if plan.resumed:
                self._read(self._plan(Range()))
        return self.report

    def redo(self, ids: Sequence[str]) -> Report:
        """Read these Ids' rows again and deliver them, whatever the ledger knows. No position moves."""
        with self._at_work():
            self._delivery.write_all = True
            self._deliver_again(ids)
        return self.report

    def reconcile(self, *, repair: bool) -> Reconciliation:
        """Compare every Id of the source with the ledger, and with `repair` mend what differs.

        Without a complete ledger everything counts as undelivered, and nothing is flagged.
        """
        with self._at_work():
            deletions = self._deletions()
            found = deletions.compare()
            if not self._journal.ledger.is_complete:
                self.report.note(
                    "the ledger does not know everything delivered; repairing sends all of it again"
                )
            if repair:
                self.report.tombstones = deletions.repair(found, stamp(self._source.now()))
            deletions.remember_absent(found.unconfirmed)
        return found

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Hold the lock, with the state loaded and what an interrupted run left behind settled."""
        with self._lock:
            self._journal = Journal(self._store, self._sync, self._run_id, self._settings.overlap)
            self.report.watermark = self._journal.state.watermark
            self._delivery = self._new_delivery()
            try:
                self._delivery.replay()
                self._redeliver()
                yield
                self._delivery.finish()
            except Exception:
                self._delivery.quiesce(self._settings.grace)
                self._journal.keep_positions(self._current)
                raise
            finally:
                self.report.new_rejects = self._journal.rejects.opened
                self.report.open_rejects = len(self._journal.rejects)
                self.report.lag_seconds = self._lag()
                self.report.record_lag_seconds = self._record_lag.seconds
                self._delivery.close()
                self._journal.close()

    def _lag(self) -> float | None:
        """Seconds. The source is not asked for its clock where it has not told it yet: it may be out of reach."""
        watermark = self._journal.state.watermark
        if watermark is None or not self._clock_is_known:
            return None
        return round((self._source.now() - moment(watermark)).total_seconds(), 3)

    def _new_delivery(self) -> Delivery:
        journal = self._journal
        courier = Courier(
            self._destination,
            journal.outbox,
            job_deadline=self._settings.job_deadline.total_seconds(),
            stopper=self._stopper,
            confirm=self._lock.confirm,
        )
        return Delivery(
            courier,
            self._destination,
            journal.outbox,
            journal.ledger,
            journal.rejects,
            journal.tracker,
            self.report.counts,
            limits=replace(self._settings.limits, body=self._destination.largest_body),
            begin=self._begin_sending,
            check=self._stopper.check,
            takes_back_flags=self._sync.deletes == "flag",
            proved=self._record_lag.proved,
        )

    def _begin_sending(self) -> None:
        """Once a run, before the first byte leaves: the schema is checked, a new generation begins."""
        for warning in self._destination.preflight(rule.target for rule in self._sync.fields):
            self.report.note(warning)
        self._journal.begin_generation()

    def _plan(self, asked: Range) -> Plan:
        """Choose the window by the source's clock. Raises NoWatermark, saying how to begin."""
        now = self._source.now()
        self._clock_is_known = True
        try:
            plan = windows.plan(
                asked, self._journal.state, now, overlap=self._settings.overlap, settle=self._settings.settle
            )
        except NoWatermark as error:
            raise NoWatermark(
                f"sync {self._sync.name}: {error.message}",
                hint=f"`crmsync pull {self._sync.name} --full` reads all {self._source.count():,} rows; "
                "`--since 7d` begins that far back.",
            ) from None
        if plan.stays_because:
            self.report.note(
                f"the watermark stays at {self.report.watermark}: {plan.stays_because}"
                if self.report.watermark
                else f"the watermark is not set: {plan.stays_because}"
            )
        return plan

    def _read(self, plan: Plan) -> None:
        """Read a window's streams into delivery, and close it."""
        self._map(plan)
        self._current = plan
        self._journal.open_window(plan)
        if self._journal.needs_covered(plan):
            latest = self._source.latest_covered(plan.window)
            self._journal.note_covered(windows.covered(plan.window.end, latest))
        self._delivery.write_all = plan.write_all
        self.report.resumed = self.report.resumed or plan.resumed
        self.report.window = (stamp(plan.window.start) if plan.window.start else None, stamp(plan.window.end))
        follows_changes = self._asked.kind == "delta" and not plan.write_all
        self._record_lag.since = self.report.window[0] if follows_changes else None
        log.info(
            "%s: %s the window from %s to %s",
            self._sync.name,
            "going on with" if plan.resumed else "reading",
            self.report.window[0] or "the beginning",
            self.report.window[1],
        )
        try:
            self._read_streams(plan)
        except SourceChanged as changed:
            log.info("the source has changed, it is described anew: %s", changed)
            self._source.look_again()
            self._mapping = None
            self._read_streams(plan)
        self._delivery.finish()
        self._redeliver()
        if self._sync.deletes == "flag" and self._asked.limit is None:
            self._flag_deletions(plan)
        self._journal.keep_positions(plan)
        if plan.moves:
            self._close_window(plan)
        self._current = None

    def _read_streams(self, plan: Plan) -> None:
        """Read every stream that is not done, each from its position."""
        mapping = self._map(plan)
        journal = self._journal
        streams = self._source.streams(
            plan.window, mapping.columns, journal.ledger, journal.bookmark(plan), self._asked.limit
        )
        for stream in streams:
            if not self._journal.is_done(stream.name, plan):
                with contextlib.closing(stream):
                    self._read_stream(stream, mapping, plan)

    def _read_stream(self, stream: Stream, mapping: Mapper, plan: Plan) -> None:
        pages, before = stream.pages(self._journal.start_of(stream.name, plan)), self.report.counts.read
        for page in prefetched(pages, self._delivery.idle, self._delivery.wake):
            place = Position(stream.name, page.position) if page.position else None
            showing = Showing(self._links)
            outcomes = [mapping.map(row) for row in showing.passing(page.rows)]
            self._journal.ledger.note_parents(showing.seen(), everything=plan.reads_everything)
            self.report.counts.expected = None if page.total is None else before + page.total
            self._delivery.add(outcomes, place)
            self._journal.keep_positions(plan)
            self._stopper.check()
        self._delivery.add([], Position(stream.name, DONE))

    def _close_window(self, plan: Plan) -> None:
        covered = self._journal.close_window(plan, has_sent=self._delivery.has_sent)
        if plan.window.end - covered > DRAG_WORTH_SAYING:
            self.report.note(f"transactions open at the source hold the next window back to {stamp(covered)}")
        self.report.moved = True
        self.report.watermark = self._journal.state.watermark

    def _map(self, plan: Plan) -> Mapper:
        """Compile the mapping for the source as it is now, once, and say so where it has changed since."""
        if self._mapping is None:
            shape = self._source.shape()
            delivered = self._journal.state.delivered_paths
            found = fit(self._sync, shape, self._settings.default_region, delivered)
            self._mapping, self._links = found.mapper, shape.links
            self.report.counts.left_out = self._mapping.left_out
            print_now = fingerprint(self._sync, self._settings.default_region)
            self.report.dropped = self._journal.note_mapping(print_now, found).unaccepted
            for path in self.report.dropped:
                self.report.note(
                    f"{self._sync.object}.{path} has vanished and is left out; profiles keep its last value "
                    f"(`crmsync fields {self._sync.name} --accept` takes note of it)"
                )
        if not self._journal.mapping_is_settled(plan):
            self.report.note(
                "the mapping has changed: profiles written before keep what it gave then, until "
                f"`crmsync pull {self._sync.name} --full --changed` has run"
            )
        return self._mapping

    def _flag_deletions(self, plan: Plan) -> None:
        flagged, warnings = self._deletions().flag_window(plan.window)
        self.report.tombstones += flagged
        for warning in warnings:
            self.report.note(warning)

    def _deletions(self) -> Deletions:
        return Deletions(
            self._sync,
            self._source,
            self._journal.ledger,
            self._delivery,
            self._store,
            self.report.counts,
            deliver_again=self._deliver_again,
            check=self._stopper.check,
            unlimited=self._settings.allow_deletes,
        )

    def _redeliver(self) -> None:
        """Read and send again the rows whose batches were given up (law 7)."""
        for _ in range(REDELIVERIES):
            ids = list(dict.fromkeys(self._delivery.abandoned))
            if not ids:
                return
            self.report.abandoned += len(ids)
            self._delivery.forget_abandoned()
            self._deliver_again(ids)
            if not self._delivery.abandoned:
                self._delivery.settle_lost()
        if self._delivery.abandoned:
            raise Unconfirmed(
                f"{len(self._delivery.abandoned)} records were sent and cannot be proved delivered"
            )

    def _deliver_again(self, ids: Sequence[str]) -> None:
        """Read these rows and deliver them, to the end; those that are gone are skipped as such."""
        mapping = self._map(Plan(windows.NOWHERE, moves=False))
        rows = list(self._source.read(ids, mapping.columns))
        present = {row["Id"] for row in rows}
        gone = [Skip(row_id, "", "gone") for row_id in ids if row_id not in present]
        self._delivery.add([*map(mapping.map, rows), *gone], None)
        self._delivery.drain()
