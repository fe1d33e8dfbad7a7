"""The sandbox's socket server over real sockets: HTTP, control API, faults, TLS."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from crmsync.sandbox.server import SandboxServer
from crmsync.sandbox.tls import make_identity
from crmsync.sandbox.web import Clock, Request, Response

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Echo:
    """Answers what it was asked and counts how often."""

    name = "echo"

    def __init__(self) -> None:
        self.clock = Clock()
        self.handled = 0
        self.padding = ""

    def owns(self, path: str) -> bool:
        return path.startswith("/echo")

    def handle(self, request: Request) -> Response:
        self.handled += 1
        if request.path == "/echo/broken":
            raise RuntimeError("a mistake")
        if request.path == "/echo/nothing":
            return Response(204)
        told = {"method": request.method, "query": request.query, "length": len(request.body)}
        return Response(200, told | {"padding": self.padding}, notes={"records": 3})

    def control(self, action: str, arguments: dict[str, Any]) -> Any:
        if action == "wrong":
            raise ValueError("no such action")
        return [action, arguments]


class World:
    def __init__(self, server: SandboxServer, echo: Echo) -> None:
        self.server, self.echo, self.url = server, echo, server.base_url
        self.http = requests.Session()

    def get(self, path: str = "/echo", **options: Any) -> requests.Response:
        return self.http.get(self.url + path, timeout=10, **options)

    def fault(self, action: dict[str, Any], **rule: Any) -> str:
        answer = self.http.post(self.url + "/_sandbox/faults", json={**rule, "action": action}, timeout=10)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.get(f"/_sandbox/requests?since={since}").json()
        return entries


@pytest.fixture
def world() -> Iterator[World]:
    with SandboxServer() as server:
        echo = Echo()
        server.add(echo)
        yield World(server, echo)


class TestHttp:
    def test_a_connection_is_kept_alive(self, world: World) -> None:
        connection = http.client.HTTPConnection(world.url.removeprefix("http://"), timeout=10)
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("GET", "/echo?q=a+b%2Bc")
            assert b'"q":"a b+c"' in connection.getresponse().read()
        assert connection.sock is first
        connection.close()

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    def test_methods(self, world: World, method: str) -> None:
        answer = world.http.request(method, world.url + "/echo", data=b"12345", timeout=10)
        assert (answer.json()["method"], answer.json()["length"]) == (method, 5)

    def test_head_and_no_content_have_no_body(self, world: World) -> None:
        assert world.http.head(world.url + "/echo", timeout=10).content == b""
        assert world.get("/echo/nothing").status_code == 204
        assert world.get().status_code == 200

    def test_a_large_body_and_a_chunked_one(self, world: World) -> None:
        large = world.http.post(world.url + "/echo", data=b"x" * 20_000_000, timeout=30)
        assert large.json()["length"] == 20_000_000
        chunked = world.http.post(world.url + "/echo", data=iter([b"abc", b"de"]), timeout=10)
        assert chunked.json()["length"] == 5

    def test_gzip_only_where_asked_for_and_worth_it(self, world: World) -> None:
        assert "Content-Encoding" not in world.get().headers
        world.echo.padding = "y" * 5000
        assert world.get().headers["Content-Encoding"] == "gzip"
        assert world.get().json()["padding"] == world.echo.padding
        plain = world.get(headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        raw = world.get(stream=True).raw.read(decode_content=False)
        assert world.echo.padding.encode() in gzip.decompress(raw)

    def test_the_date_is_the_services_own(self, world: World) -> None:
        world.echo.clock.freeze(NOON)
        assert parsedate_to_datetime(world.get().headers["Date"]) == NOON

    def test_an_unowned_path_is_404_and_a_mistake_500(self, world: World) -> None:
        assert world.get("/nowhere").status_code == 404
        broken = world.get("/echo/broken")
        assert broken.status_code == 500
        assert "a mistake" in broken.json()["error"]


class TestControl:
    def test_calls_reach_their_service(self, world: World) -> None:
        answer = world.http.post(world.url + "/_sandbox/echo/dump", json={"a": 1}, timeout=10)
        assert answer.json() == ["dump", {"a": 1}]
        assert world.get("/_sandbox").json() == {"services": ["echo"]}

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/_sandbox/echo/wrong", b"{}"),
            ("/_sandbox/nobody/dump", b"{}"),
            ("/_sandbox/echo/dump", b"[1]"),
            ("/_sandbox/echo/dump", b"{"),
            ("/_sandbox/what/is/this", b"{}"),
            ("/_sandbox/faults", b"{}"),
            ("/_sandbox/faults", b'{"action": {"kind": "oops"}}'),
            ("/_sandbox/faults", b'{"action": {"kind": "hang", "seconds": 1e9}}'),
            ("/_sandbox/faults", b'{"action": {"kind": "delay"}, "path": "("}'),
            ("/_sandbox/faults", b'{"action": {"kind": "delay"}, "every": 0}'),
            ("/_sandbox/faults", b'{"action": {"kind": "delay"}, "pfad": "x"}'),
        ],
    )
    def test_a_wrong_call_is_400_with_a_reason(self, world: World, path: str, body: bytes) -> None:
        answer = world.http.post(world.url + path, data=body, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["error"]

    def test_the_log(self, world: World) -> None:
        headers = {"Idempotency-Key": "k", "Authorization": "Bearer secret", "X-Other": "no"}
        world.http.post(world.url + "/echo/a?q=x+y%3D1", data=b"123", headers=headers, timeout=10)
        (entry,) = world.log()
        assert {
            "n": 1,
            "service": "echo",
            "method": "POST",
            "path": "/echo/a",
            "query": "q=x y=1",
            "raw_query": "q=x+y%3D1",
            "status": 200,
            "request_bytes": 3,
            "fault": None,
            "records": 3,
        }.items() <= entry.items()
        assert entry["response_bytes"] > 100
        assert entry["headers"]["Idempotency-Key"] == "k"
        assert entry["headers"]["Authorization"].startswith("sha256:")
        assert "secret" not in str(entry)
        assert "X-Other" not in entry["headers"]

    def test_the_log_goes_on_after_it_was_cleared(self, world: World) -> None:
        world.get()
        world.get()
        assert [entry["n"] for entry in world.log(1)] == [2]
        world.http.delete(world.url + "/_sandbox/requests", timeout=10)
        world.get()
        assert [entry["n"] for entry in world.log()] == [3]


class TestFaults:
    def test_status_without_processing(self, world: World) -> None:
        world.fault({"kind": "status", "status": 502, "body": "<html>", "headers": {"Retry-After": "7"}})
        answer = world.get()
        assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (502, "<html>", "7")
        assert world.echo.handled == 0

    def test_status_after_processing(self, world: World) -> None:
        world.fault({"kind": "replace_status_after_processing", "status": 500, "body": {"no": 1}})
        answer = world.get()
        assert (answer.status_code, answer.json()) == (500, {"no": 1})
        assert world.echo.handled == 1
        assert world.log()[0]["records"] == 3

    def test_a_lost_answer(self, world: World) -> None:
        rule = world.fault({"kind": "lose_answer"})
        with pytest.raises(requests.ConnectionError):
            world.get()
        assert world.echo.handled == 1
        assert (world.log()[0]["fault"], world.log()[0]["status"]) == (rule, None)

    @pytest.mark.parametrize(("at", "handled"), [("accept", 0), ("headers", 1), ("body", 1)])
    def test_a_reset_connection(self, world: World, at: str, handled: int) -> None:
        world.fault({"kind": "cut", "at": at, "bytes": 7})
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)) as caught:
            world.get()
        assert "reset" in str(caught.value).lower()
        assert world.echo.handled == handled
        assert world.log()[0]["fault"] == "fault-1"

    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_a_truncated_body(self, world: World, coding: str) -> None:
        world.echo.padding = "y" * 5000
        world.fault({"kind": "truncate"})
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            world.get(headers={"Accept-Encoding": coding})

    def test_a_slow_body_arrives_whole(self, world: World) -> None:
        world.echo.padding = "y" * 3000
        world.fault({"kind": "slow_body", "bytes_per_second": 30_000})
        assert world.get(headers={"Accept-Encoding": "identity"}).json()["padding"] == world.echo.padding

    def test_a_delay_passes(self, world: World) -> None:
        world.fault({"kind": "delay", "seconds": 0.05})
        assert world.get().status_code == 200

    @pytest.mark.parametrize("processed", [False, True])
    def test_a_hang_ends_without_an_answer(self, world: World, processed: bool) -> None:
        world.fault({"kind": "hang", "seconds": 0.05, "processed": processed})
        with pytest.raises(requests.ConnectionError):
            world.get()
        assert world.echo.handled == int(processed)

    def test_a_hung_request_holds_up_neither_others_nor_the_end(self) -> None:
        with SandboxServer() as server:
            echo = Echo()
            server.add(echo)
            world = World(server, echo)
            world.fault({"kind": "hang", "seconds": 500}, path="/hang")
            with socket.create_connection(("127.0.0.1", int(world.url.rpartition(":")[2])), 10) as hung:
                hung.sendall(b"GET /echo/hang HTTP/1.1\r\nHost: x\r\n\r\n")
                assert world.get("/echo/other").status_code == 200
                server.stop()
                assert hung.recv(1) == b""
        assert not [thread for thread in threading.enumerate() if thread.name == "sandbox"]

    def test_which_requests_are_hit(self, world: World) -> None:
        action = {"kind": "status", "status": 418}
        world.fault(action, service="echo", path="^/echo/a$", query="q=x y", after=1, times=2, every=2)
        asked = [world.get("/echo/a?q=x+y").status_code for _ in range(7)]
        assert asked == [200, 418, 200, 418, 200, 200, 200]
        assert world.get("/echo/b?q=x+y").status_code == 200
        assert world.get("/echo/a").status_code == 200
        (rule,) = world.get("/_sandbox/faults").json()
        assert (rule["seen"], rule["hits"]) == (7, 2)
        world.http.delete(world.url + "/_sandbox/faults", timeout=10)
        assert world.get("/_sandbox/faults").json() == []

    def test_by_method_and_body(self, world: World) -> None:
        world.fault({"kind": "status", "status": 418}, method="post", body="poison")
        assert world.get().status_code == 200
        for body, status in ((b"fine", 200), (b"some poison here", 418)):
            assert world.http.post(world.url + "/echo", data=body, timeout=10).status_code == status

    def test_the_first_rule_that_is_due_hits(self, world: World) -> None:
        world.fault({"kind": "status", "status": 418}, times=1)
        world.fault({"kind": "status", "status": 502})
        assert [world.get().status_code for _ in range(2)] == [418, 502]


def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    identity = make_identity()
    with SandboxServer(tls=identity) as server:
        server.add(Echo())
        trusted = str(identity.write_ca(tmp_path / "ca.pem"))
        assert server.base_url.startswith("https://")
        assert requests.get(server.base_url + "/echo", verify=trusted, timeout=10).status_code == 200
        stranger = str(make_identity().write_ca(tmp_path / "other.pem"))
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.base_url + "/echo", verify=stranger, timeout=10)


def test_many_clients_at_once(world: World) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with requests.Session() as session:
            statuses.extend(session.get(world.url + "/echo", timeout=10).status_code for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 200
    assert sorted(entry["n"] for entry in world.log()) == list(range(1, 201))
