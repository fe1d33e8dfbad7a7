"""What the pull needs of a source. Another CRM is one package that offers this, found by its entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Row = dict[str, Any]
"""A source row as it came: column names to values, parents nested (`{"Account": {"Name": ...}}`)."""


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open: `start <= cursor < end`. `start` None is the beginning of time. Whole seconds, UTC."""

    start: datetime | None
    end: datetime


@dataclass(slots=True)
class Page:
    """Rows that came together, to be read one after another: they may be parsed meanwhile, which may raise Outage.

    `position` is the cursor value (`YYYY-MM-DDTHH:MM:SSZ`) up to which the stream is complete once these rows
    and all before them are settled; None where the stream has no order. `total` is how many rows the stream
    has in all, None where the source does not tell.
    """

    rows: Iterable[Row]
    position: str | None = None
    total: int | None = None


class Stream(Protocol):
    """What a sync reads in one window, one part of it."""

    name: str

    def pages(self, start: datetime | None) -> Iterator[Page]:
        """The rows whose cursor is at or after `start` (None: from the window's own start)."""
        ...

    def close(self) -> None:
        """Leave nothing behind at the source, whether or not every page was read."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """A parent object that mapped paths go through.

    `chain` leads to it (`Account`, `Account.Owner`), `key` to its Id (`AccountId`, `Account.OwnerId`);
    `fields` are the mapped fields of `object`, in its own spelling.
    """

    chain: str
    key: str
    object: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deletion:
    """A row that is gone, since `stamp`; `merged_into` is the Id that lives on in its place, if there is one."""

    id: str
    stamp: str
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class Deletions:
    """The deletions of a window, oldest first, and what may be missing among them, in sentences."""

    rows: list[Deletion]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of some Ids: deleted rows, living ones, those that are not there at all, and of the last
    those that the delete log names."""

    deleted: list[Deletion]
    alive: list[str]
    absent: list[str]
    logged: frozenset[str]


class Memory(Protocol):
    """What is known to be delivered, as far as a stream needs it to leave out what is."""

    def changed_parents(self, chain: str, values: Mapping[str, bytes]) -> set[str]:
        """Of these parents (Id → digest of the mapped values) those whose children may show other values."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What the source was asked to prepare. `is_current`: nothing has been sent since, so that its rows cannot be
    older than what was."""

    name: str
    is_current: bool


class Bookmark(Protocol):
    """Keeps the name of a window's job, for a run after a crash to go on with it. Used before the first page."""

    def job(self) -> Job | None: ...

    def note_job(self, name: str) -> None:
        """Keep a job durably, in the place of another."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """How the source describes the sync's object: what the mapping needs to know before the first row."""

    paths: Mapping[str, str]
    """Each mapped path and region hint that exists, as configured, in the source's own spelling."""
    types: Mapping[str, str]
    """The type of each path, in the source's words, keyed by its own spelling."""
    cursor: str
    missing: Mapping[str, str] = field(default_factory=dict)
    """The mapped paths that are not there, each with a sentence saying so."""
    links: tuple[Link, ...] = ()
    """The parents that can be followed, each to be selected by its `key`."""
    advice: tuple[str, ...] = ()
    """What about the mapping deserves a second look: fields whose changes the cursor does not show."""


ValueKind = Literal[
    "text", "email", "phone", "id", "integer", "number", "boolean", "date", "instant", "compound", "binary"
]
"""What a field's values are, whatever the source calls it."""


@dataclass(frozen=True, slots=True)
class SourceField:
    """A field that the source offers. `path` and `type` are in its own words; `label` is what people see there.

    The changes of a `formula` move no cursor. A `volatile` field changes when somebody merely looks at the row.
    """

    path: str
    type: str
    kind: ValueKind
    label: str = ""
    formula: bool = False
    volatile: bool = False


class Source(Protocol):
    """One sync's source. Every call may raise AuthError, ConfigError, QuotaExhausted or Outage."""

    catalog: dict[str, Any]
    """What was learned about the source's objects, to be kept between runs."""

    def look_again(self) -> None:
        """Describe anew at the next need: the object has changed since."""
        ...

    def requests(self) -> dict[str, int]:
        """Requests sent so far, by kind."""
        ...

    def now(self) -> datetime:
        """The source's own clock, in UTC."""
        ...

    def shape(self) -> Shape:
        """Describe the object. Raises ConfigError where the object itself is not there."""
        ...

    def fields(self) -> list[SourceField]:
        """Every field of the object, as it is described now, and those of its parents that are mapped."""
        ...

    def streams(
        self,
        window: Window,
        columns: Iterable[str],
        memory: Memory,
        bookmark: Bookmark,
        limit: int | None = None,
    ) -> list[Stream]:
        """The streams of one window, in the order in which they have to be read."""
        ...

    def deletions(self, window: Window, delivered: Callable[[Sequence[str]], set[str]]) -> Deletions:
        """The rows gone in a window, of those that `delivered` says were delivered and not flagged yet."""
        ...

    def ids(self) -> Iterator[list[str]]:
        """Every Id that the sync reads and that is not deleted, some at a time; one may come twice."""
        ...

    def fates(self, ids: Sequence[str]) -> Fates:
        """What became of these Ids, whether the sync's condition holds for them or not."""
        ...

    def latest_covered(self, window: Window) -> datetime | None:
        """Up to when no transaction is still open, None where the source cannot tell."""
        ...

    def count(self) -> int:
        """How many rows a full pull would read."""
        ...

    def read(self, ids: Iterable[str], columns: Iterable[str]) -> Iterator[Row]:
        """The current rows of these Ids, deleted ones included; those that are gone are left out."""
        ...

    def quota(self) -> tuple[int, int] | None:
        """Requests used and allowed for the day, None where not known."""
        ...

    def close(self) -> None: ...


class Vault(Protocol):
    """Keeps a connection's refresh token where the next run finds it."""

    def load(self) -> str | None:
        """The token to use: the last rotated one, or the configured one where that is newer. None: none."""
        ...

    def save(self, refresh_token: str) -> None:
        """Store a rotated token durably. It is called before the token that came with it is used."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Held while a refresh is under way: two refreshes at once would void each other's token."""
        ...
