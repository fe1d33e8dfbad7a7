"""Records that could not be delivered, each kept with its reason until it is delivered, skipped or dropped.

A log of events, folded into one open reject per source Id: a newer failure replaces the older one. Open
rejects are never dropped by themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from crmsync.errors import StateError
from crmsync.state.store import Store


@dataclass(frozen=True, slots=True)
class RejectEntry:
    """One open reject.

    `origin` is "here" for what the mapping refused and "destination" for what the API refused. `message`
    and `values` may hold personal data: they are shown only when asked for. `first_at`, `last_at`: UTC.
    """

    id: str
    origin: str
    code: str
    field: str
    message: str
    stamp: str
    correlation_id: str
    run_id: str
    first_at: str
    last_at: str
    attempts: int = 1
    values: dict[str, Any] | None = dataclasses.field(default=None, repr=False)


class Rejects:
    """The open rejects of one sync. Used by one thread; nothing is durable before `flush`."""

    def __init__(self, store: Store, sync: str, run_id: str = "") -> None:
        self._store = store
        self._name = f"{sync}/rejects.jsonl"
        self._run_id = run_id
        self._open: dict[str, tuple[str, int]] = {}
        self._unwritten: list[bytes] = []
        self._lines = 0
        self.opened = 0
        for entry in self.entries():
            self._open[entry.id] = (entry.first_at, entry.attempts)

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._open

    def add(
        self,
        row_id: str,
        *,
        origin: str,
        code: str,
        field: str,
        message: str,
        stamp: str,
        correlation_id: str = "",
        values: dict[str, Any] | None = None,
    ) -> None:
        """Open a reject, or replace the open one of the same Id."""
        now = _now()
        first_at, attempts = self._open.get(row_id, (now, 0))
        self.opened += row_id not in self._open
        self._open[row_id] = (first_at, attempts + 1)
        entry = RejectEntry(
            row_id, origin, code, field, message, stamp, correlation_id, self._run_id, first_at, now,
            attempts + 1, values,
        )  # fmt: skip
        self._unwritten.append(orjson.dumps({"event": "rejected", **asdict(entry)}))

    def resolve(self, row_id: str, how: str) -> None:
        """Close the open reject of an Id, if any. `how`: "delivered", "skipped", "gone" or "dropped"."""
        if self._open.pop(row_id, None) is not None:
            event = {"event": "resolved", "id": row_id, "how": how, "at": _now(), "run_id": self._run_id}
            self._unwritten.append(orjson.dumps(event))

    def flush(self) -> None:
        """Make everything added so far durable."""
        if self._unwritten:
            self._store.append(self._name, b"".join(line + b"\n" for line in self._unwritten))
            self._lines += len(self._unwritten)
            self._unwritten.clear()

    def compact(self) -> None:
        """Shorten the log to what is open, where most of its lines no longer matter."""
        self.flush()
        if self._lines > 1000 and self._lines > 4 * len(self._open):
            entries = list(self.entries())
            lines = (orjson.dumps({"event": "rejected", **asdict(e)}) + b"\n" for e in entries)
            self._store.replace_log(self._name, b"".join(lines))
            self._lines = len(entries)

    def entries(self) -> Iterator[RejectEntry]:
        """The open rejects as stored, oldest first. Raises StateError for a line that cannot be read."""
        folded: dict[str, dict[str, Any]] = {}
        lines = self._store.read_log(self._name).splitlines()
        self._lines = len(lines)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            event = _parsed(line, f"{self._store.location}/{self._name} line {number}")
            if event["event"] == "rejected":
                folded[event["id"]] = event
            else:
                folded.pop(event["id"], None)
        for event in sorted(folded.values(), key=lambda e: str(e.get("first_at"))):
            known: dict[str, Any] = {name: event.get(name) for name in RejectEntry.__dataclass_fields__}
            yield RejectEntry(**known)


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    """An event. Raises StateError."""
    try:
        event = orjson.loads(line)
        return {**event, "event": str(event["event"]), "id": str(event["id"])}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise StateError(
            f"{where} cannot be read", hint="Correct or remove that line; the other rejects are intact."
        ) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
