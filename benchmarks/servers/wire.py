"""HTTP/1.1 for the benchmarks' servers: one thread, one loop, as little work a request as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote_plus

_PHRASES = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
}


@dataclass(slots=True)
class Request:
    """`target` is path and query as they were asked for; `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.body.decode().split("&"))
        return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


@dataclass(slots=True)
class Answer:
    """`seconds` is how long the service takes until it answers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def encoded(self) -> bytes:
        lines = [
            f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, '')}",
            f"Date: {formatdate(usegmt=True)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            f"Content-Length: {len(self.body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


Handler = Callable[[Request], Answer]


class Connection(asyncio.Protocol):
    """One client's connection: one request after the other."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (request := self._next()) is not None:
            self._answer(request)

    def _next(self) -> Request | None:
        """The next request, once it has arrived whole."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = end + 4 + int(headers.get("content-length", "0"))
        if len(self._received) < whole:
            return None
        method, target, _ = first.split(" ", 2)
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        return Request(method, target, headers, body)

    def _answer(self, request: Request) -> None:
        answer = self._handle(request)
        if answer.seconds:
            asyncio.get_running_loop().call_later(answer.seconds, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer.encoded())
