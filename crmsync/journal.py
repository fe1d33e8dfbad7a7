"""What a run writes down: how far it is, what is proved, what was rejected. One place for the order of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from crmsync import window as windows
from crmsync.config.sync import Sync
from crmsync.delivery import Position, Tracker
from crmsync.errors import BrakeError, StateError
from crmsync.fit import Fit
from crmsync.sources.base import Bookmark, Job
from crmsync.state import ledger_sync
from crmsync.state import overlap as overlaps
from crmsync.state.checkpoint import DONE, Checkpoint, Progress, State, moment, new_state, stamp
from crmsync.state.dry import DryStore
from crmsync.state.ledger import Ledger
from crmsync.state.outbox import Outbox
from crmsync.state.rejects import Rejects
from crmsync.state.store import Store
from crmsync.window import Plan

MOST_OPEN_REJECTS = 100_000


@dataclass(frozen=True, slots=True)
class Vanished:
    """Mapped paths that the source no longer offers: all of them, and those nobody has taken note of yet."""

    paths: list[str]
    unaccepted: list[str]


class Journal:
    """State, ledger, outbox and rejects of one sync, opened under its lock."""

    def __init__(self, store: Store, sync: Sync, run_id: str, overlap: timedelta) -> None:
        """Raises StateError for a state that is damaged or of another object (law 11)."""
        self._store = store
        self._sync = sync
        self._run_id = run_id
        self._overlap = overlap
        self._checkpoints = Checkpoint(store, sync.name)
        self.state = self._loaded()
        path = store.local(f"{sync.name}/ledger.sqlite")
        ledger_sync.fetch(store, sync.name, self.state.generation, path)
        self.ledger = Ledger(path)
        if not self.ledger.trusted_by(self.state.generation):
            self.ledger.reset(self.state.generation)
            overlaps.restore(store, sync.name, self.ledger, self.state.generation)
        self.outbox = Outbox(store, sync.name)
        self.rejects = Rejects(store, sync.name, run_id)
        self.tracker = Tracker()

    def begin_generation(self) -> None:
        """Durably, before anything is sent: from here on no older ledger is to be trusted (law 3)."""
        self.state.generation = self.ledger.begin_generation(self.state.generation)
        self._save()

    def open_window(self, plan: Plan) -> None:
        """Take a window up. It becomes durable with the first position or the first batch."""
        self.ledger.forget_pending_parents()
        if plan.resumed:
            assert self.state.progress is not None
            if self.state.progress.covered:
                self.ledger.keep_recent(self._begins_again(moment(self.state.progress.covered)))
            return
        if plan.moves:
            start = stamp(plan.window.start) if plan.window.start else None
            self.state.progress = Progress(start, stamp(plan.window.end), plan.write_all)
        if plan.reads_everything:
            self.ledger.begin_full()
            if self.state.watermark is None:
                self.ledger.declare_complete()

    def needs_covered(self, plan: Plan) -> bool:
        """Whether the source has yet to be asked how far no transaction is open any more.

        That has to be before the first row is read: one that ends while the window is read was not seen by it.
        """
        progress = self.state.progress
        return plan.moves and progress is not None and progress.covered is None

    def note_covered(self, covered: datetime) -> None:
        assert self.state.progress is not None
        self.state.progress.covered = stamp(covered)
        self.ledger.keep_recent(self._begins_again(covered))

    def bookmark(self, plan: Plan) -> Bookmark:
        """Where this window's job is kept; one that moves no watermark has no place in the state.

        A rehearsal goes on with no job of the real run, which would miss it afterwards.
        """
        has_place = plan.moves and not isinstance(self._store, DryStore)
        return _Bookmark(self.state, self._save) if has_place else _NoBookmark()

    def start_of(self, stream: str, plan: Plan) -> datetime | None:
        """From where an ordered stream of this window has to be read."""
        return windows.resume_at(self._position(stream, plan), plan.window, self._overlap)

    def is_done(self, stream: str, plan: Plan) -> bool:
        return self._position(stream, plan) == DONE

    def keep_positions(self, plan: Plan | None) -> None:
        """Keep how far the streams are settled. Rejects are durable before a position moves past them.

        Raises BrakeError where so many rejects are open that something larger must be wrong.
        """
        reached = self.tracker.reached()
        self.rejects.flush()
        if len(self.rejects) >= MOST_OPEN_REJECTS:
            raise BrakeError(
                f"{len(self.rejects):,} rejects are open: something is wrong with more than single rows",
                hint="See `crmsync rejects list`; mend the cause, then `crmsync rejects retry` or `drop`.",
            )
        progress = self.state.progress
        if plan is None or not plan.moves or progress is None or not reached:
            return
        for position in reached:
            if self._is_firm(position, plan):
                known = progress.positions.get(position.stream, "")
                progress.positions[position.stream] = max(known, position.at)
        self._save()

    def close_window(self, plan: Plan, *, has_sent: bool) -> datetime:
        """Every stream is settled: move the watermark, last of all (law 1). It never moves back.

        Gives from where, less the overlap, the next window begins.
        """
        state = self.state
        assert state.progress is not None
        covered = state.progress.covered or stamp(plan.window.end)
        state.watermark = max(state.watermark or "", stamp(plan.window.end))
        state.covered = covered
        state.progress = None
        self.ledger.settle_parents()
        if plan.reads_everything:
            self.ledger.declare_complete()
        if plan.window.start is None or not state.settled_fingerprint:
            state.settled_fingerprint = state.fingerprint
        if has_sent:
            since = self._begins_again(moment(covered))
            overlaps.keep(self._store, self._sync.name, self.ledger, since)
        self._save()
        return moment(covered)

    def note_mapping(self, fingerprint: str, found: Fit) -> Vanished:
        """Take in the mapping of this run, and give what it has to leave out."""
        state = self.state
        state.fingerprint = fingerprint
        state.dropped_paths = found.dropped
        state.delivered_paths = sorted({*state.delivered_paths, *found.paths})
        state.accepted_paths = [path for path in state.accepted_paths if path in found.dropped]
        return Vanished(found.dropped, [p for p in found.dropped if p not in state.accepted_paths])

    def mapping_is_settled(self, plan: Plan) -> bool:
        """Whether everything was written under the present mapping, or is about to be."""
        settled = self.state.settled_fingerprint
        return not settled or settled == self.state.fingerprint or plan.reads_everything

    def close(self) -> None:
        self.rejects.compact()
        ledger_sync.upload(self._store, self._sync.name, self.ledger)
        self.ledger.close()

    def _loaded(self) -> State:
        sync = self._sync
        state = self._checkpoints.load()
        if state is None:
            return new_state(sync.name, sync.object, sync.into)
        if (state.object, state.into) != (sync.object, sync.into):
            raise StateError(
                f"the state of sync {sync.name} is of {state.object} into {state.into}, not of "
                f"{sync.object} into {sync.into}",
                hint="Give the changed sync a new name: its watermark says nothing about another object.",
            )
        return state

    def _begins_again(self, covered: datetime) -> str:
        """The stamp at which the window after this one begins: only what is newer is read twice."""
        return stamp(covered - self._overlap)

    def _position(self, stream: str, plan: Plan) -> str | None:
        progress = self.state.progress if plan.moves else None
        return progress.positions.get(stream) if progress else None

    def _is_firm(self, position: Position, plan: Plan) -> bool:
        progress = self.state.progress
        covered = progress.covered if progress else None
        if position.at == DONE:
            return True
        return windows.is_firm(position.at, plan.window, covered or position.at, self._overlap)

    def _save(self) -> None:
        self.state.run_id = self._run_id
        self._checkpoints.save(self.state)


class _Bookmark:
    def __init__(self, state: State, save: Callable[[], None]) -> None:
        self._state = state
        self._save = save

    def job(self) -> Job | None:
        progress = self._state.progress
        if progress is None or progress.job is None:
            return None
        return Job(progress.job, progress.job_generation == self._state.generation)

    def note_job(self, name: str) -> None:
        assert self._state.progress is not None
        self._state.progress.job = name
        self._state.progress.job_generation = self._state.generation
        self._save()


class _NoBookmark:
    def job(self) -> Job | None:
        return None

    def note_job(self, name: str) -> None:
        """A run by hand begins anew after a crash."""
