"""`crmsync demo`"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from crmsync.cli.sandbox import require_parts
from crmsync.errors import CrmsyncError
from crmsync.text import count

EPILOG = """\b
Examples:
  crmsync demo
  crmsync demo --quick      fewer contacts, for CI
"""

NEXT = """
What to do next:
  1. crmsync init            asks for your org's and workspace's credentials, and checks them
  2. crmsync pull --dry-run --limit 100 --full     what would be written, without writing
  3. crmsync pull --full     once; then every 15 minutes by the timer or the crontab that init writes
"""


class DemoFailed(CrmsyncError):
    """Something was not as it should be: this is a bug, or the sandbox could not be started."""

    exit_code = 1


@click.command(epilog=EPILOG)
@click.option("--quick", is_flag=True, help="A few hundred contacts: proves an installation in seconds.")
@click.option(
    "--contacts", type=click.IntRange(min=50), metavar="N", help="How many contacts  [default: 5137]"
)
def command(quick: bool, contacts: int | None) -> None:
    """Try everything on this machine: a full pull, changes, a delta pull, and a comparison row by row.

    Two servers are started that speak Salesforce's and Experiture's contracts; nothing leaves this machine.
    """
    require_parts()
    number = contacts or (300 if quick else 5137)
    with (
        tempfile.TemporaryDirectory(prefix="crmsync-demo-") as folder,
        _sandbox(number, Path(folder)) as sandbox,
    ):
        from crmsync.sandbox.compare import control

        base = sandbox["SALESFORCE_LOGIN_URL"]
        _say(f"An org of {number:,} contacts, good and bad ones, is served at {base}.")
        _say("\n$ crmsync pull --full")
        first = _pull(sandbox, "--full")
        _told(first)
        _compare(base)
        ids = [r["Id"] for r in control(base, "salesforce/dump", {"object": "Contact"}) if r["Email"]]
        changed = _good(ids, base)[:10]
        control(base, "salesforce/clock", {"advance": 60})
        for row_id in changed:
            control(
                base,
                "salesforce/update",
                {"object": "Contact", "id": row_id, "fields": {"Title": "Chief of Demos"}},
            )
        control(base, "salesforce/clock", {"advance": 60})
        _say(
            "\nTen contacts get a new title in the CRM, and its clock goes on by two minutes.\n\n$ crmsync pull"
        )
        delta = _pull(sandbox)
        _told(delta)
        _expect(
            delta["written"] == len(changed),
            f"{len(changed)} changes, but {delta['written']} records written",
        )
        _compare(base)
        _say("\nNothing changes.\n\n$ crmsync pull")
        quiet = _pull(sandbox)
        _told(quiet)
        _expect(quiet["written"] == 0, "a quiet pull wrote records")
        _say("\nWhat the servers saw in all:")
        _say(_seen(base))
        _say(NEXT)


@contextlib.contextmanager
def _sandbox(contacts: int, folder: Path) -> Iterator[dict[str, str]]:
    """A sandbox in a process of its own, and the environment to use it."""
    _say(f"Starting the sandbox with {contacts:,} contacts …")
    log = folder / "sandbox.log"
    arguments = [
        sys.executable,
        "-m",
        "crmsync",
        "sandbox",
        "--contacts",
        str(contacts),
        "--data",
        str(folder),
    ]
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            arguments, stdout=subprocess.DEVNULL, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while "serving" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"the sandbox did not start: {log.read_text().strip() or 'no reason given'}")
            time.sleep(0.05)
        lines = (folder / "sandbox.env").read_text().splitlines()
        settings = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        plain = {name: value.strip("'") for name, value in settings.items()}
        yield plain | {"CRMSYNC_STATE": str(folder / "state"), "CRMSYNC_CONFIG": ""}
    finally:
        process.terminate()
        process.wait(timeout=20)


def _pull(sandbox: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run `crmsync pull` as a user would, in a folder without a configuration of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SALESFORCE_", "EXPERITURE_", "CRMSYNC_", "HUBSPOT_"))
    }
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "crmsync", "pull", "--json", *arguments],
        env=kept | sandbox,
        cwd=Path(sandbox["CRMSYNC_STATE"]).parent,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    _expect(done.returncode == 0, f"the pull ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["syncs"][0]
    return result


def _good(ids: list[str], base: str) -> list[str]:
    """Those contacts that have a profile, so that a change to them has to arrive."""
    from crmsync.sandbox.compare import control

    delivered = {p.get("salesforce_id") for p in control(base, "experiture/dump", {"object": "profiles"})}
    return [row_id for row_id in ids if row_id in delivered]


def _compare(base: str) -> None:
    from crmsync.sandbox.compare import compare

    result = compare(base)
    _expect(not result.wrong, f"{len(result.wrong)} profiles are wrong, first: {'; '.join(result.wrong[:3])}")
    _say(
        f"  compared row by row: {result.alike:,} profiles are as they should be, "
        f"{result.left_out:,} contacts rightly have none"
    )


def _told(result: dict[str, Any]) -> None:
    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{number:,} {reason}" for reason, number in sorted(counts.items())) or "none"

    _say(
        f"  {result['read']:,} read, {result['written']:,} written in {count(result['batches'], 'batch', 'batches')}, "
        f"{result['unchanged']:,} unchanged, in {result['duration_seconds']:.1f} s"
    )
    if result["read"]:
        _say(
            f"  skipped: {listed(result['skipped'])}; rejected: {listed(result['rejected'] | result['refused'])}"
        )
        _say(f"  fields left out: {listed(result['left_out'])}")


def _seen(base: str) -> str:
    from crmsync.sandbox.compare import control

    log = control(base, "requests")
    entries = log["requests"] if isinstance(log, dict) else log
    kinds = Counter(
        f"{entry['method']} {_kind(entry['path'])}" for entry in entries if "_sandbox" not in entry["path"]
    )
    return "\n".join(f"  {number:>4} × {kind}" for kind, number in sorted(kinds.items()))


def _kind(path: str) -> str:
    """A path without the parts that differ from request to request."""
    parts = path.rstrip("/").split("/")
    if "query" in parts and parts[-1] != "query":
        return "/".join([*parts[:-1], "…"])
    if "jobs" in parts and parts[-1] != "jobs":
        return "/".join([*parts[:-1], "…"])
    return "/".join(parts)


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise DemoFailed(f"the demo is not as it should be: {otherwise}", hint="Please report this.")


def _say(text: str) -> None:
    click.echo(text)
