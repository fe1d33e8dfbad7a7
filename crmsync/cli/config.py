"""`crmsync config`"""

from __future__ import annotations

import click

from crmsync.cli.common import common_options, configure, shown
from crmsync.config import show as showing


@click.group(epilog="Example: crmsync config show")
def command() -> None:
    """Show what is configured."""


@command.command("show", epilog="Example: crmsync config show -c /etc/crmsync/config.toml")
@common_options
def show(config_path: str | None, verbosity: int) -> None:
    """Print every setting, its value and where it was set. Secrets are masked."""
    config = configure(config_path, verbosity, require=frozenset())
    rows = showing.rows(config)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        click.echo(shown(f"{name:<{widths[0]}}  {value:<{min(widths[1], 60)}}  {origin}"))
