"""One deliverer per sync at a time, where the state is on S3 (law 4): a lease that has to be renewed.

The lease is an object that its holder rewrites every RENEW_EVERY seconds. Nobody's wall clock counts: the
holder measures on its own monotonic clock, from before each renewal was sent; whoever wants the lease takes it
over only after having seen the object unchanged for a whole TTL on its own clock. The holder sends nothing
with less than one request's timeout of lease left, so that its last request has ended by then.

A takeover begins a new *generation*. Before anything else the new holder rewrites the state, so that the next
compare-and-swap of the old one is lost, and brings the old one's outbox into its own generation; only then is
the lease's `floor` raised to that generation. A takeover that was cut short is thus begun again.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import orjson

from crmsync.errors import CrmsyncError, LockHeld, StateConflict, StateError, TryAgain
from crmsync.http import CONNECT_TIMEOUT, READ_TIMEOUT, Stopper
from crmsync.state.lock import Holder
from crmsync.state.probe import refuse_careless
from crmsync.state.s3 import LEASE, Fence, S3Store

log = logging.getLogger(__name__)

TTL = 300.0
RENEW_EVERY = 30.0
MARGIN = CONNECT_TIMEOUT + READ_TIMEOUT
"""Seconds of lease that must be left when something is sent: one request's timeout."""
SILENCE = 0.3
"""The share of its TTL after which a lease that nobody renews looks abandoned."""
AFTER_A_LOST_RACE = 0.1


@dataclass(frozen=True, slots=True)
class Terms:
    """How a lease is kept, all in seconds."""

    ttl: float = TTL
    renew_every: float = RENEW_EVERY
    margin: float = MARGIN


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease object. `floor` is the oldest generation whose parcels still count; `token` tells holders of
    one generation apart; `renewals` makes every version of the object another one."""

    generation: int
    floor: int
    token: str
    holder: Holder
    ttl: float
    renewals: int = 0
    released: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A lease as it was read: its version, and the seconds since it was written by the server's clock."""

    lease: Lease
    version: str
    age: float


class LeaseLock:
    """The Lock of a sync whose state is on S3. `stopper` ends its waiting early."""

    def __init__(
        self,
        store: S3Store,
        sync: str,
        run_id: str,
        *,
        wait: float = 0.0,
        terms: Terms | None = None,
        stopper: Stopper | None = None,
    ) -> None:
        self._store = store
        self._sync = sync
        self._name = f"{sync}/{LEASE}"
        self._wait = wait
        self._terms = terms or Terms()
        self._stopper = stopper or Stopper()
        self._me = Holder(os.getpid(), socket.gethostname(), run_id, _now())
        self._token = os.urandom(8).hex()
        self._renewing = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lease: Lease | None = None
        self._fence: Fence | None = None
        self._version = ""
        self._until = 0.0
        self._renewed = True
        self._lost_because = ""

    def __enter__(self) -> Self:
        """Raises LockHeld naming the holder, what the stopper says, StateError for a server that ignores conditions."""
        self._ended.clear()
        self._lost_because = ""
        self._acquire()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{self._sync}", daemon=True)
        self._thread.start()
        try:
            self._settle_inheritance()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()
        if self._fence and not self._lost_because:
            self._give_back(self._fence)

    def confirm(self) -> None:
        """Make sure that enough of the lease is left to send something.

        Raises StateConflict where it is lost, TryAgain where S3 does not let it be renewed in time.
        """
        if self._left() < self._terms.margin:
            self._renew()
        self._check()
        if self._left() < self._terms.margin:
            raise TryAgain(
                f"the lease of {self._sync} could not be renewed in time: nothing is sent with less than "
                f"{self._terms.margin:.0f} s of it left",
                hint=f"Is {self._store.location} slow or out of reach? The next run goes on from here.",
            )

    def _check(self) -> None:
        """Raises StateConflict once the lease is lost, for good."""
        if not self._lost_because and self._left() <= 0:
            self._lost_because = "it ran out before it could be renewed"
        if self._lost_because:
            raise StateConflict(
                f"the lease of {self._sync} is lost ({self._lost_because}): this run writes and sends nothing more",
                hint="Another run settles its outbox first and goes on from the last checkpoint.",
            )

    def _left(self) -> float:
        return self._until - _clock()

    def _acquire(self) -> None:
        """Wait for the lease to be free, given back or abandoned, and claim it."""
        give_up_at = _clock() + self._wait
        seen: Found | None = None
        since = 0.0
        suspected = waits = False
        while True:
            found = find(self._store, self._sync)
            now = _clock()
            if found is None or seen is None or found.version != seen.version:
                seen, since = found, now
            if self._claim(found, unchanged_for=now - since):
                return
            if found is None or found.lease.released:
                self._pause(AFTER_A_LOST_RACE)
                continue
            suspect = max(now - since, found.age) > found.lease.ttl * SILENCE
            if not suspect and now >= give_up_at:
                raise LockHeld(
                    f"another run is at work: {found.lease.holder}",
                    hint="Wait for it to end, or pass --wait 60s.",
                )
            if not waits and not suspect:
                log.info("waiting for another run to end: %s", found.lease.holder)
                waits = True
            if suspect and not suspected:
                log.warning(
                    "%s: the lease of %s has not been renewed lately; if that does not happen within %.0f s "
                    "it is taken over",
                    self._sync,
                    found.lease.holder,
                    found.lease.ttl,
                )
            suspected = suspect
            self._pause(self._terms.renew_every / 10)

    def _claim(self, found: Found | None, *, unchanged_for: float) -> bool:
        """Claim the lease if it may be claimed; False where it may not, or where somebody else was faster."""
        if found is None:
            refuse_careless(self._store)
            generation = max([int(time.time()), *(past + 1 for past in self._store.generations(self._sync))])
            lease = self._mine(generation, floor=0)
        elif found.lease.released:
            lease = self._mine(found.lease.generation, found.lease.floor)
        elif unchanged_for >= found.lease.ttl:
            log.warning("%s: taking over the lease of %s", self._sync, found.lease.holder)
            lease = self._mine(found.lease.generation + 1, found.lease.floor)
        else:
            return False
        sent_at = _clock()
        try:
            self._version = self._store.write(self._name, _encode(lease), found.version if found else None)
        except StateConflict:
            return False
        self._lease, self._until = lease, sent_at + lease.ttl
        self._fence = Fence(lease.generation, self._check)
        self._store.stand_under(self._sync, self._fence)
        return True

    def _mine(self, generation: int, floor: int) -> Lease:
        return Lease(generation, floor, self._token, self._me, self._terms.ttl)

    def _pause(self, seconds: float) -> None:
        self._stopper.sleep(seconds)
        self._stopper.check()

    def _settle_inheritance(self) -> None:
        """Where a generation begins: shut earlier holders out of the state, make their outbox ours."""
        assert self._lease is not None
        generation = self._lease.generation
        if self._lease.floor == generation:
            return
        _mark(self._store, f"{self._sync}/state.json", generation)
        self._store.inherit(self._sync, self._lease.floor, generation)
        while self._lease.floor != generation:
            self._renew(floor=generation)
            self._check()

    def _keep(self) -> None:
        """Renew until the end, sooner again where that failed. Runs in a thread of its own."""
        while not self._ended.wait(self._terms.renew_every * (1 if self._renewed else 0.3)):
            try:
                self._renew()
                self._check()
            except StateConflict as lost:
                return log.error("%s", lost.message)
            except CrmsyncError as error:
                log.warning("%s", error.message)
        return None

    def _renew(self, floor: int | None = None) -> None:
        """Move the end of the lease, unless it has been lost. Raises what S3 answers otherwise."""
        with self._renewing:
            if self._lost_because or self._left() <= 0:
                return None
            assert self._lease is not None
            fresh = replace(
                self._lease,
                renewals=self._lease.renewals + 1,
                floor=self._lease.floor if floor is None else floor,
            )
            self._renewed = False
            sent_at = _clock()
            try:
                self._version = self._store.write(self._name, _encode(fresh), self._version, attempts=1)
            except StateConflict:
                return self._look_again()
            self._lease, self._until, self._renewed = fresh, sent_at + fresh.ttl, True
        return None

    def _look_again(self) -> None:
        """A renewal was refused: perhaps only because an earlier one had come through unanswered."""
        found = find(self._store, self._sync)
        if found and found.lease.token == self._token and not found.lease.released:
            self._lease, self._version = found.lease, found.version
        elif found:
            self._lost_because = f"now it is that of {found.lease.holder}"
        else:
            self._lost_because = "it has been removed"

    def _give_back(self, fence: Fence) -> None:
        """Let the next run begin at once; where something is still being written, the lease has to run out."""
        self._lost_because = "it has been given back"
        if fence.busy:
            log.warning("%s: something is still being written; the lease is left to run out", self._sync)
            return
        assert self._lease is not None
        try:
            self._store.write(self._name, _encode(replace(self._lease, released=True)), self._version)
        except CrmsyncError as error:
            log.warning(
                "%s: the lease could not be given back and has to run out: %s", self._sync, error.message
            )
        self._store.stand_free(self._sync)


def find(store: S3Store, sync: str) -> Found | None:
    """The lease of a sync, None where there has never been one. Raises StateError for one that is damaged."""
    there = store.read_aged(f"{sync}/{LEASE}")
    if there is None:
        return None
    document, age = there
    try:
        body = orjson.loads(document.data)
        known = {name: body[name] for name in Lease.__dataclass_fields__}
        lease = Lease(**{**known, "holder": Holder(**known["holder"])})
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise StateError(
            f"{store.location}/{sync}/{LEASE} cannot be read",
            hint=f"Make sure that no run is at work, then `crmsync state force-unlock {sync}`.",
        ) from None
    return Found(lease, document.version, age)


def _encode(lease: Lease) -> bytes:
    return orjson.dumps(lease, option=orjson.OPT_INDENT_2)


def _mark(store: S3Store, name: str, generation: int) -> None:
    """Write the lease's generation into the state: whoever read it before has a version that is gone.

    Where there is no state yet there is no version to take away. A damaged one is left to the refusal that
    awaits it.
    """
    while document := store.read(name):
        try:
            body = orjson.loads(document.data)
            marked = orjson.dumps({**body, "lease": generation}, option=orjson.OPT_INDENT_2)
            store.write(name, marked, document.version)
        except StateConflict:
            continue
        except (orjson.JSONDecodeError, TypeError):
            return
        return


def _clock() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
