"""The programs that are measured: how each is started, and one run of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import peers
from measure import HERE, Cost, ProgramFailed, Servers, environment, run
from servers.settings import API_KEY, TOKEN

PROGRAMS = HERE / "programs"
LATE = 60.0
_numbers = itertools.count(1)


def crmsync() -> list[str]:
    """The program as its users start it. Raises ProgramFailed where it is not installed beside this Python."""
    path = Path(sys.executable).parent / "crmsync"
    if not path.exists():
        raise ProgramFailed("crmsync is not installed beside this Python: pip install -e '.[sandbox]'")
    return [str(path)]


class Contestant:
    """One program beside one pair of servers. Each run has a folder of its own, and knows of none before."""

    def __init__(self, name: str, servers: Servers, folder: Path, *, job_seconds: float = 0.0) -> None:
        self.name = name
        self._servers = servers
        self._folder = folder
        self._job_seconds = job_seconds
        self.recording = folder / "recording"

    def run(self) -> dict[str, Any]:
        """Run it to its end: what it cost, and what the servers saw of it."""
        before = self._servers.call("reset")["cpu"]
        folder = self._folder / f"{self.name}-{next(_numbers)}"
        cost = run(*self._commands(folder), env=self._environment(folder), folder=folder)
        return measured(self._servers, cost, before)

    def rehearse(self) -> None:
        """Have the servers make the pages it is going to ask for, so that they only hand them out later.

        A program that asks for one page after another by a link is stopped after the first; the guide's asks
        each page anew and runs to its end.
        """
        if self.name == "guide":
            self.run()
            return
        self._servers.call("reset")
        folder = self._folder / f"{self.name}-rehearsal"
        env = self._environment(folder)
        command = self._commands(folder)[0]
        with (folder / "rehearsal.txt").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment(folder, env), cwd=folder, stdout=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + LATE
        while not self._servers.call("counts")["requests"].get("page"):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise ProgramFailed(
                    f"{self.name} asked for no page:\n{(folder / 'rehearsal.txt').read_text()[-3000:]}"
                )
            time.sleep(0.05)
        process.kill()
        process.wait()
        self._servers.call("warm")

    def _commands(self, folder: Path) -> list[Sequence[str]]:
        folder.mkdir(parents=True, exist_ok=True)
        python = sys.executable
        match self.name:
            case "crmsync":
                return [[*crmsync(), "pull", "--full", *api_options("rest")]]
            case "floor" | "guide":
                return [[python, str(PROGRAMS / f"{self.name}.py")]]
            case "tap":
                tap = peers.prepare_tap(folder, self._environment(folder))
                return [tap, [str(peers.VENV / "bin" / "python"), str(PROGRAMS / "loader.py")]]
            case "dlt rows" | "dlt pages":
                way = self.name.removeprefix("dlt ")
                return [[str(peers.VENV / "bin" / "python"), str(PROGRAMS / "dlt_contacts.py"), way]]
        raise ValueError(self.name)

    def _environment(self, folder: Path) -> dict[str, str]:
        if self.name == "crmsync":
            return crmsync_environment(self._servers, folder / "state")
        own = _quiet_dlt(folder) if self.name.startswith("dlt") else {"PYTHONPATH": str(PROGRAMS / "patches")}
        return own | {
            "BASE_URL": self._servers.base_url,
            "TOKEN": TOKEN,
            "API_KEY": API_KEY,
            "JOB_SECONDS": str(self._job_seconds),
            "RECORDING": str(self.recording),
        }


def crmsync_environment(servers: Servers, state: Path) -> dict[str, str]:
    """Where the services are, and a login for each. Everything else is as it comes."""
    return {
        "SALESFORCE_LOGIN_URL": servers.base_url,
        "SALESFORCE_CLIENT_ID": "benchmark",
        "SALESFORCE_CLIENT_SECRET": "benchmark",
        "EXPERITURE_BASE_URL": f"{servers.base_url}/public/v1",
        "EXPERITURE_API_KEY": API_KEY,
        "CRMSYNC_STATE": str(state),
    }


def measured(servers: Servers, cost: Cost, servers_before: float) -> dict[str, Any]:
    counts = servers.call("counts")
    servers_cpu = counts.pop("cpu") - servers_before
    return {**asdict(cost), **counts, "servers_cpu": servers_cpu}


@cache
def api_options(api: str) -> list[str]:
    """`--api …` where this crmsync has a choice."""
    told = subprocess.run([*crmsync(), "pull", "--help"], check=True, capture_output=True, text=True)
    return ["--api", api] if "--api" in told.stdout else []


def _quiet_dlt(folder: Path) -> dict[str, str]:
    return {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(folder / "dlt"),
        "NO_PROXY": os.environ.get("NO_PROXY", "127.0.0.1"),
    }
