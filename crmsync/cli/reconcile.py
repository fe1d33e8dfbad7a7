"""`crmsync reconcile`"""

from __future__ import annotations

import logging

import click
import orjson

from crmsync.cli.common import common_options, configure, one_sync, shown
from crmsync.cli.outcome import outcome, tell_about
from crmsync.cli.wiring import Workplace, stopping
from crmsync.deletions import Reconciliation
from crmsync.errors import CrmsyncError
from crmsync.health import logs
from crmsync.health.progress import Progress
from crmsync.http import Stopper
from crmsync.window import Range

log = logging.getLogger(__name__)

EPILOG = """\b
Examples:
  crmsync reconcile             compare, and report both ways
  crmsync reconcile --repair    deliver what is missing, flag what is gone
"""


@click.command(epilog=EPILOG)
@click.argument("name", metavar="[SYNC]", required=False)
@click.option("--repair", is_flag=True, help="Mend what is found.")
@click.option("--allow-deletes", is_flag=True, help="Flag as many deletions as there are, this once.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def command(
    name: str | None,
    repair: bool,
    allow_deletes: bool,
    as_json: bool,
    config_path: str | None,
    verbosity: int,
) -> int:
    """Compare every Id in the CRM with what is known to be delivered.

    Finds rows deleted for good outside the delete log's reach. A row that is simply not there is flagged only
    when the delete log or a second reconciliation confirms it.
    """
    config = configure(config_path, verbosity)
    sync = one_sync(config, name)
    error: CrmsyncError | None = None
    found = Reconciliation()
    stopper = Stopper()
    with (
        stopping(stopper, lambda: log.warning("stopping: waiting for what is in flight")),
        Workplace(config, sync, run_id=logs.run_id(), stopper=stopper) as place,
    ):
        pull = place.pull(Range(), allow_deletes=allow_deletes)
        try:
            with Progress(sync.name, pull.report.counts):
                found = pull.reconcile(repair=repair)
        except CrmsyncError as stopped:
            error = stopped
    tell_about(sync, pull.report, error)
    told = outcome(pull.report, config, error)
    sizes = {
        "in_org": found.in_org,
        "in_ledger": found.in_ledger,
        "undelivered": len(found.undelivered),
        "deleted": len(found.deleted),
        "confirmed": len(found.confirmed),
        "unconfirmed": len(found.unconfirmed),
        "outside": len(found.outside),
    }
    if as_json:
        ids = {"unconfirmed_ids": found.unconfirmed, "confirmed_ids": found.confirmed}
        click.echo(orjson.dumps({"sync": sync.name, "repair": repair, **sizes, **ids, **told}).decode())
    elif error is None:
        click.echo(shown(_sentence(sync.name, sizes, told, repair)))
    return int(told["exit_code"])


def _sentence(name: str, sizes: dict[str, int], told: dict[str, object], repair: bool) -> str:
    mended = f"; {told['written']:,} written, of them {told['tombstones']:,} tombstones" if repair else ""
    return (
        f"{name}: {sizes['in_org']:,} in the CRM, {sizes['in_ledger']:,} known to be delivered; "
        f"{sizes['undelivered']:,} without proof (skipped and rejected rows among them); "
        f"gone: {sizes['deleted']:,} deleted, {sizes['confirmed']:,} confirmed absent, "
        f"{sizes['unconfirmed']:,} absent for the first time; {sizes['outside']:,} outside the condition{mended}"
    )
