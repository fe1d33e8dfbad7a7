"""The crontab: its command line in the environment that cron gives it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from crmsync.setup.texts import env_text, toml_text

from .world import PATIENCE, Crmsync, Run, Sandbox

EXAMPLE = (Path(__file__).parents[2] / "cron.example").read_text()
SCRIPT = str(Path(sys.executable).with_name("crmsync"))


@dataclass(frozen=True)
class Cron:
    """A crontab, read as cron reads it: settings, then one job."""

    settings: list[str]
    schedule: str
    user: str
    command: str

    @classmethod
    def read(cls, text: str) -> Cron:
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        *settings, job = lines
        found = re.fullmatch(r"((?:\S+\s+){4}\S+)\s+(\S+)\s+(.*)", job)
        assert found, job
        return cls(settings, *found.groups())

    def run(self) -> Run:
        """As cron does it: by /bin/sh, with hardly an environment, and no terminal."""
        done = subprocess.run(
            ["env", "-i", "PATH=/usr/bin:/bin", "HOME=/", *self.settings, "/bin/sh", "-c", self.command],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cron(crmsync: Crmsync) -> Cron:
    """cron.example for this crmsync, whose settings are in files."""
    (crmsync.home / ".env").write_text(env_text(crmsync.settings))
    toml = crmsync.home / "crmsync.toml"
    toml.write_text(toml_text(crmsync.settings))
    text = EXAMPLE
    for there, here in (
        ("/etc/crmsync/config.toml", str(toml)),
        ("/var/lib/crmsync", str(crmsync.state)),
        ("/usr/local/bin/crmsync", SCRIPT),
    ):
        assert there in text
        text = text.replace(there, here)
    return Cron.read(text)


def test_the_example_runs_every_quarter_of_an_hour_as_the_system_user() -> None:
    cron = Cron.read(EXAMPLE)
    assert (cron.schedule, cron.user) == ("*/15 * * * *", "crmsync")


def test_nothing_is_said_where_nothing_is_wrong(cron: Cron, crmsync: Crmsync, sandbox: Sandbox) -> None:
    """And the run meets the state of those by hand."""
    assert crmsync.pull("--full")["written"] > 0
    before = crmsync.watermark()
    sandbox.advance()
    assert cron.run() == Run(0, "", "")
    assert crmsync.watermark() != before


def test_what_is_wrong_is_mailed(cron: Cron, crmsync: Crmsync) -> None:
    """A first run without a watermark; and one that ends with more rejects than allowed."""
    first = cron.run()
    assert (first.code, "pull contacts --full" in first.err) == (78, True)
    assert not first.err.startswith("{"), "cron's mail is for people"
    crmsync.configure(
        (crmsync.home / "crmsync.toml")
        .read_text()
        .replace("[salesforce]", 'max_rejects = "0"\n[salesforce]', 1)
    )
    many = Cron(cron.settings, cron.schedule, cron.user, f"{cron.command} --full").run()
    assert (many.code, "CRMSYNC_MAX_REJECTS" in many.err) == (3, True)
