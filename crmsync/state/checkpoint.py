"""How far a sync is: its watermark, and the open window with one position per stream (law 1)."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from crmsync.errors import StateError, StateMoved
from crmsync.state.store import Store

FORMAT = 1
MOVED = "moved"
"""Stands in the place of the format where the state is somewhere else now."""
DONE = "done"


@dataclass(slots=True)
class Progress:
    """An open window. Stamps are `YYYY-MM-DDTHH:MM:SSZ`; `start` None is the beginning of time.

    `positions` goes from a stream's name to the stamp it is proved up to, or to "done". `write_all` says that
    the run was asked to write also what the ledger knows. `covered` is where the next window begins, less the
    overlap, once this one is closed. `job` is what the source was asked to prepare for this window, in
    `job_generation`.
    """

    start: str | None
    end: str
    write_all: bool = False
    positions: dict[str, str] = field(default_factory=dict)
    covered: str | None = None
    job: str | None = None
    job_generation: str = ""


@dataclass(slots=True)
class State:
    """The document of one sync.

    `watermark`: every stream of every window before it is closed. `covered`: the watermark, held back while
    transactions of the source were still open. `generation` names the last run that may have written:
    a ledger of another generation is not to be trusted (law 3). `fingerprint` is the mapping's at the last
    run, `settled_fingerprint` the mapping under which everything was last written. `delivered_paths` are the
    source paths that were ever delivered, `dropped_paths` those of them that have vanished since,
    `accepted_paths` those of which a person has taken note.
    """

    sync: str
    object: str
    into: str
    watermark: str | None = None
    covered: str | None = None
    progress: Progress | None = None
    generation: str = ""
    fingerprint: str = ""
    settled_fingerprint: str = ""
    delivered_paths: list[str] = field(default_factory=list)
    dropped_paths: list[str] = field(default_factory=list)
    accepted_paths: list[str] = field(default_factory=list)
    run_id: str = ""
    updated_at: str = ""


def new_state(sync: str, object_name: str, into: str) -> State:
    """A state that knows nothing yet, of a generation that no ledger can have."""
    return State(sync, object_name, into, generation=secrets.token_hex(8))


class Checkpoint:
    """Reads and writes one sync's state document by compare-and-swap."""

    def __init__(self, store: Store, sync: str) -> None:
        self._store = store
        self._sync = sync
        self.name = f"{sync}/state.json"
        self._version: str | None = None

    def load(self) -> State | None:
        """The state, None where the sync has none yet.

        Raises StateError for what cannot be read, is of an unknown format, or belongs to another sync:
        it is refused, never reset (law 11).
        """
        document = self._store.read(self.name)
        self._version = document.version if document else None
        if document is None:
            return None
        where = f"{self._store.location}/{self.name}"
        way_out = f"Put back {where}.previous, or set it: `crmsync state set {self._sync} --watermark TIME`."
        try:
            body = orjson.loads(document.data)
            form = body["format"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise StateError(f"{where} cannot be read", hint=way_out) from None
        if form == MOVED:
            place = str(body.get("moved_to"))
            raise StateMoved(
                f"the state of sync {self._sync} has moved to {place}",
                place=place,
                hint="Set CRMSYNC_STATE to that, in every place that starts crmsync.",
            )
        if form != FORMAT:
            raise StateError(
                f"{where} has format {form}, this crmsync knows format {FORMAT}",
                hint="Run the crmsync that wrote it, or a newer one.",
            )
        try:
            state = _parse(body)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise StateError(f"{where} is damaged", hint=way_out) from None
        if state.sync != self._sync:
            raise StateError(
                f"{where} belongs to sync {state.sync}, not {self._sync}",
                hint="Use another CRMSYNC_STATE, or the sync's old name.",
            )
        return state

    def save(self, state: State) -> None:
        """Write durably. Raises StateConflict when another run has written since it was loaded."""
        state.updated_at = datetime.now(UTC).isoformat(timespec="seconds")
        body = {"format": FORMAT, **asdict(state)}
        data = orjson.dumps(body, option=orjson.OPT_INDENT_2)
        self._version = self._store.write(self.name, data, self._version)


def moved_document(sync: str, location: str) -> bytes:
    """What is left of a state that has moved."""
    return orjson.dumps({"format": MOVED, "sync": sync, "moved_to": location}, option=orjson.OPT_INDENT_2)


def _parse(body: dict[str, Any]) -> State:
    known = {name: body[name] for name in State.__dataclass_fields__ if name in body}
    progress = known.get("progress")
    if progress is not None:
        known["progress"] = Progress(
            **{k: progress[k] for k in Progress.__dataclass_fields__ if k in progress}
        )
    state = State(**known)
    optional = [state.watermark, state.covered]
    stamps = []
    if state.progress:
        optional += [state.progress.start, state.progress.covered]
        stamps += [state.progress.end, *(p for p in state.progress.positions.values() if p != DONE)]
    for value in [*stamps, *(text for text in optional if text is not None)]:
        moment(value)
    if not all(isinstance(known[name], str) for name in known if State.__annotations__[name] == "str"):
        raise TypeError("a text is expected")
    return state


def stamp(value: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, cut to whole seconds."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(value: str) -> datetime:
    """The instant of a stamp. Raises ValueError."""
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
