"""Records, and a destination that does what the test tells it to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence

import orjson

from crmsync.destinations.base import Outcome, Reason, Refused, Settled
from crmsync.mapping import Record

REFUSAL = Reason("CDP.INVALID", "no", "email", 400)


def at(second: int) -> str:
    return f"2026-05-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def record(row_id: str, second: int = 0, text: str = "", *, key: str | None = None) -> Record:
    """A record of a row changed at this second; its key is the row's Id unless given."""
    body = orjson.dumps({"id": row_id, "k": key or row_id, "s": second, "v": text})
    return Record(row_id, key or row_id, at(second), body, hashlib.sha256(body).digest())


class FakeDestination:
    """Answers as `on_submit(records, key, patient)` and `on_poll(job_id)` say; keeps what it was sent."""

    largest_body = 9_500_000

    def __init__(
        self,
        on_submit: Callable[[list[dict], str, bool], Outcome] | None = None,
        on_poll: Callable[[str], Outcome] | None = None,
    ) -> None:
        self.on_submit = on_submit or (lambda records, key, patient: Settled())
        self.on_poll = on_poll or (lambda job_id: Settled())
        self.sent: list[tuple[str, bytes]] = []
        self.polled: list[str] = []
        self.lock = threading.Lock()

    def requests(self) -> dict[str, int]:
        return {}

    def preflight(self, targets: Iterable[str]) -> list[str]:
        return []

    def frame(self, records: Sequence[bytes]) -> bytes:
        return b'{"records":[' + b",".join(records) + b"]}"

    def unframe(self, body: bytes) -> list[bytes]:
        return [orjson.dumps(values) for values in orjson.loads(body)["records"]]

    def submit(self, body: bytes, key: str, size: int, *, patient: bool = True) -> Outcome:
        records = orjson.loads(body)["records"]
        assert len(records) == size
        with self.lock:
            self.sent.append((key, body))
        return self.on_submit(records, key, patient)

    def poll(self, job_id: str, size: int) -> Outcome:
        with self.lock:
            self.polled.append(job_id)
        return self.on_poll(job_id)

    def close(self) -> None:
        pass

    @property
    def batches(self) -> list[list[str]]:
        """The row Ids of every batch sent, in order."""
        return [[values["id"] for values in orjson.loads(body)["records"]] for _, body in self.sent]


def refuses(bad: set[str], *, kind: str = "content", status: int = 400, named: bool = False):
    """All or nothing: a batch that holds one of these rows is refused."""

    def answer(records: list[dict], key: str, patient: bool) -> Outcome:
        places = [place for place, values in enumerate(records) if values["id"] in bad]
        if not places:
            return Settled()
        return Refused(kind, Reason("CDP.NO", "no", "", status), places[0] if named else None)

    return answer
