"""Measures crmsync beside a floor, and beside what would be used instead. One command:

    python benchmarks/run.py

It needs crmsync installed with its extra `sandbox`; the other programs get a venv of their own. What it found goes
to results.json, README.md and results.svg in this folder, or in that of `--output`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import peers
import plot
import report
from cases import CASES, WAITS, Plan, version_of
from measure import HERE, ProgramFailed

QUICK = 2000


def main() -> None:
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="crmsync-benchmark-"))
    try:
        plan = _plan(arguments, folder)
        if plan.peers:
            peers.install()
        output: Path = arguments.output
        output.mkdir(parents=True, exist_ok=True)
        results = _known(output / "results.json") if arguments.only else {}
        for name in arguments.only or CASES:
            results[name] = CASES[name](plan) | {"about": _about(plan)}
            (output / "results.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
        (output / "results.svg").write_text(plot.svg(results))
        (output / "README.md").write_text(report.text(results))
        print(report.verdicts(results))
    except ProgramFailed as failed:
        sys.exit(f"benchmark: {failed}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", type=lambda text: text.split(","), metavar="a,b,…", help=f"some of {', '.join(CASES)}"
    )
    parser.add_argument("--contacts", type=int, metavar="N", help="contacts of a and b  [200,000 and 50,000]")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="rounds of the small programs  [5]"
    )
    parser.add_argument(
        "--without-peers", action="store_true", help="crmsync, floor and the guide's sample only"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK:,} contacts, one round, no peers: a test"
    )
    parser.add_argument("--output", type=Path, default=HERE, metavar="DIR")
    arguments = parser.parse_args()
    unknown = set(arguments.only or ()) - set(CASES)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    if arguments.quick and arguments.output == HERE:
        parser.error("--quick measures nothing worth keeping: give it an --output of its own")
    return arguments


def _plan(arguments: argparse.Namespace, folder: Path) -> Plan:
    if arguments.quick:
        waits = {name: seconds / 10 for name, seconds in WAITS.items()}
        return Plan(folder, QUICK, QUICK, (QUICK,), rounds=1, ticks=1, peers=(), waits=waits)
    plan = {"peers": ()} if arguments.without_peers else {}
    if arguments.contacts:
        plan |= {"throughput": arguments.contacts, "latency": arguments.contacts}
    return Plan(folder, rounds=arguments.rounds, **plan)


def _known(path: Path) -> dict[str, Any]:
    """The results so far, of which some cases are measured anew."""
    known: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return known


def _about(plan: Plan) -> dict[str, Any]:
    """When and where a case was measured."""
    versions = {"crmsync": version_of("crmsync", Path(sys.executable))}
    if plan.peers:
        python = peers.VENV / "bin" / "python"
        versions |= {
            name: version_of(name, python) for name in ("tap-salesforce", "dlt", "simple-salesforce")
        }
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
