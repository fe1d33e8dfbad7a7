"""`crmsync runs`"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from crmsync import __version__
from crmsync.cli.common import chosen_syncs, common_options, configure, places, shown
from crmsync.cli.facts import gather
from crmsync.config import Config
from crmsync.config import show as showing
from crmsync.errors import ConfigError
from crmsync.health.deviations import REJECTED_SPIKE, WRITTEN_DROP, WRITTEN_SPIKE
from crmsync.health.run import Run, read_runs
from crmsync.health.status import Facts, Limits, interval_of, judge
from crmsync.health.timeline import Gap, gaps
from crmsync.state import open_store
from crmsync.state.history import History
from crmsync.state.rejects import RejectEntry, Rejects
from crmsync.state.store import replace_file
from crmsync.text import one_line, span

if TYPE_CHECKING:
    from crmsync.health.page import Page, RejectGroup

EPILOG = """\b
Examples:
  crmsync runs                      the last 30 runs of each sync
  crmsync runs --failed --last 5    the last five that failed
  crmsync runs --html runs.html     a page for people, with charts
"""

SHOWN = 30
EXAMPLES = 3
MARKS = {WRITTEN_DROP: "▼", WRITTEN_SPIKE: "▲", REJECTED_SPIKE: "▲"}
PLAIN_MARKS = {"▼": "v", "▲": "^"}
HEADINGS = (
    ("started (UTC)", 19), ("kind", -6), ("exit", 5), ("written", 10), ("rejected", 9),
    ("skipped", 8), ("unchanged", 10), ("took", 6), ("lag", 7),
)  # fmt: skip
"""Each column's name and width; a negative width is filled from the right."""


@click.command(epilog=EPILOG)
@click.option("--sync", "names", metavar="SYNC", multiple=True, help="Only this sync; may be given again.")
@click.option("--failed", is_flag=True, help="Only runs that did not finish (exit code neither 0 nor 3).")
@click.option(
    "--last", type=click.IntRange(min=1), metavar="N", help=f"Only the newest N runs ({SHOWN} in the table)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one HTML file that needs nothing else: charts, rejects, configuration.",
)
@common_options
def command(
    names: tuple[str, ...],
    failed: bool,
    last: int | None,
    as_json: bool,
    page: Path | None,
    config_path: str | None,
    verbosity: int,
) -> None:
    """Show what the runs did: ▲ far more than usual, ▼ far less, ! failed."""
    if page is not None and (as_json or failed):
        raise click.UsageError("--html goes without --json and --failed: the page shows every run.")
    config = configure(config_path, verbosity, require=frozenset())
    if page is not None:
        _write_page(config, names, page, last)
    elif as_json:
        click.echo(_document(config, names, failed, last))
    else:
        _print_tables(config, names, failed, last or SHOWN)


def _document(config: Config, names: Sequence[str], failed: bool, last: int | None) -> str:
    """The lines of the history as they are."""
    store = open_store(config)
    lines: list[dict[str, Any]] = []
    for sync in chosen_syncs(config, names):
        found = [line for line in History(store, sync.name).runs() if not failed or _has_failed(line)]
        lines += found[-last:] if last else found
    return orjson.dumps({**places(config), "runs": lines}).decode()


def _has_failed(line: dict[str, Any]) -> bool:
    return any(run.failed for run in read_runs([line]))


def _print_tables(config: Config, names: Sequence[str], failed: bool, last: int) -> None:
    store = open_store(config)
    now = datetime.now(UTC)
    for number, sync in enumerate(chosen_syncs(config, names)):
        facts = gather(config, sync, store, now)
        if number:
            click.echo()
        for line in _table(facts, failed, last):
            click.echo(_fit_for(sys.stdout.encoding, shown(line)))


def _table(facts: Facts, failed: bool, last: int) -> Iterator[str]:
    chosen = [run for run in facts.runs if run.failed or not failed][-last:]
    if not chosen:
        yield f"{facts.sync}: no run{' has failed' if failed and facts.runs else ' yet'}"
        return
    interval = interval_of(facts.runs, facts.interval, facts.usual_interval).length
    pauses = {} if failed else {gap.end: gap for gap in gaps(facts.runs, interval, facts.now)}
    yield f"{facts.sync}, runs expected every {span(interval.total_seconds())}"
    yield _row([name for name, _ in HEADINGS])
    for run in chosen:
        yield from _pause(pauses.get(run.started))
        yield _row(_cells(run))
        if run.error:
            yield f"    {one_line(run.error, 160)}"
    yield from _pause(next((gap for gap in pauses.values() if gap.is_open), None))


def _pause(gap: Gap | None) -> Iterator[str]:
    if gap is not None:
        yield f"    -- {gap.told} --"


def _cells(run: Run) -> list[str]:
    written = "".join(mark for name, mark in MARKS.items() if name in run.deviations and "written" in name)
    rejected = MARKS[REJECTED_SPIKE] if REJECTED_SPIKE in run.deviations else ""
    return [
        f"{run.started:%Y-%m-%d %H:%M:%S}",
        run.kind,
        f"{run.exit_code}{'!' if run.failed else ' '}",
        f"{run.written:,}{written or ' '}",
        f"{run.rejects:,}{rejected or ' '}",
        f"{run.skips:,}",
        f"{run.unchanged:,}",
        span(run.duration),
        "" if run.lag is None else span(run.lag),
    ]


def _row(cells: Sequence[str]) -> str:
    padded = (
        cell.rjust(width) if width > 0 else cell.ljust(-width)
        for cell, (_, width) in zip(cells, HEADINGS, strict=True)
    )
    return " ".join(padded).rstrip()


def _fit_for(encoding: str | None, line: str) -> str:
    """The marks as plain letters where the terminal cannot show them."""
    try:
        line.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        for mark, plain in PLAIN_MARKS.items():
            line = line.replace(mark, plain)
        return line.encode("ascii", "replace").decode()
    return line


def _write_page(config: Config, names: Sequence[str], path: Path, last: int | None) -> None:
    """Put the page in the place of what is there, at once. It is for its owner, as the state is."""
    from crmsync.health.page import render

    page = render(_page(config, names, last)).encode()
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        replace_file(path, page, mode=mode)
    except OSError as error:
        raise ConfigError(
            f"--html {path} cannot be written ({error.strerror})", hint="Name a file in a folder of yours."
        ) from None


def _page(config: Config, names: Sequence[str], last: int | None) -> Page:
    from crmsync.health.page import Page, Section

    store = open_store(config)
    now = datetime.now(UTC)
    sections = []
    for sync in chosen_syncs(config, names):
        facts = gather(config, sync, store, now)
        runs = facts.runs[-last:] if last else facts.runs
        sections.append(Section(judge(facts, Limits()), runs, _reject_groups(Rejects(store, sync.name))))
    settings = [(name, shown(value), shown(origin)) for name, value, origin in showing.rows(config)]
    return Page(now, __version__, config.state, sections, settings, config.max_quota)


def _reject_groups(rejects: Rejects) -> list[RejectGroup]:
    """By code and field, the most frequent first. What the destination said may quote a value: it stays out."""
    from crmsync.health.page import RejectGroup

    found: dict[tuple[str, str, str], list[RejectEntry]] = {}
    for entry in rejects.entries():
        found.setdefault((entry.code, entry.field, entry.origin), []).append(entry)
    groups = [
        RejectGroup(
            code=shown(code),
            field=shown(field),
            origin=origin,
            number=len(entries),
            since=entries[0].first_at[:10],
            message=shown(entries[0].message) if origin == "here" else "",
            examples=[shown(entry.id) for entry in entries[-EXAMPLES:]],
        )
        for (code, field, origin), entries in found.items()
    ]
    return sorted(groups, key=lambda group: -group.number)
