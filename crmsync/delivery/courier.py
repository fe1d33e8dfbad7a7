"""Carrying one parcel to its end: sent, waited for, and narrowed where it is refused. Runs in worker threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crmsync.delivery.narrowing import Verdict, narrow
from crmsync.delivery.pulse import Pulse
from crmsync.destinations.base import Destination, Lost, Outcome, Reason, Refused, Settled, Unproven, Working
from crmsync.errors import Unconfirmed
from crmsync.http import Stopper
from crmsync.state.outbox import ABANDONED, Outbox, Parcel

log = logging.getLogger(__name__)

FIRST_POLL = 0.25
LONGEST_POLL = 10.0
POLL_SHARE = 10
"""Of the time that a job has been waited for, one part in so many goes by before it is asked for again."""
JOB_LIFETIME = 24 * 3600.0
"""Seconds after which an unfinished job is given up (law 7)."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A parcel's end: all of it has been written but the records refused, by index."""

    parcel: Parcel
    refused: dict[int, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Abandoned:
    """What became of the parcel can no longer be learned: its Ids have to be read and sent again."""

    parcel: Parcel
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Accepted, not finished: to be asked for at `next_at` (monotonic seconds), the first time or `again`."""

    parcel: Parcel
    job_id: str
    state: str
    since: float
    next_at: float
    again: bool = False


Result = Delivered | Abandoned | Waiting


class Courier:
    """Delivers parcels through one destination. Safe to use from several threads.

    `confirm` is called before every send, to make sure that the lock is still held (law 4).
    """

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        *,
        job_deadline: float,
        stopper: Stopper,
        confirm: Callable[[], None],
    ) -> None:
        self._destination = destination
        self._outbox = outbox
        self._job_deadline = job_deadline
        self._stopper = stopper
        self._confirm = confirm
        self._lock = threading.Lock()
        self._successes = 0
        self._closed = False
        self._typical_job = FIRST_POLL

    def carry(self, parcel: Parcel) -> Result:
        """Make the parcel durable, send it, and give its end or the job that it became."""
        self._outbox.add(parcel)
        return self.send(parcel)

    def send(self, parcel: Parcel) -> Result:
        """Send a parcel that is in the outbox. Raises Unconfirmed for a reply that proves nothing."""
        return self._send(parcel, self._successes)

    def insist(self, parcel: Parcel) -> Result:
        """Resume a parcel that failed before: whatever succeeded in this run tells it from an outage."""
        return self.resume(parcel, before=0)

    def resume(self, parcel: Parcel, before: int | None = None) -> Result:
        """Go on with a parcel of an earlier run: ask for its job, else send its bytes under its own key.

        `before` is the number of successes that count as having been there before it failed.
        """
        before = self._successes if before is None else before
        if parcel.job_id == ABANDONED:
            return Abandoned(parcel, "by hand")
        if parcel.job_id is None and not parcel.key_is_good:
            return Abandoned(parcel, "its idempotency key has expired")
        if parcel.job_id is None:
            return self._send(parcel, before)
        outcome = self._destination.poll(parcel.job_id, len(parcel))
        return self._conclude(parcel, outcome, before, since=_age(parcel))

    def ask(self, waiting: Waiting) -> Result:
        """Ask for a job. Raises Unconfirmed once its deadline has passed."""
        outcome = self._destination.poll(waiting.job_id, len(waiting.parcel))
        if isinstance(outcome, Working):
            return self._wait_on(waiting, outcome.state)
        self._learn(time.monotonic() - waiting.since, exact=waiting.again)
        return self._conclude(waiting.parcel, outcome, self._successes)

    def close(self) -> None:
        """Send nothing any more: the run is over, and soon its lock."""
        self._closed = True

    def _send(self, parcel: Parcel, before: int) -> Result:
        return self._conclude(parcel, self._submit(parcel), before)

    def _submit(self, parcel: Parcel, *, patient: bool = True) -> Outcome:
        if self._closed:
            raise Unconfirmed("the run ended before a batch was sent; it stays in the outbox")
        self._confirm()
        return self._destination.submit(
            self._outbox.body_of(parcel), parcel.key, len(parcel), patient=patient
        )

    def _conclude(
        self, parcel: Parcel, outcome: Outcome, before: int, *, since: float | None = None
    ) -> Result:
        match outcome:
            case Settled(refused=refused, unplaced=0):
                self._count_success(len(refused) < len(parcel))
                return Delivered(parcel, dict(refused))
            case Settled() | Refused():
                return self._narrowed(parcel, outcome, before)
            case Working(job_id, state):
                if parcel.job_id is None:
                    self._outbox.note_job(parcel, job_id)
                parcel = parcel.waiting_for(job_id)
                if time.time() - parcel.made_at > JOB_LIFETIME:
                    return Abandoned(parcel, f"its job {job_id} is still {state or 'unfinished'} after a day")
                started = time.monotonic() if since is None else since
                first = max(FIRST_POLL, 0.9 * self._typical_job)
                return Waiting(parcel, job_id, state, started, time.monotonic() + first)
            case Lost(job_id):
                return Abandoned(parcel, f"Experiture no longer knows its job {job_id}")
            case Unproven(why, correlation_id):
                raise Unconfirmed(
                    f"a batch of {len(parcel)} was sent and its reply proves nothing ({why})",
                    correlation_id=correlation_id,
                    hint="It stays in the outbox; the next run asks again under the same key.",
                )

    def _wait_on(self, waiting: Waiting, state: str) -> Waiting:
        waited = time.monotonic() - waiting.since
        if waited > self._job_deadline:
            raise Unconfirmed(
                f"job {waiting.job_id} is still {state or 'unfinished'} after {waited / 60:.0f} minutes",
                hint="The next run asks again. To give it up: `crmsync state abandon-job`.",
            )
        pause = min(LONGEST_POLL, max(FIRST_POLL / 2, waited / POLL_SHARE))
        next_at = time.monotonic() + pause
        return Waiting(waiting.parcel, waiting.job_id, state, waiting.since, next_at, again=True)

    def _narrowed(self, parcel: Parcel, refusal: Settled | Refused, before: int) -> Delivered:
        """Find the records that are at fault, and deliver the others.

        Raises Outage where the status may pass and nothing at all succeeds any more (law 8).
        """
        log.info(
            "a batch of %d was refused (%s); narrowing",
            len(parcel),
            refusal.reason.code,
            extra={"correlation_id": refusal.reason.correlation_id},
        )
        records = self._destination.unframe(self._outbox.body_of(parcel))

        def send(indices: list[int], patient: bool) -> Verdict:
            if self._stopper.event.is_set():
                raise Unconfirmed("stopped while looking for the records at fault in a refused batch")
            piece = parcel.part(indices, self._destination.frame([records[i] for i in indices]))
            self._outbox.add(piece)
            outcome = self._end_of(piece, self._submit(piece, patient=patient or not _may_pass(refusal)))
            if isinstance(outcome, Settled):
                self._count_success(len(outcome.refused) + outcome.unplaced < len(indices))
            return outcome

        passing = refusal.reason if _may_pass(refusal) else None
        pulse = Pulse(len(parcel), send, lambda: self._successes, before, passing)
        refused = narrow(len(parcel), refusal, pulse.judge)
        if refused:
            pulse.make_sure()
        return Delivered(parcel, refused)

    def _end_of(self, piece: Parcel, outcome: Outcome) -> Verdict:
        """Wait for the end of a part and take it out of the outbox. Raises Unconfirmed where it has none."""
        result = outcome
        while not isinstance(result, Settled | Refused):
            step = self._conclude(piece, result, self._successes)
            if not isinstance(step, Waiting):
                why = step.why if isinstance(step, Abandoned) else "no end"
                raise Unconfirmed(f"part of a refused batch is unaccounted for: {why}")
            piece, result = step.parcel, self._polled(step)
        self._outbox.remove(piece)
        return result

    def _polled(self, waiting: Waiting) -> Outcome:
        while not self._stopper.event.wait(max(0.0, waiting.next_at - time.monotonic())):
            outcome = self._destination.poll(waiting.job_id, len(waiting.parcel))
            if not isinstance(outcome, Working):
                return outcome
            waiting = self._wait_on(waiting, outcome.state)
        raise Unconfirmed(f"stopped while waiting for job {waiting.job_id}")

    def _count_success(self, succeeded: bool) -> None:
        if succeeded:
            with self._lock:
                self._successes += 1

    def _learn(self, seconds: float, *, exact: bool) -> None:
        """Remember roughly how long a job takes, so that the first question is asked neither too early nor late.

        Of a job that was done when it was first asked for, `seconds` is only the most that it can have taken.
        """
        took = min(seconds, LONGEST_POLL) / (1 if exact else 2)
        with self._lock:
            self._typical_job += (took - self._typical_job) / 4


def _age(parcel: Parcel) -> float:
    """When the parcel was made, on the monotonic clock."""
    return time.monotonic() - max(0.0, time.time() - parcel.made_at)


def _may_pass(verdict: Verdict) -> bool:
    return isinstance(verdict, Refused) and verdict.kind == "passing"
