"""`crmsync fields`"""

from __future__ import annotations

import click
import orjson

from crmsync.cli.common import common_options, configure, one_sync, shown
from crmsync.cli.wiring import Workplace
from crmsync.errors import StateError
from crmsync.health import logs
from crmsync.state.checkpoint import Checkpoint

EPILOG = """\b
Examples:
  crmsync fields                      what is mapped, and what is gone
  crmsync fields contacts --accept    take note of vanished fields
"""


@click.command(epilog=EPILOG)
@click.argument("name", metavar="[SYNC]", required=False)
@click.option("--accept", is_flag=True, help="Take note of vanished fields: pulls end with 0 again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def command(name: str | None, accept: bool, as_json: bool, config_path: str | None, verbosity: int) -> None:
    """Show which mapped fields the org offers today, and take note of those that have vanished."""
    config = configure(config_path, verbosity)
    sync = one_sync(config, name)
    with Workplace(config, sync, run_id=logs.run_id()) as place:
        shape = place.source.shape()
        if accept:
            with place.lock():
                checkpoints = Checkpoint(place.store, sync.name)
                state = checkpoints.load()
                if state is None:
                    raise StateError(f"sync {sync.name} has not run yet", hint="Nothing can have vanished.")
                state.accepted_paths = state.dropped_paths
                checkpoints.save(state)
            click.echo(shown(f"{sync.name}: taken note of {', '.join(state.accepted_paths) or 'nothing'}"))
            return
    rows = [
        {
            "field": rule.target,
            "from": rule.source,
            "type": shape.types.get(shape.paths.get(rule.source or "", "")),
            "note": shape.missing.get(rule.source or "", "constant" if rule.source is None else ""),
        }
        for rule in sync.fields
    ]
    if as_json:
        click.echo(orjson.dumps({"sync": sync.name, "fields": rows, "advice": shape.advice}).decode())
        return
    for row in rows:
        click.echo(
            shown(f"{row['field']:<24} {row['from'] or '-':<32} {row['type'] or '-':<12} {row['note']}")
        )
    for sentence in shape.advice:
        click.echo(shown(sentence))
