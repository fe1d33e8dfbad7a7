"""What Salesforce's Bulk API does to its clients: the bulk part of its contract's checklist (section 8, no. 12)."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from crmsync.sandbox.salesforce import metadata
from crmsync.sandbox.web import Request, Response
from crmsync.sources.salesforce import bulk, bulk_rows

from .conftest import MakeWorld
from .registry import Check, Faults
from .world import DEFAULT_FIELDS, Row, World, sync_toml

FAULTS = Faults()
JOBS = {"service": "salesforce", "path": "/jobs/query$"}
JOB = {"service": "salesforce", "method": "GET", "path": "/jobs/query/[^/]+$"}
PAGE = {"service": "salesforce", "path": "/results$"}
PATIENCE = 60.0
WINDOWS_OF_A_RESUMED_RUN = 2
"""That of the run before, and its own."""
HTML = "<html><body><h1>Service Unavailable</h1></body></html>"


@pytest.fixture(autouse=True)
def _polls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "FIRST_POLL", 0.004)
    monkeypatch.setattr(bulk, "LONGEST_POLL", 0.02)


def error(code: str, message: str) -> list[Row]:
    return [{"errorCode": code, "message": message}]


def created(world: World) -> int:
    """How many jobs were made."""
    asked = world.requests("salesforce", "/jobs/query")
    return sum(entry["method"] == "POST" and entry["status"] == 200 for entry in asked)


def pages(world: World) -> list[Row]:
    return world.requests("salesforce", "/results")


def read_by_rest(world: World) -> list[str]:
    """The queries that read contacts by REST."""
    asked = [entry["query"] for entry in world.requests("salesforce", "/queryAll")]
    return [query for query in asked if "FROM Contact" in query and "COUNT()" not in query]


def everything_is_written(world: World) -> None:
    """Every profile is there, written once, and as it should be."""
    assert set(world.delivered()) == world.due()
    assert len(world.delivered()) == len(world.due()) == len(world.writes())
    if world.due():
        world.assert_in_step()


def pulls_by_bulk(world: World, *arguments: str, **settings: str) -> Row:
    """A full pull by one job ends well; the job is cleared away, and no contact is read by REST."""
    result = world.pull("--full", "--api", "bulk", *arguments, **settings)
    everything_is_written(world)
    assert created(world) == 1
    assert not read_by_rest(world)
    assert world.crm("bulk_jobs") == []
    return result


def falls_back_to_rest(world: World, because: str) -> None:
    """A full pull that was to use a job ends well by REST, and says why."""
    run = world.run("pull", "--full", "--api", "bulk")
    assert run.code == 0, run.said
    assert "reading by REST" in run.err
    assert because in run.err
    everything_is_written(world)
    assert read_by_rest(world)
    assert world.crm("bulk_jobs") == []


def gives_up(world: World, saying: str, **settings: str) -> None:
    """A full pull ends with 75; nothing moves, the job is cleared away, and the next pull makes it good."""
    run = world.run("pull", "--full", "--api", "bulk", "--json", **settings)
    assert (run.code, run.sync["watermark"]) == (75, None), run.said
    assert saying in run.err
    assert world.saved()["progress"]["positions"] == {}
    assert world.crm("bulk_jobs") == []
    world.server.faults.clear()
    world.crm("bulk_fate", outcome="finish")
    world.crm("switches", bulk_short_page=False, bulk_locator_header="always")
    assert world.pull("--api", "bulk", **settings)["resumed"]
    everything_is_written(world)
    assert created(world) >= 2


# --- states


@FAULTS.add("12-bulk-states")
def _(world: World) -> None:
    """A job is asked for until it is complete; then its rows are read, and it is deleted."""
    world.crm("switches", bulk_polls=4)
    pulls_by_bulk(world)
    assert [entry["method"] for entry in world.requests("salesforce", "/jobs/query")].count("DELETE") == 1


@FAULTS.add("12-bulk-failed")
def _(world: World) -> None:
    """A job that fails is deleted, and the window is read by REST; the log says what Salesforce said."""
    world.crm("bulk_fate", outcome="failed", message="Retried more than 15 times")
    falls_back_to_rest(world, "Retried more than 15 times")


@FAULTS.add("12-bulk-failed-for-a-field")
def _(world: World) -> None:
    """A job that fails for a field that has vanished: described anew, and read without it, with exit 3."""
    world.pull("--full")
    world.crm("switches", bulk_bad_query="fail")
    world.crm("hide_field", object="Contact", field="LeadSource")
    world.change(world.delivered()[0], Title="Changed")
    assert world.pull("--api", "bulk", code=3)["dropped"] == ["LeadSource"]
    assert world.profile(world.delivered()[0])["job_title"] == "Changed"
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-bulk-refused-for-a-field")
def _(world: World) -> None:
    """A job refused for a field that has vanished: described anew, and read without it, with exit 3."""
    world.pull("--full")
    world.crm("hide_field", object="Contact", field="LeadSource")
    world.change(world.delivered()[0], Title="Changed")
    assert world.pull("--api", "bulk", code=3)["dropped"] == ["LeadSource"]
    assert world.profile(world.delivered()[0])["job_title"] == "Changed"


@FAULTS.add("12-bulk-aborted-by-admin")
def _(world: World) -> None:
    """A job that somebody aborts is 75: nothing moves, and the next run makes another."""
    world.crm("bulk_fate", outcome="aborted")
    gives_up(world, "aborted by somebody in the org")


@FAULTS.add("12-bulk-never-ends")
def _(world: World) -> None:
    """A job that is not done at SALESFORCE_BULK_DEADLINE is 75; it is aborted and deleted."""
    world.crm("bulk_fate", outcome="stuck")
    gives_up(world, "is still InProgress", SALESFORCE_BULK_DEADLINE="1s")
    assert "PATCH" in [entry["method"] for entry in world.requests("salesforce", "/jobs/query")]


@FAULTS.add("12-bulk-vanishes")
def _(world: World) -> None:
    """A job that is gone while it is waited for is 75; the next run makes another."""
    gone = error("NOT_FOUND", "The requested resource does not exist")
    world.fault("status", **JOB, status=404, body=gone, times=None)
    gives_up(world, "vanished before its end")


@FAULTS.add("12-bulk-unknown-state")
def _(world: World) -> None:
    """A state that nobody knows is waited through, up to the deadline."""
    world.fault("status", **JOB, status=200, body={"state": "Simmering"}, times=3)
    pulls_by_bulk(world)


@FAULTS.add("12-bulk-outage-while-polling")
def _(world: World) -> None:
    """Requests that fail while a job is waited for are tried again: the job is the same."""
    world.crm("switches", bulk_polls=3)
    broken = world.fault("status", **JOB, status=503, body=HTML, times=3)
    pulls_by_bulk(world)
    assert world.hits(broken) == 3


@FAULTS.add("12-bulk-session-ends-while-polling")
def _(world: World) -> None:
    """A session that ends while a job is waited for is renewed, and the same job gone on with."""
    world.crm("switches", bulk_polls=6)
    world.crm("expire_sessions", after=6)
    pulls_by_bulk(world)
    assert len(world.requests("salesforce", "oauth2/token")) == 2


@FAULTS.add("12-bulk-session-ends-between-pages")
def _(world: World) -> None:
    """A session that ends while pages are read is renewed; links to pages are bound to no session."""
    world.crm("switches", bulk_page_rows=9)
    world.crm("expire_sessions", after=8)
    pulls_by_bulk(world)
    assert len(world.requests("salesforce", "oauth2/token")) == 2


@FAULTS.add("12-bulk-answer-to-the-creation-lost")
def _(world: World) -> None:
    """A job whose creation got no answer is not made once more: REST, and it is left to Salesforce's seven days."""
    world.fault("lose_answer", **JOBS, method="POST")
    world.pull("--full", "--api", "bulk")
    everything_is_written(world)
    assert len(world.crm("bulk_jobs")) == 1
    assert len(world.requests("salesforce", "/jobs/query")) == 1


@FAULTS.add("12-bulk-cannot-be-deleted")
def _(world: World) -> None:
    """A job that cannot be cleared away is no error of the run."""
    world.fault("status", service="salesforce", method="DELETE", path="/jobs/query/", status=500, times=None)
    world.pull("--full", "--api", "bulk")
    everything_is_written(world)
    assert len(world.crm("bulk_jobs")) == 1


# --- what cannot be read by a job


@FAULTS.add("12-bulk-storage-of-the-day-used-up")
def _(world: World) -> None:
    """Where the day's terabyte of results is used up (400 LIMIT_EXCEEDED), the window is read by REST."""
    most = world.crm("quota")["bulk_kilobytes_max"]
    world.crm("quota", bulk_kilobytes=most)
    falls_back_to_rest(world, "Max bulk v2 query result size stored")


@FAULTS.add("12-bulk-jobs-of-the-day-used-up")
def _(world: World) -> None:
    """Where the day's 10,000 jobs are used up (400 LIMIT_EXCEEDED), the window is read by REST."""
    most = world.crm("quota")["bulk_jobs_max"]
    world.crm("quota", bulk_jobs=most)
    falls_back_to_rest(world, "Max bulk v2 query jobs")


@FAULTS.add("12-bulk-object-not-supported")
def _(world: World) -> None:
    """An object that the Bulk API does not take (INVALIDENTITY) is read by REST."""
    world.crm("bulk_unsupported", objects=["Contact"])
    falls_back_to_rest(world, "is not supported by the Bulk API")


@FAULTS.add("12-bulk-too-old-a-version")
def _(world: World) -> None:
    """An API version without bulk queries (before 47) reads by REST."""
    world.settings["SALESFORCE_API_VERSION"] = "46.0"
    falls_back_to_rest(world, "NOT_FOUND")


@FAULTS.add("12-bulk-compound-field")
def _(world: World) -> None:
    """A compound field, here as a region hint, is known to be out of a job's reach: REST, and no job is tried."""
    world.configure(compound_hint())
    falls_back_to_rest(world, "MailingAddress")
    assert not world.requests("salesforce", "/jobs/query")


@FAULTS.add("12-bulk-base64-field")
def _(world: World) -> None:
    """A field of binary data is known to be out of a job's reach: REST, and no job is tried."""
    org = world.salesforce.org
    entity = org.entities["Contact"]
    binary = replace(entity.fields["Title"], type="base64", length=0)
    metadata._replace_field(org, entity, "Title", binary)
    falls_back_to_rest(world, "Title: no bulk query may select such a field")
    assert not world.requests("salesforce", "/jobs/query")


def refused_for_a_compound_field(code: str) -> Check:
    def check(world: World) -> None:
        world.crm("switches", bulk_compound_code=code)
        world.configure(compound_hint())
        with mock.patch.object(bulk_rows, "UNREADABLE_TYPES", frozenset()):
            falls_back_to_rest(world, "Selecting compound data not supported in Bulk Query")

    check.__doc__ = (
        "A field that only Salesforce knows to be out of a job's reach: refused, and read by REST."
    )
    return check


for _code in ("FUNCTIONALITY_NOT_ENABLED", "API_ERROR"):
    FAULTS.add(f"12-bulk-compound-field-{_code}")(refused_for_a_compound_field(_code))


def compound_hint() -> str:
    return sync_toml(DEFAULT_FIELDS.replace('"MailingCountry"]', '"MailingCountry", "MailingAddress"]'))


# --- pages


@FAULTS.add("12-bulk-unordered-rows")
def _(world: World) -> None:
    """Rows come in no order: an interrupted run keeps no position, and its window is read again from its start."""
    world.crm("switches", bulk_page_rows=20)
    world.fault("status", service="experiture", path="upsert-batch", status=503, times=None, after=3)
    run = world.run("pull", "--full", "--changed", "--api", "bulk", "--json", CRMSYNC_BATCH_SIZE="5")
    assert (run.code, run.sync["watermark"]) == (75, None)
    assert world.saved()["progress"]["positions"] == {}
    world.server.faults.clear()
    result = world.pull("--api", "bulk")
    assert result["written"] < len(world.due())
    everything_is_written(world)
    assert created(world) == 1 + WINDOWS_OF_A_RESUMED_RUN
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-bulk-pages-by-locators")
def _(world: World) -> None:
    """Before version 58 each page names the next by its locator; the text `null` ends that."""
    world.crm("switches", bulk_page_rows=9)
    pulls_by_bulk(world, SALESFORCE_API_VERSION="57.0")
    asked = pages(world)
    assert len(asked) == len({entry["query"] for entry in asked}) == -(-len(world.contacts()) // 9)
    assert not [entry for entry in asked if "null" in entry["query"]]


@FAULTS.add("12-bulk-locator-absent-on-the-last-page")
def _(world: World) -> None:
    """The last page may also come without the header."""
    world.crm("switches", bulk_page_rows=9, bulk_locator_header="not_on_last")
    pulls_by_bulk(world, SALESFORCE_API_VERSION="57.0")


@FAULTS.add("12-bulk-locator-header-absent")
def _(world: World) -> None:
    """Where the header never comes, the rows that are missing are noticed: 75, and nothing moves."""
    world.crm("switches", bulk_page_rows=9, bulk_locator_header="never")
    gives_up(world, f"only 9 of the {len(world.contacts())} rows", SALESFORCE_API_VERSION="57.0")


@FAULTS.add("12-bulk-locator-that-leads-back")
def _(world: World) -> None:
    """A locator that leads to a page read before ends the paging; the missing rows are noticed: 75."""
    world.crm("switches", bulk_page_rows=9)
    handle = world.salesforce.handle

    def leading_back(request: Request) -> Response:
        reply = handle(request)
        if "Sforce-Locator" in reply.headers:
            reply.headers["Sforce-Locator"] = "OQ"
        return reply

    with mock.patch.object(world.salesforce, "handle", leading_back):
        run = world.run("pull", "--full", "--api", "bulk", SALESFORCE_API_VERSION="57.0")
    assert run.code == 75
    assert len(pages(world)) == 2
    assert world.saved()["watermark"] is None


@FAULTS.add("12-bulk-pages-side-by-side")
def _(world: World) -> None:
    """From version 58 on a list tells where the pages are, five at a time."""
    world.crm("switches", bulk_page_rows=4)
    pulls_by_bulk(world)
    asked = pages(world)
    assert len(asked) == len({entry["query"] for entry in asked}) == -(-len(world.contacts()) // 4)
    assert len(world.requests("salesforce", "/resultPages")) == -(-len(asked) // 5)


@FAULTS.add("12-bulk-pages-nextRecordUrl")
def _(world: World) -> None:
    """The link to more pages may be spelled nextRecordUrl."""
    world.crm("switches", bulk_page_rows=4, bulk_pages_next="nextRecordUrl")
    pulls_by_bulk(world)


@FAULTS.add("12-bulk-pages-resultLink")
def _(world: World) -> None:
    """The link to a page may be spelled resultLink."""
    world.crm("switches", bulk_page_rows=4, bulk_page_link="resultLink")
    pulls_by_bulk(world)


@FAULTS.add("12-bulk-pages-unreadable")
def _(world: World) -> None:
    """A list of pages that is none is 75, and nothing moves."""
    world.fault(
        "status", service="salesforce", path="/resultPages", status=200, body={"done": True}, times=None
    )
    gives_up(world, "does not tell where the pages")


@FAULTS.add("12-bulk-columns-by-the-alphabet")
def _(world: World) -> None:
    """Before version 50 the columns come in the order of the alphabet."""
    world.crm("switches", bulk_page_rows=9)
    pulls_by_bulk(world, SALESFORCE_API_VERSION="49.0")


@FAULTS.add("12-bulk-header-on-the-first-page-only")
def _(world: World) -> None:
    """A page without the line of names has its columns in the SELECT's order."""
    world.crm("switches", bulk_page_rows=9, bulk_header_row="first_page")
    pulls_by_bulk(world)


@FAULTS.add("12-bulk-header-on-the-first-page-only-by-the-alphabet")
def _(world: World) -> None:
    """Before version 50 such a page has them in the order of the pages before it."""
    world.crm("switches", bulk_page_rows=9, bulk_header_row="first_page")
    pulls_by_bulk(world, SALESFORCE_API_VERSION="49.0")


@FAULTS.add("12-bulk-short-page")
def _(world: World) -> None:
    """A page with fewer rows than Sforce-NumberOfRecords is read again, then given up: 75, and nothing moves."""
    world.crm("switches", bulk_short_page=True)
    gives_up(world, "59 of its 60 rows arrived" if len(world.contacts()) == 60 else "rows arrived")


@FAULTS.add("12-bulk-number-header-absent")
def _(world: World) -> None:
    """Without Sforce-NumberOfRecords the job's own count tells whether every row came."""
    world.crm("switches", bulk_page_rows=9, bulk_number_header=False)
    pulls_by_bulk(world)


@FAULTS.add("12-bulk-short-page-uncounted")
def _(world: World) -> None:
    """So it does where a page is short and says nothing: 75, and nothing moves."""
    world.crm("switches", bulk_short_page=True, bulk_number_header=False)
    gives_up(world, f"of the {len(world.contacts())} rows of a bulk job arrived")


@FAULTS.add("12-bulk-page-of-another-version")
def _(world: World) -> None:
    """Results refused for the version of the request (409) are 75: nothing moves, the next run makes a job."""
    world.fault("status", **PAGE, status=409, body=error("API_ERROR", "wrong version"), times=None)
    gives_up(world, "the results of a bulk job cannot be read (API_ERROR: wrong version)")


def not_there_yet(status: int, saying: str) -> Check:
    def check(world: World) -> None:
        world.fault("status", **PAGE, status=status, times=None)
        gives_up(world, saying)

    check.__doc__ = (
        f"Results answered with {status}, though the job is complete, are 75, and no empty result."
    )
    return check


for _status, _saying in ((204, "gives no results"), (404, "cannot be read"), (400, "cannot be read")):
    FAULTS.add(f"12-bulk-no-results-{_status}")(not_there_yet(_status, _saying))


def broken_page(kind: str, **rule: Any) -> Check:
    def check(world: World) -> None:
        world.crm("switches", bulk_page_rows=20)
        broken = world.fault(kind, **PAGE, times=2, after=1, **rule)
        pulls_by_bulk(world)
        assert world.hits(broken) == 2

    check.__doc__ = "The page is read again, from behind the rows that were taken in: each is written once."
    return check


BROKEN_PAGES: dict[str, dict[str, Any]] = {
    "12-bulk-page-cut-at-once": {"kind": "cut", "at": "accept"},
    "12-bulk-page-cut-mid-body": {"kind": "cut", "at": "body", "bytes": 700},
    "12-bulk-page-truncated": {"kind": "truncate"},
    "12-bulk-page-503": {"kind": "status", "status": 503, "body": HTML},
    "12-bulk-page-in-html": {"kind": "status", "status": 200, "body": HTML},
}
for _name, _rule in BROKEN_PAGES.items():
    FAULTS.add(_name)(broken_page(**_rule))


@FAULTS.add("12-bulk-page-cut-after-many-rows", contacts=2600)
def _(world: World) -> None:
    """A page cut behind two thousand rows that are being written goes on behind them: each is written once."""
    handle, cuts = world.salesforce.handle, []

    def cutting(request: Request) -> Response:
        reply = handle(request)
        if request.path.endswith("/results") and len(cuts) < 2:
            lines = gzip.decompress(reply.encoded()).splitlines(keepends=True)
            reply.body = gzip.compress(b"".join(lines[:2300]))
            cuts.append(len(lines))
        return reply

    with mock.patch.object(world.salesforce, "handle", cutting):
        pulls_by_bulk(world)
    assert len(cuts) == 2


@FAULTS.add("12-bulk-page-truncated-gzip")
def _(world: World) -> None:
    """A compressed page that ends early under a matching length is read again, wherever it breaks off."""
    handle, cuts = world.salesforce.handle, []

    def cutting(request: Request) -> Response:
        reply = handle(request)
        if request.path.endswith("/results") and len(cuts) < 3:
            plain = gzip.decompress(reply.encoded())
            reply.body = gzip.compress(plain)[: -12 - 40 * len(cuts)]
            cuts.append(len(plain))
        return reply

    with mock.patch.object(world.salesforce, "handle", cutting):
        pulls_by_bulk(world)
    assert len(cuts) == 3


@FAULTS.add("12-bulk-page-breaks-off-within-the-last-value")
def _(world: World) -> None:
    """Half of the last value, the quote that ends it missing, is not taken for the value."""
    handle, cuts = world.salesforce.handle, []

    def cutting(request: Request) -> Response:
        reply = handle(request)
        if request.path.endswith("/results") and len(cuts) < 2:
            plain = gzip.decompress(reply.encoded()).rstrip(b"\n")
            reply.body = gzip.compress(plain[:-4])
            cuts.append(len(plain))
        return reply

    with mock.patch.object(world.salesforce, "handle", cutting):
        pulls_by_bulk(world)
    assert len(cuts) == 2


@FAULTS.add("12-bulk-page-never-whole")
def _(world: World) -> None:
    """A page that breaks off again and again is 75 after four tries; nothing moves."""
    broken = world.fault("cut", **PAGE, at="body", bytes=700, times=None)
    run = world.run("pull", "--full", "--api", "bulk", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None)
    assert world.hits(broken) == bulk.PAGE_TRIES
    assert world.crm("bulk_jobs") == []
    world.server.faults.clear()
    world.pull("--api", "bulk")
    everything_is_written(world)


def empty(shape: str) -> Check:
    def check(world: World) -> None:
        world.crm("switches", bulk_empty_result=shape)
        result = pulls_by_bulk(world)
        assert (result["read"], result["watermark_moved"]) == (0, True)

    check.__doc__ = "No rows are no rows, whatever that looks like: the window is closed."
    return check


for _shape in ("header", "header_uncounted", "nothing", "nothing_uncounted"):
    FAULTS.add(f"12-bulk-empty-result-{_shape}", contacts=0)(empty(_shape))


# --- values

VALUES = {
    "nul": "A NUL\x00within",
    "crlf": "first line\r\nsecond line\rthird",
    "line-breaks": "first line\nsecond line\n\n",
    "quotes": 'says "hi", and "',
    "na": "NA",
    "null": "null",
    "nan": "NaN",
    "number": "007",
    "boolean": "true",
    "comma": ", , ,",
    "spaces": "  wide  ",
    "emoji": "Chief 🦊 Officer\u2028e\u0301",
}


def value(text: str) -> Check:
    def check(world: World) -> None:
        chosen = sorted(world.due())[:3]
        world.change(chosen, Title=text, LastName=f"Last{text}")
        world.crm("switches", bulk_page_rows=9)
        world.pull("--full")
        by_rest = {row["salesforce_id"]: row for row in world.profiles()}
        world.cdp("reset")
        world.forget_requests()
        world.pull("--full", "--api", "bulk", CRMSYNC_STATE=str(world.home / "another"))
        by_bulk = {row["salesforce_id"]: row for row in world.profiles()}
        assert not read_by_rest(world)
        assert {i: plain(row) for i, row in by_bulk.items()} == {i: plain(row) for i, row in by_rest.items()}
        world.assert_in_step()

    check.__doc__ = "The value arrives as it does by REST."
    return check


def plain(profile: Row) -> Row:
    """A profile without what the CDP adds."""
    return {name: field for name, field in profile.items() if name in DEFAULT_FIELDS}


for _kind, _text in VALUES.items():
    FAULTS.add(f"12-bulk-value-{_kind}")(value(_text))


TYPED_FIELDS = (
    DEFAULT_FIELDS
    + """
ltv = { from = "Account.AnnualRevenue", normalize = "none" }
order_count = { from = "Account.NumberOfEmployees", normalize = "none" }
email_opted_out = { from = "HasOptedOutOfEmail", normalize = "none" }
"""
)


@FAULTS.add("12-bulk-types")
def _(world: World) -> None:
    """Numbers, booleans, dates and instants are what they are by REST, on the wire and in the ledger."""
    world.configure(
        sync_toml(TYPED_FIELDS) + '[ownership]\nltv = "any"\norder_count = "any"\nemail_opted_out = "any"\n'
    )
    world.pull("--full")
    by_rest = {write["key"]: write["record"] for write in world.writes()}
    assert {type(record.get("email_opted_out")) for record in by_rest.values()} == {bool}
    assert {int, float} & {type(record.get("ltv")) for record in by_rest.values()}
    count = len(world.writes())
    assert world.pull("--full", "--changed", "--api", "bulk")["written"] == 0
    world.cdp("reset")
    world.pull("--full", "--api", "bulk", CRMSYNC_STATE=str(world.home / "another"))
    assert len(by_rest) == count
    assert {write["key"]: write["record"] for write in world.writes()} == by_rest


@FAULTS.add("12-bulk-sees-the-data-at-its-end")
def _(world: World) -> None:
    """Whether a job sees the data of its beginning or its end, what changes meanwhile is in the next window."""
    world.crm("switches", bulk_reads="end", bulk_polls=2)
    chosen = sorted(world.due())[:3]
    asked = []
    handle = world.salesforce.handle

    def changing(request: Request) -> Response:
        reply = handle(request)
        if request.method == "POST" and request.path.endswith("/jobs/query"):
            asked.append(request)
            world.change(chosen, Title="Meanwhile")
        return reply

    with mock.patch.object(world.salesforce, "handle", changing):
        world.pull("--full", "--api", "bulk")
    assert len(asked) == 1
    world.advance()
    world.pull()
    world.assert_in_step()
    assert {world.profile(row_id)["job_title"] for row_id in chosen} == {"Meanwhile"}


# --- which way is chosen


@FAULTS.add("12-count-above-the-threshold")
def _(world: World) -> None:
    """A first pull of more rows than SALESFORCE_BULK_THRESHOLD is by a job, chosen by a COUNT()."""
    world.pull("--full", SALESFORCE_BULK_THRESHOLD=str(len(world.contacts()) - 1))
    everything_is_written(world)
    assert created(world) == 1
    assert not read_by_rest(world)


@FAULTS.add("12-count-at-the-threshold")
def _(world: World) -> None:
    """Of as many rows as SALESFORCE_BULK_THRESHOLD it is by REST, and so it is below."""
    world.pull("--full", SALESFORCE_BULK_THRESHOLD=str(len(world.contacts())))
    everything_is_written(world)
    assert created(world) == 0


@FAULTS.add("12-count-only-of-long-windows")
def _(world: World) -> None:
    """The window of a timer's run is read by REST without being counted, one of a day or more is counted."""
    world.pull("--full")
    for seconds, counts in ((3600, 0), (2 * 86_400, 1)):
        world.advance(seconds)
        world.forget_requests()
        world.pull(SALESFORCE_BULK_THRESHOLD="1000")
        assert len(world.requests("salesforce", query="COUNT()")) == counts


@FAULTS.add("12-count-runs-too-long")
def _(world: World) -> None:
    """Rows that cannot be counted in time (QUERY_TIMEOUT) are many: they are read by a job."""
    slow = error("QUERY_TIMEOUT", "Your query request was running for too long.")
    world.fault("status", service="salesforce", query=r"COUNT\(\)", status=400, body=slow, times=None)
    world.pull("--full")
    everything_is_written(world)
    assert created(world) == 1


@FAULTS.add("12-query-timeout-becomes-a-job")
def _(world: World) -> None:
    """Where REST queries run for too long however short their range is, a job reads the rest."""
    rest_runs_too_long(world)
    world.pull("--full")
    everything_is_written(world)
    assert created(world) == 1
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-query-timeout-midway-becomes-a-job")
def _(world: World) -> None:
    """What was read before is not read again but for the rows of its last second; each is written once."""
    world.crm("page_sizes", sizes=[20])
    rest_runs_too_long(world, path="/data/v[0-9.]+/query/", after=1)
    rest_runs_too_long(world, after=1)
    world.pull("--full")
    everything_is_written(world)
    assert created(world) == 1


@FAULTS.add("12-query-timeout-by-rest-alone")
def _(world: World) -> None:
    """With `--api rest` it is 75, and no job is made."""
    rest_runs_too_long(world)
    run = world.run("pull", "--full", "--api", "rest", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None)
    assert not world.requests("salesforce", "/jobs/query")


@FAULTS.add("12-query-timeout-and-no-job-either")
def _(world: World) -> None:
    """Where the job fails as well it is 75 with the query's error."""
    rest_runs_too_long(world)
    world.crm("bulk_fate", outcome="failed")
    run = world.run("pull", "--full", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None)
    assert "QUERY_TIMEOUT" in run.err
    assert world.crm("bulk_jobs") == []


def rest_runs_too_long(world: World, path: str = "/queryAll", after: int = 0) -> None:
    slow = error("QUERY_TIMEOUT", "Your query request was running for too long.")
    query = {"query": "ORDER BY"} if path == "/queryAll" else {}
    rule = {"service": "salesforce", "path": path, **query}
    world.fault("status", **rule, status=400, body=slow, times=None, after=after)


@FAULTS.add("12-bulk-window-of-a-timer")
def _(world: World) -> None:
    """With `--api bulk` a delta is read by a job as well, and a quiet one writes nothing."""
    world.pull("--full", "--api", "bulk")
    account = next(
        row["AccountId"] for row in world.contacts() if row["AccountId"] and row["Id"] in world.due()
    )
    world.crm("update", object="Account", id=account, fields={"Name": "Renamed"})
    world.change(sorted(world.due())[:3], Title="Changed")
    assert world.pull("--api", "bulk")["written"] >= 3
    world.assert_in_step()
    world.advance()
    assert world.pull("--api", "bulk")["written"] == 0
    assert created(world) == 3
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-reconcile-by-a-job")
def _(world: World) -> None:
    """`reconcile` reads every Id by a job where there are many, and deletes it; refused, it reads by REST."""
    world.pull("--full")
    for refused in (False, True):
        world.crm("bulk_unsupported", objects=["Contact"] if refused else [])
        run = world.run("reconcile", "--json", SALESFORCE_API="bulk")
        assert run.code == 0, run.said
        assert ("reading by REST" in run.err) is refused
        assert run.json["in_org"] == sum(not row["IsDeleted"] for row in world.contacts())
    assert created(world) == 1
    assert world.crm("bulk_jobs") == []


# --- runs that end early


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def polling(world: World, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    """A full pull in a process of its own, while it waits for a job that does not end."""
    world.crm("bulk_fate", outcome="stuck")
    process = world.start("pull", "--full", "--api", "bulk", *arguments, **settings)
    wait_for(lambda: [r for r in world.requests("salesforce", "/jobs/query/") if r["status"]], "a poll")
    return process


@FAULTS.add("12-reconcile-stopped-while-polling")
def _(world: World) -> None:
    """SIGTERM while `reconcile` waits for its job: 143, and the job is aborted and deleted."""
    world.pull("--full")
    world.crm("bulk_fate", outcome="stuck")
    process = world.start("reconcile", SALESFORCE_API="bulk")
    wait_for(lambda: [r for r in world.requests("salesforce", "/jobs/query/") if r["status"]], "a poll")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-reconcile-stopped-while-reading")
def _(world: World) -> None:
    """So it is with SIGTERM while the Ids are read, by REST as well: it stops before the next page."""
    world.pull("--full")
    world.crm("page_sizes", sizes=[1])
    slow = world.fault("delay", service="salesforce", path="/query/", times=None, seconds=0.05)
    process = world.start("reconcile", SALESFORCE_API="rest")
    wait_for(lambda: world.hits(slow) > 1, "a page")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143
    assert world.hits(slow) < len(world.due())


def killed_while_polling(world: World) -> str:
    """Kill such a pull, and let its job end. Gives the job's Id."""
    process = polling(world)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    (job,) = world.crm("bulk_jobs")
    world.crm("bulk_fate", outcome="finish")
    world.crm("bulk_fate", outcome="finish", id=job["id"])
    return str(job["id"])


@FAULTS.add("12-bulk-stopped-while-polling")
def _(world: World) -> None:
    """SIGTERM while a job is waited for: 143, and the job is aborted and deleted."""
    process = polling(world)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143
    assert world.crm("bulk_jobs") == []
    methods = [entry["method"] for entry in world.requests("salesforce", "/jobs/query")]
    assert methods[-2:] == ["PATCH", "DELETE"]
    world.crm("bulk_fate", outcome="finish")
    assert world.pull("--api", "bulk")["resumed"]
    everything_is_written(world)


@FAULTS.add("12-bulk-killed-while-polling")
def _(world: World) -> None:
    """After `kill -9` the next run goes on with the same job, for nothing was sent since it was made."""
    killed_while_polling(world)
    assert world.pull()["resumed"]
    everything_is_written(world)
    assert created(world) == 1
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-bulk-killed-and-rest-asked-for")
def _(world: World) -> None:
    """With `--api rest` the next run clears the job away that it has no use for."""
    killed_while_polling(world)
    world.pull("--api", "rest")
    everything_is_written(world)
    assert created(world) == 1
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-bulk-killed-after-something-was-sent")
def _(world: World) -> None:
    """After `kill -9` amid the sending the job is cleared away and another one made: the first may be stale."""
    world.pull_killed_at_batch(2, "--full", "--api", "bulk", CRMSYNC_BATCH_SIZE="5")
    (job,) = world.crm("bulk_jobs")
    world.change(sorted(world.due()), Title="Newer")
    world.pull("--api", "bulk")
    assert created(world) == 1 + WINDOWS_OF_A_RESUMED_RUN
    assert world.crm("bulk_jobs") == []
    gone = [entry for entry in world.requests("salesforce", job["id"]) if entry["method"] == "DELETE"]
    assert len(gone) == 1
    world.assert_in_step()


@FAULTS.add("12-bulk-killed-and-the-mapping-changed")
def _(world: World) -> None:
    """A job that was made for another mapping is not gone on with: its columns mean something else."""
    killed_while_polling(world)
    world.configure(sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Department"')))
    world.pull()
    department = {row["Id"]: row["Department"] for row in world.contacts()}
    assert set(world.delivered()) == world.due()
    assert all(row.get("job_title") == department[row["salesforce_id"]] for row in world.profiles())
    assert world.crm("bulk_jobs") == []


@FAULTS.add("12-bulk-killed-and-another-version")
def _(world: World) -> None:
    """Results belong to the API version of their job: with another one set, another job is made."""
    killed_while_polling(world)
    world.pull("--api", "bulk", SALESFORCE_API_VERSION="60.0")
    everything_is_written(world)
    assert created(world) == 1 + WINDOWS_OF_A_RESUMED_RUN
    assert world.crm("bulk_jobs") == []


def killed_and_the_job_ended(how: str) -> Check:
    def check(world: World) -> None:
        job = killed_while_polling(world)
        world.crm("bulk_fate", outcome=how, id=job)
        if how == "aborted":
            wait_for(lambda: world.crm("bulk_jobs")[0]["state"] == "Aborted", "the administrator")
        world.pull("--api", "bulk")
        everything_is_written(world)
        assert created(world) == 1 + WINDOWS_OF_A_RESUMED_RUN
        assert world.crm("bulk_jobs") == []

    check.__doc__ = "A job that ended otherwise after the kill is cleared away, and another one made."
    return check


for _how in ("aborted", "failed"):
    FAULTS.add(f"12-bulk-killed-and-the-job-{_how}")(killed_and_the_job_ended(_how))


@FAULTS.add("12-bulk-killed-and-the-results-expired")
def _(world: World) -> None:
    """A job whose seven days are over is not there any more: another one is made."""
    killed_while_polling(world)
    assert world.crm("bulk_jobs")
    world.advance(8 * 86_400)
    world.pull("--api", "bulk")
    everything_is_written(world)
    assert created(world) == 1 + WINDOWS_OF_A_RESUMED_RUN


@FAULTS.add("12-bulk-killed-and-rehearsed")
def _(world: World) -> None:
    """A dry run leaves the job of the run that it rehearses alone: the next pull goes on with it."""
    job = killed_while_polling(world)
    assert world.pull("--dry-run", "--api", "bulk")["written"] == len(world.due())
    assert [each["id"] for each in world.crm("bulk_jobs")] == [job]
    world.forget_requests()
    world.pull()
    everything_is_written(world)
    assert created(world) == 0


@pytest.mark.parametrize("name", FAULTS.known)
def test_fault(make_world: MakeWorld, name: str) -> None:
    fault = FAULTS.known[name]
    fault.check(make_world(fault.contacts, login=fault.login))
