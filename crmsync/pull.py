"""The run: from the watermark to the watermark.

Lock, bring an interrupted run's batches to their end, choose the window, read its streams into delivery, move
the positions as proof becomes contiguous, close the window. It knows protocols, not Salesforce, not HTTP, not
files.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from crmsync import window as windows
from crmsync.config.sync import Sync
from crmsync.deletions import Deletions, Reconciliation
from crmsync.delivery import Counts, Courier, Delivery, Limits, Position, Tracker
from crmsync.destinations.base import Destination
from crmsync.errors import BrakeError, NoWatermark, SourceChanged, StateError, Unconfirmed
from crmsync.fit import Fit, fit
from crmsync.http import Stopper
from crmsync.mapping import Mapper, Skip, fingerprint
from crmsync.parents import seen_in
from crmsync.prefetch import prefetched
from crmsync.sources.base import Link, Source, Stream
from crmsync.state import overlap as overlaps
from crmsync.state.checkpoint import DONE, Checkpoint, Progress, State, new_state, stamp
from crmsync.state.ledger import Ledger
from crmsync.state.lock import Lock
from crmsync.state.outbox import Outbox
from crmsync.state.rejects import Rejects
from crmsync.state.store import Store
from crmsync.window import Plan, Range

log = logging.getLogger(__name__)

MOST_OPEN_REJECTS = 100_000
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
    """What a run did. `window`, `watermark`: stamps, None where there is none. `notes`: for people."""

    counts: Counts = field(default_factory=Counts)
    window: tuple[str | None, str] | None = None
    watermark: str | None = None
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
        watch: Callable[[Counts], None] = lambda _counts: None,
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
        self._watch = watch
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
            if not self._ledger.is_complete:
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
            self._open()
            try:
                self._delivery.replay()
                self._redeliver()
                yield
            except BaseException:
                self._delivery.quiesce(self._settings.grace)
                self._checkpoint()
                raise
            finally:
                self._close_room()

    def _open(self) -> None:
        """Load the state and everything that stands beside it."""
        self._checkpoints = Checkpoint(self._store, self._sync.name)
        self._state = self._loaded()
        self._ledger = Ledger(self._store.local(f"{self._sync.name}/ledger.sqlite"))
        if not self._ledger.trusted_by(self._state.generation):
            self._ledger.reset(self._state.generation)
            overlaps.restore(self._store, self._sync.name, self._ledger, self._state.generation)
        self._rejects = Rejects(self._store, self._sync.name, self._run_id)
        self._tracker = Tracker()
        self._mapper: Mapper | None = None
        self._links: tuple[Link, ...] = ()
        self._current: Plan | None = None
        outbox = Outbox(self._store, self._sync.name)
        courier = Courier(
            self._destination,
            outbox,
            job_deadline=self._settings.job_deadline.total_seconds(),
            stopper=self._stopper,
            confirm=self._lock.confirm,
        )
        self._delivery = Delivery(
            courier,
            self._destination,
            outbox,
            self._ledger,
            self._rejects,
            self._tracker,
            self.report.counts,
            limits=self._settings.limits,
            begin=self._begin_sending,
            check=self._stopper.check,
            takes_back_flags=self._sync.deletes == "flag",
        )

    def _loaded(self) -> State:
        state = self._checkpoints.load()
        if state is None:
            return new_state(self._sync.name, self._sync.object, self._sync.into)
        if (state.object, state.into) != (self._sync.object, self._sync.into):
            raise StateError(
                f"the state of sync {self._sync.name} is of {state.object} into {state.into}, not of "
                f"{self._sync.object} into {self._sync.into}",
                hint="Give the changed sync a new name: its watermark says nothing about another object.",
            )
        self.report.watermark = state.watermark
        return state

    def _plan(self, asked: Range) -> Plan:
        """Choose the window by the source's clock. Raises NoWatermark, saying how to begin."""
        try:
            plan = windows.plan(
                asked,
                self._state,
                self._source.now(),
                overlap=self._settings.overlap,
                settle=self._settings.settle,
            )
        except NoWatermark as error:
            raise NoWatermark(
                f"sync {self._sync.name}: {error.message}",
                hint=f"`crmsync pull {self._sync.name} --full` reads all {self._source.count():,} rows; "
                "`--since 7d` begins that far back.",
            ) from None
        if plan.stays_because:
            self.report.note(
                f"the watermark stays at {self._state.watermark or 'none'}: {plan.stays_because}"
            )
        return plan

    def _read(self, plan: Plan) -> None:
        """Read a window's streams into delivery, and close it."""
        mapper = self._mapping(plan)
        self._current = plan
        if plan.moves and not plan.resumed:
            start = stamp(plan.window.start) if plan.window.start else None
            self._state.progress = Progress(start, stamp(plan.window.end), plan.write_all)
        self._delivery.write_all = plan.write_all
        self.report.resumed = self.report.resumed or plan.resumed
        self.report.window = (stamp(plan.window.start) if plan.window.start else None, stamp(plan.window.end))
        if plan.reads_everything and not plan.resumed:
            self._ledger.begin_full()
            if self._state.watermark is None:
                self._ledger.declare_complete()
        try:
            self._read_streams(plan, mapper)
        except SourceChanged as changed:
            log.info("the source has changed, it is described anew: %s", changed)
            self._source.look_again()
            self._mapper = None
            self._read_streams(plan, self._mapping(plan))
        self._delivery.drain()
        self._redeliver()
        if self._sync.deletes == "flag" and self._asked.limit is None:
            flagged, warnings = self._deletions().flag_window(plan.window)
            self.report.tombstones += flagged
            for warning in warnings:
                self.report.note(warning)
        self._checkpoint()
        self._close_window(plan)
        self._current = None

    def _read_streams(self, plan: Plan, mapper: Mapper) -> None:
        """Read every stream that is not done, each from its position."""
        limit = self._asked.limit
        for stream in self._source.streams(plan.window, mapper.columns, self._ledger, limit):
            progress = self._state.progress if plan.moves else None
            at = progress.positions.get(stream.name) if progress else None
            if at != DONE:
                self._read_stream(stream, windows.resume_at(at, plan.window, self._settings.overlap))

    def _read_stream(self, stream: Stream, start: datetime | None) -> None:
        assert self._mapper is not None
        assert self._current is not None
        for page in prefetched(stream.pages(start), self._delivery.idle):
            place = Position(stream.name, page.position) if page.position else None
            self._ledger.note_parents(
                seen_in(page.rows, self._links), everything=self._current.reads_everything
            )
            self._delivery.add([self._mapper.map(row) for row in page.rows], place)
            self._checkpoint()
            self._watch(self.report.counts)
            self._stopper.check()
        self._delivery.add([], Position(stream.name, DONE))

    def _mapping(self, plan: Plan) -> Mapper:
        """Compile the mapping for the org as it is now, and say so where it has changed since."""
        if self._mapper is None:
            shape = self._source.shape()
            found = fit(self._sync, shape, self._settings.default_region, self._state.delivered_paths)
            self._mapper, self._links = found.mapper, shape.links
            self.report.counts.left_out = self._mapper.left_out
            self._state.fingerprint = fingerprint(self._sync, self._settings.default_region)
            self._note_vanished(found)
        settled = self._state.settled_fingerprint
        if settled and settled != self._state.fingerprint and not (plan.moves and plan.window.start is None):
            self.report.note(
                "the mapping has changed: profiles written before keep what it gave then, until "
                f"`crmsync pull {self._sync.name} --full --changed` has run"
            )
        return self._mapper

    def _deletions(self) -> Deletions:
        return Deletions(
            self._sync,
            self._source,
            self._ledger,
            self._delivery,
            self._store,
            deliver_again=self._deliver_again,
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

    def _note_vanished(self, found: Fit) -> None:
        """Say which fields are left out, until a person has taken note of it."""
        self._state.dropped_paths = found.dropped
        self._state.delivered_paths = sorted({*self._state.delivered_paths, *found.paths})
        self._state.accepted_paths = [p for p in self._state.accepted_paths if p in found.dropped]
        self.report.dropped = [p for p in found.dropped if p not in self._state.accepted_paths]
        for path in self.report.dropped:
            self.report.note(
                f"{self._sync.object}.{path} has vanished and is left out; profiles keep its last value "
                f"(`crmsync fields {self._sync.name} --accept` takes note of it)"
            )

    def _deliver_again(self, ids: Sequence[str]) -> None:
        """Read these rows and deliver them; those that are gone are skipped as such."""
        mapper = self._mapping(Plan(windows.NOWHERE, moves=False))
        rows = list(self._source.read(ids, mapper.columns))
        present = {row["Id"] for row in rows}
        gone = [Skip(row_id, "", "gone") for row_id in ids if row_id not in present]
        self._delivery.add([*map(mapper.map, rows), *gone], None)
        self._delivery.drain()

    def _checkpoint(self) -> None:
        """Keep how far the streams are settled. Rejects are durable before a position moves past them."""
        reached = self._tracker.reached()
        self._rejects.flush()
        if len(self._rejects) >= MOST_OPEN_REJECTS:
            raise BrakeError(
                f"{len(self._rejects):,} rejects are open: something is wrong with more than single rows",
                hint="See `crmsync rejects list`; mend the cause, then `crmsync rejects retry` or `drop`.",
            )
        plan, progress = self._current, self._state.progress
        if plan is None or not plan.moves or progress is None or not reached:
            return
        for position in reached:
            done = position.at == DONE
            kept = DONE if done else windows.kept_position(position.at, plan.window, self._settings.overlap)
            progress.positions[position.stream] = kept
        self._save()

    def _close_window(self, plan: Plan) -> None:
        """Every stream is settled: move the watermark, last of all (law 1)."""
        if plan.moves:
            end = plan.window.end
            latest = self._source.latest_covered(plan.window)
            covered = windows.covered(end, latest)
            if end - covered > timedelta(minutes=15):
                self.report.note(
                    f"transactions open at the source hold the next window back to {stamp(covered)}"
                )
            self._state.watermark = max(self._state.watermark or "", stamp(end))
            self._state.covered = max(self._state.covered or "", stamp(covered))
            self._state.progress = None
            self._ledger.settle_parents()
            if plan.reads_everything:
                self._ledger.declare_complete()
            if plan.window.start is None or not self._state.settled_fingerprint:
                self._state.settled_fingerprint = self._state.fingerprint
            if self._delivery.has_sent:
                overlaps.keep(
                    self._store, self._sync.name, self._ledger, stamp(covered - self._settings.overlap)
                )
            self._save()
            self.report.moved = True
            self.report.watermark = self._state.watermark
        self._rejects.compact()

    def _begin_sending(self) -> None:
        """Once a run, before the first byte leaves: the schema is checked, a new generation begins (law 3)."""
        for warning in self._destination.preflight(rule.target for rule in self._sync.fields):
            self.report.note(warning)
        self._state.generation = self._ledger.begin_generation(self._state.generation)
        self._save()

    def _save(self) -> None:
        self._state.run_id = self._run_id
        self._checkpoints.save(self._state)

    def _close_room(self) -> None:
        self.report.new_rejects = self._rejects.opened
        self.report.open_rejects = len(self._rejects)
        self._delivery.close()
        self._ledger.close()
