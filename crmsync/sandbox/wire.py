"""HTTP/1.1 over one socket: reads requests, writes answers, and carries out faults on the way."""

from __future__ import annotations

import gzip
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any, ClassVar, Protocol

from crmsync.sandbox.faults import Action
from crmsync.sandbox.web import Request, Response

LARGEST_BODY = 512 * 1024 * 1024
GZIP_FROM = 1024
PIECES_PER_SECOND = 20


@dataclass(slots=True)
class Exchange:
    """One request on its way through the sandbox. `now` is the owning service's time, `entry` its line in the
    request log (None for the control API), `status` and `sent` what went back so far."""

    request: Request
    now: datetime
    action: Action | None = None
    entry: dict[str, Any] | None = None
    status: int | None = None
    sent: int = 0


class Router(Protocol):
    """What the wire needs of the server."""

    stopping: Event

    def admit(self, request: Request) -> Exchange:
        """Find the service and the fault of a request."""
        ...

    def process(self, exchange: Exchange) -> Response: ...

    def done(self, exchange: Exchange) -> None:
        """The exchange is over, answered or not."""
        ...


class Wire(BaseHTTPRequestHandler):
    """The handler of one connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 600
    router: ClassVar[Router]

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def answer(self) -> None:
        body = self._read_body()
        if body is None:
            return
        path, _, raw_query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = self.router.admit(Request(self.command, path, raw_query, headers, body))
        try:
            self._carry_out(exchange)
        finally:
            self.router.done(exchange)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing: the request log tells more."""

    def _read_body(self) -> bytes | None:
        """The whole body, None after a framing that cannot be read (answered here)."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE if length.isdigit() else HTTPStatus.BAD_REQUEST
            )
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError("the client went away within its request")
        return body

    def _chunks(self) -> Iterator[bytes]:
        read = 0
        while size := int(self.rfile.readline(1024).split(b";")[0], 16):
            read += size
            if read > LARGEST_BODY:
                raise ConnectionAbortedError("the request is too large")
            yield self.rfile.read(size)
            self.rfile.readline(8)
        while self.rfile.readline(65536).strip():
            pass

    def _carry_out(self, exchange: Exchange) -> None:
        action = exchange.action
        if action is None:
            self._send(exchange, self.router.process(exchange))
            return
        if action.kind == "delay":
            self.router.stopping.wait(action.seconds)
        response = self.router.process(exchange) if action.processes else action.response()
        if action.kind == "replace_status_after_processing":
            replaced = action.response()
            replaced.notes = response.notes
            response = replaced
        if action.kind in ("lose_answer", "hang"):
            self.router.stopping.wait(action.seconds)
            self.close_connection = True
        elif action.kind == "cut":
            self._cut(exchange, action, response)
        elif action.kind == "truncate":
            head, body = self._encode(exchange, response)
            self._write(exchange, head + body[: len(body) // 2 if action.bytes is None else action.bytes])
            self.close_connection = True
        elif action.kind == "slow_body":
            self._drip(exchange, action, *self._encode(exchange, response))
        else:
            self._send(exchange, response)

    def _send(self, exchange: Exchange, response: Response) -> None:
        head, body = self._encode(exchange, response)
        self._write(exchange, head + body)

    def _encode(self, exchange: Exchange, response: Response) -> tuple[bytes, bytes]:
        """The answer's head and body as they go over the wire."""
        exchange.status = response.status
        body = response.encoded()
        headers = {"Date": format_datetime(exchange.now.astimezone(UTC), usegmt=True), **response.headers}
        accepted = exchange.request.headers.get("accept-encoding", "")
        if len(body) > GZIP_FROM and "gzip" in accepted and "Content-Encoding" not in headers:
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        if response.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(body))
        if headers.get("Connection", "").lower() == "close":
            self.close_connection = True
        phrase = self.responses.get(HTTPStatus(response.status), ("",))[0] if _known(response.status) else ""
        lines = [
            f"HTTP/1.1 {response.status} {phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        silent = self.command == "HEAD" or response.status == HTTPStatus.NO_CONTENT
        return head, b"" if silent else body

    def _write(self, exchange: Exchange, data: bytes) -> None:
        self.connection.sendall(data)
        exchange.sent += len(data)

    def _drip(self, exchange: Exchange, action: Action, head: bytes, body: bytes) -> None:
        self._write(exchange, head)
        step = max(1, int(action.bytes_per_second / PIECES_PER_SECOND))
        for start in range(0, len(body), step):
            self.router.stopping.wait(step / action.bytes_per_second)
            self._write(exchange, body[start : start + step])

    def _cut(self, exchange: Exchange, action: Action, response: Response) -> None:
        """Reset the connection, having sent as much as the action says."""
        if action.at != "accept":
            head, body = self._encode(exchange, response)
            some = action.bytes or 0
            self._write(exchange, head[:some] if action.at == "headers" else head + body[:some])
        exchange.status = None
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()
        raise ConnectionAbortedError("reset on purpose")


def _known(status: int) -> bool:
    return any(status == known.value for known in HTTPStatus)
