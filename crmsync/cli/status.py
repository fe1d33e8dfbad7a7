"""`crmsync status`"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import orjson

from crmsync.cli.common import chosen_syncs, common_options, configure, places, say_bug, say_error, shown
from crmsync.cli.facts import gather
from crmsync.cli.moments import AGE
from crmsync.config import Config
from crmsync.errors import CrmsyncError
from crmsync.health.run import Run
from crmsync.health.status import Health, Limits, Verdict, judge, worst
from crmsync.state import open_store
from crmsync.state.checkpoint import stamp
from crmsync.text import count, one_line, span

EPILOG = """\b
Exit codes, as monitoring plugins have them:
  0 OK        all is well
  1 WARNING   the last run failed or wants a look, the mapping has changed,
              fields have vanished, too many open rejects, quota used up
  2 CRITICAL  no success for longer than --max-age
  3 UNKNOWN   no run yet, or the configuration or state cannot be read
\b
Examples:
  crmsync status
  crmsync status contacts --max-age 45m --max-rejects 100
  crmsync status --json
"""


class Misused(click.UsageError):
    """What a monitoring server must not take for a judgement."""

    exit_code = int(Verdict.UNKNOWN)


class Plugin(click.Command):
    """A command that ends with 3 where nothing can be said: 1 and 2 would be read as judgements."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **extra)
        except click.UsageError as error:
            raise Misused(error.format_message(), error.ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CrmsyncError as error:
            click.echo(_headline(Verdict.UNKNOWN, one_line(error.message)))
            say_error(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001 - a bug must not pass for a warning
            click.echo(_headline(Verdict.UNKNOWN, "a bug in crmsync"))
            say_bug()
        return int(Verdict.UNKNOWN)


@click.command(cls=Plugin, epilog=EPILOG)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
@click.option(
    "--max-age",
    type=AGE,
    default="2x",
    show_default=True,
    metavar="AGE",
    help="How old the last success may be: 45m, or a multiple of the interval.",
)
@click.option(
    "--max-rejects", type=click.IntRange(min=0), metavar="N", help="Warn where more rejects are open."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@common_options
def command(
    names: tuple[str, ...],
    max_age: timedelta | float,
    max_rejects: int | None,
    as_json: bool,
    config_path: str | None,
    verbosity: int,
) -> int:
    """Say how each sync is, from its state alone, as a monitoring plugin would.

    The interval that runs are expected at is CRMSYNC_INTERVAL, else the median of the last 20 starts; while
    there are fewer, no less than the default.
    """
    config = configure(config_path, verbosity, require=frozenset())
    now = datetime.now(UTC)
    limits = Limits(max_age, max_rejects)
    found = healths(config, names, now, limits)
    verdict = worst(health.verdict for health in found)
    if as_json:
        told = {"status": verdict.name, "exit_code": int(verdict), "checked_at": stamp(now)}
        syncs = [as_document(health) for health in found]
        click.echo(orjson.dumps({**told, **places(config), "syncs": syncs}).decode())
        return int(verdict)
    summary = "; ".join(f"{health.sync}: {_summary(health)}" for health in found)
    measured = " ".join(part for health in found for part in _measures(health, limits))
    click.echo(f"{_headline(verdict, summary)} | {measured}")
    for health in found:
        for line in _lines(health):
            click.echo(shown(line).replace("|", "/"))
    return int(verdict)


def healths(config: Config, names: Sequence[str], now: datetime, limits: Limits) -> list[Health]:
    store = open_store(config)
    return [judge(gather(config, sync, store, now), limits) for sync in chosen_syncs(config, names)]


def as_document(health: Health) -> dict[str, Any]:
    """For programs: seconds, stamps, None where there is nothing."""
    return {
        "sync": health.sync,
        "status": health.verdict.name,
        "reasons": [sentence for _, sentence in health.reasons],
        "remarks": health.remarks,
        "last_success": _run(health.last_success),
        "age_seconds": _seconds(health.age),
        "max_age_seconds": _seconds(health.oldest),
        "last_run": _run(health.last_run),
        "watermark": _stamp(health.watermark),
        "lag_seconds": _seconds(health.lag),
        "interval_seconds": _seconds(health.interval.length),
        "interval_from": health.interval.origin,
        "next_run": _stamp(health.next_run),
        "overdue_seconds": _seconds(health.overdue),
        "open_rejects": health.open_rejects,
        "quota": health.quota,
        "mapping_changed": health.mapping_changed,
        "vanished_fields": health.vanished,
        "outbox": health.waiting,
        "open_window": {"start": health.open_window.start, "end": health.open_window.end}
        if health.open_window
        else None,
    }


def _headline(verdict: Verdict, words: str) -> str:
    """The line that a monitoring server shows; a bar in it would begin the measures."""
    return shown(f"CRMSYNC {verdict.name} - {words}").replace("|", "/")


def _summary(health: Health) -> str:
    reasons = [sentence for _, sentence in health.reasons]
    facts = []
    if health.age is not None and health.age <= health.oldest:
        facts.append(f"last success {span(health.age.total_seconds())} ago")
    if health.lag is not None:
        facts.append(f"lag {span(health.lag.total_seconds())}")
    if health.open_rejects:
        facts.append(count(health.open_rejects, "open reject"))
    return ", ".join([*reasons, *facts])


def _measures(health: Health, limits: Limits) -> Iterator[str]:
    """What a monitoring server draws: `'name'=value;warning;critical;least;most`."""
    if health.age is not None:
        oldest = health.oldest.total_seconds()
        yield f"'{health.sync}_age'={health.age.total_seconds():.0f}s;;{oldest:.0f};0"
    if health.lag is not None:
        yield f"'{health.sync}_lag'={health.lag.total_seconds():.0f}s;;;0"
    most = "" if limits.max_rejects is None else limits.max_rejects
    yield f"'{health.sync}_open_rejects'={health.open_rejects};{most};;0"
    if health.quota is not None:
        yield f"'{health.sync}_quota'={health.quota[0]};;;0;{health.quota[1]}"


def _lines(health: Health) -> Iterator[str]:
    yield f"{health.sync}: {health.verdict.name}"
    for verdict, sentence in health.reasons:
        yield f"  {verdict.name.lower():<13} {sentence}"
    last, run = health.last_success, health.last_run
    if last and health.age is not None:
        yield f"  last success  {stamp(last.ended)}, {span(health.age.total_seconds())} ago, run {last.run_id}"
    if run and run is not last:
        yield f"  last run      {stamp(run.started)}, exit code {run.exit_code}, run {run.run_id}"
    if health.watermark and health.lag is not None:
        yield f"  watermark     {stamp(health.watermark)}, lag {span(health.lag.total_seconds())}"
    if health.next_run:
        late = f", {span(health.overdue.total_seconds())} overdue" if health.overdue else ""
        every = f"every {span(health.interval.length.total_seconds())} by {health.interval.origin}"
        yield f"  next run      {stamp(health.next_run)}{late} ({every})"
    yield f"  open rejects  {health.open_rejects:,}"
    if health.quota:
        used, allowed = health.quota
        yield f"  quota         {used:,} of {allowed:,} requests of the org's day"
    for remark in health.remarks:
        yield f"  note          {remark}"


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "started_at": stamp(run.started),
        "ended_at": stamp(run.ended),
        "exit_code": run.exit_code,
        "written": run.written,
        "deviations": dict(run.deviations),
    }


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 3)


def _stamp(at: datetime | None) -> str | None:
    return stamp(at) if at else None
