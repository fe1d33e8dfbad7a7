"""What Salesforce does to its clients: one parameter per line of its contract's checklist (section 8)."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import orjson
import pytest
from requests.adapters import HTTPAdapter

from crmsync.http import wire
from crmsync.sandbox.salesforce.api_error import ApiError

from .conftest import MakeWorld
from .registry import Check, Faults
from .world import DEFAULT_FIELDS, Row, World, sync_toml

FAULTS = Faults()
HTML = "<html><body><h1>Service Unavailable</h1></body></html>"
QUERY = {"service": "salesforce", "path": "/query"}


def error(code: str, message: str) -> list[Row]:
    return [{"errorCode": code, "message": message}]


def queries(world: World) -> list[str]:
    return [entry["query"] for entry in world.requests("salesforce", "/query") if entry["query"]]


def logins(world: World) -> int:
    return len(world.requests("salesforce", "oauth2/token"))


def pulls_all_the_same(world: World, *arguments: str) -> Row:
    """A full pull ends well, with every profile written once and as it should be."""
    result = world.pull("--full", *arguments)
    assert set(world.delivered()) == world.due()
    assert len(world.delivered()) == len(world.due()) == len(world.writes())
    world.assert_in_step()
    return result


# --- 1 and 2: what Salesforce refuses, and what its query language means


@FAULTS.add("1-wrong-token", login="token")
def _(world: World) -> None:
    """A token that Salesforce does not accept is exit 77 after one refusal; nothing is written."""
    world.settings["SALESFORCE_ACCESS_TOKEN"] = "00DFk0000000001!wrong.token"
    assert world.run("pull", "--full").code == 77
    assert [entry["status"] for entry in world.requests("salesforce")].count(401) == 1
    assert not world.requests("experiture")


@FAULTS.add("1-plus-sign")
def _(world: World) -> None:
    """A plus sign in a condition reaches Salesforce as a plus sign."""
    chosen = sorted(world.due())[:2]
    world.change(chosen, Title="a+b c")
    world.configure(sync_toml(where='''"Title = 'a+b c'"'''))
    world.pull("--full")
    assert sorted(world.delivered()) == chosen


@FAULTS.add("1-datetime-literals")
def _(world: World) -> None:
    """Every instant in a query is UTC, in whole seconds, ends in Z and stands without quotes."""
    world.pull("--full")
    world.pull()
    literals = [
        literal for query in queries(world) for literal in re.findall(r"[<>]=? ?(\S*\d{4}-\S+)", query)
    ]
    assert literals
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", literal) for literal in literals)
    assert {entry["status"] for entry in world.requests("salesforce", "/query")} == {200}


@FAULTS.add("1-unknown-column")
def _(world: World) -> None:
    """A mapped field that the org does not have is exit 78 naming it and the nearest one; nothing is written."""
    world.configure(sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Titel"')))
    run = world.run("pull", "--full")
    assert run.code == 78
    assert "Titel" in run.err
    assert "Title" in run.err
    assert not world.requests("experiture")


@FAULTS.add("1-unknown-object")
def _(world: World) -> None:
    """An object that the org does not have is exit 78 naming it and the nearest one."""
    world.configure(sync_toml(object='"Contakt"'))
    run = world.run("pull", "--full")
    assert run.code == 78
    assert "Contakt" in run.err
    assert "Contact" in run.err


@FAULTS.add("1-offset")
def _(world: World) -> None:
    """No query uses OFFSET, which ends at 2,000 rows: pages are followed by their links."""
    world.crm("page_sizes", sizes=[7])
    pulls_all_the_same(world)
    assert len(world.requests("salesforce", "/query/")) > 5
    assert not [query for query in queries(world) if "OFFSET" in query.upper()]


@FAULTS.add("1-uri-too-long-414")
def _(world: World) -> None:
    """A query that an edge refuses for its length (414, HTML) is sent again within a composite request."""
    uri_too_long(world, 414)


@FAULTS.add("1-headers-too-large-431")
def _(world: World) -> None:
    """A query refused with 431 (URI and headers above 16 KiB) is sent again within a composite request."""
    uri_too_long(world, 431)


def uri_too_long(world: World, status: int) -> None:
    world.fault("status", **QUERY, status=status, body=f"<h1>Bad Message {status}</h1>", times=None)
    pulls_all_the_same(world)
    assert world.requests("salesforce", "/composite")


@FAULTS.add("1-batch-size")
def _(world: World) -> None:
    """No page size outside 200 to 2,000 is ever asked for."""
    pulls_all_the_same(world)
    asked = [entry["headers"].get("Sforce-Query-Options", "batchSize=2000") for entry in world.requests()]
    assert all(200 <= int(options.partition("=")[2]) <= 2000 for options in asked)


@FAULTS.add("1-verbs")
def _(world: World) -> None:
    """Reading takes nothing but GET, and POST for the login: a read-only user is enough."""
    pulls_all_the_same(world)
    used = {(entry["method"], "token" in entry["path"]) for entry in world.requests("salesforce")}
    assert used == {("GET", False), ("POST", True)}


@FAULTS.add("2-own-condition")
def _(world: World) -> None:
    """The operator's condition selects as SOQL means it, and cannot reach around the window's bounds."""
    condition = "(Title != null AND LeadSource IN ('Web', 'Other')) OR HasOptedOutOfEmail = true"
    world.configure(sync_toml(where=f'"{condition}"'))
    world.pull("--full")
    chosen = {
        row["Id"]
        for row in world.contacts()
        if (row["Title"] and row["LeadSource"] in ("Web", "Other")) or row["HasOptedOutOfEmail"]
    }
    assert set(world.delivered()) == world.due() & chosen
    assert 0 < len(world.delivered()) < len(world.due())
    world.advance()
    assert world.pull()["read"] == 0


@FAULTS.add("2-names-in-any-case")
def _(world: World) -> None:
    """Field names may be written in any case: rows come back in the org's own spelling, and are found."""
    fields = DEFAULT_FIELDS
    for name in ("Email", "FirstName", "Account.Name", "Title", "LastModifiedDate"):
        fields = fields.replace(f'"{name}"', f'"{name.upper()}"')
    world.configure(sync_toml(fields))
    pulls_all_the_same(world)


@FAULTS.add("2-deleted-rows-only-by-queryall")
def _(world: World) -> None:
    """Deleted rows are read (queryAll), counted and left out."""
    deleted = [row for row in world.contacts() if row["IsDeleted"]]
    assert pulls_all_the_same(world)["skipped"]["deleted"] == len(deleted) > 0


# --- 3: paging


@FAULTS.add("3-small-pages")
def _(world: World) -> None:
    """Pages of a single row lose none."""
    world.crm("page_sizes", sizes=[1])
    pulls_all_the_same(world)


@FAULTS.add("3-varying-pages")
def _(world: World) -> None:
    """The size of a page says nothing: `done` alone ends the paging."""
    world.crm("page_sizes", sizes=[9, 2, 25, 1])
    pulls_all_the_same(world)


@FAULTS.add("3-empty-last-page")
def _(world: World) -> None:
    """A last page without rows ends the paging like any other."""
    world.crm("switches", empty_last_page=True)
    world.crm("page_sizes", sizes=[20])
    pulls_all_the_same(world)


@FAULTS.add("3-not-done-and-no-records")
def _(world: World) -> None:
    """A page without rows that is not the last does not end the paging."""
    world.crm("page_sizes", sizes=[0, 11, 0, 0])
    pulls_all_the_same(world)


@FAULTS.add("3-pages-that-lead-nowhere")
def _(world: World) -> None:
    """Pages that go on for ever without a row are given up: exit 75, the watermark does not move."""
    nowhere = {
        "totalSize": 60,
        "done": False,
        "records": [],
        "nextRecordsUrl": "/services/data/v67.0/query/01g",
    }
    world.fault("status", **QUERY, status=200, body=nowhere, times=None)
    run = world.run("pull", "--full", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None)


# --- 4 and 5: the clock, and transactions


@FAULTS.add("4-clock-an-hour-ahead")
def _(world: World) -> None:
    """The window ends by Salesforce's clock, whatever this machine's says."""
    clock_is_off(world, 3600)


@FAULTS.add("4-clock-an-hour-behind")
def _(world: World) -> None:
    """The window ends by Salesforce's clock also where it is behind this machine's."""
    clock_is_off(world, -3600)


def clock_is_off(world: World, seconds: float) -> None:
    world.pull("--full")
    world.crm("clock", skew_seconds=seconds + 7200)
    chosen = sorted(world.delivered())[:3]
    world.change(chosen, Title="By their clock")
    result = world.pull()
    assert result["written"] == 3
    theirs = world.salesforce.clock.now() - timedelta(seconds=5)
    assert abs((moment(result["watermark"]) - theirs).total_seconds()) < 30
    world.assert_in_step()


def moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@FAULTS.add("5-late-commit")
def _(world: World) -> None:
    """A row committed 9 minutes after its stamp is written by the next run; a quiet run writes nothing."""
    late_commit(world, updated="answer")


@FAULTS.add("5-late-commit-without-updated")
def _(world: World) -> None:
    """Where `/updated` is forbidden, the overlap alone finds a row committed 9 minutes after its stamp."""
    late_commit(world, updated="forbidden")


def late_commit(world: World, *, updated: str) -> None:
    world.crm("switches", updated=updated)
    world.pull("--full")
    chosen = world.delivered()[5]
    world.advance()
    transaction = world.crm("begin")["transaction"]
    world.crm("update", object="Contact", id=chosen, fields={"Title": "Late"}, transaction=transaction)
    world.advance(9 * 60)
    assert world.pull()["written"] == 0
    world.crm("commit", transaction=transaction)
    world.advance(30)
    assert world.pull()["written"] == 1
    assert world.profile(chosen)["job_title"] == "Late"
    world.advance(30)
    assert world.pull()["written"] == 0


@FAULTS.add("5-latest-date-covered-stands-still")
def _(world: World) -> None:
    """While a transaction is open the next window begins before it: its rows are found whenever it commits."""
    world.pull("--full")
    chosen = world.delivered()[0]
    world.advance()
    transaction = world.crm("begin")["transaction"]
    world.crm("update", object="Contact", id=chosen, fields={"Title": "Hours late"}, transaction=transaction)
    for _ in range(3):
        world.advance(3600)
        result = world.pull()
        assert result["written"] == 0
    assert any("transactions open at the source" in note for note in result["notes"])
    world.crm("commit", transaction=transaction)
    world.advance()
    assert world.pull()["written"] == 1
    assert world.profile(chosen)["job_title"] == "Hours late"


@FAULTS.add("5-short-stall")
def _(world: World) -> None:
    """A stall of up to 15 minutes is everyday: no warning."""
    world.pull("--full")
    world.crm("foreign_transaction")
    world.advance(14 * 60)
    assert world.pull()["notes"] == []


@FAULTS.add("5-another-tenant-stalls-for-two-days")
def _(world: World) -> None:
    """The drag is capped at 24 hours and warned of, what is read again costs no write, and the run ends well."""
    began = (world.salesforce.clock.now() - timedelta(days=2)).isoformat()
    world.crm("foreign_transaction", since=began)
    first = world.pull("--full")
    assert any("transactions open at the source" in note for note in first["notes"])
    world.advance()
    second = world.pull()
    start, end = moment(second["window"]["start"]), moment(first["window"]["end"])
    assert end - start == timedelta(hours=24, minutes=10)
    assert second["written"] == 0


# --- 6: ties


@FAULTS.add("6-ties", contacts=0)
def _(world: World) -> None:
    """5,000 rows of one second, across pages, a lost page link and the window's end: each is written once."""
    world.crm("clock", freeze="2026-03-01T12:00:05Z")
    people = [{"LastName": f"N{n}", "Email": f"n{n}@example.com"} for n in range(5000)]
    ids = world.crm("insert", object="Contact", rows=people, stamp="2026-03-01T12:00:00Z")["ids"]
    world.crm("page_sizes", sizes=[1999, 700])
    lost = error("INVALID_QUERY_LOCATOR", "invalid query locator")
    broken = world.fault("status", service="salesforce", path="/query/", status=400, body=lost, after=1)
    assert world.pull("--full")["read"] == 0
    world.advance(7)
    assert world.pull()["written"] == 5000
    assert world.hits(broken) == 1
    assert sorted(world.delivered()) == sorted(ids)
    assert len(world.writes()) == 5000
    world.advance(7)
    assert world.pull()["written"] == 0


# --- 7: sessions and logins


@FAULTS.add("7-session-ends-between-pages")
def _(world: World) -> None:
    """A session that ends while paging takes its page links along: one more login, no row lost or doubled."""
    world.crm("page_sizes", sizes=[10])
    world.crm("expire_sessions", after=5)
    pulls_all_the_same(world)
    assert logins(world) == 2


@FAULTS.add("7-session-ends-on-the-first-request")
def _(world: World) -> None:
    """A session that ends right after the login is renewed once."""
    world.crm("expire_sessions", after=1)
    pulls_all_the_same(world)
    assert logins(world) <= 2


@FAULTS.add("7-session-always-expired")
def _(world: World) -> None:
    """Sessions that never work are exit 77 after two logins, not a loop."""
    expired = error("INVALID_SESSION_ID", "Session expired or invalid")
    world.fault("status", service="salesforce", path="/services/data/v", status=401, body=expired, times=None)
    assert world.run("pull", "--full").code == 77
    assert logins(world) <= 2
    assert [entry["status"] for entry in world.requests("salesforce")].count(401) <= 2


@FAULTS.add("7-not-valid-for-rest")
def _(world: World) -> None:
    """A session that is not valid for the REST API is exit 77 after a single login."""
    revoked(world, "This session is not valid for use with the REST API")


@FAULTS.add("7-not-attached-to-agent")
def _(world: World) -> None:
    """A connected app that is not attached to its agent is exit 77 after a single login."""
    revoked(world, "Connected app is not attached to Agent")


def revoked(world: World, message: str) -> None:
    world.crm("revoke", message=message)
    assert world.run("pull", "--full").code == 77
    assert logins(world) == 1
    assert [entry["status"] for entry in world.requests("salesforce")].count(401) == 1


@FAULTS.add("7-refresh-token-rotation", login="refresh_token")
def _(world: World) -> None:
    """A rotated refresh token is kept before it is used, and carries the next run."""
    world.crm("switches", refresh_token_rotation=True, rotation_ends_session=True)
    pulls_all_the_same(world)
    world.advance()
    assert world.pull()["written"] == 0
    assert world.pull()["written"] == 0


@FAULTS.add("7-refresh-token-replayed", login="refresh_token")
def _(world: World) -> None:
    """A refresh token that was used up elsewhere is exit 77 after one try."""
    world.crm("switches", refresh_token_rotation=True)
    world.pull("--full")
    world.forget_requests()
    elsewhere = world.home / "elsewhere"
    assert world.run("pull", "--full", CRMSYNC_STATE=str(elsewhere)).code == 77
    assert logins(world) == 1


# --- 8: the org's allowance


@FAULTS.add("8-counter-goes-backwards")
def _(world: World) -> None:
    """The count of used requests runs backwards at times; the highest one seen is believed."""
    world.crm("switches", limit_header="backwards")
    world.crm("quota", used=500)
    used, most = pulls_all_the_same(world)["quota"]
    assert (used, most) >= (500, 100_000)


@FAULTS.add("8-quota-guard")
def _(world: World) -> None:
    """Past 80 % of the org's day a run stops with 75 and leaves the rest to others; CRMSYNC_MAX_QUOTA moves that."""
    guarded(world, "normal")
    assert world.run("pull", "--full", CRMSYNC_MAX_QUOTA="90%").code == 0


@FAULTS.add("8-per-app-tail")
def _(world: World) -> None:
    """The guard reads the header also where a per-app count follows."""
    guarded(world, "per_app")


@FAULTS.add("8-guard-with-a-counter-going-backwards")
def _(world: World) -> None:
    """The guard holds also where the counter runs backwards."""
    guarded(world, "backwards")


def guarded(world: World, header: str) -> None:
    world.crm("switches", limit_header=header)
    world.crm("quota", used=80_010)
    world.forget_requests()
    assert world.run("pull", "--full").code == 75
    assert len(world.requests("salesforce", "/services/data/v")) == 1
    assert not world.requests("experiture")


@FAULTS.add("8-no-header")
def _(world: World) -> None:
    """Without the header nothing is known of the allowance, and nothing stops."""
    world.crm("switches", limit_header="absent")
    world.crm("quota", used=90_000)
    assert pulls_all_the_same(world)["quota"] is None


@FAULTS.add("8-total-requests")
def _(world: World) -> None:
    """The day's allowance used up (403 TotalRequests) is 75 at once, without a retry."""
    world.crm("quota", used=100_000)
    assert world.run("pull", "--full").code == 75
    assert [entry["status"] for entry in world.requests("salesforce")].count(403) == 1


@FAULTS.add("8-concurrent-requests")
def _(world: World) -> None:
    """Too many requests at once (also 403 REQUEST_LIMIT_EXCEEDED) pass, and are tried again."""
    busy = error("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.")
    broken = world.fault("status", **QUERY, status=403, body=busy, times=3)
    pulls_all_the_same(world)
    assert world.hits(broken) == 3


# --- 9: the network and the edge

PASSING: dict[str, dict[str, Any]] = {
    "9-503-json": {"status": 503, "body": error("SERVER_UNAVAILABLE", "Server too busy")},
    "9-503-html": {"status": 503, "body": HTML},
    "9-500": {"status": 500, "body": error("UNKNOWN_EXCEPTION", "An unexpected error occurred.")},
    "9-420": {"status": 420},
    "9-429-empty": {"status": 429},
    "9-502-html": {"status": 502, "body": HTML},
    "9-504": {"status": 504},
    "9-query-cut-by-200-html": {"status": 200, "body": "{", "headers": {"Content-Type": "application/json"}},
}
BREAKS: dict[str, dict[str, Any]] = {
    "9-reset-at-once": {"kind": "cut", "at": "accept"},
    "9-reset-in-headers": {"kind": "cut", "at": "headers", "bytes": 30},
    "9-reset-mid-body": {"kind": "cut", "at": "body", "bytes": 500},
    "9-truncated-body": {"kind": "truncate"},
    "9-no-answer": {"kind": "lose_answer"},
}


def _passes(rule: dict[str, Any], promise: str) -> Check:
    def check(world: World) -> None:
        kind = rule.get("kind", "status")
        broken = world.fault(kind, **QUERY, times=2, **{n: v for n, v in rule.items() if n != "kind"})
        pulls_all_the_same(world)
        assert world.hits(broken) == 2

    check.__doc__ = promise
    return check


for _name, _rule in PASSING.items():
    FAULTS.add(_name)(_passes(_rule, "Tried again; the result is the same as if nothing had been."))
for _name, _rule in BREAKS.items():
    FAULTS.add(_name)(_passes(_rule, "Asked again; the result is the same as if nothing had been."))


@FAULTS.add("9-truncated-gzip")
def _(world: World) -> None:
    """A compressed body that ends early under a matching length is no answer: asked again."""
    whole = gzip.compress(orjson.dumps({"totalSize": 0, "done": True, "records": []}))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    broken = world.fault("status", **QUERY, status=200, body=whole[:-12], headers=headers, times=2)
    pulls_all_the_same(world)
    assert world.hits(broken) == 2


@FAULTS.add("9-slow-body")
def _(world: World) -> None:
    """A body that drips for longer than a reply may take is broken off and asked for again."""
    broken = world.fault("slow_body", **QUERY, bytes_per_second=2000)
    with mock.patch.object(wire, "WHOLE_TIMEOUT", 0.3):
        pulls_all_the_same(world)
    assert world.hits(broken) == 1


@FAULTS.add("9-never-answering")
def _(world: World) -> None:
    """A socket that never answers is given up after its time, and the request sent again."""
    broken = world.fault("hang", **QUERY, seconds=30)
    with mock.patch.object(wire, "READ_TIMEOUT", 0.2):
        pulls_all_the_same(world)
    assert world.hits(broken) == 1


@FAULTS.add("9-outage")
def _(world: World) -> None:
    """An outage is 75 after a bounded number of tries; the next run finishes the window."""
    world.crm("page_sizes", sizes=[10])
    world.fault("status", service="salesforce", path="/query/", status=503, body=HTML, times=None, after=2)
    run = world.run("pull", "--full", "--json", CRMSYNC_BATCH_SIZE="5")
    assert (run.code, run.sync["watermark"]) == (75, None)
    assert [entry["status"] for entry in world.requests("salesforce")].count(503) <= 10
    world.server.faults.clear()
    result = world.pull()
    assert result["resumed"]
    assert len(world.delivered()) == len(world.due())
    world.assert_in_step()


@FAULTS.add("9-query-timeout")
def _(world: World) -> None:
    """QUERY_TIMEOUT halves the range until it is answered; no row is lost."""
    slow = error("QUERY_TIMEOUT", "Your query request was running for too long.")
    broken = world.fault("status", **QUERY, status=400, body=slow, times=3)
    pulls_all_the_same(world, "--api", "rest")
    assert world.hits(broken) == 3
    spans = [
        query for query in queries(world) if "ORDER BY SystemModstamp" in query and "FROM Contact" in query
    ]
    assert len(set(spans)) == len(spans) >= 5


@FAULTS.add("9-query-timeout-for-good")
def _(world: World) -> None:
    """A query that runs for too long however short its range is 75; the watermark does not move."""
    slow = error("QUERY_TIMEOUT", "Your query request was running for too long.")
    world.fault("status", **QUERY, status=400, body=slow, times=None)
    run = world.run("pull", "--full", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None)


# --- 11: what changes at the source (parents are in test_parents.py)


@FAULTS.add("11-field-hidden-between-runs")
def _(world: World) -> None:
    """A delivered field that vanishes is left out with exit 3 until it is accepted; its last value stays."""
    world.pull("--full")
    chosen = next(row for row in world.profiles() if row.get("lead_source"))
    world.crm("hide_field", object="Contact", field="LeadSource")
    world.change(chosen["salesforce_id"], Title="Without a lead source")
    result = world.pull(code=3)
    assert result["dropped"] == ["LeadSource"]
    after = world.profile(chosen["salesforce_id"])
    assert (after["job_title"], after["lead_source"]) == ("Without a lead source", chosen["lead_source"])
    world.advance()
    assert world.pull(code=3)["dropped"] == ["LeadSource"]
    assert world.run("fields", "--accept").code == 0
    assert world.pull()["dropped"] == []


@FAULTS.add("11-field-hidden-between-pages")
def _(world: World) -> None:
    """A field that vanishes within a run is described anew, and the run goes on without it."""
    world.pull("--full")
    world.change(world.delivered(), Title="Changed")
    world.crm("page_sizes", sizes=[20])
    more = world.salesforce.pager.more

    def hiding(*arguments: Any) -> Any:
        if ("Contact", "LeadSource") in world.salesforce.org.hidden:
            return more(*arguments)
        world.crm("hide_field", object="Contact", field="LeadSource")
        raise ApiError(400, "INVALID_FIELD", "ERROR at Row:1:Column:8\nNo such column 'LeadSource'")

    with mock.patch.object(world.salesforce.pager, "more", hiding):
        assert world.pull(code=3)["dropped"] == ["LeadSource"]
    assert {row["job_title"] for row in world.profiles()} == {"Changed"}


@FAULTS.add("11-indispensable-field-hidden")
def _(world: World) -> None:
    """Where the row makes no sense without the field (required, match key) the run is 78 and nothing moves."""
    before = world.pull("--full")["watermark"]
    world.crm("hide_field", object="Contact", field="Email")
    world.change(world.delivered()[0], Title="Changed")
    run = world.run("pull", "--json")
    assert run.code == 78
    assert "Email" in run.err
    assert world.saved()["watermark"] == before
    world.crm("show_field", object="Contact", field="Email")
    world.pull()
    world.assert_in_step()


@FAULTS.add("11-field-comes-back")
def _(world: World) -> None:
    """A field that is back is delivered again from then on, with exit 0."""
    world.pull("--full")
    world.crm("hide_field", object="Contact", field="LeadSource")
    chosen = world.delivered()[0]
    world.change(chosen, Title="One")
    world.pull(code=3)
    world.crm("show_field", object="Contact", field="LeadSource")
    (world.home / "state" / "contacts" / "catalog.json").unlink(missing_ok=True)
    world.change(chosen, LeadSource="Other")
    world.pull()
    assert world.profile(chosen)["lead_source"] == "Other"


@FAULTS.add("11-field-renamed")
def _(world: World) -> None:
    """A renamed field is one that has vanished."""
    world.pull("--full")
    world.crm("rename_field", object="Contact", field="LeadSource", new="Origin__c")
    world.change(world.delivered()[0], Title="Renamed")
    assert world.pull(code=3)["dropped"] == ["LeadSource"]


@FAULTS.add("11-type-changed")
def _(world: World) -> None:
    """A field that becomes a number is delivered as one."""
    fields = DEFAULT_FIELDS.replace(
        'job_title = "Title"', 'ltv = { from = "Department", normalize = "none" }'
    )
    world.configure(sync_toml(fields) + '[ownership]\nltv = "any"\n')
    chosen = sorted(world.due())[0]
    world.change([row["Id"] for row in world.contacts()], Department=None)
    world.pull("--full")
    world.crm("change_type", object="Contact", field="Department", type="double")
    world.change(chosen, Department=12.5)
    world.pull()
    assert world.profile(chosen)["ltv"] == 12.5


@FAULTS.add("11-picklist-renamed")
def _(world: World) -> None:
    """A renamed picklist value moves SystemModstamp alone, and is delivered."""
    world.pull("--full")
    renamed = world.crm("rename_picklist", object="Contact", field="LeadSource", old="Web", new="Website")[
        "ids"
    ]
    world.advance()
    world.pull()
    wanted = set(renamed) & set(world.delivered())
    assert wanted
    assert all(world.profile(row_id)["lead_source"] == "Website" for row_id in wanted)


@FAULTS.add("11-backdated-last-modified", contacts=0)
def _(world: World) -> None:
    """A row imported with an old LastModifiedDate is found by SystemModstamp."""
    world.pull("--full")
    old = {"LastModifiedDate": "2019-05-01T10:00:00.000+0000"}
    with mock.patch("crmsync.sandbox.salesforce.org.SYSTEM_FIELDS", frozenset()):
        row = {"LastName": "Old", "Email": "old@example.com", **old}
        (chosen,) = world.crm("insert", object="Contact", rows=[row])["ids"]
    world.advance()
    assert world.pull()["written"] == 1
    assert world.profile(chosen)["crm_last_modified_at"] == "2019-05-01T10:00:00Z"


@FAULTS.add("11-mapping-changed")
def _(world: World) -> None:
    """A changed mapping is announced by every run until `pull --full --changed` has settled it."""
    world.pull("--full")
    world.configure(sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Department"')))
    for _ in range(2):
        world.advance()
        assert any("the mapping has changed" in note for note in world.pull()["notes"])
    world.advance()
    assert world.pull("--full", "--changed")["notes"] == []
    world.advance()
    assert world.pull()["notes"] == []
    department = {row["Id"]: row["Department"] for row in world.contacts()}
    written = {row["salesforce_id"]: row.get("job_title") for row in world.profiles()}
    assert all(written[i] == department[i] for i in written if department[i])


# --- 13: what the request log shows (12, bulk queries, is test_bulk_faults.py)


@FAULTS.add("13-requests-of-a-quiet-run")
def _(world: World) -> None:
    """A quiet run is the login and three requests, and none to the CDP."""
    world.pull("--full")
    world.advance(3600)
    world.forget_requests()
    world.pull()
    paths = [entry["path"].removeprefix("/services/data/v67.0") for entry in world.requests()]
    wanted = ["/queryAll/", "/queryAll/", "/services/oauth2/token", "/sobjects/Contact/updated/"]
    assert sorted(paths) == wanted


@FAULTS.add("13-no-parallel-logins")
def _(world: World) -> None:
    """One login a run, however many requests are in flight, on either side."""
    world.pull("--full", CRMSYNC_BATCH_SIZE="3")
    assert logins(world) == 1
    assert len(world.requests("experiture", "oauth/token")) == 1


@FAULTS.add("13-every-request-has-a-timeout")
def _(world: World) -> None:
    """No request leaves without a connect and a read timeout."""
    seen: list[Any] = []
    send = HTTPAdapter.send

    def noting(adapter: HTTPAdapter, request: Any, **options: Any) -> Any:
        seen.append(options["timeout"])
        return send(adapter, request, **options)

    with mock.patch.object(HTTPAdapter, "send", noting):
        pulls_all_the_same(world)
    assert len(seen) > 5
    assert all(0 < connect <= 30 and 0 < read <= 300 for connect, read in seen)


@FAULTS.add("13-nothing-after-a-fatal-error")
def _(world: World) -> None:
    """After a fatal refusal nothing more is asked, of either side."""
    forbidden = error("API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner")
    world.fault("status", **QUERY, status=403, body=forbidden, times=None)
    assert world.run("pull", "--full").code == 77
    log = world.requests()
    assert log[-1]["status"] == 403
    assert [entry["status"] for entry in log].count(403) == 1


@FAULTS.add("13-updated-refused")
def _(world: World) -> None:
    """`/updated` refused is no information and no error."""
    for answer in ("forbidden", "not_replicateable"):
        world.crm("switches", updated=answer)
        assert world.pull("--full")["notes"] == []


@pytest.mark.parametrize("name", FAULTS.known)
def test_fault(make_world: MakeWorld, name: str) -> None:
    fault = FAULTS.known[name]
    fault.check(make_world(fault.contacts, login=fault.login))
