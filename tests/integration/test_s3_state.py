"""Pulls whose state is on S3: side by side, on another machine, and stopped beyond their lease."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.s3_servers import CREDENTIALS, Server, moto

from crmsync.state.lock import FileLock

from .world import Crmsync, Install, Sandbox, wait_for

__all__ = ["moto"]

SYNC = """
[[sync]]
name = "{0}"
source = "salesforce"
object = "{1}"
into = "{2}"
match_key = "salesforce_id"
owner = "crm"
[sync.fields]
salesforce_id = "Id"
"""
SHORT_LEASE = """
import sys
from functools import partial
from crmsync.state import lease
lease.Terms = partial(lease.Terms, 2.0, 0.2, 0.5)
from crmsync.cli import main
sys.argv[0] = "crmsync"
main()
"""


def on_s3(server: Server, crmsync: Crmsync) -> Crmsync:
    """The same user with the state on S3; each home has a cache of its own."""
    crmsync.settings |= CREDENTIALS
    crmsync.settings |= {"CRMSYNC_STATE": server.uri, "AWS_ENDPOINT_URL_S3": server.endpoint}
    return crmsync


@pytest.fixture
def short_leased(moto: Server, sandbox: Sandbox, install: Install) -> Iterator[list[subprocess.Popen[str]]]:
    """Pulls whose leases last two seconds."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start_short_leased(crmsync: Crmsync, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SHORT_LEASE, *arguments],
        env=crmsync.environment(),
        cwd=crmsync.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_another_machine_goes_on_where_the_first_one_stopped(
    moto: Server, sandbox: Sandbox, install: Install
) -> None:
    here, there = on_s3(moto, install(sandbox)), on_s3(moto, install(sandbox))
    first = here.pull("--full")
    sandbox.retitle(sandbox.delivered()[:3], "Moved")
    result = there.pull("--changed", "--full")
    assert result["written"] == 3
    assert result["unchanged"] == first["written"] - 3
    sandbox.assert_in_step()


def test_of_two_pulls_started_at_once_one_works_and_one_says_later(
    moto: Server, sandbox: Sandbox, install: Install
) -> None:
    crmsyncs = [on_s3(moto, install(sandbox)) for _ in range(2)]
    sandbox.fault("delay", service="experiture", path="upsert-batch", times=None, seconds=8)
    running = [crmsync.start("pull", "--full") for crmsync in crmsyncs]
    ended = [crmsync.finish(run) for crmsync, run in zip(crmsyncs, running, strict=True)]
    assert sorted(run.code for run in ended) == [0, 75]
    assert len(sandbox.batches()) == 1
    sandbox.assert_in_step()


def test_a_pull_that_wakes_after_its_lease_writes_no_watermark_and_sends_no_batch(
    moto: Server, sandbox: Sandbox, install: Install, short_leased: list[subprocess.Popen[str]]
) -> None:
    stopped, successor = on_s3(moto, install(sandbox)), on_s3(moto, install(sandbox))
    fault = sandbox.fault("lose_answer", service="experiture", path="upsert-batch", times=1)
    first = start_short_leased(stopped, "pull", "--full")
    short_leased.append(first)
    wait_for(lambda: sandbox.hits(fault) == 1, "a batch to be sent")
    os.kill(first.pid, signal.SIGSTOP)

    second = start_short_leased(successor, "pull", "--full", "--wait", "30s")
    short_leased.append(second)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    watermark, batches = successor.watermark(), len(sandbox.batches())

    os.kill(first.pid, signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 75, said
    assert "lease of contacts is lost" in said
    assert (successor.watermark(), len(sandbox.batches())) == (watermark, batches)
    sandbox.assert_in_step()


def test_two_machines_in_turn_end_at_the_value_the_crm_ended_at(
    moto: Server, sandbox: Sandbox, install: Install
) -> None:
    """A→B→A: each machine's own ledger still says A, and the CDP must not be left at B (law 3)."""
    here, there = on_s3(moto, install(sandbox)), on_s3(moto, install(sandbox))
    here.pull("--full")
    chosen = sandbox.profiles()[0]["salesforce_id"]

    def title_in_crm(value: str) -> None:
        sandbox.retitle([chosen], value)

    def title_in_cdp() -> str:
        found = [p["job_title"] for p in sandbox.profiles() if p["salesforce_id"] == chosen]
        return str(found[0])

    title_in_crm("A")
    here.pull()
    title_in_crm("B")
    there.pull()
    assert title_in_cdp() == "B"
    title_in_crm("A")
    here.pull()
    assert title_in_cdp() == "A"
    title_in_crm("B")
    there.pull()
    title_in_crm("A")
    there.pull()
    assert title_in_cdp() == "A"


def test_a_state_moves_to_s3_and_back_with_everything_in_it(
    moto: Server, sandbox: Sandbox, crmsync: Crmsync
) -> None:
    first = crmsync.pull("--full")
    sandbox.retitle(sandbox.delivered()[:2], "Held")
    sandbox.fault("lose_answer", service="experiture", path="upsert-batch", times=None)
    crmsync.pull(code=75)
    sandbox.clear_faults()
    here, credentials = str(crmsync.state), {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": moto.endpoint}
    crmsync.settings |= credentials

    moved = crmsync.run("state", "move", moto.uri)
    assert (moved.code, moto.uri in moved.out) == (0, True), moved.said
    for command in (("pull",), ("state", "show"), ("state", "set", "--watermark", "1d"), ("check",)):
        refused = crmsync.run(*command)
        assert (refused.code, moto.uri in refused.said) == (78, True), refused.said

    crmsync.settings["CRMSYNC_STATE"] = moto.uri
    result = crmsync.pull("--full", "--changed")
    assert (result["replayed"], result["written"], result["unchanged"]) == (2, 0, first["written"])
    assert result["open_rejects"] == first["open_rejects"] > 0
    assert crmsync.run("state", "move", here).code == 78, "what was left behind is no place to move to"

    back = f"{here}-again"
    assert crmsync.run("state", "move", back).code == 0
    crmsync.settings["CRMSYNC_STATE"] = back
    assert crmsync.pull("--full", "--changed")["unchanged"] == first["written"]
    sandbox.assert_in_step()


def test_a_state_moves_only_from_where_there_is_one_to_where_there_is_none(
    sandbox: Sandbox, install: Install
) -> None:
    one, other, new = install(sandbox), install(sandbox), install(sandbox)
    one.pull("--full")
    other.pull("--full")
    before = (one.files(), other.files())
    assert one.run("state", "move", str(other.state)).code == 78
    assert new.run("state", "move", str(one.state)).code == 78
    assert one.run("state", "move", "s3://").code == 78
    assert (one.files(), other.files()) == before


def test_a_move_that_met_a_run_at_work_is_tried_again(tmp_path: Path) -> None:
    crmsync, there = Crmsync(tmp_path / "home"), str(tmp_path / "there")
    crmsync.configure(SYNC.format("contacts", "Contact", "profiles") + SYNC.format("leads", "Lead", "leads"))
    for name in ("contacts", "leads"):
        assert crmsync.run("state", "set", name, "--watermark", "1d").code == 0
    with FileLock(crmsync.state / "leads" / "lock", "another"):
        held = crmsync.run("state", "move", there)
    assert (held.code, f"contacts: moved to {there}" in held.out) == (75, True), held.said

    again = crmsync.run("state", "move", there)
    assert (again.code, f"leads: moved to {there}" in again.out) == (0, True), again.said
    for name in ("contacts", "leads"):
        assert crmsync.run("state", "show", name, env={"CRMSYNC_STATE": there}).code == 0
    elsewhere = crmsync.run("state", "move", str(tmp_path / "elsewhere"))
    assert (elsewhere.code, there in elsewhere.err) == (78, True), elsewhere.said
