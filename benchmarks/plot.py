"""The results as one drawing: benchmarks/results.svg, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from cases import MODES, cpu_per_row, fastest, typical
from report import NAMES

WIDTH, COLUMNS, GAP = 1180, 2, 40
PANEL = (WIDTH - GAP * (COLUMNS + 1)) // COLUMNS
LABELS, LINE, BAR, HEAD = 215, 24, 15, 52
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.value { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.title { font-weight: 600; font-size: 15px; } .note { fill: #59636e; font-size: 12px; }
.ours { fill: #2f6fdb; } .others { fill: #9aa4af; } .limit { stroke: #c4432b; stroke-width: 1.5; }
.limits { fill: #c4432b; font-size: 12px; } .ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .note { fill: #9198a1; } .ours { fill: #5c96f5; } .others { fill: #6b7580; }
  .value { stroke: #0d1117; } .limit { stroke: #f07b65; } .limits { fill: #f07b65; } .ground { fill: #0d1117; }
}
"""


@dataclass(frozen=True)
class Panel:
    """Bars with their labels. All of them are crmsync's where `ours` is set."""

    title: str
    note: str
    bars: Sequence[tuple[str, float, str]]
    limit: float | None = None
    limit_note: str = ""
    ours: bool = False

    @property
    def height(self) -> int:
        return HEAD + LINE * len(self.bars) + (LINE if self.limit is not None else 0)


def svg(results: dict[str, Any]) -> str:
    """The drawing, its panels in two columns, each put where the column is shorter."""
    heights, drawn = [GAP] * COLUMNS, []
    for panel in _panels(results):
        column = heights.index(min(heights))
        drawn += list(_drawn(panel, GAP + column * (PANEL + GAP), heights[column]))
        heights[column] += panel.height + GAP // 2
    height = max(heights) + GAP // 2
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
            f"<title>crmsync beside a floor and its alternatives</title><style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panels(results: dict[str, Any]) -> Iterator[Panel]:
    if "a" in results:
        programs = results["a"]["programs"]
        guide = cpu_per_row(programs["guide"])
        yield Panel(
            f"a. CPU a row, {results['a']['contacts']:,} contacts, no latency",
            "µs, less is better",
            [(NAMES[name], cpu_per_row(runs), f"{cpu_per_row(runs):.1f}") for name, runs in programs.items()],
            3 * guide,
            "limit of crmsync: 3 × the guide's sample",
        )
        yield Panel(
            "a. Contacts lost",
            "of those that have to be delivered",
            [
                (
                    NAMES[name],
                    runs[0]["lost"] / runs[0]["deliverable"],
                    f"{runs[0]['lost'] / runs[0]['deliverable']:.1%}",
                )
                for name, runs in programs.items()
            ],
        )
    if "b" in results:
        for mode, title in MODES.items():
            programs = results["b"][mode]
            yield Panel(
                f"b. Wall, {results['b']['contacts']:,} contacts, realistic latency, {title}",
                "s, less is better" + ("; only crmsync and the floor wait for jobs" if mode == "job" else ""),
                [(NAMES[name], fastest(runs), f"{fastest(runs):.1f}") for name, runs in programs.items()],
                1.1 * fastest(programs["floor"]),
                "limit of crmsync: 1.1 × the floor",
            )
    if "c" in results:
        yield Panel(
            "c. Peak memory of a full pull",
            "MB of RSS, less is better",
            [
                (f"{run['contacts']:,} rows, {run['api']}", run["rss"], f"{run['rss']:.0f}")
                for run in _by_api(results)
            ],
            120,
            "limit: 120 MB",
            ours=True,
        )
    if "d" in results:
        runs = results["d"]["runs"]
        yield Panel(
            "d. CPU of a quiet tick, and of --help",
            "ms, less is better",
            [
                (name, typical(each, "cpu"), f"{typical(each, 'cpu') * 1000:.0f}")
                for name, each in runs.items()
            ],
        )
    if "a" in results:
        seen = dict(results["a"]["programs"]["crmsync"][0]["requests"])
        share = 100_000 / results["a"]["contacts"]
        paged = {name: seen.pop(name, 0) * share for name in ("page", "batch", "poll")}
        kinds = {
            "pages": paged["page"],
            "batches": paged["batch"],
            "polls of jobs": paged["poll"],
            "others, in all": sum(seen.values()),
        }
        yield Panel(
            "e. Requests of crmsync for 100,000 rows",
            "polls where batches are answered by jobs",
            [(name, number, f"{number:.0f}") for name, number in kinds.items()],
            ours=True,
        )


def _by_api(results: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(results["c"]["runs"], key=lambda run: (run["api"] != "rest", run["contacts"]))


def _drawn(panel: Panel, left: int, top: int) -> Iterator[str]:
    yield f'<text class="title" x="{left}" y="{top + 14}">{escape(panel.title)}</text>'
    yield f'<text class="note" x="{left}" y="{top + 32}">{escape(panel.note)}</text>'
    room = PANEL - LABELS - 60
    most = max([panel.limit or 0.0, *(value for _, value, _ in panel.bars)]) or 1.0
    begin, first, scale = left + LABELS, top + HEAD - 8, room / most
    for at, (name, value, _) in enumerate(panel.bars):
        y = first + at * LINE
        kind = "ours" if panel.ours or name.startswith("crmsync") else "others"
        yield f'<text x="{begin - 8}" y="{y + 12}" text-anchor="end">{escape(_short(name))}</text>'
        yield f'<rect class="{kind}" x="{begin}" y="{y}" width="{max(1, value * scale):.1f}" height="{BAR}" rx="2"/>'
    if panel.limit is not None:
        x, y = begin + panel.limit * scale, first + len(panel.bars) * LINE
        yield f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{first - 4}" y2="{y}"/>'
        anchor = "end" if x > left + PANEL * 0.6 else "start"
        yield f'<text class="limits" x="{x:.1f}" y="{y + 13}" text-anchor="{anchor}">{escape(panel.limit_note)}</text>'
    for at, (_, value, told) in enumerate(panel.bars):
        x, y = begin + value * scale + 6, first + at * LINE + 12
        yield f'<text class="value" x="{x:.1f}" y="{y}">{escape(told)}</text>'


def _short(name: str) -> str:
    return name.replace("import requests, simple_salesforce", "import requests, simple_sf…")
