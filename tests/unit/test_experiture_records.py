"""Batches over HTTP: what is sent, what each status means, and how tokens are got and renewed."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import responses

from crmsync.config import DEFAULT_SYNC, load
from crmsync.destinations.base import Lost, Refused, Settled, Unproven, Working
from crmsync.destinations.experiture import ExperitureDestination
from crmsync.destinations.experiture import auth as tokens
from crmsync.destinations.experiture.records import ATTEMPTS
from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage
from crmsync.http import Retry, Stopper

BASE = "https://cdp.test/public/v1"
BATCH = f"{BASE}/records/profiles/upsert-batch"
TOKEN_URL = "https://auth.test/oauth/token"
KEY = "5f0c2c1e-6d52-4a52-9f0e-6f5b1f1f0a01"
RECORDS = [
    b'{"email":"a@example.com","salesforce_id":"003A"}',
    '{"name":"Zoë","salesforce_id":"003B"}'.encode(),
]
BODY = (
    '{"records":[{"email":"a@example.com","salesforce_id":"003A"},{"name":"Zoë","salesforce_id":"003B"}],'
    '"matchKey":"salesforce_id"}'
).encode()
WRITTEN = {"success": True, "data": {"inserted": 1, "updated": 1, "rejected": 0}}


class Instantly(Stopper):
    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def cdp() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


Make = Callable[..., ExperitureDestination]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A destination with a given key; other variables by name, None to leave one out."""

    def made(**variables: str | None) -> ExperitureDestination:
        environ = {
            "HOME": str(tmp_path),
            "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
            "SALESFORCE_ACCESS_TOKEN": "00D!1",
            "EXPERITURE_BASE_URL": BASE,
            "EXPERITURE_API_KEY": "cdp-key",
            **variables,
        }
        config = load(environ={k: v for k, v in environ.items() if v is not None}, cwd=tmp_path)
        return ExperitureDestination(config, DEFAULT_SYNC, stopper=Instantly(), retry=Retry())

    return made


@pytest.fixture
def oauth(make: Make) -> ExperitureDestination:
    return make(
        EXPERITURE_API_KEY=None,
        EXPERITURE_CLIENT_ID="cid",
        EXPERITURE_CLIENT_SECRET="s3cret",
        EXPERITURE_TOKEN_URL=TOKEN_URL,
        EXPERITURE_SCOPE="cdp:records:write cdp:metadata:read",
    )


def error(code: str = "CDP_ETL.X", message: str = "no", path: str | None = None) -> dict[str, Any]:
    details = {"details": {"path": path, "value": "secret@example.com"}} if path else {}
    return {"success": False, "error": {"code": code, "message": message, **details}}


# --- what is sent -------------------------------------------------------------------------------------------


def test_a_batch_is_sent_byte_for_byte_under_its_key(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.post(BATCH, json=WRITTEN)
    destination = make()
    body = destination.frame(RECORDS)
    assert body == BODY
    assert destination.submit(body, KEY, 2) == Settled()
    request = cdp.calls[0].request
    assert request.body == BODY
    assert request.headers["Idempotency-Key"] == KEY
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["Authorization"] == "Bearer cdp-key"
    assert destination.requests() == {"upsert-batch": 1}


def test_a_body_is_taken_apart_as_it_was_put_together(make: Make) -> None:
    destination = make()
    assert destination.unframe(destination.frame(RECORDS)) == RECORDS
    assert destination.frame([]) == b'{"records":[],"matchKey":"salesforce_id"}'


def test_every_retry_has_the_same_key_and_bytes(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.post(BATCH, body=requests.ConnectionError("reset"))
    cdp.post(BATCH, status=503, body="<html>busy</html>", content_type="text/html")
    cdp.post(BATCH, status=409, json=error("CDP_ETL.CONFLICT"))
    cdp.post(BATCH, json=WRITTEN)
    assert make().submit(BODY, KEY, 2) == Settled()
    assert [call.request.headers["Idempotency-Key"] for call in cdp.calls] == [KEY] * 4
    assert {call.request.body for call in cdp.calls} == {BODY}


def test_a_job_is_asked_for_under_its_object(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.get(f"{BASE}/records/profiles/jobs/job%2F1", json={"data": {"state": "running"}})
    assert make().poll("job/1", 2) == Working("job/1", "running")
    assert cdp.calls[0].request.headers["Authorization"] == "Bearer cdp-key"


# --- what each status means ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, WRITTEN, Settled()),
        (202, {"success": True, "data": {"jobId": "j1", "status": "queued"}}, Working("j1", "queued")),
        (200, {"success": True, "data": {"jobId": "j1", "status": "queued"}}, Working("j1", "queued")),
    ],
)
def test_success_is_what_the_reply_proves(
    status: int, body: Any, expected: Any, cdp: responses.RequestsMock, make: Make
) -> None:
    cdp.post(BATCH, status=status, json=body)
    assert make().submit(BODY, KEY, 2) == expected


@pytest.mark.parametrize("body", ["", "<html>hello</html>"])
def test_a_success_that_says_nothing_is_unproven(body: str, cdp: responses.RequestsMock, make: Make) -> None:
    cdp.post(BATCH, status=200, body=body, content_type="text/html")
    assert isinstance(make().submit(BODY, KEY, 2), Unproven)


@pytest.mark.parametrize(
    ("status", "body", "kind", "index", "code", "tries"),
    [
        (400, error("CDP_ETL.VALIDATION.REQUEST_INVALID", path="records[1].email"), "content", 1, None, 1),
        (400, error("CDP_ETL.VALIDATION.REQUEST_INVALID"), "content", None, None, 1),
        (422, error("CDP_ETL.VALIDATION.REQUEST_SCHEMA", path="records[0].x"), "content", 0, None, 1),
        (422, error("schema_mismatch"), "content", None, None, 1),
        (400, "<html>bad</html>", "content", None, "HTTP_400", 1),
        (413, error("CDP_ETL.VALIDATION.REQUEST_INVALID"), "size", None, None, 1),
        (413, "<html>too large</html>", "size", None, "HTTP_413", 1),
        (409, error("CDP_ETL.CONFLICT"), "passing", None, None, ATTEMPTS),
        (429, error("CDP_ETL.RATE.LIMITED"), "passing", None, None, ATTEMPTS),
        (500, error("CDP_ETL.INTERNAL.UNHANDLED_EXCEPTION"), "passing", None, None, ATTEMPTS),
        (502, "<html>bad gateway</html>", "passing", None, "HTTP_502", ATTEMPTS),
        (503, "", "passing", None, "HTTP_503", ATTEMPTS),
        (504, "", "passing", None, "HTTP_504", ATTEMPTS),
    ],
)
def test_refusals_say_what_may_help(
    status: int,
    body: Any,
    kind: str,
    index: int | None,
    code: str | None,
    tries: int,
    cdp: responses.RequestsMock,
    make: Make,
) -> None:
    options = {"body": body, "content_type": "text/html"} if isinstance(body, str) else {"json": body}
    cdp.post(BATCH, status=status, headers={"x-correlation-id": "c-1"}, **options)
    outcome = make().submit(BODY, KEY, 2)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.index) == (kind, index)
    assert outcome.reason.status == status
    assert outcome.reason.correlation_id == "c-1"
    assert outcome.reason.code == (code or body["error"]["code"])
    assert "secret@example.com" not in repr(outcome)
    assert len(cdp.calls) == tries


@pytest.mark.parametrize(
    ("status", "kind", "exit_code", "tries"),
    [
        (401, AuthError, 77, 1),
        (403, AuthError, 77, 1),
        (404, ConfigError, 78, 1),
        (405, ConfigError, 78, 1),
        (415, ConfigError, 78, 1),
        (302, ConfigError, 78, 1),
    ],
)
def test_what_no_other_batch_can_help_ends_the_run(
    status: int,
    kind: type[CrmsyncError],
    exit_code: int,
    tries: int,
    cdp: responses.RequestsMock,
    make: Make,
) -> None:
    cdp.post(BATCH, status=status, json=error("CDP_ETL.X", "a@example.com is odd"))
    with pytest.raises(CrmsyncError) as raised:
        make().submit(BODY, KEY, 2)
    assert type(raised.value) is kind
    assert raised.value.exit_code == exit_code
    assert "a@example.com" not in str(raised.value)
    assert len(cdp.calls) == tries


def test_no_answer_is_an_outage(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.post(BATCH, body=requests.ConnectionError("reset"))
    with pytest.raises(Outage):
        make().submit(BODY, KEY, 2)
    assert len(cdp.calls) == ATTEMPTS


def test_an_impatient_batch_is_sent_once(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.post(BATCH, status=503)
    outcome = make().submit(BODY, KEY, 2, patient=False)
    assert isinstance(outcome, Refused)
    assert outcome.kind == "passing"
    assert len(cdp.calls) == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"data": {"state": "completed"}}, Settled()),
        (404, error("CDP_ETL.NOT_FOUND"), Lost("j1")),
        (410, "", Lost("j1")),
        (500, "", Working("j1", "HTTP 500")),
        (200, "<html>hi</html>", Working("j1", "HTTP 200")),
        (400, error(), Working("j1", "HTTP 400")),
    ],
)
def test_polling_never_takes_trouble_for_an_end(
    status: int, body: Any, expected: Any, cdp: responses.RequestsMock, make: Make
) -> None:
    options = {"body": body} if isinstance(body, str) else {"json": body}
    cdp.get(f"{BASE}/records/profiles/jobs/j1", status=status, **options)
    assert make().poll("j1", 2) == expected


@pytest.mark.parametrize("status", [401, 403])
def test_polling_without_permission_ends_the_run(
    status: int, cdp: responses.RequestsMock, make: Make
) -> None:
    cdp.get(f"{BASE}/records/profiles/jobs/j1", status=status, json=error())
    with pytest.raises(AuthError):
        make().poll("j1", 2)


# --- preflight ----------------------------------------------------------------------------------------------

METADATA = f"{BASE}/metadata/objects/profiles"


def test_a_right_schema_has_nothing_to_say(cdp: responses.RequestsMock, make: Make) -> None:
    data = {"fields": [{"name": "email"}], "identityKeys": ["salesforce_id"]}
    cdp.get(METADATA, json={"success": True, "data": data})
    assert make().preflight(["email", "salesforce_id"]) == []


def test_a_wrong_schema_is_refused_with_all_its_problems(cdp: responses.RequestsMock, make: Make) -> None:
    data = {"fields": [{"name": "email"}], "identityKeys": ["email"]}
    cdp.get(METADATA, json={"success": True, "data": data})
    with pytest.raises(ConfigError) as raised:
        make().preflight(["emial"])
    assert len(raised.value.problems) == 2


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_schema_that_cannot_be_read_is_a_warning(
    status: int, cdp: responses.RequestsMock, make: Make
) -> None:
    cdp.get(METADATA, status=status, json=error())
    (warning,) = make().preflight(["email"])
    assert f"HTTP {status}" in warning


def test_a_schema_that_cannot_be_understood_is_a_warning(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.get(METADATA, body="<html>hi</html>", content_type="text/html")
    assert len(make().preflight(["email"])) == 1


def test_a_refused_token_is_found_before_anything_is_read(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.get(METADATA, status=401, json=error("CDP_ETL.AUTH.TOKEN_INVALID"))
    with pytest.raises(AuthError, match="TOKEN_INVALID"):
        make().preflight(["email"])


# --- tokens -------------------------------------------------------------------------------------------------


def grants(cdp: responses.RequestsMock, pause: float = 0.0, **more: Any) -> list[str]:
    """Answer each login with another token."""
    given: list[str] = []

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        given.append(f"token{len(given) + 1}")
        time.sleep(pause)
        return 200, {}, json.dumps({"access_token": given[-1], "token_type": "Bearer", **more})

    cdp.add_callback("POST", TOKEN_URL, callback=answer)
    return given


def logins(cdp: responses.RequestsMock) -> list[tuple[str | None, dict[str, str]]]:
    """The Authorization header and the form of each login."""
    return [
        (call.request.headers.get("Authorization"), dict(parse_qsl(str(call.request.body, "utf-8"))))
        for call in cdp.calls
        if call.request.url == TOKEN_URL
    ]


def bearers(cdp: responses.RequestsMock) -> list[str]:
    return [call.request.headers["Authorization"] for call in cdp.calls if call.request.url == BATCH]


BASIC = "Basic " + base64.b64encode(b"cid:s3cret").decode()
FORM = {"grant_type": "client_credentials", "scope": "cdp:records:write cdp:metadata:read"}
IN_BODY = {**FORM, "client_id": "cid", "client_secret": "s3cret"}


def test_client_credentials_go_in_a_header_first(
    cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    grants(cdp)
    cdp.post(BATCH, json=WRITTEN)
    oauth.submit(BODY, KEY, 2)
    oauth.submit(BODY, KEY, 2)
    assert logins(cdp) == [(BASIC, FORM)]
    assert bearers(cdp) == ["Bearer token1"] * 2
    assert oauth.requests() == {"login": 1, "upsert-batch": 2}


@pytest.mark.parametrize("status", [400, 401])
def test_client_credentials_go_in_the_body_next_and_stay_there(
    status: int, cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    cdp.post(TOKEN_URL, status=status, json={"error": "invalid_client"})
    grants(cdp, expires_in=0.001)
    cdp.post(BATCH, json=WRITTEN)
    oauth.submit(BODY, KEY, 2)
    time.sleep(0.01)
    oauth.submit(BODY, KEY, 2)
    assert logins(cdp) == [(BASIC, FORM), (None, IN_BODY), (None, IN_BODY)]


@pytest.mark.parametrize(
    "body", [{"error": "invalid_client"}, error("CDP_ETL.AUTH.UNAUTHORIZED"), [], {"token_type": "Bearer"}]
)
def test_a_wrong_secret_is_tried_both_ways_and_exits_77(
    body: Any, cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    cdp.post(TOKEN_URL, status=401, json=body)
    with pytest.raises(AuthError) as raised:
        oauth.submit(BODY, KEY, 2)
    assert raised.value.exit_code == 77
    assert "EXPERITURE_CLIENT_SECRET" in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert len(cdp.calls) == 2


@pytest.mark.parametrize("answer", [{"status": 200, "body": "<html>"}, {"status": 200, "json": {}}])
def test_a_login_without_a_token_is_none(
    answer: dict[str, Any], cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    cdp.post(TOKEN_URL, **answer)
    with pytest.raises(AuthError):
        oauth.submit(BODY, KEY, 2)


def test_a_login_that_is_down_is_an_outage(cdp: responses.RequestsMock, oauth: ExperitureDestination) -> None:
    cdp.post(TOKEN_URL, status=503)
    with pytest.raises(Outage):
        oauth.submit(BODY, KEY, 2)
    assert len(cdp.calls) == Retry().attempts


@pytest.mark.parametrize(
    "code", ["CDP_ETL.AUTH.TOKEN_EXPIRED", "CDP_ETL.AUTH.UNAUTHORIZED", "CDP_ETL.AUTH.TOKEN_INVALID"]
)
def test_an_expired_token_is_renewed_and_the_batch_replayed(
    code: str, cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    grants(cdp)
    cdp.post(BATCH, status=401, json=error(code))
    cdp.post(BATCH, json=WRITTEN)
    assert oauth.submit(BODY, KEY, 2) == Settled()
    assert bearers(cdp) == ["Bearer token1", "Bearer token2"]
    batches = [call.request for call in cdp.calls if call.request.url == BATCH]
    assert [request.headers["Idempotency-Key"] for request in batches] == [KEY, KEY]
    assert [request.body for request in batches] == [BODY, BODY]


def test_a_401_that_stays_ends_after_one_renewal(
    cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    given = grants(cdp)
    cdp.post(BATCH, status=401, json=error("CDP_ETL.AUTH.UNAUTHORIZED"))
    with pytest.raises(AuthError):
        oauth.submit(BODY, KEY, 2)
    assert (len(given), len(bearers(cdp))) == (2, 2)


def together(count: int, task: Callable[[], object]) -> None:
    """Run a task in so many threads that start at once."""
    gate = threading.Barrier(count)

    def run() -> None:
        gate.wait(5)
        task()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


def test_threads_log_in_once_and_renew_once(
    cdp: responses.RequestsMock, oauth: ExperitureDestination
) -> None:
    given = grants(cdp, pause=0.05)
    together(8, oauth._auth.token)
    assert given == ["token1"]
    together(8, lambda: oauth._auth.renew("token1"))
    assert given == ["token1", "token2"]
    assert oauth._auth.token() == "token2"


class Hours:
    """Stands in for the time module, its clocks under the test's hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 5000.0 + self.passed

    def time(self) -> float:
        return 1_800_000_000.0 + self.passed


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    clock = Hours()
    monkeypatch.setattr(tokens, "time", clock)
    return clock


def bearer_jwt(**claims: Any) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{encoded}.sig"


@pytest.mark.parametrize(
    ("reply", "fresh", "stale"),
    [
        ({"expires_in": 3600}, 3539, 3541),
        ({"expires_in": "3600"}, 3539, 3541),
        ({"expires_in": 10}, 7.9, 8.1),
        ({"expires_in": 600, "access_token": bearer_jwt(exp=1)}, 539, 541),
        ({"access_token": bearer_jwt(exp=1_800_003_600)}, 3539, 3541),
        ({"access_token": bearer_jwt(exp=3600, iat=0)}, 3539, 3541),
        ({"expires_in": None, "access_token": bearer_jwt(exp=1_800_000_600)}, 539, 541),
    ],
)
def test_tokens_are_replaced_before_they_expire(
    reply: dict[str, Any],
    fresh: float,
    stale: float,
    cdp: responses.RequestsMock,
    oauth: ExperitureDestination,
    hours: Hours,
) -> None:
    cdp.post(TOKEN_URL, json={"access_token": "opaque", **reply})
    oauth._auth.token()
    hours.passed = fresh
    oauth._auth.token()
    assert len(cdp.calls) == 1
    hours.passed = stale
    oauth._auth.token()
    assert len(cdp.calls) == 2


@pytest.mark.parametrize(
    "token", ["opaque", "a.b.c", "a.!!!.c", bearer_jwt(sub="x"), bearer_jwt(exp="soon"), "é.é.é", "e30.W10.x"]
)
def test_a_token_that_does_not_tell_is_used_until_it_is_refused(
    token: str, cdp: responses.RequestsMock, oauth: ExperitureDestination, hours: Hours
) -> None:
    cdp.post(TOKEN_URL, json={"access_token": token})
    oauth._auth.token()
    hours.passed = 10**8
    assert oauth._auth.token() == token
    assert len(cdp.calls) == 1


# --- where tokens travel ------------------------------------------------------------------------------------


def test_the_token_does_not_follow_a_redirect(cdp: responses.RequestsMock, make: Make) -> None:
    cdp.post(BATCH, status=307, headers={"Location": "https://evil.test/collect"})
    with pytest.raises(ConfigError, match="another host"):
        make().submit(BODY, KEY, 2)
    assert len(cdp.calls) == 1


def test_plain_http_is_refused_beyond_this_machine(make: Make) -> None:
    with pytest.raises(CrmsyncError):
        make(EXPERITURE_BASE_URL="http://cdp.test/v1")
    make(EXPERITURE_BASE_URL="http://127.0.0.1:8001/v1")
    make(EXPERITURE_BASE_URL="http://cdp.test/v1", CRMSYNC_ALLOW_HTTP_HOSTS="cdp.test")


def test_plain_http_is_refused_whatever_made_the_configuration(tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
        "SALESFORCE_ACCESS_TOKEN": "00D!1",
        "EXPERITURE_API_KEY": "key",
    }
    config = load(environ=environ, cwd=tmp_path)
    plain = replace(config, experiture=replace(config.experiture, base_url="http://cdp.test/v1"))
    with pytest.raises(AuthError, match="may not travel"):
        ExperitureDestination(plain, DEFAULT_SYNC)
