"""Pulls after the first: only what changed, whatever the paging, and nothing at all when nothing did."""

from __future__ import annotations

import pytest

from .world import Crmsync, Install, Sandbox, StartSandbox, per_id, wait_for

LOGIN = "/oauth2/token"
PAGINGS = {
    "varying": [7, 200, 1, 60],
    "empty pages between": [50, 0, 30, 0, 0],
    "an empty page first": [0, 120],
    "one row a page at times": [1, 1, 299],
}


def test_a_pull_with_nothing_changed_asks_little_and_writes_nothing(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    """No request to the CDP; to Salesforce three at most besides the login."""
    crmsync.pull("--full")
    sandbox.advance(900)
    asked = sandbox.last_request()
    result = crmsync.pull()
    new = sandbox.requests(since=asked)
    assert [entry["path"] for entry in new if entry["service"] == "experiture"] == []
    assert len([entry for entry in new if LOGIN not in entry["path"]]) <= 3
    assert (result["written"], result["batches"], result["watermark_moved"]) == (0, 0, True)


def test_a_pull_tells_how_far_behind_the_source_it_ended(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """By the source's clock, also where it could not close its window."""
    crmsync.pull("--full")
    closed = crmsync.pull()
    assert (closed["kind"], closed["lag_seconds"] < 60) == ("delta", True)
    sandbox.advance(900)
    sandbox.fault("status", status=403, service="salesforce", path="/queryAll", times=None)
    assert crmsync.run("pull", "--json").sync["lag_seconds"] > 900


def test_a_pull_is_silent_under_cron(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """Neither stdout nor stderr is a terminal: no news is good news."""
    first, second = crmsync.run("pull", "--full"), crmsync.run("pull")
    assert (first.code, first.said) == (0, "")
    assert (second.code, second.said) == (0, "")


def test_after_ten_contacts_change_exactly_ten_records_are_written(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    crmsync.pull("--full")
    changed = sandbox.delivered()[100:110]
    before = sandbox.cdp("counts")["writes"]
    sandbox.retitle(changed, "Changed")
    result = crmsync.pull()
    writes = sandbox.cdp("writes", since=before, records=True)
    assert result["written"] == 10
    assert sorted(write["key"] for write in writes) == sorted(changed)
    assert {write["record"]["job_title"] for write in writes} == {"Changed"}
    sandbox.assert_in_step()


def test_a_row_is_not_written_again_while_the_overlap_reads_it_again(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    crmsync.pull("--full")
    sandbox.retitle(sandbox.delivered()[:10], "Changed")
    crmsync.pull()
    sandbox.advance()
    again = crmsync.pull()
    assert (again["unchanged"], again["written"]) == (10, 0)


def test_a_row_whose_mapped_fields_are_as_before_is_not_written(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """`system` moves SystemModstamp alone, which is not mapped."""
    crmsync.pull("--full")
    sandbox.advance()
    sandbox.crm("touch", object="Contact", ids=sandbox.delivered()[:5], system=True)
    sandbox.advance()
    result = crmsync.pull()
    assert (result["read"], result["written"]) == (5, 0)


def test_nine_thousand_rows_with_one_stamp_arrive_once_each(
    start_sandbox: StartSandbox, install: Install
) -> None:
    """They fill several pages, so no page boundary falls between two stamps."""
    sandbox = loaded(start_sandbox)
    result = install(sandbox).pull("--full")
    assert result["read"] == result["written"] == 9000
    written = per_id(sandbox.cdp("writes", records=True), "key")
    assert (len(written), set(written.values())) == (9000, {1})


def test_nine_thousand_rows_with_one_stamp_arrive_although_the_page_link_is_lost(
    start_sandbox: StartSandbox, install: Install
) -> None:
    """The rest of the second is read on by Id."""
    sandbox = loaded(start_sandbox)
    lost = sandbox.fault("status", service="salesforce", path="/query/0r8", after=1, times=2, **GONE)
    result = install(sandbox).pull("--full")
    assert sandbox.hits(lost) == 2
    assert result["read"] == result["written"] == 9000
    assert set(per_id(sandbox.cdp("writes"), "key").values()) == {1}


GONE = {"status": 400, "body": [{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]}


@pytest.mark.parametrize("sizes", PAGINGS.values(), ids=PAGINGS)
def test_page_sizes_make_no_difference(sandbox: Sandbox, crmsync: Crmsync, sizes: list[int]) -> None:
    """Only `done` ends a query: a page may be empty and yet not be the last."""
    sandbox.crm("page_sizes", sizes=sizes)
    result = crmsync.pull("--full")
    assert result["read"] == 300
    assert set(per_id(sandbox.profiles()).values()) == {1}
    sandbox.assert_in_step()


def test_an_empty_last_page_makes_no_difference(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.crm("switches", empty_last_page=True)
    assert crmsync.pull("--full")["read"] == 300
    sandbox.assert_in_step()


def test_rows_that_change_while_the_pages_are_read_arrive_in_the_end(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    """Later pages show the newer values; the next pull reads those rows again and leaves out what it knows."""
    sandbox.crm("page_sizes", sizes=[100])
    slow = sandbox.fault("delay", service="salesforce", path="/query/", seconds=1.0)
    process = crmsync.start("pull", "--full", "--json")
    wait_for(lambda: sandbox.hits(slow) == 1, "a page to be asked for")
    changed = [row["Id"] for row in sandbox.contacts() if not row["IsDeleted"]]
    sandbox.crm("update_many", object="Contact", ids=changed, fields={"Title": "Meanwhile"})
    assert process.wait(timeout=60) == 0
    sandbox.advance()
    crmsync.pull()
    sandbox.assert_in_step()


def loaded(start_sandbox: StartSandbox) -> Sandbox:
    """An org of 9,000 contacts that one data load has left with one stamp."""
    sandbox = start_sandbox(0)
    rows = [{"LastName": f"Load {n}", "Email": f"load{n}@example.com"} for n in range(9000)]
    sandbox.crm("insert", object="Contact", rows=rows, stamp="2026-01-02T03:04:05Z")
    return sandbox
