"""`crmsync state`"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from crmsync.cli.common import common_options, configure, one_sync, places, shown
from crmsync.cli.moments import INSTANT
from crmsync.config import Config, Sync
from crmsync.config.settings import BY_VARIABLE
from crmsync.config.values import parse
from crmsync.errors import ConfigError, StateError, StateMoved
from crmsync.health import logs
from crmsync.state import open_lock, open_store, require_fit
from crmsync.state.checkpoint import Checkpoint, Progress, State, new_state, stamp
from crmsync.state.moving import left_to_move, move
from crmsync.state.outbox import Outbox
from crmsync.state.store import Store

EPILOG = """\b
Examples:
  crmsync state show
  crmsync state set contacts --watermark 2026-05-01
  crmsync state force-unlock contacts
  crmsync state abandon-job contacts 8f0c
  crmsync state move s3://acme-sync/prod
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """Show or set how far a sync is; move it elsewhere."""


@command.command("show", epilog="Example: crmsync state show --json")
@click.argument("name", metavar="[SYNC]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def show(name: str | None, as_json: bool, config_path: str | None, verbosity: int) -> None:
    """Print watermark, open window, and what waits in the outbox."""
    config, sync, store = _setting(name, config_path, verbosity)
    state = Checkpoint(store, sync.name).load()
    parcels = Outbox(store, sync.name).parcels()
    told = {
        "sync": sync.name,
        **places(config),
        "watermark": state.watermark if state else None,
        "covered": state.covered if state else None,
        "progress": _progress(state.progress) if state and state.progress else None,
        "outbox": [
            {"parcel": p.name, "records": len(p), "job": p.job_id, "sent_at": _moment(p.made_at)}
            for p in parcels
        ],
        "run_id": state.run_id if state else None,
        "updated_at": state.updated_at if state else None,
    }
    if as_json:
        click.echo(orjson.dumps(told).decode())
        return
    for key, value in told.items():
        if key != "outbox":
            click.echo(shown(f"{key:<11} {value if value not in (None, '') else '-'}"))
    for parcel in parcels:
        job = f", job {parcel.job_id}" if parcel.job_id else ""
        click.echo(
            shown(f"{'outbox':<11} {parcel.name}: {len(parcel)} records since {_moment(parcel.made_at)}{job}")
        )


@command.command("set", epilog="Example: crmsync state set contacts --watermark 2026-05-01T00:00Z")
@click.argument("name", metavar="[SYNC]", required=False)
@click.option(
    "--watermark", type=INSTANT, required=True, metavar="TIME", help="The next pull reads from here on."
)
@common_options
def set_(name: str | None, watermark: datetime | timedelta, config_path: str | None, verbosity: int) -> None:
    """Set the watermark by hand. An interrupted window is given up; the outbox stays and is settled first."""
    config, sync, store = _setting(name, config_path, verbosity)
    at = datetime.now(UTC) - watermark if isinstance(watermark, timedelta) else watermark
    with open_lock(config, store, sync.name, "state"):
        checkpoints = Checkpoint(store, sync.name)
        state = _readable(checkpoints) or new_state(sync.name, sync.object, sync.into)
        before, state.watermark, state.covered = state.watermark, stamp(at), stamp(at)
        state.progress = None
        state.object, state.into = sync.object, sync.into
        checkpoints.save(state)
    click.echo(f"{sync.name}: watermark {before or 'none'} → {state.watermark}")


@command.command("force-unlock", epilog="Example: crmsync state force-unlock contacts --yes")
@click.argument("name", metavar="[SYNC]", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def force_unlock(name: str | None, yes: bool, config_path: str | None, verbosity: int) -> None:
    """Break a lock whose holder is gone for good. A lock in a directory never needs it: the kernel frees it."""
    config, sync, store = _setting(name, config_path, verbosity)
    if not config.state.startswith("s3://"):
        click.echo(f"{sync.name}: the lock is the kernel's; it is free as soon as its holder has ended")
        return
    if not yes:
        click.confirm(
            "Is no other run of this sync alive? Two deliverers at once can bring back old values.",
            abort=True,
        )
    store.delete(f"{sync.name}/lease.json")
    click.echo(f"{sync.name}: unlocked")


@command.command("abandon-job", epilog="Example: crmsync state abandon-job contacts 8f0c2a1b")
@click.argument("name", metavar="SYNC")
@click.argument("job", metavar="JOB")
@common_options
def abandon_job(name: str, job: str, config_path: str | None, verbosity: int) -> None:
    """Give up a job that never ends. Its rows are read and sent again by the next pull."""
    config, sync, store = _setting(name, config_path, verbosity)
    with open_lock(config, store, sync.name, "state"):
        outbox = Outbox(store, sync.name)
        found = [parcel for parcel in outbox.parcels() if job in (parcel.job_id, parcel.name)]
        if not found:
            raise StateError(
                f"no batch of {sync.name} waits for a job {job}", hint="See `crmsync state show`."
            )
        for parcel in found:
            outbox.abandon(parcel)
    click.echo(f"{sync.name}: job {job} given up; the next pull reads its {len(found[0])} rows again")


@command.command("move", epilog="Example: crmsync state move s3://acme-sync/prod")
@click.argument("place", metavar="PLACE")
@common_options
def move_(place: str, config_path: str | None, verbosity: int) -> None:
    """Move the state of every sync to another directory or to s3://bucket/prefix.

    What is left behind refuses to be used, and says where the state is now.
    """
    config = configure(config_path, verbosity, require=frozenset())
    target_config = replace(config, state=_location(place))
    source, target = open_store(config), open_store(target_config)
    require_fit(target_config, target)
    known = [sync.name for sync in config.syncs if source.read(f"{sync.name}/state.json")]
    if not known:
        raise StateError(f"{config.state} holds no state", hint="There is nothing to move.")
    left = left_to_move(source, target, known)
    for sync in known:
        if sync in left:
            with (
                open_lock(config, source, sync, logs.run_id()),
                open_lock(target_config, target, sync, logs.run_id()),
            ):
                move(source, target, sync)
        click.echo(shown(f"{sync}: {'moved to' if sync in left else 'is already in'} {target.location}"))
    click.echo(shown(f"Set CRMSYNC_STATE to {target.location}, in every place that starts crmsync."))


def _location(place: str) -> str:
    """A place as CRMSYNC_STATE may name one. Raises ConfigError."""
    try:
        return str(parse(BY_VARIABLE["CRMSYNC_STATE"], place, Path.cwd()))
    except ValueError as wrong:
        raise ConfigError(f"PLACE: {wrong}") from None


def _setting(name: str | None, config_path: str | None, verbosity: int) -> tuple[Config, Sync, Store]:
    config = configure(config_path, verbosity, require=frozenset())
    return config, one_sync(config, name), open_store(config)


def _readable(checkpoints: Checkpoint) -> State | None:
    """The state, or None for one that is damaged: setting the watermark is the way out of that."""
    try:
        return checkpoints.load()
    except StateMoved:
        raise
    except StateError:
        return None


def _progress(progress: Progress) -> dict[str, object]:
    return {"start": progress.start, "end": progress.end, "positions": progress.positions}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
