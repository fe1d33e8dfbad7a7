"""Runs that end in the middle, gracefully or not, and two at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from .world import Crmsync, Row, Running, Sandbox, per_id, serving, wait_for

POINTS: dict[str, dict[str, Any]] = {
    "logging in": {"path": "oauth2/token"},
    "asking for the first rows": {"path": "/queryAll", "query": "FROM Contact"},
    "amid the pages": {"path": "/query/", "after": 4},
    "before anything is sent": {"path": "/metadata/"},
    "sending a batch that does not arrive": {"path": "upsert-batch", "after": 3},
    "sending a batch whose answer does not arrive": {"path": "upsert-batch", "after": 3, "processed": True},
    "waiting for a job": {"path": "/jobs/", "after": 2},
    "closing the window": {"path": "/updated"},
}


LATER = {name: POINTS[name] for name in POINTS if "batch" in name or "job" in name}


@pytest.fixture
def many_batches(sandbox: Sandbox, crmsync: Crmsync) -> Sandbox:
    sandbox.crm("page_sizes", sizes=[35])
    crmsync.settings["CRMSYNC_BATCH_SIZE"] = "20"
    return sandbox


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_killed_amid_the_first_pull_nothing_is_missing_and_nothing_stale_in_the_end(
    many_batches: Sandbox, crmsync: Crmsync, point: dict[str, Any]
) -> None:
    """Every row changes between the killed run and the next, which first sends what was left."""
    kill_at(many_batches, crmsync, point, "pull", "--full")
    ids = [row["Id"] for row in many_batches.contacts() if not row["IsDeleted"]]
    many_batches.retitle(ids, "Changed meanwhile")
    crmsync.pull("--full")
    assert crmsync.pull()["written"] == 0
    assert set(per_id(many_batches.profiles()).values()) == {1}
    assert {profile["job_title"] for profile in many_batches.profiles()} == {"Changed meanwhile"}
    many_batches.assert_in_step()


@pytest.mark.parametrize("point", LATER.values(), ids=LATER)
def test_killed_amid_a_later_pull_nothing_is_missing_and_nothing_stale_in_the_end(
    many_batches: Sandbox, crmsync: Crmsync, point: dict[str, Any]
) -> None:
    """What was under way is taken back before the next run: the ledger knows just that from before."""
    ids = [row["Id"] for row in many_batches.contacts() if not row["IsDeleted"]]
    many_batches.retitle(ids, "Before")
    crmsync.pull("--full")
    many_batches.retitle(ids, "After")
    kill_at(many_batches, crmsync, point, "pull")
    many_batches.retitle(ids, "Before")
    crmsync.pull()
    assert {profile["job_title"] for profile in many_batches.profiles()} == {"Before"}
    many_batches.assert_in_step()


def kill_at(sandbox: Sandbox, crmsync: Crmsync, point: dict[str, Any], *command: str) -> None:
    """Run until a request is held, and kill the process then."""
    held = sandbox.fault("hang", seconds=60, **point)
    process = crmsync.start(*command)
    wait_for(lambda: sandbox.hits(held) == 1 or process.poll() is not None, "the point to kill at")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    sandbox.clear_faults()


def test_what_was_sent_before_the_kill_is_sent_again_under_its_own_key(
    many_batches: Sandbox, crmsync: Crmsync
) -> None:
    """So the CDP can tell that it has been there already."""
    kill_at(many_batches, crmsync, {"path": "upsert-batch", "after": 3, "processed": True}, "pull", "--full")
    last = many_batches.last_request()
    before = keys_and_sizes(many_batches.requests("experiture", "upsert-batch"))
    crmsync.pull("--full")
    after = keys_and_sizes(many_batches.requests("experiture", "upsert-batch", since=last))
    assert before & after
    assert {key for key, _ in before} & {key for key, _ in after - before} == set()


def keys_and_sizes(sent: list[Row]) -> set[tuple[str, int]]:
    return {(entry["headers"]["Idempotency-Key"], entry["request_bytes"]) for entry in sent}


STOPS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.mark.parametrize("path", ["/query/", "upsert-batch"])
@pytest.mark.parametrize(("number", "code"), STOPS, ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_gracefully_and_the_next_run_completes(
    many_batches: Sandbox, crmsync: Crmsync, path: str, number: signal.Signals, code: int
) -> None:
    """What is in flight is waited for, so nothing is left in the outbox."""
    slow = many_batches.fault("delay", path=path, after=2, seconds=1.0, times=None)
    process = crmsync.start("pull", "--full", "--json")
    wait_for(lambda: many_batches.hits(slow) >= 1, "the run to be under way")
    process.send_signal(number)
    run = crmsync.finish(process)
    assert (run.code, run.sync["watermark_moved"]) == (code, False), run.said
    assert crmsync.run("state", "show", "--json").json["outbox"] == []
    many_batches.clear_faults()
    rest = crmsync.pull("--full")
    assert rest["resumed"]
    assert rest["written"] > 0
    assert set(per_id(many_batches.profiles()).values()) == {1}
    many_batches.assert_in_step()


@pytest.fixture(scope="module", autouse=True)
def patient_stop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Crmsync, Running]]:
    """A run whose jobs never end, told to stop. It waits for them for a while, and other tests meanwhile run."""
    folder = tmp_path_factory.mktemp("patient")
    with serving(folder / "sandbox", 60) as sandbox:
        sandbox.cdp("switches", job_fate="stick")
        crmsync = Crmsync(folder / "home", dict(sandbox.environment))
        running = crmsync.start("pull", "--full", "--json")
        wait_for(lambda: len(sandbox.requests("experiture", "/jobs/")) > 2, "a job to be asked for")
        running.send_signal(signal.SIGTERM)
        yield crmsync, running
        crmsync.kill_all()


def test_a_second_signal_stops_at_once(many_batches: Sandbox, crmsync: Crmsync) -> None:
    held = many_batches.fault("hang", path="upsert-batch", seconds=60)
    process = crmsync.start("pull", "--full")
    wait_for(lambda: many_batches.hits(held) == 1, "a batch to be sent")
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in process.err, "the first signal to be noticed")
    process.send_signal(signal.SIGTERM)
    assert crmsync.finish(process).code in (130, 143)
    many_batches.clear_faults()
    crmsync.pull("--full")
    many_batches.assert_in_step()


def test_of_two_pulls_at_once_one_works_and_the_other_names_it(
    many_batches: Sandbox, crmsync: Crmsync
) -> None:
    held = many_batches.fault("delay", path="upsert-batch", seconds=6)
    first = crmsync.start("pull", "--full", "--json")
    wait_for(lambda: many_batches.hits(held) == 1, "the first pull to be at work")
    asked = len(many_batches.requests("experiture"))
    second = crmsync.run("pull", "--json")
    assert second.code == 75
    assert f"process {first.pid} " in second.sync["error"]
    assert second.err == "", "a timer would send mail about a run that is merely still at work"
    assert crmsync.run("rejects", "drop", "--all").code == 75
    assert len(many_batches.requests("experiture")) <= asked + 40
    assert crmsync.finish(first).code == 0
    assert set(per_id(many_batches.cdp("writes"), "key").values()) == {1}
    many_batches.assert_in_step()


def test_a_second_pull_may_wait_for_the_first(many_batches: Sandbox, crmsync: Crmsync) -> None:
    held = many_batches.fault("delay", path="upsert-batch", seconds=1)
    first = crmsync.start("pull", "--full")
    wait_for(lambda: many_batches.hits(held) == 1, "the first pull to be at work")
    assert crmsync.pull("--wait", "60s")["written"] == 0
    assert crmsync.finish(first).code == 0


def test_a_signal_while_the_last_jobs_are_waited_for_stops_the_run(
    patient_stop: tuple[Crmsync, Running],
) -> None:
    """Jobs that take for ever do not hold up its end; the next run asks for them again."""
    crmsync, running = patient_stop
    run = crmsync.finish(running)
    assert (run.code, run.sync["watermark_moved"]) == (143, False)
    (parcel,) = crmsync.run("state", "show", "--json").json["outbox"]
    assert parcel["job"]
