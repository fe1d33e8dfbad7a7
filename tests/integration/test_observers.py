"""Metrics and the heartbeat: what a run tells, to whom, and that it never ends otherwise for it."""

from __future__ import annotations

import json
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .listeners import SECRET, Check, Metric, StatsdAgent, check, statsd_agent, unused_port
from .world import Crmsync, Install, Sandbox, wait_for

GUIDES_OWN = {
    "crm_sync.failures": "c",
    "crm_sync.duration_seconds": "h",
    "crm_sync.records_written": "g",
    "crm_sync.records_rejected": "g",
}
"""The names and kinds of the vendor's guide."""


@pytest.fixture
def agent() -> Iterator[StatsdAgent]:
    with statsd_agent() as listening:
        yield listening


@pytest.fixture
def heartbeat() -> Iterator[Check]:
    with check() as serving:
        yield serving


@pytest.fixture
def exposition(tmp_path: Path) -> Path:
    """Where the Prometheus file goes."""
    folder = tmp_path / "textfiles"
    folder.mkdir()
    return folder / "crmsync.prom"


@pytest.fixture
def watched(crmsync: Crmsync, agent: StatsdAgent, heartbeat: Check, exposition: Path) -> Crmsync:
    """A crmsync that tells all three."""
    crmsync.settings["CRMSYNC_STATSD"] = agent.address
    crmsync.settings["CRMSYNC_PROMETHEUS_FILE"] = str(exposition)
    crmsync.settings["CRMSYNC_HEARTBEAT_URL"] = heartbeat.url
    return crmsync


def samples(path: Path, sync: str = "contacts") -> dict[str, float]:
    """The samples of one sync by name, and by name and label where there is another one."""
    from prometheus_client.parser import text_string_to_metric_families

    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            if sample.labels.get("sync") == sync:
                own = [label for name, label in sample.labels.items() if name not in ("sync", "source")]
                found[" ".join([sample.name, *own])] = sample.value
    return found


def refuse(sandbox: Sandbox) -> None:
    """The next queries are answered with what only a person can mend."""
    sandbox.fault("status", status=403, service="salesforce", path="/queryAll", times=None)


def test_a_runs_four_numbers_arrive_at_a_statsd_agent(watched: Crmsync, agent: StatsdAgent) -> None:
    result = watched.pull("--full")
    metrics = agent.arrived()
    numbers = {metric.name: metric for metric in metrics if not metric.tags}
    assert {name: numbers[name].kind for name in GUIDES_OWN} == GUIDES_OWN
    assert numbers["crm_sync.failures"].value == 0
    assert numbers["crm_sync.duration_seconds"].value == result["duration_seconds"]
    assert numbers["crm_sync.records_written"].value == result["written"] > 0
    assert numbers["crm_sync.records_rejected"].value == sum(result["rejected"].values()) > 0
    assert numbers["crm_sync.rejects_open"].value == result["open_rejects"]
    assert numbers["crm_sync.lag_seconds"].value == result["lag_seconds"]
    assert [numbers[f"crm_sync.api_{name}"].value for name in ("used", "limit")] == result["quota"]
    split = {(metric.name, *metric.tags): metric.value for metric in metrics if metric.tags}
    assert split == {
        **{("crm_sync.records_skipped", f"reason:{why}"): n for why, n in result["skipped"].items()},
        **{("crm_sync.requests", f"side:{side}"): sum(n.values()) for side, n in result["requests"].items()},
    }


def test_a_change_tells_how_long_it_took(
    sandbox: Sandbox, watched: Crmsync, agent: StatsdAgent, exposition: Path
) -> None:
    """The clock of the source goes on by a minute after the change, which is what the lag is at least."""
    watched.pull("--full")
    assert "crm_sync.record_lag_seconds" not in agent.numbers()
    sandbox.retitle(sandbox.delivered()[:2], "Lagging")
    result = watched.pull()
    assert agent.numbers()["crm_sync.record_lag_seconds"] == result["record_lag_seconds"] >= 60
    assert samples(exposition)["crmsync_record_lag_seconds"] == result["record_lag_seconds"]
    watched.pull()
    assert "crmsync_record_lag_seconds" not in samples(exposition)


def test_a_failure_counts_and_leaves_the_last_success_as_it_was(
    sandbox: Sandbox, watched: Crmsync, agent: StatsdAgent, exposition: Path
) -> None:
    watched.pull("--full")
    agent.arrived()
    before = samples(exposition)
    refuse(sandbox)
    watched.run("pull")
    after = samples(exposition)
    assert Metric("crm_sync.failures", 1, "c", frozenset({"exit_code:77"})) in agent.arrived()
    assert (before["crmsync_last_exit_code"], after["crmsync_last_exit_code"]) == (0, 77)
    assert after["crmsync_last_run_timestamp_seconds"] > before["crmsync_last_run_timestamp_seconds"]
    kept = ("last_success_timestamp_seconds", "watermark_timestamp_seconds", "rejects_pending")
    for name in kept:
        assert after[f"crmsync_{name}"] == before[f"crmsync_{name}"]


def test_the_file_can_be_read_by_anyone_and_holds_every_sync(
    sandbox: Sandbox, watched: Crmsync, exposition: Path
) -> None:
    """A run of one sync keeps what another one told; a sync that is configured no more is forgotten."""
    two = """
        [[sync]]
        name = "{}"
        object = "Contact"
        match_key = "salesforce_id"
        fields = {{ salesforce_id = "Id", job_title = "Title" }}
        [[sync]]
        name = "accounts"
        object = "Account"
        into = "companies"
        match_key = "salesforce_id"
        fields = {{ salesforce_id = "Id" }}
    """
    watched.configure(two.format("contacts"))
    assert watched.run("pull", "contacts", "--full").code == 0
    assert exposition.stat().st_mode & 0o777 == 0o644
    alone = samples(exposition)
    watched.run("pull", "accounts")
    assert samples(exposition) == alone
    assert samples(exposition, "accounts")["crmsync_last_exit_code"] == 78
    watched.configure(two.format("people"))
    watched.run("pull", "people")
    assert samples(exposition) == {}
    assert samples(exposition, "people")["crmsync_last_exit_code"] == 78
    assert samples(exposition, "accounts")["crmsync_last_exit_code"] == 78
    assert [path.name for path in exposition.parent.iterdir()] == [exposition.name]


def test_garbage_in_the_file_is_overwritten(watched: Crmsync, exposition: Path) -> None:
    exposition.write_bytes(b'\xff\x00 crmsync_last{sync="')
    run = watched.run("pull", "--full")
    assert (run.code, "begun anew" in run.err) == (0, True)
    assert samples(exposition)["crmsync_last_exit_code"] == 0


def test_a_success_is_a_start_and_a_ping_of_one_run(watched: Crmsync, heartbeat: Check) -> None:
    run = watched.run("pull", "--full")
    assert run.said == ""
    assert uuid.UUID(heartbeat.pings[0][1])
    assert "written" in heartbeat.last_body
    assert "reading the window from the beginning" in heartbeat.last_body
    assert heartbeat.taken() == ["/start", ""]


def test_a_failure_is_told_with_its_reason_and_without_secrets(
    sandbox: Sandbox, watched: Crmsync, heartbeat: Check
) -> None:
    watched.pull("--full")
    heartbeat.taken()
    refuse(sandbox)
    watched.run("pull")
    body = heartbeat.last_body
    assert heartbeat.taken() == ["/start", "/fail"]
    assert "exit code 77" in body
    assert "crmsync check" in body
    assert not [name for name, value in watched.settings.items() if "SECRET" in name and value in body]
    assert SECRET not in body


def test_what_the_next_run_is_to_mend_is_logged(sandbox: Sandbox, watched: Crmsync, heartbeat: Check) -> None:
    """The check raises the alarm by itself, if none does."""
    watched.pull("--full")
    heartbeat.taken()
    sandbox.crm("quota", used=99_000, max=100_000)
    watched.pull(code=75)
    assert heartbeat.taken() == ["/start", "/log"]


def test_a_trial_is_no_sign_of_life(watched: Crmsync, heartbeat: Check, exposition: Path) -> None:
    watched.pull("--full", "--limit", "5")
    assert heartbeat.taken() == ["/start", "/log"]
    assert "crmsync_last_success_timestamp_seconds" not in samples(exposition)


def test_what_a_person_should_see_fails_the_check_and_is_a_success_all_the_same(
    watched: Crmsync, heartbeat: Check, exposition: Path
) -> None:
    run = watched.run("pull", "--full", env={"CRMSYNC_MAX_REJECTS": "1"})
    assert (run.code, heartbeat.taken()) == (3, ["/start", "/fail"])
    assert "crmsync_last_success_timestamp_seconds" in samples(exposition)


def test_a_run_that_is_stopped_says_so(
    sandbox: Sandbox, watched: Crmsync, heartbeat: Check, agent: StatsdAgent, install: Install
) -> None:
    """And one that finds it at work meanwhile tells no numbers: there was no run."""
    sandbox.fault("delay", seconds=30, service="salesforce", path="/queryAll", times=None)
    running = watched.start("pull", "--full")
    wait_for(lambda: bool(sandbox.requests("salesforce", "/queryAll")), "the query")
    started = heartbeat.pings.pop()
    locked_out = watched.run("pull")
    assert (locked_out.code, heartbeat.taken(), agent.arrived()) == (75, ["/start", "/log"], [])
    running.send_signal(signal.SIGTERM)
    assert watched.finish(running).code == 143
    assert (started[0], heartbeat.pings[0][1]) == ("/start", started[1])
    assert heartbeat.taken() == ["/log"]
    assert Metric("crm_sync.failures", 1, "c", frozenset({"exit_code:143"})) in agent.arrived()


def test_a_dry_run_tells_nobody(
    watched: Crmsync, agent: StatsdAgent, heartbeat: Check, exposition: Path
) -> None:
    watched.pull("--full", "--dry-run")
    assert (agent.arrived(), heartbeat.taken(), exposition.exists()) == ([], [], False)


def test_observers_that_cannot_be_reached_change_nothing(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.settings["CRMSYNC_STATSD"] = f"127.0.0.1:{unused_port(socket.SOCK_DGRAM)}"
    crmsync.settings["CRMSYNC_PROMETHEUS_FILE"] = str(crmsync.home / "nowhere" / "crmsync.prom")
    crmsync.settings["CRMSYNC_HEARTBEAT_URL"] = f"http://127.0.0.1:{unused_port()}/{SECRET}"
    run = crmsync.run("pull", "--full", "--json")
    assert (run.code, run.sync["written"] > 0) == (0, True)
    sandbox.assert_in_step()
    warnings = [json.loads(line)["msg"].partition(":")[0] for line in run.err.splitlines()]
    assert warnings.count("CRMSYNC_STATSD") == 1
    assert warnings.count("CRMSYNC_PROMETHEUS_FILE") == 1
    assert warnings.count("CRMSYNC_HEARTBEAT_URL") == 2
    assert SECRET not in run.said


@pytest.mark.parametrize(
    ("status", "answer"), [(503, b"busy"), (404, b"not found"), (200, b"OK (not found)")]
)
def test_a_check_that_does_not_take_the_ping_is_warned_of(
    watched: Crmsync, heartbeat: Check, status: int, answer: bytes
) -> None:
    watched.pull("--full")
    heartbeat.taken()
    heartbeat.status, heartbeat.answer = status, answer
    run = watched.run("pull")
    assert (run.code, SECRET in run.said) == (0, False)
    assert run.err.count("CRMSYNC_HEARTBEAT_URL") == 2
    tries = 3 if status == 503 else 1
    assert heartbeat.taken() == ["/start", *[""] * tries]


@pytest.mark.parametrize(
    ("variable", "value", "library"),
    [
        ("CRMSYNC_STATSD", "127.0.0.1:8125", "datadog"),
        ("CRMSYNC_PROMETHEUS_FILE", "/tmp/crmsync.prom", "prometheus_client"),
    ],
)
def test_a_missing_library_is_told_before_anything_is_read(
    sandbox: Sandbox, crmsync: Crmsync, heartbeat: Check, variable: str, value: str, library: str
) -> None:
    (crmsync.home / "without").mkdir()
    (crmsync.home / "without" / f"{library}.py").write_text(f"raise ModuleNotFoundError(name={library!r})")
    env = {variable: value, "PYTHONPATH": "without", "CRMSYNC_HEARTBEAT_URL": heartbeat.url}
    run = crmsync.run("pull", "--full", env=env)
    assert (run.code, variable in run.err, "crmsync[metrics]" in run.err) == (78, True, True)
    assert (sandbox.requests(), heartbeat.taken()) == ([], [])
    assert crmsync.run("pull", "--full", "--dry-run", env=env).code == 0


def test_check_says_who_is_told_and_tells_nobody(
    watched: Crmsync, agent: StatsdAgent, heartbeat: Check, exposition: Path
) -> None:
    run = watched.run("check")
    assert "told to CRMSYNC_STATSD, CRMSYNC_PROMETHEUS_FILE, CRMSYNC_HEARTBEAT_URL" in run.out
    assert (agent.arrived(), heartbeat.taken(), exposition.exists()) == ([], [], False)
    misplaced = watched.run(
        "check", env={"CRMSYNC_PROMETHEUS_FILE": str(exposition.parent / "no" / "crmsync")}
    )
    assert "may not write into" in misplaced.out
    assert "end in .prom" in misplaced.out
