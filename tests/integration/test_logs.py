"""What a run says: silent success without a terminal, JSON lines when asked, a bar where somebody is watching."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from typing import Any

from .world import CRMSYNC, Crmsync, Run, Sandbox


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.err.splitlines()]


def summaries(run: Run) -> list[dict[str, Any]]:
    return [line for line in lines(run) if "summary" in line]


def test_success_without_a_terminal_is_silent(crmsync: Crmsync) -> None:
    run = crmsync.run("pull", "--full")
    assert (run.code, run.out, run.err) == (0, "", "")


def test_asked_for_more_every_line_has_the_run_and_the_last_sums_it_up(crmsync: Crmsync) -> None:
    run = crmsync.run("pull", "--full", "-v", "--json")
    told = lines(run)
    assert {line["run_id"] for line in told} == {run.json["run_id"]}
    (summary,) = summaries(run)
    assert summary is not None
    assert told[-1] == summary
    (sync,) = summary["summary"]["syncs"]
    assert (summary["level"], summary["summary"]["exit_code"], sync["read"]) == ("info", 0, 300)
    assert sync["written"] == run.sync["written"]
    assert any(line.get("sync") == "contacts" for line in told)


def test_a_failed_run_is_summed_up_too_and_its_call_can_be_found(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.cdp("switches", granted_scopes="cdp:records:read cdp:metadata:read")
    run = crmsync.run("pull", "--full", "-v")
    (summary,) = summaries(run)
    assert (run.code, summary["summary"]["exit_code"], summary["level"]) == (77, 77, "info")
    (error,) = (line for line in lines(run) if line["level"] == "error")
    assert re.fullmatch(r"[0-9a-f-]{36}", error["correlation_id"])
    assert (error["exit_code"], error["sync"]) == (77, "contacts")
    assert "scope" in error["hint"]


def test_calls_tried_again_are_told_with_their_ids(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.fault("status", service="experiture", path="upsert-batch", status=503, times=2)
    run = crmsync.run("pull", "--full", "-v")
    again = [line for line in lines(run) if "tried again" in line["msg"]]
    assert (run.code, len(again)) == (0, 2)


def test_wrong_settings_are_json_lines_as_well(crmsync: Crmsync) -> None:
    (line,) = lines(crmsync.run("pull", env={"CRMSYNC_BATCH_SIZE": "many"}))
    assert (line["exit_code"], "CRMSYNC_BATCH_SIZE" in line["msg"]) == (78, True)


def on_a_terminal(crmsync: Crmsync, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command whose stderr is a terminal of 80 columns. Gives its exit code and what was shown there."""
    controller, device = pty.openpty()
    process = subprocess.Popen(
        [*CRMSYNC, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=device,
        env=crmsync.environment({"TERM": "xterm", **environment}),
        cwd=crmsync.home,
    )
    os.close(device)
    shown = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(controller)
    return process.wait(timeout=60), shown.decode()


WIPE = re.compile(r"[^\n]*\r(?:\x1b\[\d+A)?\x1b\[J")


def test_on_a_terminal_a_long_run_shows_a_bar_that_leaves_whole_lines_behind(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    sandbox.fault("delay", service="experiture", path="upsert-batch", seconds=2.5)
    code, shown = on_a_terminal(crmsync, "pull", "--full")
    assert code == 0
    assert re.search(r"contacts  \[=+\]  100%  300 of 300 read  \d+ rows/s", shown)
    left = WIPE.sub("", shown).replace("\r\n", "\n").splitlines()
    assert all(re.match(r"(\x1b\[2m)?\d\d:\d\d:\d\d [0-9a-f]{6}(\x1b\[0m)? info: ", line) for line in left), (
        left
    )
    assert "300 read" in left[-1]


def test_where_nobody_wants_it_there_is_no_bar(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.fault("delay", service="experiture", path="upsert-batch", seconds=1.5)
    assert on_a_terminal(crmsync, "pull", "--full", "-q") == (0, "")
    assert "\x1b" not in on_a_terminal(crmsync, "pull", "-v", TERM="dumb")[1]
    assert "\x1b" not in on_a_terminal(crmsync, "pull", NO_COLOR="1")[1]
