"""Processes, and what they cost: the servers, and one measured program at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import urllib3

HERE = Path(__file__).resolve().parent
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class ProgramFailed(Exception):
    """A measured program ended otherwise than it should; what it said is in the message."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU (user and system) and of the clock; peak RSS in MB. Of a pipe: the sum of both ends' CPU
    and RSS."""

    cpu: float
    wall: float
    rss: float


def run(
    *commands: Sequence[str],
    env: Mapping[str, str],
    folder: Path,
    codes: tuple[int, ...] = (0,),
) -> Cost:
    """Run a program, or several piped one into the other, to the end. Raises ProgramFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"stderr-{at}.txt" for at in range(len(commands))]
    started, processes, upstream = time.monotonic(), [], None
    for at, command in enumerate(commands):
        last = at == len(commands) - 1
        with logs[at].open("wb") as log, (folder / "stdout.txt").open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=upstream or subprocess.DEVNULL,
                stdout=out if last else subprocess.PIPE,
                stderr=log,
                env=environment(folder, env),
                cwd=folder,
            )
        if upstream is not None:
            upstream.close()
        upstream = process.stdout
        processes.append(process)
    cpu = rss = 0.0
    for process, log in zip(processes, logs, strict=True):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            raise ProgramFailed(f"{process.args} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        cpu += usage.ru_utime + usage.ru_stime
        rss += usage.ru_maxrss / 1024
    return Cost(cpu, time.monotonic() - started, rss)


def environment(home: Path, own: Mapping[str, str]) -> dict[str, str]:
    """What a process needs of this machine, and nothing that was configured on it."""
    plain = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**plain, "HOME": str(home), **own}


class Servers:
    """Both services, with so many contacts, in a process of their own."""

    def __init__(self, contacts: int) -> None:
        self.contacts = contacts
        self._process = subprocess.Popen(
            [sys.executable, "-m", "servers", str(contacts)], cwd=HERE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise ProgramFailed("the servers did not start")
        self.base_url = f"http://127.0.0.1:{port}"
        self._http = urllib3.PoolManager()
        self._take_a_core()

    def _take_a_core(self) -> None:
        """Have the servers on one core and whatever is measured on the others, where there are several.

        Else what serving a page leaves in a core's caches, and the scheduler's moving of both, counts as the program's.
        """
        if len(CORES) > 1:
            os.sched_setaffinity(self._process.pid, CORES[:1])
            os.sched_setaffinity(0, CORES[1:])

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.clear()
        self._process.terminate()
        self._process.wait()

    def call(self, action: str, **arguments: Any) -> Any:
        """A call of their control (see servers/__main__.py)."""
        reply = self._http.request("POST", f"{self.base_url}/_bench/{action}", body=orjson.dumps(arguments))
        return orjson.loads(reply.data)
