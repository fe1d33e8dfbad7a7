"""What delivery needs of a destination. Another CDP is one package that offers this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a record or a batch was refused, in the destination's words. `status` is the HTTP status."""

    code: str
    message: str
    field: str = ""
    status: int = 0
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """Terminal proof of a batch: every record not in `refused` has been written.

    `refused` goes from a record's index in the batch to the reason. `unplaced` counts records that were
    refused without being named: only sending parts of the batch can tell which.
    """

    refused: Mapping[int, Reason] = field(default_factory=dict)
    unplaced: int = 0
    reason: Reason = Reason("UNNAMED", "the reply counts refused records without naming them")


@dataclass(frozen=True, slots=True)
class Working:
    """Accepted and not finished. An accept is no success."""

    job_id: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The batch as a whole was not written.

    `kind` says what may help. "content": leaving out the record at `index`, where that is known. "size": a
    smaller batch. "passing": time; the status kept coming back until the retries were used up.
    """

    kind: Literal["content", "size", "passing"]
    reason: Reason
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The destination no longer knows the job: what became of the batch cannot be learned."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """A reply that proves nothing. Unknown is not success (law 7)."""

    why: str
    correlation_id: str = ""


Outcome = Settled | Working | Refused | Lost | Unproven


@dataclass(frozen=True, slots=True)
class TargetField:
    """A field of the destination's object, as far as the destination tells. `type` is in its own words.

    `kind` and `nullable` are None where it does not say, or says so in words that are not understood.
    """

    name: str
    type: str = ""
    kind: Literal["text", "integer", "number", "boolean", "date", "instant"] | None = None
    nullable: bool | None = None


class Destination(Protocol):
    """One object of one destination. Safe to use from several threads.

    Every call may raise AuthError, ConfigError or Outage (no answer, or a limit that did not pass in time).
    """

    largest_body: int
    """Bytes a batch's body may have."""

    def requests(self) -> dict[str, int]:
        """Requests sent so far, by kind."""
        ...

    def preflight(self, targets: Iterable[str]) -> list[str]:
        """Check match key and fields against the destination's schema; give warnings. Raises ConfigError."""
        ...

    def fields(self) -> list[TargetField] | None:
        """The fields of the object, None where its schema cannot be read."""
        ...

    def frame(self, records: Sequence[bytes]) -> bytes:
        """The body of a batch of records, each already encoded as JSON."""
        ...

    def unframe(self, body: bytes) -> list[bytes]:
        """The records of a body, each encoded again as it was."""
        ...

    def submit(self, body: bytes, key: str, size: int, *, patient: bool = True) -> Outcome:
        """Send a batch of `size` records under an idempotency key; `patient` allows the usual retries."""
        ...

    def guard(self, confirm: Callable[[], None]) -> None:
        """Call this before every try of a write: it raises where the right to send has been lost."""
        ...

    def poll(self, job_id: str, size: int) -> Outcome:
        """How far an accepted batch is: Working, Lost, or terminal."""
        ...

    def close(self) -> None: ...
