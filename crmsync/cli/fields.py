"""`crmsync fields`"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby

import click
import orjson

from crmsync.cli.common import common_options, configure, one_sync, shown
from crmsync.cli.wiring import Workplace
from crmsync.comparison import Pair, Surroundings, compare, suggested, taken_by_others
from crmsync.config.written import suggestion
from crmsync.errors import StateError
from crmsync.health import logs
from crmsync.health.redaction import printable
from crmsync.ownership import written_fields
from crmsync.state.checkpoint import Checkpoint

log = logging.getLogger(__name__)

EPILOG = """\b
Examples:
  crmsync fields                      the org's fields beside the CDP's
  crmsync fields --suggest            a mapping to paste into crmsync.toml
  crmsync fields contacts --accept    take note of vanished fields
"""
HEADINGS = {
    "mapped": "mapped",
    "candidate": "not mapped, of the same name on both sides",
    "source": "offered by the source, without a counterpart",
    "target": "in the destination, without a counterpart",
}
_WIDEST = 40


@click.command(epilog=EPILOG)
@click.argument("name", metavar="[SYNC]", required=False)
@click.option(
    "--suggest", is_flag=True, help="Print the sync with every field that could be mapped, as TOML."
)
@click.option("--accept", is_flag=True, help="Take note of vanished fields: pulls end with 0 again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def command(
    name: str | None, suggest: bool, accept: bool, as_json: bool, config_path: str | None, verbosity: int
) -> None:
    """Show the org's fields beside the CDP's: what is mapped, what could be, and what does not fit.

    Hidden and vanished fields, formulas, types that do not fit and fields of other owners are marked.
    """
    if sum([suggest, accept, as_json]) > 1:
        raise click.UsageError("Choose one of --suggest, --accept and --json.")
    config = configure(config_path, verbosity)
    sync = one_sync(config, name)
    with Workplace(config, sync, run_id=logs.run_id()) as place:
        if accept:
            _accept(place)
            return
        offered, shape, targets = place.source.fields(), place.source.shape(), place.destination.fields()
    taken = taken_by_others(sync, config.syncs, written_fields)
    pairs = compare(sync, offered, targets, Surroundings(config.ownership, shape.missing, taken))
    unknown = "" if targets is not None else f"the schema of {sync.into} could not be read"
    if as_json:
        told = {"sync": sync.name, "object": sync.object, "into": sync.into, "unknown": unknown or None}
        rows = [_as_object(pair) for pair in pairs]
        click.echo(orjson.dumps({**told, "fields": rows, "advice": shape.advice}).decode())
    elif suggest:
        click.echo(printable(suggestion(sync, suggested(pairs))))
    else:
        _print(pairs)
        for sentence in shape.advice:
            click.echo(shown(sentence))
    if unknown:
        log.warning("%s: nothing is said about it", unknown)


def _accept(place: Workplace) -> None:
    name = place.sync.name
    with place.lock():
        checkpoints = Checkpoint(place.store, name)
        state = checkpoints.load()
        if state is None:
            raise StateError(f"sync {name} has not run yet", hint="Nothing can have vanished.")
        state.accepted_paths = state.dropped_paths
        checkpoints.save(state)
    click.echo(shown(f"{name}: taken note of {', '.join(state.accepted_paths) or 'nothing'}"))


def _print(pairs: Sequence[Pair]) -> None:
    """One line a pair, under a heading for each kind."""
    cells = [_cells(pair) for pair in pairs]
    widths = [min(_WIDEST, max((len(row[column]) for row in cells), default=0)) for column in range(4)]
    rows = zip(pairs, cells, strict=True)
    for number, (state, group) in enumerate(groupby(rows, key=lambda row: row[0].state)):
        click.echo(f"{chr(10) if number else ''}{HEADINGS[state]}:")
        for pair, (source, source_type, target, target_type) in group:
            line = (
                f"  {source:<{widths[0]}}  {source_type:<{widths[1]}}  →  "
                f"{target:<{widths[2]}}  {target_type:<{widths[3]}}  {'; '.join(pair.notes)}"
            )
            click.echo(shown(line).rstrip())


def _cells(pair: Pair) -> tuple[str, str, str, str]:
    constant = pair.rule is not None and pair.rule.source is None
    source = pair.source or ("(constant)" if constant else "-")
    return source, pair.source_type or "-", pair.target or "-", pair.target_type or "-"


def _as_object(pair: Pair) -> dict[str, object]:
    return {
        "state": pair.state,
        "source": pair.source,
        "label": pair.label or None,
        "source_type": pair.source_type or None,
        "target": pair.target,
        "target_type": pair.target_type or None,
        "notes": list(pair.notes),
    }
