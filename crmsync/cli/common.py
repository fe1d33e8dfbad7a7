"""What the commands share: their options, loading the configuration, and wiring the parts together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from crmsync.config import Config, Sync, load
from crmsync.errors import ConfigError, CrmsyncError
from crmsync.health import logs, tail
from crmsync.health.redaction import Redactor, printable
from crmsync.text import did_you_mean

log = logging.getLogger(__name__)

_redact = Redactor()

F = TypeVar("F", bound=Callable[..., Any])


def common_options(function: F) -> F:
    """`--config`, `-v` and `-q`, passed on as `config_path` and `verbosity`."""

    def count(ctx: click.Context, param: click.Parameter, value: int) -> int:
        ctx.params["verbosity"] = ctx.params.get("verbosity", 0) + (value if param.name == "v" else -value)
        return value

    options = [
        click.option("-c", "--config", "config_path", metavar="FILE", help="Use this crmsync.toml."),
        click.option("-v", "v", count=True, expose_value=False, callback=count, help="Say more."),
        click.option("-q", "q", count=True, expose_value=False, callback=count, help="Say less."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def configure(
    config_path: str | None, verbosity: int, *, require: frozenset[str] = frozenset({"source", "destination"})
) -> Config:
    """Load the configuration and start logging. Raises ConfigError with everything that is wrong."""
    global _redact
    logs.begin_run()
    level, form = (os.environ.get(f"CRMSYNC_LOG_{name}", "auto") for name in ("LEVEL", "FORMAT"))
    logs.set_up(level=level, form=form, verbosity=verbosity, redact=_redact)
    config = load(config_path=config_path, environ=os.environ, cwd=Path.cwd(), require=require)
    _redact = Redactor(
        str(entry.value) for entry in config.values if entry.setting.secret and entry.value is not None
    )
    logs.set_up(level=config.log_level, form=config.log_format, verbosity=verbosity, redact=_redact)
    for warning in config.warnings:
        log.warning("%s", warning)
    log.info("state %s, configuration %s", config.state, config.path or "from the environment")
    return config


def places(config: Config) -> dict[str, str | None]:
    """Which state and which file a command worked with, for its JSON: runs by hand and the timer must agree."""
    return {"state": config.state, "config": str(config.path) if config.path else None}


def keep_tail() -> tail.Tail:
    """Keep the end of the log from here on, for whoever is told of it later."""
    return tail.keep_tail(_redact)


def chosen_syncs(config: Config, names: Sequence[str]) -> list[Sync]:
    """The named syncs, all of them where none is named. Raises ConfigError for an unknown name."""
    known = {sync.name: sync for sync in config.syncs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            [f"there is no sync {name}{did_you_mean(name, known)}" for name in unknown],
            hint=f"Configured: {', '.join(known)}.",
        )
    return [known[name] for name in names] if names else list(config.syncs)


def one_sync(config: Config, name: str | None) -> Sync:
    """The named sync, or the only one. Raises ConfigError."""
    if name is None and len(config.syncs) > 1:
        raise ConfigError(
            "there are several syncs: name one with --sync",
            hint=f"Configured: {', '.join(sync.name for sync in config.syncs)}.",
        )
    return chosen_syncs(config, [name] if name else [])[0]


def shown(text: object) -> str:
    """Text fit for a terminal: no secrets, no control characters."""
    return "\n".join(printable(line) for line in _redact(str(text)).split("\n"))


def say_error(error: CrmsyncError) -> None:
    """Put what ended a command into the log."""
    _make_heard()
    more = {"hint": error.hint, "docs": error.page, "exit_code": error.exit_code}
    log.error("%s", error.message, extra={**more, "correlation_id": error.correlation_id})


def say_bug() -> None:
    """Where the error at hand arose, without values, for what should not have happened."""
    _make_heard()
    log.critical("this is a bug in crmsync; please report it", exc_info=True, extra={"exit_code": 1})


def _make_heard() -> None:
    if not logs.is_set_up():
        logs.set_up(redact=_redact)
