"""Histories as runs would have left them: lines of `runs.jsonl`, with what was noted of each run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from crmsync.health.deviations import deviations
from crmsync.health.run import Run, read_runs
from crmsync.state.checkpoint import stamp

Line = dict[str, Any]
QUARTER = timedelta(minutes=15)


def line(started: datetime, **changes: Any) -> Line:
    """An ordinary run's line, but for what is given."""
    ended_well = changes.get("exit_code", 0) in (0, 3)
    return {
        "sync": "contacts",
        "run_id": f"{started:%Y%m%dT%H%M%SZ}-000000",
        "kind": "delta",
        "dry_run": False,
        "exit_code": 0,
        "error": None,
        "read": 400,
        "written": 310,
        "unchanged": 80,
        "replayed": 0,
        "batches": 1,
        "skipped": {"require": 8},
        "rejected": {"invalid_email": 2},
        "refused": {},
        "left_out": {},
        "new_rejects": 2,
        "open_rejects": 9,
        "abandoned": 0,
        "tombstones": 0,
        "dropped": [],
        "window": None,
        "resumed": False,
        "watermark": stamp(started - timedelta(seconds=5)),
        "watermark_moved": ended_well,
        "lag_seconds": 9.0,
        "notes": [],
        "started_at": started.isoformat(timespec="seconds"),
        "duration_seconds": 4.2,
        "requests": {},
        "quota": [12_000, 100_000],
    } | changes


def lines(start: datetime, count: int, interval: timedelta = QUARTER, **changes: Any) -> list[Line]:
    """So many ordinary runs, one each interval."""
    return [line(start + number * interval, **changes) for number in range(count)]


def runs(history: Sequence[Line]) -> list[Run]:
    return read_runs(history)


def judged(history: Sequence[Line]) -> list[Line]:
    """The history with every run's deviations from those before it, as the runs themselves note them."""
    found: list[Line] = []
    for each in history:
        unusual = deviations(Run.of(each), read_runs(found))
        found.append(each | {"deviations": unusual, "notes": list(unusual.values())})
    return found


def eventful(start: datetime) -> list[Line]:
    """Thirty runs, a quarter of an hour apart, with a gap of three hours, a spike, a failure and a drop."""
    history = []
    for number in range(30):
        pause = timedelta(hours=3) if number >= 12 else timedelta()
        at = start + number * QUARTER + pause
        wave = (number * 37) % 90
        usual = {"written": 260 + wave, "read": 350 + wave, "quota": [9_000 + 420 * number, 100_000]}
        usual |= {"duration_seconds": 3.0 + wave / 30, "rejected": {"invalid_email": number % 4}}
        usual |= {"new_rejects": number % 4, "skipped": {"require": 6 + number % 5}}
        history.append(line(at, **usual))
    spike = {"written": 4_870, "read": 5_010, "duration_seconds": 21.7}
    failure = {
        "exit_code": 77, "written": 0, "read": 0, "unchanged": 0, "skipped": {}, "rejected": {},
        "new_rejects": 0, "duration_seconds": 0.9, "lag_seconds": 909.0, "quota": None,
        "error": "Salesforce refused the login: invalid_client\n  → Check the connected app.",
        "watermark": history[23]["watermark"],
    }  # fmt: skip
    schema = {
        "refused": {"CDP_ETL.SCHEMA.UNKNOWN_FIELD": 140},
        "new_rejects": 140,
        "written": 190,
        "exit_code": 3,
    }
    history[19] |= spike
    history[24] |= failure | {"watermark_moved": False}
    history[27] |= {"written": 4, "read": 96}
    history[28] |= schema
    return judged(history)
