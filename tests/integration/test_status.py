"""`status`: what a monitoring server makes of a sync, from its state alone."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from contract.s3_servers import Server, moto

from .test_s3_state import on_s3
from .world import Crmsync, Install, Row, Sandbox, wait_for

__all__ = ["moto"]

QUARTER = {"CRMSYNC_INTERVAL": "15m"}


@pytest.fixture
def anyone(tmp_path: Path) -> Crmsync:
    """Somebody with no service in reach, and no login."""
    return Crmsync(tmp_path / "home")


def age(crmsync: Crmsync, by: timedelta, sync: str = "contacts") -> None:
    """Let the runs so far, and the last checkpoint, lie so much further back."""
    path = crmsync.state / sync / "runs.jsonl"
    lines: list[Row] = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["started_at"] = (datetime.fromisoformat(line["started_at"]) - by).isoformat()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    document = crmsync.state / sync / "state.json"
    state = json.loads(document.read_text())
    state["updated_at"] = (datetime.fromisoformat(state["updated_at"]) - by).isoformat()
    document.write_text(json.dumps(state))


def objects(server: Server) -> dict[str, tuple[str, datetime]]:
    """Everything in the bucket: what it is, and when it was written."""
    import boto3

    listed = boto3.client("s3", endpoint_url=server.endpoint).list_objects_v2(
        Bucket=server.uri.split("/")[2], Prefix="/".join(server.uri.split("/")[3:])
    )
    return {entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in listed["Contents"]}


def kill_amid_batches(sandbox: Sandbox, crmsync: Crmsync) -> None:
    held = sandbox.fault("hang", service="experiture", path="upsert-batch", seconds=60)
    running = crmsync.start("pull")
    wait_for(lambda: sandbox.hits(held) > 0, "a batch to be under way")
    running.send_signal(signal.SIGKILL)
    running.wait()
    sandbox.clear_faults()


def test_a_killed_sync_is_noticed_after_two_intervals(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    assert crmsync.run("status", env=QUARTER).code == 0
    sandbox.retitle(sandbox.delivered()[:10], "Changed")
    kill_amid_batches(sandbox, crmsync)

    age(crmsync, timedelta(minutes=29))
    young = crmsync.run("status", env=QUARTER)
    assert (young.code, young.out.splitlines()[0].startswith("CRMSYNC OK - contacts: last success 29m")) == (
        0,
        True,
    )
    assert "has not ended: it is at work, or was killed" in young.out
    assert "1 batch in the outbox" in young.out

    age(crmsync, timedelta(minutes=2))
    late = crmsync.run("status", env=QUARTER)
    assert late.code == 2
    assert late.out.startswith("CRMSYNC CRITICAL - contacts: last success 31m ago, more than 30m")
    assert crmsync.run("status", "--max-age", "45m", env=QUARTER).code == 0
    assert crmsync.run("status", "--max-age", "3x", env=QUARTER).code == 0

    crmsync.pull()
    assert crmsync.run("status", env=QUARTER).code == 0


def test_a_sync_that_fails_is_a_warning_until_its_last_success_is_too_old(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    crmsync.pull("--full")
    crmsync.run(
        "pull", env={"EXPERITURE_BASE_URL": sandbox.base_url, "SALESFORCE_CLIENT_SECRET": "not-this-one"}
    )
    warned = crmsync.run("status", env=QUARTER)
    assert (warned.code, "the last run failed (exit code 77)" in warned.out) == (1, True)
    age(crmsync, timedelta(minutes=31))
    assert crmsync.run("status", env=QUARTER).code == 2


def test_open_rejects_and_a_changed_mapping_are_warnings(sandbox: Sandbox, crmsync: Crmsync) -> None:
    rejected = crmsync.pull("--full")["open_rejects"]
    assert rejected > 0
    assert crmsync.run("status", "--max-rejects", str(rejected)).code == 0
    many = crmsync.run("status", "--max-rejects", str(rejected - 1))
    assert (many.code, f"{rejected} open rejects" in many.out) == (1, True)
    fields = {"email": "Email", "salesforce_id": "Id", "first_name": "FirstName"}
    mapped = "\n".join(f'{target} = "{source}"' for target, source in fields.items())
    crmsync.configure(
        f'[[sync]]\nname = "contacts"\nsource = "salesforce"\nobject = "Contact"\n'
        f'into = "profiles"\nmatch_key = "salesforce_id"\nowner = "crm"\n[sync.fields]\n{mapped}\n'
    )
    changed = crmsync.run("status")
    assert (changed.code, "mapping changed" in changed.out) == (1, True)


def test_the_first_line_is_a_plugins(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """Words for people, a bar, and measures: 'name'=value;warning;critical;least;most."""
    crmsync.pull("--full")
    first = crmsync.run("status", "--max-rejects", "500", env=QUARTER).out.splitlines()[0]
    words, _, measures = first.partition(" | ")
    assert re.fullmatch(r"CRMSYNC OK - contacts: last success \d+s ago, lag \d+s, \d+ open rejects?", words)
    assert re.fullmatch(r"('contacts_\w+'=\d+s?;\d*;\d*;\d*(;\d+)?( |$))+", measures), measures
    assert ";;1800;0" in measures
    assert ";500;;0" in measures


def test_json_tells_programs_the_same(sandbox: Sandbox, crmsync: Crmsync) -> None:
    result = crmsync.pull("--full")
    told = crmsync.run("status", "--json", env=QUARTER).json
    (contacts,) = told["syncs"]
    assert (told["status"], told["exit_code"]) == ("OK", 0)
    assert contacts["watermark"] == result["watermark"]
    assert contacts["open_rejects"] == result["open_rejects"]
    assert contacts["last_success"]["run_id"] == result["run_id"]
    assert (contacts["interval_seconds"], contacts["interval_from"]) == (900, "CRMSYNC_INTERVAL")
    assert contacts["quota"] == result["quota"]
    assert contacts["lag_seconds"] >= result["lag_seconds"]
    assert contacts["next_run"] > contacts["last_run"]["started_at"]


def test_nothing_known_is_unknown_and_nothing_is_made(anyone: Crmsync) -> None:
    run = anyone.run("status")
    assert (run.code, run.out.splitlines()[0]) == (
        3,
        "CRMSYNC UNKNOWN - contacts: no run yet | 'contacts_open_rejects'=0;;;0",
    )
    assert not anyone.state.exists()


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--max-age", "soon"], {}),
        (["--bogus"], {}),
        (["nobody"], {}),
        ([], {"CRMSYNC_INTERVAL": "often"}),
        (["-c", "nowhere.toml"], {}),
    ],
    ids=["age", "option", "sync", "setting", "file"],
)
def test_a_mistake_is_unknown_not_a_judgement(
    anyone: Crmsync, arguments: list[str], env: dict[str, str]
) -> None:
    assert anyone.run("status", *arguments, env=env).code == 3


@pytest.mark.parametrize("name", ["state.json", "rejects.jsonl"])
def test_a_state_that_cannot_be_read_is_unknown(sandbox: Sandbox, crmsync: Crmsync, name: str) -> None:
    crmsync.pull("--full")
    (crmsync.state / "contacts" / name).write_text("{ torn\n")
    run = crmsync.run("status")
    assert (run.code, run.out.startswith("CRMSYNC UNKNOWN - ")) == (3, True)
    assert name in run.out


def test_a_state_that_is_no_file_is_unknown(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    path = crmsync.state / "contacts" / "state.json"
    path.unlink()
    path.mkdir()
    assert crmsync.run("status").code == 3


def test_of_several_syncs_the_worst_counts(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    sync = (
        '[[sync]]\nname = "{name}"\nsource = "salesforce"\nobject = "{object}"\ninto = "{into}"\n'
        'match_key = "salesforce_id"\nowner = "crm"\n[sync.fields]\nemail = "Email"\nsalesforce_id = "Id"\n'
    )
    crmsync.configure(
        sync.format(name="contacts", object="Contact", into="profiles")
        + sync.format(name="leads", object="Lead", into="leads")
    )
    run = crmsync.run("status", "--json")
    assert [each["status"] for each in run.json["syncs"]] == ["WARNING", "UNKNOWN"]
    assert run.code == 1
    assert crmsync.run("status", "leads").code == 3


def test_status_reads_the_state_and_leaves_it_as_it_is(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """Also where the state may only be read, and while another run holds its lock."""
    crmsync.pull("--full")
    before = crmsync.files()
    asked = sandbox.last_request()
    for folder, _, names in os.walk(crmsync.state):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o400)
        os.chmod(folder, 0o500)
    assert crmsync.run("status").code == 0
    assert crmsync.run("runs").code == 0
    assert crmsync.run("runs", "--html", str(crmsync.home / "runs.html")).code == 0
    assert crmsync.files() == before
    assert sandbox.requests(since=asked) == []
    for folder, _, _ in os.walk(crmsync.state):
        os.chmod(folder, 0o700)


def test_status_of_a_state_on_s3_changes_nothing_there(
    moto: Server, sandbox: Sandbox, install: Install
) -> None:
    crmsync = on_s3(moto, install(sandbox))
    crmsync.pull("--full")
    before = objects(moto)
    run = crmsync.run("status", env=QUARTER)
    assert (run.code, run.out.startswith("CRMSYNC OK")) == (0, True), run.said
    assert crmsync.run("runs").code == 0
    assert objects(moto) == before


def test_a_killed_run_does_not_keep_the_interval_from_being_found(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """Nobody has set CRMSYNC_INTERVAL: the median of the starts says how often runs come."""
    crmsync.pull("--full")
    for _ in range(4):
        age(crmsync, timedelta(hours=1))
        sandbox.advance()
        crmsync.pull()
    (contacts,) = crmsync.run("status", "--json").json["syncs"]
    assert contacts["interval_from"] == "the median of the last 5 starts"
    assert 3_590 < contacts["interval_seconds"] < 3_700
    age(crmsync, timedelta(minutes=119))
    assert crmsync.run("status").code == 0
    age(crmsync, timedelta(minutes=4))
    assert crmsync.run("status").code == 2
