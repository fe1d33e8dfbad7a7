"""What has left the batch and has not come to its end: with a courier, waited for, or postponed."""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from crmsync.delivery.courier import Abandoned, Courier, Delivered, Result, Waiting
from crmsync.errors import Outage
from crmsync.state.outbox import Parcel


@dataclass(slots=True)
class Flight:
    """A parcel under way, with the pages its records came with.

    One that `may_wait` does not stop the run by an outage: perhaps it is alone in failing.
    """

    parcel: Parcel
    pages: Counter[int] = field(default_factory=Counter)
    replay: bool = False
    may_wait: bool = False


class Flights:
    """Hands parcels to a courier's threads and gives back what became of them. For one calling thread.

    At most `requests` are with couriers and `jobs` waited for, as long as the caller heeds `is_full`. `by_key` tells
    for each match key where it is under way, postponed flights included.
    """

    def __init__(self, courier: Courier, *, requests: int, jobs: int) -> None:
        self._courier = courier
        self._requests = requests
        self._jobs = jobs
        self.by_key: dict[str, Flight] = {}
        self._by_name: dict[str, Flight] = {}
        self._postponed: dict[str, Flight] = {}
        self._waiting: list[tuple[float, int, Waiting]] = []
        self._ticket = itertools.count()
        self._events: queue.SimpleQueue[tuple[str, Result | BaseException] | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(requests, thread_name_prefix="courier")

    def __len__(self) -> int:
        """How many are on their way; postponed ones are not."""
        return len(self._by_name)

    @property
    def is_full(self) -> bool:
        with_couriers = len(self._by_name) - len(self._waiting)
        return with_couriers > self._requests or len(self._waiting) >= self._jobs

    def launch(self, flight: Flight, carry: Callable[[Parcel], Result]) -> None:
        parcel = flight.parcel
        self._by_name[parcel.name] = flight
        self.by_key.update(dict.fromkeys(parcel.keys, flight))
        self._submit(parcel, partial(carry, parcel))

    def is_postponed(self, flight: Flight) -> bool:
        return flight.parcel.name in self._postponed

    def take_postponed(self) -> list[Flight]:
        """Those that met an outage while they were allowed to wait. Their keys stay in `by_key`."""
        postponed, self._postponed = self._postponed, {}
        return list(postponed.values())

    def ended(
        self, *, block: bool, timeout: float
    ) -> Iterator[tuple[Flight, Delivered | Abandoned | BaseException]]:
        """The flights that have come to an end, each with what became of it or what its courier met.

        Jobs that are due are asked for. With `block`, waits for one report, at most `timeout` seconds, or until
        `wake` is called.
        """
        self._ask_due()
        while True:
            try:
                event = self._events.get(block=block, timeout=min(timeout, self._until_due()))
            except queue.Empty:
                return self._ask_due()
            if event is not None:
                yield from self._end_of(*event)
            block = False

    def wake(self) -> None:
        """End a wait. May be called from any thread."""
        self._events.put(None)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, parcel: Parcel, task: Callable[[], Result]) -> None:
        def run() -> None:
            try:
                self._events.put((parcel.name, task()))
            except BaseException as error:  # noqa: BLE001 - carried to the calling thread, which raises it
                self._events.put((parcel.name, error))

        self._pool.submit(run)

    def _until_due(self) -> float:
        return max(0.001, self._waiting[0][0] - time.monotonic()) if self._waiting else math.inf

    def _ask_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            waiting = heapq.heappop(self._waiting)[2]
            self._submit(waiting.parcel, partial(self._courier.ask, waiting))

    def _end_of(
        self, name: str, result: Result | BaseException
    ) -> Iterator[tuple[Flight, Delivered | Abandoned | BaseException]]:
        """The flight that a report is about, if that is its end."""
        flight = self._by_name[name]
        if isinstance(result, Waiting):
            flight.parcel = result.parcel
            heapq.heappush(self._waiting, (result.next_at, next(self._ticket), result))
            return
        del self._by_name[name]
        if isinstance(result, Outage) and flight.may_wait:
            self._postponed[name] = flight
            return
        if not isinstance(result, BaseException):
            for key in flight.parcel.keys:
                self.by_key.pop(key, None)
        yield flight, result
