"""`crmsync check`"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

import click
import orjson

from crmsync.cli.common import common_options, configure, shown
from crmsync.cli.outcome import worst
from crmsync.cli.wiring import Workplace
from crmsync.config import Config
from crmsync.errors import CrmsyncError
from crmsync.fit import fit
from crmsync.health import logs
from crmsync.health.observers import configured
from crmsync.health.redaction import Redactor
from crmsync.health.tail import Tail
from crmsync.http import Stopper
from crmsync.state import open_store, require_fit
from crmsync.state.checkpoint import Checkpoint

SKEW_WORTH_SAYING = 60.0
"""Seconds between this machine's clock and the source's. crmsync goes by the source's."""

EPILOG = """\b
Examples:
  crmsync check
  crmsync check --json
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was tried. `verdict` is ok, warn or fail; `exit_code` is 0 unless it failed."""

    verdict: str
    what: str
    said: str
    exit_code: int = 0


@click.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def command(as_json: bool, config_path: str | None, verbosity: int) -> int:
    """Try every setting, both logins, the objects and fields. Reads only; each line is ok or says what to do."""
    config = configure(config_path, verbosity)
    lines = []
    for line in _lines(config):
        lines.append(line)
        if not as_json:
            click.echo(shown(f"{line.verdict:<4}  {line.what}: {line.said}"))
    code = worst([line.exit_code for line in lines])
    if as_json:
        told = {"exit_code": code, "checks": [asdict(line) for line in lines]}
        click.echo(orjson.dumps(told).decode())
    return code


def _lines(config: Config) -> Iterator[Line]:
    where = config.path or "the environment alone"
    yield Line("ok", "configuration", f"{where}, {len(config.syncs)} sync{'s' * (len(config.syncs) != 1)}")
    yield _tried(f"state {config.state}", partial(_try_state, config))
    yield from _observers(config)
    for sync in config.syncs:
        with Workplace(config, sync, run_id=logs.run_id()) as place:
            source = _tried(f"{sync.name}: {sync.source} login and clock", partial(_clock, place))
            yield source
            if source.verdict != "fail":
                yield _tried(f"{sync.name}: {sync.object}", partial(_fields, place))
                yield from _advice(place)
                yield _tried(f"{sync.name}: rows", partial(_rows, place))
                yield _quota(place)
            yield from _destination(place)


def _tried(what: str, trial: Callable[[], str]) -> Line:
    try:
        return Line("ok", what, trial())
    except CrmsyncError as error:
        return Line("fail", what, str(error), error.exit_code)


def _observers(config: Config) -> Iterator[Line]:
    """Who is told of runs, as far as that shows without telling them anything."""
    what = "metrics and heartbeat"
    try:
        told = configured(config, lambda: Tail(Redactor()), Stopper())
    except CrmsyncError as error:
        yield Line("fail", what, str(error), error.exit_code)
        return
    if told:
        yield Line("ok", what, f"each run is told to {', '.join(observer.name for observer in told)}")
    folder = config.prometheus_file.parent if config.prometheus_file else None
    if folder and not os.access(folder, os.W_OK):
        yield Line("warn", what, f"CRMSYNC_PROMETHEUS_FILE: this user may not write into {folder}")
    if config.prometheus_file and config.prometheus_file.suffix != ".prom":
        yield Line(
            "warn", what, "CRMSYNC_PROMETHEUS_FILE: the node exporter reads only names that end in .prom"
        )


def _try_state(config: Config) -> str:
    store = open_store(config)
    require_fit(config, store)
    present = store.read("check")
    store.write("check", datetime.now(UTC).isoformat().encode(), present.version if present else None)
    store.delete("check")
    found = [sync.name for sync in config.syncs if Checkpoint(store, sync.name).load()]
    return f"readable and writable; known syncs: {', '.join(found) or 'none yet'}"


def _clock(place: Workplace) -> str:
    skew = (datetime.now(UTC) - place.source.now()).total_seconds()
    if abs(skew) > SKEW_WORTH_SAYING:
        return f"logged in; this machine's clock is {skew:+.0f} s off the source's (harmless: the source's counts)"
    return "logged in; the clocks agree"


def _fields(place: Workplace) -> str:
    shape = place.source.shape()
    fit(place.sync, shape, place.config.default_region, delivered=())
    return f"{len(shape.types)} mapped paths found, changes followed by {shape.cursor}"


def _rows(place: Workplace) -> str:
    return f"{place.source.count():,} to read in all"


def _advice(place: Workplace) -> Iterator[Line]:
    try:
        advice = place.source.shape().advice
    except CrmsyncError:
        return
    for sentence in advice:
        yield Line("warn", f"{place.sync.name}: fields", sentence)


def _quota(place: Workplace) -> Line:
    usage = place.quota()
    what = f"{place.sync.name}: request quota"
    if usage is None:
        return Line("warn", what, "the source does not tell")
    used, most = usage
    said = f"{used:,} of {most:,} requests used today"
    over = used > place.config.max_quota * most
    return Line("warn" if over else "ok", what, said + (", beyond CRMSYNC_MAX_QUOTA" if over else ""))


def _destination(place: Workplace) -> Iterator[Line]:
    what = f"{place.sync.name}: {place.sync.destination} {place.sync.into}"
    try:
        warnings = place.destination.preflight(rule.target for rule in place.sync.fields)
    except CrmsyncError as error:
        yield Line("fail", what, str(error), error.exit_code)
        return
    for warning in warnings:
        yield Line("warn", what, warning)
    if not warnings:
        yield Line("ok", what, f"logged in; {place.sync.match_key} is an identity key, every field is known")
