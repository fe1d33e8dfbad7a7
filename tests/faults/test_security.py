"""Secrets and personal data stay in, tokens stay with their hosts, and hostile values stay values (law 10)."""

from __future__ import annotations

import gzip
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import orjson
import pytest

from crmsync.mapping import Mapper
from crmsync.sandbox.server import SandboxServer
from crmsync.sandbox.web import Clock, Request, Response

from .conftest import MakeWorld
from .world import DEFAULT_FIELDS, Run, World, sync_toml

MARKER = "Wq7Xk"
"""Woven into every name and address of a sandbox: where it shows, personal data shows."""
EMAIL = re.compile(r"[^\s@\"']+@[^\s@\"']+\.[a-z]+")
SMALL = {"CRMSYNC_BATCH_SIZE": "10"}
SESSION_MARK = "00DFk0000000001!"
"""What every session token of the sandbox's Salesforce begins with."""


# --- a token belongs to one host


class Elsewhere:
    """A service that takes whatever comes, and remembers it."""

    name = "elsewhere"

    def __init__(self) -> None:
        self.clock = Clock()
        self.seen: list[Request] = []

    def owns(self, path: str) -> bool:
        return True

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        return Response(200, {"success": True, "done": True, "totalSize": 0, "records": []})

    def control(self, action: str, arguments: dict[str, Any]) -> Any:
        raise ValueError(action)


@pytest.fixture
def elsewhere() -> Iterator[tuple[Elsewhere, str]]:
    """Another host, and its address."""
    service = Elsewhere()
    with SandboxServer([service]) as server:
        yield service, server.base_url


PLACES = {
    "Salesforce's login": ("salesforce", "oauth2/token"),
    "Salesforce's versions": ("salesforce", "/services/data/$"),
    "a describe": ("salesforce", "/describe"),
    "a query": ("salesforce", "/queryAll"),
    "a page": ("salesforce", "/query/01|/query/0r8"),
    "the CDP's login": ("experiture", "/oauth/token"),
    "the CDP's schema": ("experiture", "/metadata/"),
    "a batch": ("experiture", "upsert-batch"),
    "a job": ("experiture", "/jobs/"),
}


@pytest.mark.parametrize("status", [302, 308])
@pytest.mark.parametrize("place", PLACES)
def test_a_redirect_to_another_host_gets_nothing(
    world: World, elsewhere: tuple[Elsewhere, str], place: str, status: int
) -> None:
    other, address = elsewhere
    service, path = PLACES[place]
    world.crm("page_sizes", sizes=[20])
    headers = {"Location": f"{address}/services/oauth2/token"}
    broken = world.fault("status", service=service, path=path, status=status, headers=headers, times=None)
    run = world.run("pull", "--full", CRMSYNC_JOB_DEADLINE="1s")
    assert run.code in (75, 77, 78) or place == "the CDP's schema", run.said
    assert world.hits(broken) >= 1
    assert other.seen == []


def test_a_redirect_within_the_host_is_followed(world: World) -> None:
    within = {"Location": "/services/data/v67.0/sobjects/Contact/describe"}
    broken = world.fault(
        "status", service="salesforce", path="Contact/describe", status=307, headers=within, times=1
    )
    world.pull("--full")
    assert world.hits(broken) == 1
    world.assert_in_step()


def test_a_page_link_to_another_host_gets_nothing(world: World, elsewhere: tuple[Elsewhere, str]) -> None:
    other, address = elsewhere
    page = {"totalSize": 9, "done": False, "records": [], "nextRecordsUrl": f"{address}/services/data/x-2000"}
    world.fault("status", service="salesforce", path="/queryAll", status=200, body=page, times=None)
    assert world.run("pull", "--full").code == 78
    assert other.seen == []


def test_the_session_goes_to_salesforce_and_the_token_to_the_cdp(world: World) -> None:
    world.pull("--full")
    used = [
        {
            entry["headers"]["Authorization"]
            for entry in world.requests(service)
            if "Authorization" in entry["headers"] and "token" not in entry["path"]
        }
        for service in ("salesforce", "experiture")
    ]
    assert [len(tokens) for tokens in used] == [1, 1]
    assert used[0] != used[1]


# --- plain http


@pytest.mark.parametrize("variable", ["SALESFORCE_LOGIN_URL", "EXPERITURE_BASE_URL", "EXPERITURE_TOKEN_URL"])
def test_plain_http_is_refused_but_for_this_machine(world: World, variable: str) -> None:
    world.settings[variable] = "http://login.example.com/public/v1"
    run = world.run("pull", "--full")
    assert run.code == 78
    assert variable in run.err
    assert not world.requests()


def test_an_instance_that_speaks_plain_http_is_refused(world: World) -> None:
    """The login says where the org is: the session does not go there unprotected."""
    granted = {
        "access_token": f"{SESSION_MARK}x",
        "instance_url": "http://org.example.com",
        "token_type": "Bearer",
    }
    world.fault("status", service="salesforce", path="oauth2/token", status=200, body=granted)
    run = world.run("pull", "--full")
    assert run.code == 77
    assert "http://org.example.com" in run.err
    assert len(world.requests()) == 1


def test_a_listed_host_may_speak_plain_http(world: World) -> None:
    world.settings["SALESFORCE_LOGIN_URL"] = "http://login.example.com"
    run = world.run("config", "show", CRMSYNC_ALLOW_HTTP_HOSTS="login.example.com")
    assert run.code == 0, run.said


# --- hostile values

HOSTILE = {
    "a spreadsheet formula": '=HYPERLINK("http://x.example","click")',
    "another formula": "@SUM(1+1)*cmd|' /C calc'!A0",
    "terminal commands": "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "lines of its own": 'first\r\n12:00:00 error: forged\n{"level":"error"}',
    "control characters": "nul\x00del\x7fnel\x85",
    "a reversed text": "\u202egpj.exe",
    "markup": "<script>alert(1)</script>",
    "a query": "' OR Id != '",
    "a format": "%s%n{0.__class__}",
    "a path": "../../../../etc/passwd",
    "much": "x" * 100_000,
    "half a surrogate pair": "SURROGATE",
}
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


@contextmanager
def half_surrogates(world: World) -> Iterator[None]:
    """Salesforce sends an escaped half of a surrogate pair for every SURROGATE."""
    handle = world.salesforce.handle

    def handled(request: Request) -> Response:
        response = handle(request)
        if isinstance(response.body, bytes):
            zipped = response.headers.get("Content-Encoding") == "gzip"
            body = gzip.decompress(response.body) if zipped else response.body
            body = body.replace(b"SURROGATE", b"\\ud800")
            response.body = gzip.compress(body) if zipped else body
        return response

    with mock.patch.object(world.salesforce, "handle", handled):
        yield


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_is_a_value(make_world: MakeWorld, name: str) -> None:
    """It is delivered, and neither a log nor a terminal is steered by it."""
    world = make_world(0)
    people = [
        {"LastName": HOSTILE[name], "Title": HOSTILE[name], "Email": "hostile@example.com"},
        {"LastName": "Calm", "Email": "calm@example.com"},
        {"LastName": HOSTILE[name], "Email": f"{HOSTILE[name][:40]}@@"},
    ]
    hostile, _, malformed = world.crm("insert", object="Contact", rows=people)["ids"]
    world.advance()
    world.settings["CRMSYNC_LOG_FORMAT"] = "text"
    with half_surrogates(world):
        pulled = world.run("pull", "--full", "--json", "-vv")
        assert pulled.code == 0, pulled.said
        runs = [
            pulled,
            world.run("explain", hostile),
            world.run("explain", malformed),
            world.run("rejects", "list"),
            world.run("rejects", "show", malformed, "--values"),
        ]
    assert {row["salesforce_id"] for row in world.profiles()} >= {hostile}
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", world.profile(hostile)["last_name"])
    assert [RAW.findall(run.said) for run in runs] == [[]] * len(runs)
    assert not any(
        line.startswith(("12:00:00", '{"level"')) for run in runs for line in run.said.splitlines()
    )


FORGED = "BAD\x1b[31m\n12:00:00 error: forged\r\x00"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize("service", ["salesforce", "experiture"])
def test_what_a_service_answers_does_not_steer_the_terminal(
    world: World, service: str, status: int, form: str
) -> None:
    said = {
        "salesforce": [{"errorCode": FORGED, "message": FORGED}],
        "experiture": {
            "success": False,
            "error": {"code": FORGED, "message": FORGED},
            "correlationId": FORGED,
        },
    }[service]
    path = "/queryAll" if service == "salesforce" else "upsert-batch"
    world.fault("status", service=service, path=path, status=status, body=said, times=None)
    run = world.run("pull", "--full", "-vv", CRMSYNC_LOG_FORMAT=form)
    assert run.code != 0
    assert not RAW.search(run.said)
    assert not any(line.startswith("12:00:00") for line in run.said.splitlines()), run.said


# --- what goes into a query


SYNCS = {
    "object": sync_toml(object='''"Contact WHERE Id != null"'''),
    "field": sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Title FROM Contact--"')),
    "parent field": sync_toml(
        DEFAULT_FIELDS.replace('"Account.Name"', '"Account.Name, (SELECT Id FROM Contacts)"')
    ),
    "region": sync_toml(DEFAULT_FIELDS.replace('"MailingCountryCode"', '"MailingCountryCode, Id"')),
    "condition with an order": sync_toml(where='"Title = null ORDER BY Id"'),
    "condition with a comment": sync_toml(where='"Title = null -- x"'),
    "condition that closes the bracket": sync_toml(where='"Title = null) OR (Id != null"'),
    "condition that ends in a quote": sync_toml(where='''"Title = 'x"'''),
    "name that is a path": sync_toml(name='"../../elsewhere"'),
}


@pytest.mark.parametrize("what", SYNCS)
def test_a_configuration_is_no_way_into_a_query(world: World, what: str) -> None:
    world.configure(SYNCS[what])
    assert world.run("pull", "--full").code == 78
    assert not world.requests("salesforce", "/query")


BAD_IDS = [
    "x' OR Id != '",
    "003Fk00000000Z1'--",
    "../../state",
    "003Fk00000000Z1\n",
    "%27 OR 1=1",
    "003Fk00000000Z1AAZAA",
]


@pytest.mark.parametrize(
    "command",
    [
        ["explain"],
        ["rejects", "show"],
        ["rejects", "retry"],
        ["rejects", "drop"],
        ["pull"],
        ["state", "abandon-job", "contacts"],
    ],
    ids=" ".join,
)
def test_an_argument_is_no_way_into_a_query(settled: World, command: list[str]) -> None:
    """Nor into another file: it is refused, or found nowhere."""
    for row_id in BAD_IDS:
        before = {path: path.read_bytes() for path in settled.home.rglob("*.json")}
        run = settled.run(*command, row_id)
        assert run.code not in (1, 75), run.said
        asked = [entry["query"] for entry in settled.requests("salesforce", "/query")]
        assert not [query for query in asked if row_id.strip() in query]
        assert {path: path.read_bytes() for path in settled.home.rglob("*.json")} == before or run.code == 0


def test_an_id_that_is_none_is_refused_before_any_request_for_it(settled: World) -> None:
    run = settled.run("explain", "x' OR Id != '")
    assert run.code == 78
    assert not settled.requests("salesforce", "/query")


# --- personal data and secrets

TROUBLES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "the query is broken off": {
        "service": "salesforce",
        "path": "/query",
        "kind": "cut",
        "at": "body",
        "bytes": 900,
    },
    "a page is cut short": {"service": "salesforce", "path": "/query", "kind": "truncate"},
    "batches are refused": {"service": "experiture", "path": "upsert-batch", "kind": "status", "status": 422},
    "batches get no answer": {"service": "experiture", "path": "upsert-batch", "kind": "lose_answer"},
    "the CDP is down": {
        "service": "experiture",
        "path": "upsert-batch",
        "kind": "status",
        "status": 503,
        "times": None,
    },
    "a 2xx proves nothing": {
        "service": "experiture",
        "path": "upsert-batch",
        "kind": "status",
        "status": 200,
    },
    "jobs are lost": {"service": "experiture", "path": "/jobs/", "kind": "status", "status": 404},
    "the token is refused": {
        "service": "experiture",
        "path": "upsert-batch",
        "kind": "status",
        "status": 401,
        "times": None,
    },
}


def assert_nothing_shows(world: World, run: Run) -> None:
    """No marker, no e-mail, no phone number, and no secret."""
    said = run.said.lower()
    assert MARKER.lower() not in said
    assert not EMAIL.search(said)
    phones = [row[name] for row in world.contacts() for name in ("Phone", "MobilePhone") if row[name]]
    assert not [phone for phone in phones if len(phone) > 6 and phone.lower() in said]
    secrets = [value for name, value in world.settings.items() if "SECRET" in name]
    assert not [secret for secret in secrets if secret in run.said]
    assert SESSION_MARK not in run.said


@pytest.mark.parametrize(
    ("verbosity", "form"), [([], "json"), (["-v"], "text"), (["-vv"], "json")], ids=["default", "-v", "-vv"]
)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_personal_data_and_no_secret_shows(
    make_world: MakeWorld, trouble: str, verbosity: list[str], form: str
) -> None:
    world = make_world(marker=MARKER)
    world.settings["CRMSYNC_LOG_FORMAT"] = form
    rule = dict(TROUBLES[trouble])
    if rule:
        world.fault(rule.pop("kind"), **rule)
    for command in (["pull", "--full"], ["rejects", "list"]):
        assert_nothing_shows(world, world.run(*command, *verbosity, **SMALL))


@pytest.mark.parametrize("status", [None, 422, 500])
@pytest.mark.parametrize("switches", [{}, {"batch_mode": "inline"}, {"outcome": "all_or_nothing"}], ids=str)
def test_a_message_that_quotes_a_record_does_not_reach_the_log(
    make_world: MakeWorld, status: int | None, switches: dict[str, str]
) -> None:
    """It is kept with the reject, and shown only when the values are asked for."""
    world = make_world(marker=MARKER)
    chosen = sorted(world.due())[7]
    person = world.contact(chosen)
    quoting = f"{person['Name']} <{person['Email']}> ({person['Phone']}) cannot be processed"
    world.cdp("switches", **switches)
    world.cdp("poison", field="salesforce_id", value=chosen, status=status, message=quoting)
    run = world.run("pull", "--full", "--json", "-vv", **SMALL)
    assert sum(run.sync["refused"].values()) == 1
    assert_nothing_shows(world, run)
    for command in (["rejects", "list"], ["rejects", "show", chosen], ["rejects", "list", "--json"]):
        assert_nothing_shows(world, world.run(*command))
    assert MARKER.lower() in world.run("rejects", "show", chosen, "--values").said.lower()


def test_a_bug_is_shown_without_the_values_that_it_met(make_world: MakeWorld) -> None:
    world = make_world(marker=MARKER)

    def broken(_mapper: Mapper, row: dict[str, Any]) -> Any:
        try:
            raise KeyError(row["LastName"])
        except KeyError as error:
            raise ValueError(f"cannot map {row['LastName']}, {row['Email']}") from error

    with mock.patch.object(Mapper, "map", broken):
        run = world.run("pull", "--full", "-vv", bug=True)
    assert run.code == 1
    assert "ValueError" in run.err
    assert "broken" in run.err
    assert_nothing_shows(world, run)


def test_state_is_for_its_owner_alone_and_holds_no_secret(settled: World) -> None:
    paths = list(settled.state.rglob("*"))
    assert len(paths) > 3
    for path in [settled.state, *paths]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    held = b"".join(path.read_bytes() for path in paths if path.is_file())
    assert settled.settings["SALESFORCE_CLIENT_SECRET"].encode() not in held
    assert settled.settings["EXPERITURE_CLIENT_SECRET"].encode() not in held
    assert SESSION_MARK.encode() not in held


def test_a_summary_in_json_is_one_line_whatever_it_quotes(world: World) -> None:
    world.fault(
        "status",
        service="salesforce",
        path="/queryAll",
        status=400,
        body=[{"errorCode": "X", "message": FORGED}],
    )
    run = world.run("pull", "--full", "--json")
    assert run.code != 0
    assert orjson.loads(run.out)["exit_code"] == run.code
