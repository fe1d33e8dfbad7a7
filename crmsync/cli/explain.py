"""`crmsync explain`"""

from __future__ import annotations

from typing import Any

import click
import orjson

from crmsync.cli.common import common_options, configure, one_sync
from crmsync.cli.wiring import Workplace
from crmsync.errors import ConfigError
from crmsync.fit import fit
from crmsync.health import logs
from crmsync.health.redaction import printable
from crmsync.mapping import Mapper, Record, Reject, Skip
from crmsync.normalize import id18
from crmsync.state.checkpoint import Checkpoint
from crmsync.state.ledger import Ledger
from crmsync.state.rejects import Rejects

EPILOG = """\b
Example:
  crmsync explain 0035e00000AbCdEAAV
"""


@click.command(epilog=EPILOG)
@click.argument("row_id", metavar="ID")
@click.option("--sync", "sync_name", metavar="SYNC", help="Which sync, where there are several.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def command(
    row_id: str, sync_name: str | None, as_json: bool, config_path: str | None, verbosity: int
) -> None:
    """Show what becomes of one row: the source's row, the record it maps to or why not, what was delivered.

    Prints personal data: the row as it is.
    """
    config = configure(config_path, verbosity)
    sync = one_sync(config, sync_name)
    wanted = id18(row_id)
    with Workplace(config, sync, run_id=logs.run_id()) as place:
        shape = place.source.shape()
        state = Checkpoint(place.store, sync.name).load()
        mapper = fit(sync, shape, config.default_region, state.delivered_paths if state else ()).mapper
        row = next(iter(place.source.read([wanted], mapper.columns)), None)
        if row is None:
            raise ConfigError(
                f"the source has no {sync.object} {wanted[:40]} that this sync reads",
                hint="It may be deleted for good, hidden from the integration user, or outside `where`.",
            )
        told: dict[str, Any] = {
            "sync": sync.name,
            "row": _plain(row),
            **_mapped(mapper, row),
            "ledger": _ledger(place, wanted),
            "reject": next(
                (e.code for e in Rejects(place.store, sync.name).entries() if e.id == wanted), None
            ),
        }
    option = 0 if as_json else orjson.OPT_INDENT_2
    text = orjson.dumps(told, option=option).decode()
    click.echo("\n".join(printable(line) for line in text.split("\n")))


def _mapped(mapper: Mapper, row: dict[str, Any]) -> dict[str, Any]:
    match mapper.map(row):
        case Record() as record:
            left_out = sorted(mapper.left_out)
            return {"becomes": "record", "record": record.values, "left_out": left_out}
        case Skip(reason=reason):
            return {"becomes": "skipped", "why": reason}
        case Reject(message=message, code=code):
            return {"becomes": "rejected", "why": f"{code}: {message}"}


def _ledger(place: Workplace, row_id: str) -> dict[str, Any] | None:
    path = place.store.find(f"{place.sync.name}/ledger.sqlite")
    if path is None:
        return None
    ledger = Ledger(path)
    entry = ledger.lookup([row_id]).get(row_id)
    ledger.close()
    if entry is None:
        return None
    return {
        "match_key": entry.key,
        "stamp": entry.stamp,
        "digest": entry.digest.hex() if entry.digest else None,
        "proved": entry.digest is not None,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without Salesforce's `attributes`."""
    return {
        name: _plain(value) if isinstance(value, dict) else value
        for name, value in row.items()
        if name != "attributes"
    }
