"""The documented workflow: its commands, run as a CI runs them, write nothing."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from crmsync.config.settings import BY_VARIABLE, VARIABLES

from .world import PATIENCE, Sandbox, plain_environment

ROOT = Path(__file__).parents[2]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "docs/examples/github-actions.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]


def commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def crmsyncs(job: str) -> list[str]:
    return [command for command in commands(job) if command.startswith("crmsync ")]


def test_the_document_names_every_command_of_the_workflow() -> None:
    document = (ROOT / "docs/ci-smoke.md").read_text()
    for job in JOBS:
        for command in crmsyncs(job):
            assert f"`{command}`" in document


def test_secrets_come_from_the_store_and_every_setting_exists() -> None:
    for name, value in JOBS["credentials"]["env"].items():
        assert name in VARIABLES
        if BY_VARIABLE[name].secret:
            assert value == f"${{{{ secrets.{name} }}}}"
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_the_installation_is_proved_by_the_demo() -> None:
    install, demo = commands("installation")
    assert re.fullmatch(r"pip install 'crmsync\[sandbox\]'", install)
    assert demo == "crmsync demo --quick"


@pytest.mark.parametrize("command", crmsyncs("credentials"))
def test_credentials_are_tried_without_writing(sandbox: Sandbox, tmp_path: Path, command: str) -> None:
    """With the workflow's environment, as far as the sandbox has other logins than the example."""
    settings = {
        name: value.replace("${{ github.workspace }}", str(tmp_path))
        for name, value in JOBS["credentials"]["env"].items()
        if "${{ secrets." not in value and "${{ vars." not in value
    }
    (tmp_path / "crmsync.toml").touch()
    script = Path(sys.executable).with_name("crmsync")
    done = subprocess.run(
        [script, *shlex.split(command)[1:]],
        env=plain_environment(tmp_path) | sandbox.environment | settings | {"CI": "true"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sandbox.requests("salesforce", "/query")
    assert not sandbox.batches()
    assert not [
        entry
        for entry in sandbox.requests("experiture")
        if entry["method"] != "GET" and "token" not in entry["path"]
    ]
    left = [
        path.name
        for path in (tmp_path / ".crmsync-smoke").rglob("*")
        if path.is_file() and path.stat().st_size
    ]
    assert left == []
