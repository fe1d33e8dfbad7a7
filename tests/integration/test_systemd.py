"""The units: what systemd says about them, and the real job under their restrictions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crmsync.setup.machine import Machine
from crmsync.setup.schedule import SERVICE, SYSUSERS, files

from . import own_machine

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MOST_EXPOSURE = 1.5
MACHINES = {
    "system": Machine(),
    "home": replace(
        Machine(), user="ann", group="ann", config="/home/ann/crmsync.toml", state="/home/ann/crm"
    ),
    "s3": replace(Machine(), state="s3://acme-sync/prod", metrics="/var/lib/node/crmsync.prom"),
}


SHIPPED = Path(__file__).resolve().parents[2] / "systemd"


@pytest.fixture
def analyze() -> str:
    """The path of systemd-analyze."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("the Debian package systemd is not installed")
    return found


@pytest.fixture(params=MACHINES)
def units(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the units for a machine, whose crmsync is the one under test."""
    command = (str(Path(sys.executable).with_name("crmsync")),)
    for name, text in files("systemd", replace(MACHINES[request.param], command=command)).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_systemd_has_nothing_to_say_against_the_units(analyze: str, units: Path) -> None:
    for unit in units.glob("crmsync@.*"):
        done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_has_nothing_to_say_against_the_shipped_units_wherever_they_are(analyze: str) -> None:
    for unit in sorted(SHIPPED.glob("crmsync@.*")):
        done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_is_hardly_exposed(analyze: str, units: Path) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--no-pager", units / SERVICE],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_the_system_user_can_be_made(analyze: str, tmp_path: Path) -> None:
    """Into another root, so that nobody is made on this machine."""
    for folder in ("etc", "usr/lib/sysusers.d"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "systemd" / SYSUSERS, tmp_path / "usr/lib/sysusers.d/crmsync.conf")
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True, capture_output=True)
    name, _, uid, _, _, home, shell = (tmp_path / "etc/passwd").read_text().split(":")
    assert (name, home, shell.strip()) == ("crmsync", "/var/lib/crmsync", "/usr/sbin/nologin")
    assert int(uid) < 1000


@pytest.mark.own_machine
def test_the_real_job_runs_under_the_units_restrictions(analyze: str, tmp_path: Path) -> None:
    """systemd starts the shipped unit, as the system user, with one secret from .env and another as a
    credential; a run by hand meets its state."""
    booted = own_machine.boot(tmp_path, HERE / "trial.sh")
    out = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    outcomes = dict(line.split("=", 1) for line in out["outcomes.txt"].splitlines())
    assert outcomes == {
        "state": "crmsync 700",
        "env": "crmsync 600",
        "first": "78",
        "full": "0",
        "by_hand": "0",
        "delta": "0",
        "stopped": "143 success",
        "timer": "active",
        "done": "yes",
    }, booted + str(out)
    assert "has no watermark yet" in out["unit.txt"]
    by_hand = json.loads(out["by_hand.txt"])
    assert by_hand["state"] == "/var/lib/crmsync"
    assert by_hand["syncs"][0]["watermark_moved"]
    assert by_hand["syncs"][0]["written"] == 0, "the run by hand saw what the unit had delivered"
    assert "contacts: 300 read" in out["unit.txt"]
    assert set(out["properties.txt"].splitlines()) == {
        "User=crmsync",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "MemoryDenyWriteExecute=yes",
    }
