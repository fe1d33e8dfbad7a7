"""`crmsync pull`"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import click
import orjson

from crmsync.cli.common import chosen_syncs, common_options, configure, keep_tail, places
from crmsync.cli.moments import DURATION, INSTANT
from crmsync.cli.outcome import keep, outcome, summarize, tell_about, told, worst
from crmsync.cli.wiring import Workplace, stopping
from crmsync.config import Config, Sync
from crmsync.errors import CrmsyncError, LockHeld
from crmsync.health import logs, observers
from crmsync.health.progress import Progress
from crmsync.http import Stopper
from crmsync.pull import Pull, Report
from crmsync.window import Range

log = logging.getLogger(__name__)

EPILOG = """\b
Examples:
  crmsync pull                       what changed since the last run
  crmsync pull --full                everything, once, to begin with
  crmsync pull --since 36h           a backfill by hand; the watermark stays
  crmsync pull contacts --dry-run    what would be written, without writing
"""


@click.command(epilog=EPILOG)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
@click.option(
    "--since", type=INSTANT, metavar="TIME", help="Read from here on: 36h, 7d, 2026-05-01, an ISO time (UTC)."
)
@click.option("--until", type=INSTANT, metavar="TIME", help="Read up to, not including, this time.")
@click.option("--full", "--full-refresh", "full", is_flag=True, help="Read everything.")
@click.option(
    "--changed", is_flag=True, help="With --since or --full: leave out what is known to be delivered."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="A trial: only the first N changes.")
@click.option("--force", is_flag=True, help="Write also what is known to be delivered.")
@click.option(
    "--refresh-formulas", is_flag=True, help="Read everything, write what differs: for formula fields."
)
@click.option(
    "--api",
    type=click.Choice(["auto", "rest", "bulk"]),
    help="How to read: by REST, by a bulk job, or by what suits the number of rows.",
)
@click.option("--allow-deletes", is_flag=True, help="Flag as many deletions as there are, this once.")
@click.option("--dry-run", is_flag=True, help="Do everything but write.")
@click.option(
    "--max-duration", type=DURATION, metavar="TIME", help="Stop cleanly after this long (exit code 75)."
)
@click.option(
    "--wait", type=DURATION, default=None, metavar="TIME", help="Wait so long for another run to end."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, as its last line.")
@common_options
def command(
    names: tuple[str, ...],
    since: datetime | timedelta | None,
    until: datetime | timedelta | None,
    full: bool,
    changed: bool,
    limit: int | None,
    force: bool,
    refresh_formulas: bool,
    api: Literal["auto", "rest", "bulk"] | None,
    allow_deletes: bool,
    dry_run: bool,
    max_duration: timedelta | None,
    wait: timedelta | None,
    as_json: bool,
    config_path: str | None,
    verbosity: int,
) -> int:
    """Read what changed in the CRM and write it to the CDP.

    Without a range it goes on from the watermark, or finishes what an interrupted run began.
    """
    if full and since:
        raise click.UsageError("--full already reads from the beginning; leave out --since.")
    if changed and not (full or since):
        raise click.UsageError("--changed goes with --since or --full.")
    asked = Range(since, until, full or refresh_formulas, changed or refresh_formulas, limit, force)
    take_long_turns()
    config = configure(config_path, verbosity)
    job = Job(asked, dry_run, allow_deletes, wait, logs.run_id(), Stopper())
    if api:
        config = replace(config, salesforce=replace(config.salesforce, api=api))
    syncs = chosen_syncs(config, names)
    watching = [] if dry_run else observers.configured(config, keep_tail, job.stopper)
    with (
        stopping(job.stopper, lambda: log.warning("stopping: waiting for what is in flight"), max_duration),
        observers.Observers(watching) as watched,
    ):
        results = _all(config, syncs, job, watched)
        code = worst([result["exit_code"] for result in results])
        watched.end(code, told(job.run_id, code, results))
    if as_json:
        click.echo(_json({"run_id": job.run_id, "exit_code": code, **places(config), "syncs": results}))
    summarize(results, code)
    return code


def take_long_turns() -> None:
    """Rows come and go by the thousand and hold no cycles: looking for some again and again finds none.

    Nor do the threads that wait for answers gain from taking turns every 5 ms with the one that maps.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(0.03)


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asked of every sync."""

    asked: Range
    dry_run: bool
    allow_deletes: bool
    wait: timedelta | None
    run_id: str
    stopper: Stopper


def _all(config: Config, syncs: list[Sync], job: Job, watched: observers.Observers) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    try:
        results.extend(
            watched.watch(sync, partial(_one, config, sync, job))
            for sync in syncs
            if job.stopper.reason is None
        )
    except Exception:
        summarize(results, 1)
        raise
    return results


def _one(config: Config, sync: Sync, job: Job) -> dict[str, Any]:
    """Run one sync and tell what came of it; an error becomes its exit code."""
    started = datetime.now(UTC)
    clock = time.monotonic()
    error: CrmsyncError | None = None
    pull: Pull | None = None
    with Workplace(
        config, sync, run_id=job.run_id, stopper=job.stopper, dry_run=job.dry_run, wait=job.wait
    ) as place:
        try:
            pull = place.pull(job.asked, allow_deletes=job.allow_deletes)
            with Progress(sync.name, pull.report.counts):
                pull.run()
            place.keep_catalog()
        except CrmsyncError as stopped:
            error = stopped
        report = pull.report if pull else Report()
        result = {
            "sync": sync.name,
            "run_id": job.run_id,
            "kind": job.asked.kind,
            "dry_run": job.dry_run,
            **outcome(report, config, error),
            "started_at": started.isoformat(timespec="seconds"),
            "duration_seconds": round(time.monotonic() - clock, 3),
            "requests": place.requests(),
            "quota": place.quota(),
        }
        if not job.dry_run and not isinstance(error, LockHeld):
            with contextlib.suppress(CrmsyncError):
                keep(result, report, place.store)
    tell_about(sync, report, error)
    return result


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()
