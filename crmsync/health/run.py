"""A finished run as the history keeps it, and what counts as a success. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crmsync.state.checkpoint import moment

FINISHED = (0, 3)
"""The exit codes of runs that did what they were asked to."""


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the history.

    `started` is by the clock of the machine that ran it, in UTC; `duration` and `lag` are seconds. `skipped`
    is by reason, `rejected` by code, here and at the destination alike. `quota` is used and allowed.
    `deviations`: the marks of `crmsync.health.deviations`, each with its sentence.
    """

    run_id: str
    kind: str
    started: datetime
    duration: float
    exit_code: int
    error: str
    read: int
    written: int
    unchanged: int
    skipped: Mapping[str, int]
    rejected: Mapping[str, int]
    new_rejects: int
    lag: float | None
    quota: tuple[int, int] | None
    watermark: datetime | None
    moved: bool
    resumed: bool
    deviations: Mapping[str, str]

    @property
    def ended(self) -> datetime:
        return self.started + timedelta(seconds=self.duration)

    @property
    def succeeded(self) -> bool:
        """Whether the sync is in step since this run: it ended well and closed a window that moves the watermark.

        A trial, or a range that leaves the watermark where it is, proves nothing about the time since then.
        """
        return self.exit_code in FINISHED and self.moved

    @property
    def failed(self) -> bool:
        return self.exit_code not in FINISHED

    @property
    def is_ordinary(self) -> bool:
        """Whether its numbers can be compared with other runs': what a timer starts, from watermark to watermark."""
        return self.succeeded and self.kind == "delta" and not self.resumed

    @property
    def skips(self) -> int:
        return sum(self.skipped.values())

    @property
    def rejects(self) -> int:
        return sum(self.rejected.values())

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Run:
        """Raises KeyError, TypeError or ValueError for what is not a run's line."""
        started = datetime.fromisoformat(line["started_at"])
        quota = line.get("quota")
        lag = line.get("lag_seconds")
        return cls(
            run_id=str(line["run_id"]),
            kind=str(line.get("kind", "delta")),
            started=started.astimezone(UTC) if started.tzinfo else started.replace(tzinfo=UTC),
            duration=max(0.0, float(line["duration_seconds"])),
            exit_code=int(line["exit_code"]),
            error=str(line.get("error") or ""),
            read=int(line["read"]),
            written=int(line["written"]),
            unchanged=int(line["unchanged"]),
            skipped=_counts(line["skipped"]),
            rejected=_added(_counts(line["rejected"]), _counts(line["refused"])),
            new_rejects=int(line["new_rejects"]),
            lag=None if lag is None else float(lag),
            quota=(int(quota[0]), int(quota[1])) if quota else None,
            watermark=moment(line["watermark"]) if line["watermark"] else None,
            moved=bool(line["watermark_moved"]),
            resumed=bool(line["resumed"]),
            deviations={str(mark): str(said) for mark, said in line.get("deviations", {}).items()},
        )


def read_runs(lines: Iterable[Any]) -> list[Run]:
    """The history's lines as runs, by their start; those of anything else are left out."""
    found = []
    for line in lines:
        try:
            found.append(Run.of(line))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
            continue
    return sorted(found, key=lambda run: run.started)


def _counts(by_name: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in by_name.items()}


def _added(these: dict[str, int], those: dict[str, int]) -> dict[str, int]:
    return {name: these.get(name, 0) + those.get(name, 0) for name in {**these, **those}}
