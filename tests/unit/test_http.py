"""The HTTP client: what is repeated and when, how long it waits, and where a token may travel."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from crmsync import http
from crmsync.errors import AuthError, ConfigError, Interrupted, Outage
from crmsync.http import (
    LONGEST_WAIT,
    PASSING_STATUSES,
    Budget,
    Client,
    NoAnswer,
    Reply,
    Retry,
    Stopper,
    origin_of,
    require_safe,
)

ORIGIN = "https://api.test"
URL = f"{ORIGIN}/things"


class Pauses(Stopper):
    """A stopper whose pauses take no time: they move the clock that `crmsync.http.client` reads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.taken: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.now += seconds


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    stopper = Pauses()
    monkeypatch.setattr(http.client, "time", SimpleNamespace(monotonic=lambda: stopper.now))
    return stopper


@pytest.fixture
def service() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def client(pauses: Pauses) -> Client:
    return Client("The service", ORIGIN, stopper=pauses)


def replies(service: responses.RequestsMock, *statuses: int, **options: Any) -> None:
    """Answer GET URL with these statuses, one after the other; the last one stays."""
    for status in statuses:
        service.get(URL, status=status, json={"status": status}, **options)


# --- what is repeated ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [406, 408, 420, 425, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_asked_again(
    status: int, client: Client, service: responses.RequestsMock
) -> None:
    replies(service, status, 200)
    assert client.request("GET", URL, what="things").status == 200
    assert len(service.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 414, 422, 431, 501])
def test_any_other_refusal_is_final(status: int, client: Client, service: responses.RequestsMock) -> None:
    replies(service, status, 200)
    assert client.request("GET", URL, what="things").status == status
    assert len(service.calls) == 1


def test_the_last_refusal_is_given_when_the_attempts_are_used_up(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, 503)
    assert client.request("GET", URL, what="things").status == 503
    assert len(service.calls) == 5
    assert len(pauses.taken) == 4
    assert client.requests["things"] == 5


def test_every_request_has_a_timeout(client: Client, service: responses.RequestsMock) -> None:
    replies(service, 200)
    client.request("GET", URL, what="things")
    sent = service.calls[0].request.req_kwargs  # type: ignore[attr-defined]  # noted by responses
    assert sent["timeout"] == (http.CONNECT_TIMEOUT, http.READ_TIMEOUT)


def test_attempts_can_be_fewer(client: Client, service: responses.RequestsMock) -> None:
    replies(service, 503)
    client.request("GET", URL, what="things", attempts=2)
    assert len(service.calls) == 2


@pytest.mark.parametrize("refusal", [503, 429])
def test_what_is_not_repeatable_is_sent_once(
    refusal: int, client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, refusal, 200)
    assert client.request("GET", URL, what="things", repeatable=False).status == refusal
    assert (len(service.calls), pauses.taken) == (1, [])


def test_no_answer_is_asked_again(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, body=requests.ConnectionError("reset"))
    replies(service, 200)
    assert client.request("GET", URL, what="things").ok


def test_no_answer_at_all_is_an_outage(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, body=requests.ConnectionError("reset"))
    with pytest.raises(NoAnswer) as raised:
        client.request("GET", f"{URL}?secret=1", what="things")
    assert raised.value.exit_code == 75
    assert "secret" not in str(raised.value)
    assert len(service.calls) == 5


def test_no_answer_to_what_is_not_repeatable_is_final(
    client: Client, service: responses.RequestsMock
) -> None:
    service.get(URL, body=requests.ConnectionError("reset"))
    with pytest.raises(NoAnswer):
        client.request("GET", URL, what="things", repeatable=False)
    assert len(service.calls) == 1


def test_json_that_broke_off_is_asked_again(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, body=b'{"records": [{"Id": "0', content_type="application/json")
    service.get(URL, json={"records": []})
    assert client.request("GET", URL, what="things").json() == {"records": []}
    assert len(service.calls) == 2


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"<html>fine</html>", "text/html"), (b"", "application/json"), (b"null", "application/json")],
)
def test_what_is_no_json_or_whole_is_not_asked_again(
    body: bytes, content_type: str, client: Client, service: responses.RequestsMock
) -> None:
    service.get(URL, body=body, content_type=content_type)
    assert client.request("GET", URL, what="things").json() is None
    assert len(service.calls) == 1


def test_the_budget_is_of_all_requests_together(service: responses.RequestsMock, pauses: Pauses) -> None:
    replies(service, 503)
    budget = Budget(3)
    first = Client("One", ORIGIN, budget=budget, stopper=pauses)
    second = Client("Two", ORIGIN, budget=budget, stopper=pauses)
    first.request("GET", URL, what="things", attempts=3)
    second.request("GET", URL, what="things")
    assert (first.requests["things"], second.requests["things"]) == (3, 2)


def test_a_spent_budget_ends_the_wait_for_an_answer(service: responses.RequestsMock, pauses: Pauses) -> None:
    service.get(URL, body=requests.ConnectionError("reset"))
    with pytest.raises(NoAnswer):
        Client("One", ORIGIN, budget=Budget(0), stopper=pauses).request("GET", URL, what="things")
    assert len(service.calls) == 1


def test_answers_that_went_well_earn_retries_back() -> None:
    budget = Budget(1)
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(4):
        budget.earn()
    assert not budget.take()
    for _ in range(5):
        budget.earn()
    assert budget.take()


def test_a_run_that_is_stopped_asks_no_more(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    pauses.stop(Interrupted(15))
    replies(service, 503, 200)
    assert client.request("GET", URL, what="things").status == 503
    assert len(service.calls) == 1


# --- how long it waits --------------------------------------------------------------------------------------


@given(attempt=st.integers(1, 12), asked=st.none() | st.floats(0, 300))
def test_pauses_grow_to_a_cap_and_never_fall_below_what_was_asked(attempt: int, asked: float | None) -> None:
    retry = Retry()
    step = min(retry.longest, retry.first * 2 ** (attempt - 1))
    pause = retry.pause(attempt, asked)
    if asked is None:
        assert step / 2 <= pause <= step
    else:
        assert max(asked, step) < pause <= max(asked, step) + step / 2


def test_pauses_are_spread() -> None:
    assert len({Retry().pause(3, None) for _ in range(20)}) > 10


def test_retry_after_in_seconds_is_a_floor(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, 429, headers={"Retry-After": "7"})
    replies(service, 200)
    client.request("GET", URL, what="things")
    assert pauses.taken[0] > 7
    assert sum(pauses.taken) < 14


def test_retry_after_as_a_date_is_a_floor_by_the_servers_clock(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    until = format_datetime(now + timedelta(seconds=40), usegmt=True)
    replies(service, 503, headers={"Retry-After": until, "Date": format_datetime(now, usegmt=True)})
    replies(service, 200)
    client.request("GET", URL, what="things")
    assert 40 < pauses.taken[0] < 50


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", None),
        ("", None),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_whatever_it_is(value: str, seconds: float | None) -> None:
    headers = {"Retry-After": value, "Date": "Wed, 01 Jan 2020 00:00:30 GMT"}
    assert Reply(429, headers, b"").retry_after == seconds


def test_every_thread_waits_as_long_as_one_was_asked(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, 429, headers={"Retry-After": "20"})
    replies(service, 200)
    client.request("GET", URL, what="things", attempts=1)
    other = threading.Thread(target=client.request, args=("GET", URL), kwargs={"what": "other"})
    other.start()
    other.join(5)
    assert client.requests["other"] == 1
    assert sum(pauses.taken) == pytest.approx(20)


def test_a_longer_pause_asked_meanwhile_is_kept_too(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, 429, headers={"Retry-After": "20"})
    replies(service, 429, headers={"Retry-After": "5"})
    replies(service, 200)
    client.request("GET", URL, what="things", attempts=1)
    begun, pauses.now = pauses.now, pauses.now + 20
    client.request("GET", URL, what="things", attempts=1)
    client._hold_back(Reply(429, {"Retry-After": "30"}, b""))
    client._hold_back(Reply(429, {"Retry-After": "1"}, b""))
    client.request("GET", URL, what="things")
    assert pauses.now - begun >= 50


def test_a_service_that_wants_long_peace_is_left_to_the_next_run(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, 503, headers={"Retry-After": str(LONGEST_WAIT + 100)})
    replies(service, 200)
    assert client.request("GET", URL, what="things").status == 503
    with pytest.raises(Outage, match="left alone"):
        client.request("GET", URL, what="other")
    assert (len(service.calls), pauses.taken) == (1, [])


def test_a_stopped_run_does_not_ask_before_its_time(
    client: Client, service: responses.RequestsMock, pauses: Pauses
) -> None:
    replies(service, 429, headers={"Retry-After": "20"})
    client.request("GET", URL, what="things", attempts=1)
    pauses.stop(Interrupted(15))
    with pytest.raises(Outage):
        client.request("GET", URL, what="things")
    assert len(service.calls) == 1


# --- tokens -------------------------------------------------------------------------------------------------


@dataclass
class Tokens:
    """Gives t1, t2, …; `renewals` says how often another one was asked for."""

    number: int = 1
    renewals: int = 0
    asked: int = 0
    fails: Exception | None = None

    def token(self) -> str:
        self.asked += 1
        if self.fails:
            raise self.fails
        return f"t{self.number}"

    def renew(self, stale: str) -> bool:
        self.renewals += 1
        self.number += 1
        return True


def expired(reply: Reply) -> bool:
    return reply.status == 401


def sent_tokens(service: responses.RequestsMock) -> list[str | None]:
    return [call.request.headers.get("Authorization") for call in service.calls]


def test_an_expired_token_is_renewed_once(service: responses.RequestsMock, pauses: Pauses) -> None:
    replies(service, 401, 200)
    client = Client("S", ORIGIN, auth=Tokens(), token_expired=expired, stopper=pauses)
    assert client.request("GET", URL, what="things").ok
    assert sent_tokens(service) == ["Bearer t1", "Bearer t2"]


def test_a_401_that_stays_ends_after_one_renewal(service: responses.RequestsMock, pauses: Pauses) -> None:
    replies(service, 401)
    tokens = Tokens()
    client = Client("S", ORIGIN, auth=tokens, token_expired=expired, stopper=pauses)
    assert client.request("GET", URL, what="things").status == 401
    assert (len(service.calls), tokens.renewals) == (2, 1)


def test_a_login_without_an_answer_is_not_multiplied(service: responses.RequestsMock, pauses: Pauses) -> None:
    tokens = Tokens(fails=NoAnswer("the login gave no answer"))
    client = Client("S", ORIGIN, auth=tokens, stopper=pauses)
    with pytest.raises(Outage, match="the login gave no answer"):
        client.request("GET", URL, what="things")
    assert tokens.asked == 1


def test_a_token_that_no_header_can_carry_is_a_matter_of_configuration(pauses: Pauses) -> None:
    class Odd(Tokens):
        def token(self) -> str:
            return "töken→secret"

    with Server(lambda peer: peer.answer(b"{}")) as server:
        client = Client("S", server.origin, auth=Odd(), stopper=pauses)
        with pytest.raises(ConfigError) as raised:
            client.request("GET", "/", what="things")
    assert "secret" not in str(raised.value)


def test_netrc_is_never_consulted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: responses.RequestsMock, pauses: Pauses
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.test login joe password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    replies(service, 200)
    Client("S", ORIGIN, stopper=pauses).request("GET", URL, what="things")
    Client("S", ORIGIN, auth=Tokens(), stopper=pauses).request("GET", URL, what="things")
    assert sent_tokens(service) == [None, "Bearer t1"]


# --- redirects and origins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.test/things", "http://api.test/things", "https://api.test:8443/things", "//evil.test/x"],
)
@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("GET", 302), ("GET", 307), ("POST", 308)])
def test_a_redirect_to_another_origin_is_refused_and_the_token_stays(
    method: str, status: int, elsewhere: str, service: responses.RequestsMock, pauses: Pauses
) -> None:
    service.add(method, URL, status=status, headers={"Location": elsewhere})
    client = Client("S", ORIGIN, auth=Tokens(), stopper=pauses)
    with pytest.raises(ConfigError, match="another host"):
        client.request(method, URL, what="things", body=b"{}")
    assert [call.request.url for call in service.calls] == [URL]


def test_another_origin_is_refused_from_the_start(service: responses.RequestsMock, pauses: Pauses) -> None:
    client = Client("S", ORIGIN, auth=Tokens(), stopper=pauses)
    with pytest.raises(ConfigError, match="another host"):
        client.request("GET", "https://evil.test/page2", what="things")
    assert len(service.calls) == 0


def test_a_get_follows_within_its_origin(service: responses.RequestsMock, pauses: Pauses) -> None:
    service.get(URL, status=302, headers={"Location": "/moved?x=1"})
    service.get(f"{ORIGIN}/moved", json={"here": True})
    client = Client("S", ORIGIN, auth=Tokens(), stopper=pauses)
    assert client.request("GET", "/things", what="things").json() == {"here": True}
    assert service.calls[1].request.url == f"{ORIGIN}/moved?x=1"
    assert sent_tokens(service) == ["Bearer t1", "Bearer t1"]


@pytest.mark.parametrize("status", [301, 302])
def test_a_post_is_not_turned_into_a_get(
    status: int, client: Client, service: responses.RequestsMock
) -> None:
    service.post(URL, status=status, headers={"Location": "/moved"})
    assert client.request("POST", URL, what="things", body=b"{}").status == status
    assert len(service.calls) == 1


def test_redirects_in_a_circle_end(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, status=302, headers={"Location": "/things"})
    assert client.request("GET", URL, what="things").status == 302
    assert len(service.calls) == 3


def test_a_redirect_to_nonsense_is_refused(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, status=302, headers={"Location": "https://api.test:port/"})
    with pytest.raises(ConfigError):
        client.request("GET", URL, what="things")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.Test:443/x?y=1", "https://api.test"),
        ("http://api.test:80", "http://api.test"),
        ("https://api.test:8443/x", "https://api.test:8443"),
        ("http://api.test:443", "http://api.test:443"),
        ("https://me:pw@api.test/", "https://api.test"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    ["https://x.test", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]/", "http://cdp.test/a"],
)
def test_urls_that_a_token_may_travel_to(url: str) -> None:
    assert require_safe(url, ("cdp.test",)) == url


@pytest.mark.parametrize(
    "url",
    ["http://x.test", "http://127.0.0.1.evil.test", "http://notlocalhost", "ftp://cdp.test", "https://", ""],
)
def test_urls_that_a_token_may_not_travel_to(url: str) -> None:
    with pytest.raises(AuthError):
        require_safe(url, ("cdp.test",))


# --- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"name": "\\ud83d broken"}', {"name": "? broken"}),
        (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
        (b"<html>\\u0041</html>", None),
        (b'{"a": "\\ud83d', None),
        (b"", None),
        (b"[" * 100_000 + b'"\\ud83d"', None),
    ],
)
def test_bodies_are_read_as_json_or_not_at_all(body: bytes, value: Any) -> None:
    assert Reply(200, {}, body).json() == value


# --- certificates -------------------------------------------------------------------------------------------


def test_a_refused_certificate_is_a_matter_of_configuration(
    client: Client, service: responses.RequestsMock
) -> None:
    service.get(URL, body=requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")))
    with pytest.raises(ConfigError, match="certificate"):
        client.request("GET", URL, what="things")
    assert len(service.calls) == 1


def test_a_handshake_that_broke_off_is_asked_again(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, body=requests.exceptions.SSLError(ssl.SSLEOFError("EOF in violation of protocol")))
    replies(service, 200)
    assert client.request("GET", URL, what="things").ok


def test_a_missing_ca_bundle_is_a_matter_of_configuration(
    client: Client, monkeypatch: pytest.MonkeyPatch, pauses: Pauses
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem"):
        Client("S", "https://127.0.0.1:9", stopper=pauses).request("GET", "/", what="things")


# --- sockets ------------------------------------------------------------------------------------------------


@dataclass
class Peer:
    """The server's side of one connection, its request read up to the end of its headers."""

    socket: socket.socket
    head: str

    def answer(self, body: bytes, *headers: str, length: int | None = None) -> None:
        size = len(body) if length is None else length
        lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {size}", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def drip(self, head: str, piece: bytes) -> None:
        """Send a head, then one piece after the other until the client has had enough."""
        self.socket.sendall(head.encode() + b"\r\n\r\n")
        while True:
            self.socket.sendall(piece)
            time.sleep(0.02)


@dataclass
class Server:
    """Answers connection after connection by the behaviours given, the last one for all that follow."""

    behave: Callable[[Peer], None]
    heads: list[str] = field(default_factory=list)

    def __enter__(self) -> Server:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while head := self._head_of(connection):
                    self.heads.append(head)
                    self.behave(Peer(connection, head))
            except OSError:
                return

    def _head_of(self, connection: socket.socket) -> str:
        read = b""
        while b"\r\n\r\n" not in read:
            more = connection.recv(4096)
            if not more:
                return ""
            read += more
        return read.decode("latin-1")


def in_turn(*behaviours: Callable[[Peer], None]) -> Callable[[Peer], None]:
    """One behaviour a request, the last one for all that follow."""
    left = list(behaviours)
    return lambda peer: (left.pop(0) if len(left) > 1 else left[0])(peer)


def hang(peer: Peer) -> None:
    peer.socket.recv(1)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.wire, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(http.wire, "READ_TIMEOUT", 0.25)
    monkeypatch.setattr(http.wire, "WHOLE_TIMEOUT", 0.4)


def to(server: Server) -> Client:
    return Client("S", server.origin, retry=Retry(attempts=2, first=0.001))


@pytest.mark.usefixtures("hasty")
def test_a_server_that_never_answers_is_given_up() -> None:
    with Server(hang) as server, pytest.raises(NoAnswer, match=r"gave no answer \(.*[Tt]ime"):
        to(server).request("GET", "/", what="things")
    assert len(server.heads) == 2


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100000", b" "),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"1\r\n \r\n"),
        ("HTTP/1.0 200 OK\r\nContent-Type: text/plain", b" "),
    ],
)
def test_a_body_that_drips_is_cut_off(head: str, piece: bytes) -> None:
    with Server(lambda peer: peer.drip(head, piece)) as server, pytest.raises(NoAnswer):
        to(server).request("GET", "/", what="things", repeatable=False)


def test_a_reply_within_its_time_is_not_cut_off() -> None:
    def slowly(peer: Peer) -> None:
        peer.answer(b"[", length=2)
        time.sleep(0.1)
        peer.socket.sendall(b"]")

    with Server(slowly) as server:
        assert to(server).request("GET", "/", what="things", repeatable=False).json() == []


def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    def short(peer: Peer) -> None:
        peer.answer(b'{"a"', length=100)
        peer.socket.shutdown(socket.SHUT_RDWR)

    with Server(in_turn(short, lambda peer: peer.answer(b'{"a": 1}'))) as server:
        assert to(server).request("GET", "/", what="things").json() == {"a": 1}


def test_a_truncated_compressed_body_is_asked_for_again() -> None:
    whole = gzip.compress(json.dumps({"rows": [str(n) for n in range(200)]}).encode())

    def truncated(peer: Peer) -> None:
        peer.answer(whole[:-60], "Content-Encoding: gzip")

    def right(peer: Peer) -> None:
        peer.answer(whole, "Content-Encoding: gzip")

    with Server(in_turn(truncated, right)) as server:
        reply = to(server).request("GET", "/", what="things")
    assert len(reply.json()["rows"]) == 200
    assert len(server.heads) == 2


def test_nobody_there_is_no_answer() -> None:
    with Server(hang) as server:
        pass
    with pytest.raises(NoAnswer, match="connection refused"):
        to(server).request("GET", "/", what="things")


def test_cookies_are_dropped() -> None:
    with Server(lambda peer: peer.answer(b"{}", "Set-Cookie: sid=1; Path=/")) as server:
        client = to(server)
        client.request("GET", "/", what="things")
        client.request("GET", "/", what="things")
    assert len(server.heads) == 2
    assert not any("cookie:" in head.lower() for head in server.heads)


def test_what_is_sent() -> None:
    with Server(lambda peer: peer.answer(b"{}")) as server:
        client = Client("S", server.origin, auth=Tokens())
        client.request("GET", "/a?q=b%2Bc", what="things", headers={"Accept": "application/json"})
    head = server.heads[0]
    assert head.startswith("GET /a?q=b%2Bc HTTP/1.1\r\n")
    assert "Authorization: Bearer t1\r\n" in head
    assert "User-Agent: crmsync/" in head
    assert "Accept-Encoding: gzip\r\n" in head


def test_requests_of_many_threads_are_all_counted() -> None:
    with Server(lambda peer: peer.answer(b"{}")) as server:
        client = to(server)

        def ask() -> None:
            for _ in range(20):
                client.request("GET", "/", what="things")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert client.requests["things"] == len(server.heads) == 160


def test_the_passing_statuses_are_those_of_the_contracts() -> None:
    assert {406, 420, 429, 500, 502, 503, 504} <= PASSING_STATUSES
    assert not PASSING_STATUSES & {400, 401, 403, 404, 409, 413, 422}


# --- streams ------------------------------------------------------------------------------------------------


def streamed(client: Client) -> Reply:
    return client.request("GET", "/", what="page", stream=True)


def test_a_stream_is_read_as_text_with_its_line_ends_and_closed() -> None:
    text = 'é "a\r\nb"\n\rc\u2028d\x00\n' * 3000
    body = gzip.compress(text.encode())
    with Server(lambda peer: peer.answer(body, "Content-Encoding: gzip")) as server:
        reply = streamed(to(server))
        assert (reply.ok, reply.body) == (True, b"")
        assert reply.stream is not None
        assert "".join(reply.stream) == text
        reply.stream.close()
    assert reply.stream.closed


def test_a_stream_begins_before_all_of_it_is_there() -> None:
    more = threading.Event()

    def in_parts(peer: Peer) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")
        assert more.wait(5)
        peer.socket.sendall(b"5\r\nlast\n\r\n0\r\n\r\n")

    with Server(in_parts) as server:
        reply = streamed(to(server))
        more.set()
        assert reply.stream is not None
        with reply.stream as lines:
            assert list(lines) == ["first\n", "last\n"]


def cut_in_a_body_of_known_length(peer: Peer) -> None:
    peer.answer(b"one\ntwo\nth", length=100)
    peer.socket.shutdown(socket.SHUT_RDWR)


def cut_between_chunks(peer: Peer) -> None:
    peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\none\ntwo\nth\r\n")
    peer.socket.shutdown(socket.SHUT_RDWR)


def cut_off_what_is_no_gzip(peer: Peer) -> None:
    peer.answer(b"one\ntwo\nth", "Content-Encoding: gzip")


@pytest.mark.parametrize("cut", [cut_in_a_body_of_known_length, cut_between_chunks, cut_off_what_is_no_gzip])
def test_a_stream_that_breaks_off_is_no_answer(cut: Callable[[Peer], None]) -> None:
    """It is not asked for again by itself: some of it may have been used."""
    with Server(cut) as server:
        reply = streamed(to(server))
        assert reply.stream is not None
        with reply.stream as lines, pytest.raises(NoAnswer):
            list(lines)
    assert len(server.heads) == 1


@pytest.mark.usefixtures("hasty")
def test_a_stream_that_falls_silent_is_no_answer() -> None:
    def silent(peer: Peer) -> None:
        peer.answer(b"one\n", length=100)
        peer.socket.recv(1)

    with Server(silent) as server:
        reply = Client("S", server.origin, timeout=0.2).request("GET", "/", what="page", stream=True)
        assert reply.stream is not None
        with reply.stream as lines, pytest.raises(NoAnswer, match=r"[Tt]ime"):
            list(lines)


@pytest.mark.parametrize("status", [503, 429])
def test_a_stream_is_asked_for_again_as_long_as_it_has_not_begun(
    status: int, client: Client, service: responses.RequestsMock
) -> None:
    replies(service, status)
    service.get(URL, body="a\nb\n")
    reply = client.request("GET", URL, what="page", stream=True)
    assert reply.stream is not None
    with reply.stream as lines:
        assert list(lines) == ["a\n", "b\n"]


def test_a_refusal_of_a_stream_is_read_whole(client: Client, service: responses.RequestsMock) -> None:
    replies(service, 404)
    reply = client.request("GET", URL, what="page", stream=True)
    assert (reply.stream, reply.json()) == (None, {"status": 404})


def test_an_expired_token_is_renewed_for_a_stream(service: responses.RequestsMock, pauses: Pauses) -> None:
    replies(service, 401)
    service.get(URL, body="a\n")
    client = Client("S", ORIGIN, auth=Tokens(), token_expired=expired, stopper=pauses)
    reply = client.request("GET", URL, what="page", stream=True)
    assert reply.stream is not None
    with reply.stream as lines:
        assert list(lines) == ["a\n"]
    assert sent_tokens(service) == ["Bearer t1", "Bearer t2"]


def test_a_connection_serves_again_once_its_stream_has_been_read() -> None:
    opened: set[int] = set()

    def answering(peer: Peer) -> None:
        opened.add(id(peer.socket))
        peer.answer(b"a\n")

    with Server(answering) as server:
        client = to(server)
        for _ in range(3):
            reply = streamed(client)
            assert reply.stream is not None
            with reply.stream as lines:
                assert list(lines) == ["a\n"]
    assert (len(server.heads), len(opened)) == (3, 1)


def test_what_broke_off_may_be_asked_for_again_while_the_budget_lasts(pauses: Pauses) -> None:
    client = Client("S", ORIGIN, budget=Budget(2), retry=Retry(first=1.0), stopper=pauses)
    assert [client.may_ask_again(attempt) for attempt in (1, 2, 3)] == [True, True, False]
    first, second = pauses.taken
    assert 0.5 <= first <= 1.0 <= second <= 2.0
    pauses.stop(Interrupted(15))
    assert not Client("S", ORIGIN, stopper=pauses).may_ask_again(1)


def test_a_redirect_to_nowhere_is_no_stream(client: Client, service: responses.RequestsMock) -> None:
    service.get(URL, status=303)
    reply = client.request("GET", URL, what="page", stream=True)
    assert (reply.status, reply.stream) == (303, None)
