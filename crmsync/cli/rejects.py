"""`crmsync rejects`"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import click
import orjson

from crmsync.cli.common import common_options, configure, one_sync, shown
from crmsync.cli.outcome import outcome, tell_about
from crmsync.cli.wiring import Workplace
from crmsync.errors import ConfigError, CrmsyncError
from crmsync.health import logs
from crmsync.health.progress import Progress
from crmsync.health.redaction import printable
from crmsync.normalize import id18
from crmsync.pull import Report
from crmsync.state import open_lock, open_store
from crmsync.state.rejects import RejectEntry, Rejects
from crmsync.text import count
from crmsync.window import Range

log = logging.getLogger(__name__)

EPILOG = """\b
Examples:
  crmsync rejects list
  crmsync rejects show 0035e00000AbCdEAAV --values
  crmsync rejects retry                        read all of them again
  crmsync rejects drop 0035e00000AbCdEAAV
"""

sync_option = click.option("--sync", "sync_name", metavar="SYNC", help="Which sync, where there are several.")


@click.group(epilog=EPILOG)
def command() -> None:
    """List, show, retry or drop what could not be delivered."""


@command.command("list", epilog="Example: crmsync rejects list --code invalid_email")
@sync_option
@click.option("--code", metavar="CODE", help="Only rejects of this code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def list_(
    sync_name: str | None, code: str | None, as_json: bool, config_path: str | None, verbosity: int
) -> None:
    """List the open rejects, oldest first. No value of a record is shown."""
    entries = [e for e in _entries(sync_name, config_path, verbosity) if code in (None, e.code)]
    if as_json:
        click.echo(orjson.dumps({"rejects": [_without_values(entry) for entry in entries]}).decode())
        return
    for entry in entries:
        origin = "by crmsync" if entry.origin == "here" else "by the destination"
        click.echo(shown(f"{entry.id}  {entry.code}  {entry.field or '-'}  {origin}  since {entry.first_at}"))
    log.info("%s", count(len(entries), "open reject"))


@command.command("show", epilog="Example: crmsync rejects show 0035e00000AbCdEAAV --values")
@click.argument("row_id", metavar="ID")
@sync_option
@click.option("--values", is_flag=True, help="Show the record and the destination's message: personal data.")
@common_options
def show(row_id: str, sync_name: str | None, values: bool, config_path: str | None, verbosity: int) -> None:
    """Show one reject."""
    wanted = id18(row_id)
    found = [entry for entry in _entries(sync_name, config_path, verbosity) if entry.id == wanted]
    if not found:
        raise ConfigError(f"{wanted[:40]!r} has no open reject", hint="See `crmsync rejects list`.")
    told: dict[str, Any] = asdict(found[0]) if values else _without_values(found[0])
    text = orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
    click.echo("\n".join(printable(line) for line in text.split("\n")) if values else shown(text))


@command.command("retry", epilog="Example: crmsync rejects retry 0035e00000AbCdEAAV")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@sync_option
@common_options
def retry(ids: tuple[str, ...], sync_name: str | None, config_path: str | None, verbosity: int) -> int:
    """Read the rows of open rejects from the source again, and deliver them. Without Ids: all of them."""
    config = configure(config_path, verbosity)
    sync = one_sync(config, sync_name)
    error: CrmsyncError | None = None
    with Workplace(config, sync, run_id=logs.run_id()) as place:
        pull = place.pull(Range())
        wanted = {id18(row_id) for row_id in ids}
        entries = Rejects(place.store, sync.name).entries()
        chosen = [entry.id for entry in entries if not wanted or entry.id in wanted]
        try:
            with Progress(sync.name, pull.report.counts):
                pull.redo(chosen)
        except CrmsyncError as stopped:
            error = stopped
    report: Report = pull.report
    tell_about(sync, report, error)
    counts = report.counts
    click.echo(
        f"{sync.name}: {count(len(chosen), 'reject')} tried again: {counts.written:,} written, "
        f"{counts.rejects:,} rejected, {sum(counts.skipped.values()):,} skipped; {report.open_rejects:,} open"
    )
    return int(outcome(report, config, error)["exit_code"])


@command.command("drop", epilog="Example: crmsync rejects drop 0035e00000AbCdEAAV")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All open rejects.")
@sync_option
@common_options
def drop(
    ids: tuple[str, ...], everything: bool, sync_name: str | None, config_path: str | None, verbosity: int
) -> None:
    """Close rejects without delivering them. The row is taken up again when it next changes."""
    if bool(ids) == everything:
        raise click.UsageError("Name the Ids to drop, or pass --all.")
    config = configure(config_path, verbosity, require=frozenset())
    sync = one_sync(config, sync_name)
    store = open_store(config)
    with open_lock(config, store, sync.name, "rejects"):
        rejects = Rejects(store, sync.name)
        chosen = [e.id for e in rejects.entries()] if everything else [id18(row_id) for row_id in ids]
        unknown = [row_id for row_id in chosen if row_id not in rejects]
        if unknown:
            raise ConfigError(f"{unknown[0][:40]!r} has no open reject", hint="See `crmsync rejects list`.")
        for row_id in chosen:
            rejects.resolve(row_id, "dropped")
        rejects.flush()
    click.echo(f"{sync.name}: {count(len(chosen), 'reject')} dropped")


def _entries(sync_name: str | None, config_path: str | None, verbosity: int) -> list[RejectEntry]:
    config = configure(config_path, verbosity, require=frozenset())
    return list(Rejects(open_store(config), one_sync(config, sync_name).name).entries())


def _without_values(entry: RejectEntry) -> dict[str, Any]:
    """What may be shown to anyone: what the destination said may quote a value."""
    told = asdict(entry)
    del told["values"]
    if entry.origin != "here":
        told["message"] = "(pass --values to see it)"
    return told
