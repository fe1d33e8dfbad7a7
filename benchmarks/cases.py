"""What is measured, case by case. Each gives a JSON value that report and plot read."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contestants import PROGRAMS, Contestant, api_options, crmsync, crmsync_environment, measured
from measure import ProgramFailed, Servers, run

Case = dict[str, Any]
PEERS = ("tap", "dlt rows", "dlt pages")
MODES = {"job": "answered by jobs", "inline": "answered inline"}
WAITS = {"page_seconds": 0.4, "accept_seconds": 0.15, "job_seconds": 1.5, "inline_seconds": 0.6}
NO_WAITS = dict.fromkeys(WAITS, 0.0)


@dataclass(frozen=True)
class Plan:
    """How large, how often, and beside whom. `folder` is for everything that the programs write."""

    folder: Path
    throughput: int = 200_000
    latency: int = 50_000
    memory: tuple[int, ...] = (10_000, 50_000, 100_000, 1_000_000)
    rounds: int = 5
    ticks: int = 15
    peers: tuple[str, ...] = PEERS
    waits: Mapping[str, float] = field(default_factory=lambda: WAITS)


def throughput(plan: Plan) -> Case:
    """a: no latency, batches answered at once, for only some programs would ask for a job.

    The floor, the guide's sample and crmsync in turn, in every round; the others in three of them.
    """
    with Servers(plan.throughput) as servers:
        return {
            "contacts": plan.throughput,
            "programs": _compared(plan, servers, "a", waits=NO_WAITS, mode="inline", seldom=3),
        }


def latency(plan: Plan) -> Case:
    """b: realistic latency, the workspace answering with jobs, then inline."""
    with Servers(plan.latency) as servers:
        return {
            "contacts": plan.latency,
            "waits": plan.waits,
            **{
                mode: _compared(plan, servers, f"b-{mode}", waits=plan.waits, mode=mode, seldom=1)
                for mode in MODES
            },
        }


def memory(plan: Plan) -> Case:
    """c: peak RSS of a full pull, by size and API."""
    found = []
    apis = ("rest", "bulk") if api_options("bulk") else ("rest",)
    for contacts in plan.memory:
        with Servers(contacts) as servers:
            servers.call("settings", **NO_WAITS, mode="job")
            for api in apis:
                said(f"c: {contacts:,} rows by {api}")
                folder = plan.folder / f"c-{api}-{contacts}"
                before = servers.call("reset")["cpu"]
                env = crmsync_environment(servers, folder / "state")
                cost = run([*crmsync(), "pull", "--full", *api_options(api)], env=env, folder=folder)
                found.append({"api": api, "contacts": contacts, **measured(servers, cost, before)})
    return {"runs": found}


def quiet(plan: Plan) -> Case:
    """d: a tick in which nothing changed, and `--help`, each in turn with what it is compared to."""
    python = sys.executable
    with Servers(plan.latency) as servers:
        folder = plan.folder / "d"
        env = crmsync_environment(servers, folder / "state")
        run([*crmsync(), "pull", "--full", *api_options("rest")], env=env, folder=folder)
        commands: dict[str, list[str]] = {
            "crmsync pull, nothing changed": [*crmsync(), "pull"],
            "import requests, simple_salesforce": [python, "-c", "import requests, simple_salesforce"],
            "crmsync --help": [*crmsync(), "--help"],
            "import click": [python, "-c", "import click"],
        }
        said(f"d: {plan.ticks} rounds of {len(commands)}")
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        servers.call("reset")
        for _ in range(plan.ticks):
            for name, command in commands.items():
                runs[name].append(asdict(run(command, env=env, folder=folder)))
        counts = servers.call("counts")
        if counts["records"]:
            raise ProgramFailed("a quiet tick wrote records")
        ticks = {name: number / plan.ticks for name, number in counts["requests"].items()}
        return {"contacts": plan.latency, "runs": runs, "requests": ticks}


def whereabouts(plan: Plan) -> Case:
    """p: which functions of crmsync the CPU of case a goes to."""
    with Servers(plan.latency) as servers:
        servers.call("settings", **NO_WAITS, mode="job")
        said(f"p: {plan.latency:,} rows")
        folder = plan.folder / "p"
        shares = folder / "shares.json"
        command = [
            sys.executable,
            str(PROGRAMS / "sampled.py"),
            str(shares),
            "pull",
            "--full",
            *api_options("rest"),
        ]
        run(command, env=crmsync_environment(servers, folder / "state"), folder=folder)
        seconds: dict[str, float] = json.loads(shares.read_text())
        total = sum(seconds.values())
        return {"contacts": plan.latency, "shares": {name: spent / total for name, spent in seconds.items()}}


CASES: dict[str, Callable[[Plan], Case]] = {
    "a": throughput,
    "b": latency,
    "c": memory,
    "d": quiet,
    "p": whereabouts,
}


def _compared(
    plan: Plan, servers: Servers, label: str, *, waits: Mapping[str, float], mode: str, seldom: int
) -> Case:
    """Every program's runs. crmsync's first, unmeasured, is recorded for the floor.

    Those that take long run in `seldom` rounds, spread over all of them: a machine is not equally fast all the time.
    """
    names = ("crmsync", "floor", "guide", *plan.peers)
    programs = [
        Contestant(name, servers, plan.folder / label, job_seconds=waits["job_seconds"]) for name in names
    ]
    servers.call("settings", **NO_WAITS, mode=mode)
    said(f"{label}: recording, and making every page beforehand")
    programs[0].recording.mkdir(parents=True, exist_ok=True)
    servers.call("record")
    programs[0].run()
    servers.call("recorded", folder=str(programs[0].recording))
    for program in programs[2:]:
        program.rehearse()
    servers.call("settings", **waits, mode=mode)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    every_turn = {"crmsync", "floor"} if waits["page_seconds"] else {"crmsync", "floor", "guide"}
    turns = {name: range(plan.rounds) for name in every_turn} | _spread(
        [name for name in names if name not in every_turn], seldom, plan.rounds
    )
    for turn in range(plan.rounds):
        for program in programs:
            if turn in turns[program.name]:
                found = program.run()
                runs[program.name].append(found)
                cpu = found["cpu"] / found["rows"] * 1e6
                said(
                    f"{label}: {program.name:9} {cpu:7.1f} µs a row, {found['wall']:6.1f} s, {found['lost']:,} lost"
                )
    return runs


def _spread(names: Iterable[str], times: int, rounds: int) -> dict[str, Collection[int]]:
    """The rounds in which each of these runs, so many of them: as far apart as can be, and beginning with another."""
    return {
        name: {(first + nth * rounds // times) % rounds for nth in range(times)}
        for first, name in enumerate(names)
    }


def typical(runs: Iterable[dict[str, Any]], name: str) -> float:
    """The median of a number over the runs."""
    return statistics.median(float(each[name]) for each in runs)


def fastest(runs: Iterable[dict[str, Any]]) -> float:
    """Seconds of wall, the least over the runs: what else the machine does only ever adds to them."""
    return min(float(each["wall"]) for each in runs)


def cpu_per_row(runs: Iterable[dict[str, Any]]) -> float:
    """µs of CPU for each row read, the median over the runs."""
    return statistics.median(each["cpu"] / each["rows"] * 1e6 for each in runs)


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def version_of(package: str, python: Path) -> str:
    """The version of an installed package, as that Python sees it."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
