"""The one difference of a dry run: a destination that is asked about its schema and never written to (law 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from crmsync.destinations.base import Destination, Outcome, Settled, TargetField


class DryDestination:
    """Stands before a destination and takes every batch as written."""

    def __init__(self, real: Destination) -> None:
        self._real = real
        self.largest_body = real.largest_body

    def requests(self) -> dict[str, int]:
        return self._real.requests()

    def preflight(self, targets: Iterable[str]) -> list[str]:
        return self._real.preflight(targets)

    def fields(self) -> list[TargetField] | None:
        return self._real.fields()

    def frame(self, records: Sequence[bytes]) -> bytes:
        return self._real.frame(records)

    def unframe(self, body: bytes) -> list[bytes]:
        return self._real.unframe(body)

    def submit(self, body: bytes, key: str, size: int, *, patient: bool = True) -> Outcome:  # noqa: ARG002
        return Settled()

    def guard(self, confirm: Callable[[], None]) -> None:
        """Nothing is sent."""

    def poll(self, job_id: str, size: int) -> Outcome:  # noqa: ARG002
        return Settled()

    def close(self) -> None:
        self._real.close()
