"""How one sync's run ended, in numbers: what every kind of metric is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from crmsync.health.run import FINISHED, Run


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one sync's run. What the run did not get to know is None, or empty.

    `at` and `watermark` are Unix times, the first by this machine's clock, the second by the source's.
    `records` counts rows by what became of them: read, written, unchanged, skipped, rejected, deleted.
    `in_step` says that the window up to the source's present is closed; a trial, or a range that leaves the
    watermark where it is, is not. `lock_held` says that there was no run: another
    one is at work.
    """

    sync: str
    source: str
    exit_code: int
    at: float
    duration_seconds: float
    in_step: bool = False
    lock_held: bool = False
    records: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    watermark: float | None = None
    lag_seconds: float | None = None
    record_lag_seconds: float | None = None
    rejects_open: int | None = None
    api_used: int | None = None
    api_limit: int | None = None

    @property
    def failed(self) -> bool:
        """Whether the run stopped before the end of its window."""
        return self.exit_code not in FINISHED

    @classmethod
    def of(cls, result: Mapping[str, Any], source: str, at: float) -> Self:
        """From what a pull tells of one sync."""
        run = Run.of(result)
        used, limit = run.quota or (None, None)
        knows_its_state = run.watermark is not None or not run.failed
        return cls(
            sync=result["sync"],
            source=source,
            exit_code=run.exit_code,
            at=at,
            duration_seconds=run.duration,
            in_step=run.succeeded,
            lock_held=result["lock_held"],
            records={
                "read": run.read,
                "written": run.written + result["replayed"],
                "unchanged": run.unchanged,
                "skipped": run.skips,
                "rejected": run.rejects,
                "deleted": result["tombstones"],
            },
            skipped=run.skipped,
            requests={side: sum(kinds.values()) for side, kinds in result["requests"].items()},
            watermark=run.watermark.timestamp() if run.watermark else None,
            lag_seconds=run.lag,
            record_lag_seconds=result["record_lag_seconds"],
            rejects_open=result["open_rejects"] if knows_its_state else None,
            api_used=used,
            api_limit=limit,
        )
