"""What goes wrong on the way: with retries left, the result is the same as if nothing had."""

from __future__ import annotations

from typing import Any

import pytest

from .world import Crmsync, Install, Sandbox, StartSandbox, per_id

HTML = "<html><body><h1>Service Unavailable</h1></body></html>"
LOST = [{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]
SALESFORCE: dict[str, dict[str, Any]] = {
    "the locator is lost": {"kind": "status", "path": "/query/", "status": 400, "body": LOST},
    "503 in HTML": {"kind": "status", "path": "/query", "status": 503, "body": HTML},
    "no answer": {"kind": "lose_answer", "path": "/query"},
    "cut at once": {"kind": "cut", "path": "/query", "at": "accept"},
    "cut in the body": {"kind": "cut", "path": "/query", "at": "body", "bytes": 5000},
    "cut short": {"kind": "truncate", "path": "/query"},
    "the login has a hiccup": {"kind": "status", "path": "oauth2/token", "status": 503, "body": HTML},
}
LATE = {"kind": "replace_status_after_processing", "status": 504, "body": HTML}
EXPERITURE: dict[str, dict[str, Any]] = {
    "503 in HTML": {"kind": "status", "path": "upsert-batch", "status": 503, "body": HTML},
    "429": {"kind": "status", "path": "upsert-batch", "status": 429, "headers": {"Retry-After": "1"}},
    "504 although it was done": {"path": "upsert-batch", **LATE},
    "no answer": {"kind": "lose_answer", "path": "upsert-batch"},
    "cut at once": {"kind": "cut", "path": "upsert-batch", "at": "accept"},
    "cut in the body": {"kind": "cut", "path": "upsert-batch", "at": "body", "bytes": 20},
    "the answer about a job is lost": {"kind": "lose_answer", "path": "/jobs/"},
}


@pytest.fixture
def many_pages(sandbox: Sandbox, crmsync: Crmsync) -> Sandbox:
    """Nine pages and fourteen batches or so: something to break in the middle of."""
    sandbox.crm("page_sizes", sizes=[35])
    crmsync.settings["CRMSYNC_BATCH_SIZE"] = "20"
    return sandbox


def pulls_all_the_same(sandbox: Sandbox, crmsync: Crmsync) -> None:
    result = crmsync.pull("--full")
    assert result["read"] == 300
    assert set(per_id(sandbox.profiles()).values()) == {1}
    sandbox.assert_in_step()


@pytest.mark.parametrize("fault", SALESFORCE.values(), ids=SALESFORCE)
def test_a_fault_of_salesforce_changes_nothing(
    many_pages: Sandbox, crmsync: Crmsync, fault: dict[str, Any]
) -> None:
    after = 0 if "token" in fault["path"] else 2
    broken = many_pages.fault(**fault, service="salesforce", after=after)
    pulls_all_the_same(many_pages, crmsync)
    assert many_pages.hits(broken) == 1


@pytest.mark.parametrize("fault", EXPERITURE.values(), ids=EXPERITURE)
def test_a_fault_of_the_cdp_changes_nothing(
    many_pages: Sandbox, crmsync: Crmsync, fault: dict[str, Any]
) -> None:
    broken = many_pages.fault(**fault, service="experiture", after=3)
    pulls_all_the_same(many_pages, crmsync)
    assert many_pages.hits(broken) == 1


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_session_that_ends_amid_the_paging_changes_nothing(
    many_pages: Sandbox, crmsync: Crmsync, after: int
) -> None:
    """Its locators end with it."""
    many_pages.crm("expire_sessions", after=after)
    pulls_all_the_same(many_pages, crmsync)
    assert len(many_pages.requests("salesforce", "oauth2/token")) == 2


def test_a_session_that_keeps_ending_changes_nothing(many_pages: Sandbox, crmsync: Crmsync) -> None:
    expired = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
    many_pages.fault(
        "status", service="salesforce", path="/query/", status=401, body=expired, times=3, after=1
    )
    pulls_all_the_same(many_pages, crmsync)


def test_a_given_token_that_has_expired_is_77(start_sandbox: StartSandbox, install: Install) -> None:
    """It cannot be renewed."""
    sandbox = start_sandbox(20, "--login", "token")
    crmsync = install(sandbox)
    crmsync.pull("--full")
    sandbox.crm("expire_sessions")
    assert crmsync.run("pull").code == 77


def test_cdp_tokens_that_end_amid_the_run_change_nothing(many_pages: Sandbox, crmsync: Crmsync) -> None:
    many_pages.cdp("switches", token_seconds=2)
    many_pages.fault("delay", service="experiture", path="upsert-batch", times=3, after=2, seconds=1)
    pulls_all_the_same(many_pages, crmsync)


def test_a_rate_limit_slows_down_and_changes_nothing(many_pages: Sandbox, crmsync: Crmsync) -> None:
    many_pages.cdp("switches", rate_limit=8)
    pulls_all_the_same(many_pages, crmsync)
    assert 429 in {entry["status"] for entry in many_pages.requests("experiture")}


def test_a_retry_sends_the_same_bytes_under_the_same_key(many_pages: Sandbox, crmsync: Crmsync) -> None:
    lost = many_pages.fault("lose_answer", service="experiture", path="upsert-batch", times=3, after=1)
    crmsync.pull("--full")
    assert many_pages.hits(lost) == 3
    sent = many_pages.requests("experiture", "upsert-batch")
    keys = per_id([entry["headers"] for entry in sent], "Idempotency-Key")
    assert sum(keys.values()) == len(keys) + 3
    assert len({(e["headers"]["Idempotency-Key"], e["request_bytes"]) for e in sent}) == len(keys)
    assert set(per_id(many_pages.cdp("writes"), "key").values()) == {1}


def test_an_outage_of_the_cdp_is_75_and_the_next_run_catches_up(
    many_pages: Sandbox, crmsync: Crmsync
) -> None:
    many_pages.fault("status", service="experiture", path="upsert-batch", status=503, times=None, after=4)
    assert crmsync.run("pull", "--full").code == 75
    many_pages.clear_faults()
    crmsync.pull("--full")
    many_pages.assert_in_step()


def test_a_used_up_quota_is_75(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.crm("quota", used=100_000, max=100_000)
    run = crmsync.run("pull", "--full")
    assert run.code == 75, run.said


@pytest.mark.parametrize("body", [{"success": True, "data": {}}, "", "OK"], ids=["empty", "none", "no JSON"])
def test_a_good_answer_that_proves_nothing_is_75_and_nothing_moves_past_it(
    sandbox: Sandbox, crmsync: Crmsync, body: Any
) -> None:
    """Unknown is not success: the batch has not arrived at all."""
    sandbox.fault("status", path="upsert-batch", status=202, body=body, times=None)
    run = crmsync.run("pull", "--full", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None), run.said
    sandbox.clear_faults()
    crmsync.pull("--full")
    sandbox.assert_in_step()


@pytest.mark.parametrize("fate", ["lose", "stick"])
def test_a_job_that_never_tells_its_end_is_75_and_nothing_moves_past_it(
    sandbox: Sandbox, crmsync: Crmsync, fate: str
) -> None:
    """Once it can be learned, or the records have been sent again, the next run completes."""
    sandbox.cdp("switches", job_fate=fate)
    run = crmsync.run("pull", "--full", "--json", env={"CRMSYNC_JOB_DEADLINE": "1s"})
    assert (run.code, run.sync["watermark"]) == (75, None), run.said
    sandbox.cdp("switches", job_fate="finish")
    for job in sandbox.cdp("jobs"):
        if job["phase"] != "done" and not job["lost"]:
            sandbox.cdp("job", id=job["id"], action="finish")
    assert crmsync.run("pull", "--full").code in (0, 3)
    sandbox.assert_in_step()
