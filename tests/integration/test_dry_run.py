"""`--dry-run`: the same run, with the writing left out."""

from __future__ import annotations

import json

import pytest

from .world import Crmsync, Install, Row, Sandbox, StartSandbox, wait_for

COUNTED = ("read", "skipped", "rejected", "unchanged", "written", "left_out", "new_rejects")
READ_ONLY = ("/metadata/", "/oauth/token")


def rehearsed(sandbox: Sandbox, crmsync: Crmsync, *arguments: str) -> Row:
    """Run dry, make sure that nothing came of it, and give what was counted."""
    before, asked = kept(crmsync), sandbox.last_request()
    result = crmsync.pull("--dry-run", *arguments)
    assert kept(crmsync) == before
    sent = [e for e in sandbox.requests("experiture", since=asked) if e["method"] != "GET"]
    assert [entry["path"] for entry in sent if not entry["path"].endswith(READ_ONLY)] == []
    return result


def kept(crmsync: Crmsync) -> dict[str, bytes]:
    """All that is in the state directory, but for the locks that SQLite keeps in shared memory after a crash."""
    return {name: content for name, content in crmsync.files().items() if not name.endswith("-shm")}


def counted(result: Row) -> Row:
    return {name: result[name] for name in COUNTED}


def test_a_dry_run_counts_what_the_real_run_does_and_leaves_no_trace(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    dry = rehearsed(sandbox, crmsync, "--full")
    assert not crmsync.state.exists()
    assert counted(dry) == counted(crmsync.pull("--full"))


def test_a_dry_run_counts_like_the_real_one_also_after_changes(
    start_sandbox: StartSandbox, install: Install
) -> None:
    sandbox = start_sandbox()
    crmsync = install(sandbox)
    crmsync.pull("--full")
    delivered = sandbox.delivered()
    sandbox.retitle(delivered[:7], "Changed")
    sandbox.crm("update", object="Contact", id=delivered[8], fields={"Email": "no address"})
    sandbox.crm("update", object="Contact", id=delivered[9], fields={"Email": None})
    sandbox.crm("touch", object="Contact", ids=delivered[10:13], system=True)
    sandbox.advance()
    dry = rehearsed(sandbox, crmsync)
    real = crmsync.pull()
    assert counted(dry) == counted(real)
    assert (real["written"], real["unchanged"], real["new_rejects"]) == (7, 3, 1)
    assert real["skipped"] == {"no_email": 1}


def test_a_dry_run_counts_like_the_real_one_where_rows_share_a_key(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    crmsync.configure(BY_EMAIL)
    assert counted(rehearsed(sandbox, crmsync, "--full")) == counted(crmsync.pull("--full"))
    sandbox.retitle([row["Id"] for row in sandbox.contacts()][:200], "Changed")
    assert counted(rehearsed(sandbox, crmsync)) == counted(crmsync.pull())


BY_EMAIL = """
[[sync]]
name = "contacts"
object = "Contact"
match_key = "email"
require = ["email"]
[sync.fields]
email = { from = "Email", normalize = "email" }
last_name = "LastName"
job_title = "Title"
"""


def test_a_dry_run_says_what_would_be_written(crmsync: Crmsync) -> None:
    run = crmsync.run("pull", "--full", "--dry-run", "-v")
    assert run.code == 0
    assert "to write" in run.err
    assert " written" not in run.err


def test_a_dry_run_goes_on_beside_a_run_at_work(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """It takes no lock, so it neither waits nor stands in the way."""
    held = sandbox.fault("delay", service="experiture", path="upsert-batch", seconds=3)
    process = crmsync.start("pull", "--full")
    wait_for(lambda: sandbox.hits(held) == 1, "a batch to be sent")
    assert crmsync.pull("--full", "--dry-run")["read"] == 300
    assert process.wait(timeout=60) == 0
    sandbox.assert_in_step()


def test_a_dry_run_over_an_interrupted_window_leaves_the_outbox_alone(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    held = sandbox.fault("hang", service="experiture", path="upsert-batch", seconds=60)
    process = crmsync.start("pull", "--full")
    wait_for(lambda: sandbox.hits(held) == 1, "a batch to be sent")
    process.kill()
    process.wait()
    sandbox.clear_faults()
    assert any("outbox/" in name for name in crmsync.files())
    rehearsed(sandbox, crmsync, "--full")
    crmsync.pull("--full")
    sandbox.assert_in_step()


@pytest.mark.parametrize("ends_session", [False, True])
def test_a_dry_run_keeps_a_rotated_refresh_token_and_nothing_else(
    start_sandbox: StartSandbox, install: Install, ends_session: bool
) -> None:
    """The old token is of no use any more: to forget the new one would lock the sync out."""
    sandbox = start_sandbox(50, "--login", "refresh_token")
    sandbox.crm("switches", refresh_token_rotation=True, rotation_ends_session=ends_session)
    crmsync = install(sandbox)
    crmsync.pull("--full", "--dry-run")
    before = {name: content for name, content in crmsync.files().items() if content}
    (name,) = before
    assert name.startswith("credentials/")
    crmsync.pull("--full", "--dry-run")
    assert json.loads(crmsync.files()[name])["token"] != json.loads(before[name])["token"]
    crmsync.pull("--full")
    sandbox.assert_in_step()
