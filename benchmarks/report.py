"""The results as a page to read: benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bars import Bar, bars
from cases import MODES, cpu_per_row, fastest, typical

NAMES = {
    "crmsync": "crmsync",
    "floor": "floor",
    "guide": "the guide's sample",
    "tap": "tap-salesforce + loader",
    "dlt rows": "dlt, row by row",
    "dlt pages": "dlt, page by page",
}
_COMMAND = """\
# Benchmarks

This page is written by

```sh
python3 -m venv .venv && .venv/bin/pip install -e '.[sandbox]'
.venv/bin/python benchmarks/run.py
```

which takes about 30 minutes on a machine that does nothing else, and needs Linux, two cores and 2 GB. `--only a,d`
measures some of it anew, `--help` tells the rest. Figures of different machines do not compare; ratios within a case
do: its programs ran in turn beside the same servers.

![All results side by side](results.svg)
"""
_METHOD = """\
## How it is measured

Each program is a process of its own. CPU (user and system) and peak RSS are what the kernel says when it ends
(`wait4`), of a pipe the sum of both ends. crmsync runs with its default configuration: ledger, outbox, fsync and
rejects are on, and every run begins without state (but for a quiet tick). Of several runs, CPU and RSS are the median
and wall is the least, since other work on the machine only ever adds to it.

**Servers** (`servers/`): one process with one thread, which hands out pages that were made and gzipped beforehand,
and keeps of a batch only which contacts were in it. They speak plain http on the loopback, to all programs alike.
Latency is theirs. They have the first core to themselves, and every measured program the others: where the scheduler
is left to move both about, what the servers do in a core's caches is charged to the program. That they are not what
is measured shows in the floor's speed and in their own CPU, both above.

**Contacts** (`servers/people.py`): two fifths came by data loads, 200 to 900 of them in one second; the others have a
second of their own or share it with one or two. Phones are of ten countries, 98 % of them unique, four fifths in
national form; 3 % of the contacts have no address and 0.2 % a malformed one.

**The programs** (`programs/`):

- *floor*: follows the same pages and posts the same bodies, recorded from a run of crmsync, within the same limits
  (8 requests at once, 32 jobs unfinished), reads no JSON and keeps nothing. It knows how long a job takes, and asks
  once, when it is done. Every page's bodies leave as soon as the page is there.
- *the guide's sample*: its query, mapping and batches. It cuts pages by `LIMIT 2000` and goes on strictly after the
  newest stamp, so that it loses what shares a second with the end of a page. It sends phones as they are.
- *tap-salesforce*: reads the same fields but for the account's name, which it cannot read, into a loader that posts
  batches of 500 and checks nothing. Its login host is fixed in its code: a `sitecustomize.py` on its path takes that
  one request to the servers.
- *dlt*: simple-salesforce reads, an incremental resource hands over, a custom destination posts batches of 500.
  *Row by row* yields what `query_all_iter` gives and maps in the destination; *page by page* yields lists of mapped
  records, the faster way. simple-salesforce speaks https alone: an adapter on its session leaves TLS out.

Lost are contacts with a well-formed address that did not arrive. What the others deliver beyond those are contacts
with a malformed one, which crmsync keeps as rejects.

None but crmsync normalizes phones, checks addresses, proves what was delivered, or goes on after a crash without
loss. Only crmsync and the floor look at what became of a batch.
"""


def text(results: dict[str, Any]) -> str:
    """The whole page, in Markdown."""
    parts = [_COMMAND, _machine(results), _held(bars(results))]
    if "a" in results:
        a = results["a"]
        parts.append(
            f"## a. No latency, {a['contacts']:,} contacts\n\nBatches are answered at once: only crmsync and the "
            f"floor would ask for a job.\n\n{_programs(a['programs'])}\n\n{_servers(a)}"
        )
    if "b" in results:
        parts.append(_latency(results["b"]))
    if "c" in results:
        parts.append(_memory(results["c"]["runs"]))
    if "d" in results:
        parts.append(_quiet(results["d"]))
    if "a" in results:
        parts.append(_requests(results["a"], results.get("b"), results.get("d")))
    if "p" in results:
        parts.append(_whereabouts(results["p"]))
    return "\n\n".join(part.strip() for part in [*parts, _METHOD]) + "\n"


def verdicts(results: dict[str, Any]) -> str:
    """Every bar in a line of its own, for a terminal."""
    return "\n".join(
        f"{'ok  ' if bar.held else 'MISS'} {bar.case}  {bar.what}: {_figure(bar)} ({_limit(bar)})"
        for bar in bars(results)
    )


def _machine(results: dict[str, Any]) -> str:
    told: dict[str, list[str]] = {}
    for name, case in sorted(results.items()):
        about = case["about"]
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        machine = f"{about['cpu']}, {about['cores']} cores, {about['system']}, Python {about['python']}"
        told.setdefault(f"{about['date']} on {machine}; {versions}", []).append(name)
    return "\n".join(f"Measured {when} ({', '.join(names)})." for when, names in told.items())


def _held(found: Sequence[Bar]) -> str:
    rows = ([bar.case, bar.what, _figure(bar), _limit(bar), "yes" if bar.held else "**no**"] for bar in found)
    return "## What crmsync is held to\n\n" + _table(("", "", "measured", "limit", "held"), rows)


def _figure(bar: Bar) -> str:
    return f"{bar.figure:,.2f} {bar.unit}".strip() if bar.unit == "×" else f"{bar.figure:,.0f}{bar.unit}"


def _limit(bar: Bar) -> str:
    return f"{'≥' if bar.at_least else '≤'} {bar.limit:g}{' ×' if bar.unit == '×' else bar.unit}"


def _programs(programs: dict[str, Any]) -> str:
    ours = cpu_per_row(programs["crmsync"])
    rows = (
        [
            NAMES[name],
            f"{cpu_per_row(runs):,.1f}",
            f"{cpu_per_row(runs) / ours:,.2f} ×",
            f"{fastest(runs):,.1f}",
            f"{typical(runs, 'rss'):,.0f}",
            f"{runs[0]['delivered']:,}",
            f"{runs[0]['lost']:,} ({runs[0]['lost'] / runs[0]['deliverable']:.1%})",
            str(len(runs)),
        ]
        for name, runs in programs.items()
    )
    head = ("", "CPU, µs a row read", "in crmsyncs", "wall, s", "peak RSS, MB", "delivered", "lost", "runs")
    return _table(head, rows)


def _servers(a: dict[str, Any]) -> str:
    floor = a["programs"]["floor"]
    return (
        f"The servers spent {typical(floor, 'servers_cpu') / a['contacts'] * 1e6:.1f} µs of CPU a row on the floor's "
        f"run and {typical(a['programs']['crmsync'], 'servers_cpu') / a['contacts'] * 1e6:.1f} µs on crmsync's; the "
        f"floor moved {a['contacts'] / fastest(floor):,.0f} rows a second."
    )


def _latency(b: dict[str, Any]) -> str:
    waits = b["waits"]
    told = (
        f"A page takes {waits['page_seconds'] * 1000:.0f} ms; a batch is accepted after "
        f"{waits['accept_seconds'] * 1000:.0f} ms and its job done {waits['job_seconds']:g} s later, or it is answered "
        f"inline after {waits['inline_seconds'] * 1000:.0f} ms. The guide's sample, the tap's loader and dlt do not "
        f"wait for jobs."
    )
    parts = [f"## b. Realistic latency, {b['contacts']:,} contacts", told]
    parts += [f"### {title.capitalize()}\n\n{_programs(b[mode])}" for mode, title in MODES.items()]
    return "\n\n".join(parts)


def _memory(runs: list[dict[str, Any]]) -> str:
    apis = sorted({each["api"] for each in runs}, reverse=True)
    peaks = {(each["api"], each["contacts"]): each["rss"] for each in runs}
    sizes = sorted({each["contacts"] for each in runs})
    rows = ([f"{size:,}", *(f"{peaks[api, size]:,.0f}" for api in apis)] for size in sizes)
    return "## c. Memory of a full pull\n\n" + _table(
        ("rows", *(f"{api}, peak RSS, MB" for api in apis)), rows
    )


def _quiet(d: dict[str, Any]) -> str:
    rows = (
        [
            f"`{name}`",
            f"{typical(runs, 'cpu') * 1000:,.0f}",
            f"{fastest(runs) * 1000:,.0f}",
            str(len(runs)),
        ]
        for name, runs in d["runs"].items()
    )
    asked = ", ".join(f"{number:g} {name}" for name, number in d["requests"].items())
    return (
        f"## d. A quiet tick\n\n{_table(('', 'CPU, ms', 'wall, ms', 'runs'), rows)}\n\n"
        f"A tick makes {sum(d['requests'].values()):g} requests: {asked}."
    )


def _requests(a: dict[str, Any], b: dict[str, Any] | None, d: dict[str, Any] | None) -> str:
    runs = {"a": a["programs"]["crmsync"][0]}
    if b:
        runs |= {f"b, {title}": b[mode]["crmsync"][0] for mode, title in MODES.items()}
    rows = [[name, *_scaled(run)] for name, run in runs.items()]
    if d:
        rows.append(
            ["d, quiet tick", "0 + 1", "0", "0", f"{sum(d['requests'].values()) - d['requests']['page']:g}"]
        )
    head = ("", "pages", "batches", "polls of jobs", "others, in all")
    told = (
        "All by REST, as `--api rest` asks for. Left to choose, a full pull makes one request more: a COUNT() tells it "
        "whether the rows are worth a bulk job."
    )
    return f"## e. Requests of crmsync for 100,000 rows\n\n{_table(head, rows)}\n\n{told}"


def _whereabouts(p: dict[str, Any]) -> str:
    shown = list(p["shares"].items())[:15]
    rows = [[f"`{name}`", f"{share:.1%}"] for name, share in shown]
    rows.append(["everything else", f"{1 - sum(share for _, share in shown):.1%}"])
    told = (
        f"A full pull of {p['contacts']:,} contacts without latency: the share of each function in the CPU of all "
        "threads, with what it calls outside of crmsync (`programs/sampled.py`)."
    )
    return f"## Where crmsync's time goes\n\n{told}\n\n{_table(('', 'share'), rows)}"


def _scaled(run: dict[str, Any]) -> list[str]:
    seen = dict(run["requests"])
    paged = [seen.pop(name, 0) * 100_000 / run["rows"] for name in ("page", "batch", "poll")]
    return [*(f"{number:,.0f}" for number in paged), str(sum(seen.values()))]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    aligned = ["---" if at == 0 else "--:" for at in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, aligned, *rows])
