"""What crmsync is held to, and whether the results hold it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cases import MODES, cpu_per_row, fastest, typical

BATCH, PAGE = 500, 2000


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure, and its limit: at least, or at most."""

    case: str
    what: str
    figure: float
    limit: float
    unit: str = "×"
    at_least: bool = False

    @property
    def held(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def bars(results: dict[str, Any]) -> list[Bar]:
    """Every bar for which there are results."""
    found: list[Bar] = []
    if "a" in results:
        found += _throughput(results["a"]["programs"])
    if "b" in results:
        found += [bar for mode, told in MODES.items() for bar in _latency(results["b"][mode], told)]
    if "c" in results:
        found += _memory(results["c"]["runs"])
    if "d" in results:
        found += _quiet(results["d"]["runs"])
    if "a" in results:
        found += _requests(results["a"]["programs"]["crmsync"][0])
    return found


def _throughput(programs: dict[str, Any]) -> Iterator[Bar]:
    ours = cpu_per_row(programs["crmsync"])
    for name, what, limit in (
        ("tap", "CPU of tap-salesforce and its loader, in crmsyncs", 4),
        ("dlt rows", "CPU of dlt, row by row, in crmsyncs", 12),
    ):
        if name in programs:
            yield Bar("a", what, cpu_per_row(programs[name]) / ours, limit, at_least=True)
    yield Bar("a", "CPU of crmsync, in the guide's samples", ours / cpu_per_row(programs["guide"]), 3)
    yield Bar(
        "a", "contacts that crmsync did not deliver", max(each["lost"] for each in programs["crmsync"]), 0, ""
    )


def _latency(programs: dict[str, Any], told: str) -> Iterator[Bar]:
    ratio = fastest(programs["crmsync"]) / fastest(programs["floor"])
    yield Bar("b", f"wall of crmsync, in floors, {told}", ratio, 1.10)


def _memory(runs: list[dict[str, Any]]) -> Iterator[Bar]:
    for api in ("rest", "bulk"):
        peaks = {each["contacts"]: each["rss"] for each in runs if each["api"] == api}
        most = max(peaks, default=0)
        if most:
            yield Bar("c", f"peak at {most:,} rows by {api}", peaks[most], 120, " MB")
        if 50_000 in peaks and most > 50_000:
            yield Bar(
                "c", f"the same above that at 50,000 rows by {api}", peaks[most] - peaks[50_000], 10, " MB"
            )


def _quiet(runs: dict[str, Any]) -> Iterator[Bar]:
    for ours, theirs, limit in (
        ("crmsync pull, nothing changed", "import requests, simple_salesforce", 2),
        ("crmsync --help", "import click", 1.5),
    ):
        ratio = typical(runs[ours], "cpu") / typical(runs[theirs], "cpu")
        yield Bar("d", f"CPU of `{ours}`, in `{theirs}`", ratio, limit)


def _requests(run: dict[str, Any]) -> Iterator[Bar]:
    seen = dict(run["requests"])
    pages, batches, _ = seen.pop("page"), seen.pop("batch"), seen.pop("poll", 0)
    yield Bar("e", "query requests beyond the pages there are", pages - math.ceil(run["rows"] / PAGE), 0, "")
    yield Bar(
        "e", "batches beyond a 500th of the records", batches - math.ceil(run["records"] / BATCH), 0, ""
    )
    yield Bar("e", "other requests, polls aside", sum(seen.values()), 6, "")
