"""What a run's end means: its result as a document, its exit code, and what a person should hear of it."""

from __future__ import annotations

import logging
import sys
from typing import Any

from crmsync.cli.common import say_error, shown
from crmsync.config import Config, Sync
from crmsync.errors import CrmsyncError, LockHeld
from crmsync.health import logs
from crmsync.health.deviations import deviations
from crmsync.health.run import Run, read_runs
from crmsync.pull import Report
from crmsync.state.history import History
from crmsync.state.store import Store
from crmsync.text import count

log = logging.getLogger(__name__)

ENOUGH = 1000
"""So many runs, ten days of them every quarter of an hour, tell what is usual."""

SEVERITY = (1, 2, 78, 77, 4, 3, 75, 130, 143, 0)
"""Of several syncs' exit codes the first in this order counts."""


def tell_about(sync: Sync, report: Report, error: CrmsyncError | None) -> None:
    """Say what a person should hear of, on stderr."""
    with logs.about(sync.name):
        for note in report.notes:
            log.warning("%s: %s", sync.name, note)
        if error is not None:
            _say(error)


def outcome(report: Report, config: Config, error: CrmsyncError | None) -> dict[str, Any]:
    counts = report.counts
    allowed = config.max_rejects.allowed(counts.read)
    worth_a_look = report.new_rejects > allowed or report.abandoned or report.dropped
    code = error.exit_code if error else 3 if worth_a_look else 0
    if code == 3 and report.new_rejects > allowed:
        report.note(
            f"{count(report.new_rejects, 'new reject')}, more than the {allowed} allowed (CRMSYNC_MAX_REJECTS)"
        )
    return {
        "exit_code": code,
        "error": shown(error) if error else None,
        "lock_held": isinstance(error, LockHeld),
        **counts.as_dict(),
        "new_rejects": report.new_rejects,
        "open_rejects": report.open_rejects,
        "abandoned": report.abandoned,
        "tombstones": report.tombstones,
        "dropped": report.dropped,
        "window": {"start": report.window[0], "end": report.window[1]} if report.window else None,
        "resumed": report.resumed,
        "watermark": report.watermark,
        "watermark_moved": report.moved,
        "lag_seconds": report.lag_seconds,
        "record_lag_seconds": report.record_lag_seconds,
        "notes": report.notes,
    }


def keep(result: dict[str, Any], report: Report, store: Store) -> None:
    """Add a finished run to the history, and note where it is unlike the runs before it."""
    history = History(store, result["sync"])
    unusual = deviations(Run.of(result), read_runs(history.runs(ENOUGH)))
    for sentence in unusual.values():
        report.note(sentence)
    result |= {"deviations": unusual, "notes": report.notes}
    history.add(result)


def _say(error: CrmsyncError) -> None:
    """Where a timer finds the last run still at work, that is nothing to write home about."""
    if isinstance(error, LockHeld) and not sys.stderr.isatty():
        log.info("%s", error)
    else:
        say_error(error)


def summarize(results: list[dict[str, Any]], code: int) -> None:
    """The last line of a run: what became of it, for people and, in `summary`, for machines."""
    syncs = [{key: result[key] for key in result if key not in _SAID_BEFORE} for result in results]
    said = " · ".join(map(sentence, results)) or f"stopped, exit code {code}"
    log.info("%s", said, extra={"summary": {"exit_code": code, "syncs": syncs}})


_SAID_BEFORE = frozenset({"run_id", "error", "notes"})
"""What the lines before the last one tell."""


def worst(codes: list[int]) -> int:
    return next((code for code in SEVERITY if code in codes), max(codes, default=0))


def sentence(result: dict[str, Any]) -> str:
    """One line about a run."""
    skipped = sum(result["skipped"].values())
    refused = sum(result["rejected"].values()) + sum(result["refused"].values())
    verb = "to write" if result["dry_run"] else "written"
    parts = [
        f"{result['read']:,} read",
        f"{result['written']:,} {verb}",
        f"{result['unchanged']:,} unchanged",
        f"{skipped:,} skipped{_by_reason(result['skipped'])}",
        f"{refused:,} rejected{_by_reason({**result['rejected'], **result['refused']})}",
    ]
    watermark = f"; watermark {result['watermark']}" if result["watermark"] else ""
    ended = f"; stopped, exit code {result['exit_code']}" if result["error"] else ""
    return f"{result['sync']}: {', '.join(parts)} in {result['duration_seconds']:.1f} s{watermark}{ended}"


def told(run_id: str, code: int, results: list[dict[str, Any]]) -> str:
    """A run in a few lines, for those who were not there."""
    lines = [f"run {run_id}: exit code {code}"]
    for result in results:
        lines.append(sentence(result))
        lines += [f"  {result['error']}"] if result["error"] else []
        lines += [f"  {note}" for note in result["notes"]]
    return shown("\n".join(lines))


def _by_reason(counts: dict[str, int]) -> str:
    return (
        f" ({', '.join(f'{reason} {number:,}' for reason, number in sorted(counts.items()))})"
        if counts
        else ""
    )
