"""Fewer requests at once while a service is overloaded, more again afterwards."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import Outage
from crmsync.http import Client, Retry, Stopper
from crmsync.http.congestion import Gate


def answer(gate: Gate, *statuses: int) -> None:
    """Requests that are at work at the same time end with these."""
    turns = []
    for _ in statuses:
        block = gate.turn()
        turns.append((block, block.__enter__()))
    for (block, turn), status in zip(turns, statuses, strict=True):
        turn.status = status
        block.__exit__(None, None, None)


@pytest.mark.parametrize("status", [429, 503])
def test_an_overload_halves_what_is_allowed(status: int) -> None:
    gate = Gate(8)
    answer(gate, status)
    assert gate.allowed == 4


def test_those_that_meet_the_same_overload_count_once() -> None:
    gate = Gate(8)
    answer(gate, *[429] * 8)
    assert gate.allowed == 4


def test_it_rises_slowly_and_no_higher_than_at_first() -> None:
    gate = Gate(8)
    answer(gate, 429)
    for _ in range(5):
        answer(gate, 200)
    assert gate.allowed == 5
    for _ in range(100):
        answer(gate, 200)
    assert gate.allowed == 8


@given(st.lists(st.sampled_from([200, 202, 400, 429, 500, 503, 0]), max_size=200), st.integers(1, 64))
def test_one_request_is_always_allowed(statuses: list[int], most: int) -> None:
    gate = Gate(most)
    for status in statuses:
        answer(gate, status)
        assert 1 <= gate.allowed <= most


class Counting(BaseHTTPRequestHandler):
    """Answers 429 while more than two requests are at work."""

    protocol_version = "HTTP/1.1"
    guard = threading.Lock()
    at_work = 0
    refused = 0

    def do_GET(self) -> None:
        cls = type(self)
        with self.guard:
            cls.at_work += 1
            crowded = cls.at_work > 2
        threading.Event().wait(0.01)
        with self.guard:
            cls.at_work -= 1
            cls.refused += crowded
        self.send_response(429 if crowded else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_client_settles_on_what_the_service_takes() -> None:
    """Six threads against a service that takes two: nearly everything gets through without being refused."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Client(
        "CDP",
        f"http://127.0.0.1:{server.server_port}",
        at_once=6,
        retry=Retry(50, first=0.001, longest=0.002),
    )
    statuses: list[int] = []

    def work() -> None:
        statuses.extend(client.request("GET", "/", what="test").status for _ in range(40))

    threads = [threading.Thread(target=work) for _ in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.shutdown()
        server.server_close()
    assert statuses == [200] * 240
    assert Counting.refused < 120


def test_what_had_to_wait_is_not_sent_once_the_run_is_stopping() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(Counting):
        def do_GET(self) -> None:
            entered.set()
            leave.wait(10)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopper = Stopper()
    client = Client("CDP", f"http://127.0.0.1:{server.server_port}", at_once=1, stopper=stopper)
    first = threading.Thread(target=client.request, args=("GET", "/"), kwargs={"what": "first"})
    errors: list[Outage] = []

    def second() -> None:
        try:
            client.request("GET", "/", what="second")
        except Outage as error:
            errors.append(error)

    first.start()
    entered.wait(10)
    waiting = threading.Thread(target=second)
    waiting.start()
    while waiting.is_alive() and not client._gate._changed._waiters:  # type: ignore[attr-defined]
        threading.Event().wait(0.001)
    stopper.stop(Outage("stopped"))
    leave.set()
    waiting.join()
    first.join()
    server.shutdown()
    server.server_close()
    assert [error.message for error in errors] == ["the run is stopping; the second was not sent"]


def test_what_one_was_told_holds_for_those_that_wait_for_their_turn() -> None:
    """A 429 lets the next one in only after the pause that it asks for (law 9)."""
    asked: list[float] = []

    class Pausing(Counting):
        def do_GET(self) -> None:
            asked.append(time.monotonic())
            self.send_response(429 if len(asked) == 1 else 200)
            if len(asked) == 1:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pausing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Client("CDP", f"http://127.0.0.1:{server.server_port}", at_once=1, retry=Retry(3, first=0.001))
    threads = [
        threading.Thread(target=client.request, args=("GET", "/"), kwargs={"what": "test"}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.shutdown()
    server.server_close()
    assert len(asked) == 5
    assert min(asked[1:]) - asked[0] >= 0.99
