"""Those whom crmsync tells how it went, on real sockets: a StatsD agent, a dead-man check."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DATAGRAM = re.compile(r"(?P<name>[\w.]+):(?P<value>-?[\d.]+)\|(?P<kind>[a-z]+)\|#(?P<tags>\S+)")
SECRET = "7c1f0e52-dead-4a11-beef-5ec2e7u21d00"
"""What the URL of a check consists of: whoever has it can speak for the job."""


@dataclass(frozen=True)
class Metric:
    """One metric as it arrived. `tags` without those that every metric has."""

    name: str
    value: float
    kind: str
    tags: frozenset[str]


class StatsdAgent:
    """Takes what is sent to `address`."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._listener = listener

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def arrived(self) -> list[Metric]:
        """What has arrived since this was last asked. A process that has ended has sent all of it."""
        lines: list[str] = []
        while True:
            try:
                lines += self._listener.recv(65_536).decode().splitlines()
            except BlockingIOError:
                break
        return [_metric(line) for line in lines]

    def numbers(self) -> dict[str, float]:
        """By name, of what has arrived without tags of its own."""
        return {metric.name: metric.value for metric in self.arrived() if not metric.tags}


def _metric(line: str) -> Metric:
    found = DATAGRAM.fullmatch(line)
    assert found, line
    tags = set(found["tags"].split(","))
    assert {tag.partition(":")[0] for tag in tags} >= {"sync", "source"}, line
    own = frozenset(tag for tag in tags if not tag.startswith(("sync:", "source:")))
    return Metric(found["name"], float(found["value"]), found["kind"], own)


@contextmanager
def statsd_agent() -> Iterator[StatsdAgent]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        yield StatsdAgent(listener)


@dataclass
class Check:
    """A dead-man check: the pings that came, as what is added to its URL, and what it answers."""

    url: str
    pings: list[tuple[str, str, str]] = field(default_factory=list)
    status: int = 200
    answer: bytes = b"OK"

    def taken(self) -> list[str]:
        """The kinds of pings since this was last asked, which all belonged to one run: "", /start and so on."""
        kinds, runs = [kind for kind, _, _ in self.pings], {rid for _, rid, _ in self.pings}
        assert len(runs) <= 1, self.pings
        self.pings.clear()
        return kinds

    @property
    def last_body(self) -> str:
        return self.pings[-1][2]


@contextmanager
def check() -> Iterator[Check]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = urlsplit(self.path)
            kind = parts.path.removeprefix(f"/{SECRET}")
            there.pings.append((kind, parse_qs(parts.query)["rid"][0], body.decode()))
            self.send_response(there.status)
            self.send_header("Content-Length", str(len(there.answer)))
            self.end_headers()
            self.wfile.write(there.answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the library
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        there = Check(f"http://127.0.0.1:{server.server_port}/{SECRET}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield there
        server.shutdown()


def unused_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
