"""The shapes that pass between the sandbox's socket server and its services."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qsl


@dataclass(slots=True)
class Request:
    """One HTTP request as it arrived. `headers` has lower-case names; `raw_query` is still encoded."""

    method: str
    path: str
    raw_query: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The query string decoded as a form: a bare `+` is a space, as at Salesforce."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON. Raises ValueError where it is none."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(slots=True)
class Response:
    """One reply. `body` may be any JSON value, text, or bytes sent as they are.

    `notes` are facts for the request log only (how many records, for one); they are not sent.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The body's bytes, setting a Content-Type where none was given."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            self.headers.setdefault("Content-Type", "text/html;charset=UTF-8")
            return self.body.encode()
        if self.body is None:
            return b""
        self.headers.setdefault("Content-Type", "application/json;charset=UTF-8")
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


class Service(Protocol):
    """One API of the sandbox. The server calls `handle` from many threads: a service guards its own data."""

    name: str
    clock: Clock

    def owns(self, path: str) -> bool:
        """Whether a request path belongs to this service."""
        ...

    def handle(self, request: Request) -> Response: ...

    def control(self, action: str, arguments: dict[str, Any]) -> Any:
        """Carry out a call of the control API and return a JSON value. Raises ValueError for a wrong call."""
        ...


class Clock:
    """A service's own clock, in UTC. It may be set off against the machine's, or stand still."""

    def __init__(self) -> None:
        self._skew = timedelta()
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        return (self._frozen or datetime.now(UTC)) + self._skew

    def set_skew(self, seconds: float) -> None:
        self._skew = timedelta(seconds=seconds)

    def freeze(self, at: datetime | None) -> None:
        """Stand still at `at`; None lets the clock run again."""
        self._frozen = at

    def advance(self, seconds: float) -> None:
        self._skew += timedelta(seconds=seconds)
