"""Records in, proof out: decides what has to be sent, keeps what is in flight, settles what is proved.

One thread calls this; the couriers' threads only carry. Ledger, rejects and tracker are touched by the calling
thread alone, so that their order is the order of the calls.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from crmsync.delivery.batch import Batch
from crmsync.delivery.counts import Counts
from crmsync.delivery.courier import Abandoned, Courier, Delivered
from crmsync.delivery.flights import Flight, Flights
from crmsync.delivery.tracker import Position, Tracker
from crmsync.destinations.base import Destination, Reason
from crmsync.mapping import Record, Reject, Skip
from crmsync.state.ledger import Entry, Ledger
from crmsync.state.outbox import Outbox, Parcel
from crmsync.state.rejects import Rejects
from crmsync.tombstones import revived

log = logging.getLogger(__name__)

Outcome = Record | Skip | Reject


@dataclass(slots=True)
class Limits:
    """`batch` records and `body` bytes a batch, `in_flight` requests at once, `jobs` accepted and unfinished."""

    batch: int = 500
    body: int = 9_500_000
    in_flight: int = 8
    jobs: int = 32


class Delivery:
    """Delivers the records of one run of one sync.

    `begin` is called once, before the first parcel leaves; `check` raises where the run is to stop; `proved` is
    told the stamps of the records of each batch that is proved. `write_all` sends also what the ledger knows;
    `takes_back_flags` clears the tombstone fields of a row that is back. `abandoned` collects the Ids whose fate
    cannot be learned: they have to be read and added again.

    `_landed` are Ids and keys that were proved since the ledger was asked about the page at hand, `_standing` the Ids
    in the batch that the ledger knows something of.
    """

    def __init__(
        self,
        courier: Courier,
        destination: Destination,
        outbox: Outbox,
        ledger: Ledger,
        rejects: Rejects,
        tracker: Tracker,
        counts: Counts,
        *,
        limits: Limits,
        begin: Callable[[], None],
        check: Callable[[], None],
        write_all: bool = False,
        takes_back_flags: bool = False,
        proved: Callable[[list[str]], None] = lambda _stamps: None,
    ) -> None:
        self._courier = courier
        self._destination = destination
        self._outbox = outbox
        self._ledger = ledger
        self._rejects = rejects
        self._tracker = tracker
        self._counts = counts
        self._limits = limits
        self._begin: Callable[[], None] | None = begin
        self._check = check
        self.write_all = write_all
        self.takes_back_flags = takes_back_flags
        self._proved = proved
        self.abandoned: list[str] = []
        self._lost: list[Flight] = []
        self._batch = Batch()
        self._flights = Flights(courier, requests=limits.in_flight, jobs=limits.jobs)
        self._landed: set[str] = set()
        self._standing: set[str] = set()

    def replay(self) -> None:
        """Bring every parcel of an interrupted run to its end, before anything newer is sent (law 4).

        One that meets an outage is postponed: should others succeed, its rows are at fault, and meanwhile
        nothing newer of their keys is sent.
        """
        parcels = self._outbox.parcels()
        if not parcels:
            return
        log.info("%d batches of an interrupted run are brought to their end first", len(parcels))
        self._start()
        for parcel in parcels:
            for key in parcel.keys:
                self._await_key(key)
            self._make_room()
            self._flights.launch(Flight(parcel, replay=True, may_wait=True), self._courier.resume)
        self.drain()

    def add(self, outcomes: Sequence[Outcome], position: Position | None) -> None:
        """Take in one page: settle what needs no sending, batch the rest. Blocks while enough is in flight."""
        page = self._tracker.open(len(outcomes), position)
        self._standing.update(self._landed.intersection(r.id for r in self._batch.records.values()))
        self._landed.clear()
        self._counts.read += len(outcomes)
        records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
        known = self._ledger.lookup([record.id for record in records])
        holders = self._ledger.holders([record.key for record in records if record.key != record.id])
        for outcome in outcomes:
            if isinstance(outcome, Record):
                self._consider(outcome, page, known.get(outcome.id), holders.get(outcome.key))
            else:
                self._leave_out(outcome, page)
        self._tend(block=False)

    def drain(self) -> None:
        """Send what is left and wait until nothing is in flight. Raises what a courier met."""
        self._dispatch()
        while self._flights:
            self._tend(block=True)

    def finish(self) -> None:
        """Bring everything to its end, what was postponed included. Raises Outage where that fails again."""
        self.drain()
        self._insist()
        self.drain()

    @property
    def has_sent(self) -> bool:
        return self._begin is None

    def forget_abandoned(self) -> None:
        """The abandoned Ids have been read again and are about to be added."""
        self.abandoned.clear()

    def settle_lost(self) -> None:
        """The Ids that were abandoned have been delivered again: close what had been waiting for them."""
        for flight in self._lost:
            self._outbox.remove(flight.parcel)
            self._tracker.settle(flight.pages)
        self._lost.clear()

    def quiesce(self, seconds: float) -> None:
        """Send nothing more and wait at most so long for what is in flight. Errors are left to the caller's own."""
        deadline = time.monotonic() + seconds
        self._batch = Batch()
        self._check = _carry_on
        while self._flights and time.monotonic() < deadline:
            try:
                self._tend(block=True, timeout=0.1)
            except Exception as error:  # noqa: BLE001 - the run ends with the error that stopped it
                log.debug("while stopping: %s", type(error).__name__)

    def close(self) -> None:
        self._courier.close()
        self._flights.close()

    def idle(self) -> None:
        """Use a pause: take in what the couriers report and ask for jobs that are due, until `wake` is called."""
        self._tend(block=True)

    def wake(self) -> None:
        """End a pause. May be called from any thread."""
        self._flights.wake()

    def _consider(
        self, record: Record, page: int, entry: Entry | None, holder: tuple[str, str] | None
    ) -> None:
        while flight := self._flights.by_key.get(record.key):
            if flight.parcel.holds(record.key, record.id, record.digest):
                flight.pages[page] += 1
                return self._count_unsent(record, "unchanged")
            self._await_key(record.key)
        if record.id in self._landed or record.key in self._landed:
            entry = self._ledger.lookup([record.id]).get(record.id)
            holder = self._ledger.holders([record.key]).get(record.key) if record.key != record.id else None
        if holder and holder[1] != record.id and holder > (record.stamp, record.id):
            return self._settle_unsent(record, page, "shared_key")
        if entry and self._is_current(entry, record):
            return self._settle_unsent(record, page, "unchanged")
        if entry and self._is_older(entry, record):
            return self._settle_unsent(record, page, "superseded")
        if self.takes_back_flags and not record.tombstone and self._may_be_flagged(entry):
            record = revived(record)
        if self._batch.size + len(record.body) > self._limits.body:
            self._dispatch()
        if entry:
            self._standing.add(record.id)
        outside = self._batch.put(record, page)
        if outside is not None:
            same_row = outside.id == self._batch.records[record.key].id
            why = "superseded" if same_row else "shared_key"
            if outside is record:
                self._settle_unsent(record, page, why)
            else:
                self._count_unsent(outside, why)
        if len(self._batch.records) >= self._limits.batch:
            self._dispatch()
        return None

    def _is_current(self, entry: Entry, record: Record) -> bool:
        """Whether the destination is known to hold just this record, and will go on to do so.

        Another version may be waiting in the batch: A→B→A must not end at B.
        """
        alike = entry.digest == record.digest and entry.key == record.key
        return alike and record.key not in self._batch.records and not self._overrules(entry)

    def _is_older(self, entry: Entry, record: Record) -> bool:
        """Whether a later version of the row than this one is known to be there."""
        between_versions = not (record.tombstone or entry.deleted)
        return between_versions and entry.stamp > record.stamp and not self._overrules(entry)

    def _may_be_flagged(self, entry: Entry | None) -> bool:
        """Whether the destination may hold this row as deleted. With a ledger lost on the way, nobody knows."""
        return entry.deleted if entry else not self._ledger.is_complete

    def _overrules(self, entry: Entry) -> bool:
        """Whether the run was asked to write over what was proved before it."""
        return self.write_all and not (self.has_sent and self._ledger.is_current(entry))

    def _leave_out(self, outcome: Skip | Reject, page: int) -> None:
        if isinstance(outcome, Skip):
            self._counts.skipped[outcome.reason] += 1
            self._rejects.resolve(outcome.id, "skipped")
        else:
            self._counts.rejected[outcome.code] += 1
            self._rejects.add(
                outcome.id,
                origin="here",
                code=outcome.code,
                field=outcome.field,
                message=outcome.message,
                stamp=outcome.stamp,
            )
        self._tracker.settle({page: 1})

    def _settle_unsent(self, record: Record, page: int, why: str) -> None:
        self._count_unsent(record, why)
        self._tracker.settle({page: 1})

    def _count_unsent(self, record: Record, why: str) -> None:
        """Count a row that is not sent."""
        if why == "unchanged":
            self._counts.unchanged += 1
            self._rejects.resolve(record.id, "delivered")
        else:
            self._counts.skipped[why] += 1
            self._rejects.resolve(record.id, "skipped")

    def _await_key(self, key: str) -> None:
        """Wait until nothing of this key is in flight: one version at a time (law 4)."""
        while flight := self._flights.by_key.get(key):
            if self._flights.is_postponed(flight):
                self._insist()
            self._tend(block=True)

    def _insist(self) -> None:
        """Try the postponed parcels again: by now it shows whether anything else succeeds."""
        for flight in self._flights.take_postponed():
            flight.may_wait = False
            self._make_room()
            self._flights.launch(flight, self._courier.insist)

    def _dispatch(self) -> None:
        batch, self._batch = self._batch, Batch()
        if not batch.records:
            return
        self._start()
        self._make_room()
        records = list(batch.records.values())
        standing, self._standing = self._standing | self._landed, set()
        self._ledger.forget([record.id for record in records if record.id in standing])
        entries = [(record.id, record.key, record.stamp, record.digest) for record in records]
        tombstones = [record.id for record in records if record.tombstone]
        body = self._destination.frame([record.body for record in records])
        parcel = Parcel.of(entries, body, tombstones)
        self._counts.batches += 1
        self._flights.launch(Flight(parcel, batch.pages), self._courier.carry)

    def _start(self) -> None:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin()

    def _make_room(self) -> None:
        while self._flights.is_full:
            self._tend(block=True)

    def _tend(self, *, block: bool, timeout: float = 0.5) -> None:
        """Take in what couriers report; with `block`, wait for one report. Raises what a courier met."""
        if block:
            self._check()
        for flight, result in self._flights.ended(block=block, timeout=timeout):
            self._receive(flight, result)

    def _receive(self, flight: Flight, result: Delivered | Abandoned | BaseException) -> None:
        if isinstance(result, BaseException):
            self._check()
            raise result
        if isinstance(result, Delivered):
            self._settle(flight, result.refused)
        else:
            self._abandon(flight, result)

    def _settle(self, flight: Flight, refused: dict[int, Reason]) -> None:
        parcel = flight.parcel
        proved = parcel.entries()
        if refused:
            proved = [entry for index, entry in enumerate(proved) if index not in refused]
        self._ledger.remember(proved, set(parcel.tombstones))
        self._proved([stamp for _, _, stamp, _ in proved])
        self._landed.update(parcel.ids, parcel.keys)
        if self._rejects:
            for entry in proved:
                self._rejects.resolve(entry[0], "delivered")
        if refused:
            self._keep_refused(parcel, refused)
        self._rejects.flush()
        self._outbox.remove(parcel)
        self._tracker.settle(flight.pages)
        if flight.replay:
            self._counts.replayed += len(proved)
        else:
            self._counts.written += len(proved)

    def _keep_refused(self, parcel: Parcel, refused: dict[int, Reason]) -> None:
        bodies = self._destination.unframe(self._outbox.body_of(parcel))
        for index, reason in refused.items():
            self._counts.refused[reason.code] += 1
            self._rejects.add(
                parcel.ids[index],
                origin="destination",
                code=reason.code,
                field=reason.field,
                message=reason.message,
                stamp=parcel.stamps[index],
                correlation_id=reason.correlation_id,
                values=orjson.loads(bodies[index]),
            )

    def _abandon(self, flight: Flight, result: Abandoned) -> None:
        log.warning(
            "a batch of %d records is given up (%s); its rows are read and sent again",
            len(flight.parcel),
            result.why,
        )
        self.abandoned += flight.parcel.ids
        self._lost.append(flight)


def _carry_on() -> None:
    """Once a run is stopping, nothing stops it any further."""
