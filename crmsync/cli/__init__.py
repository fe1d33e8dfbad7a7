"""The command line. Each command lives in a module of its own, imported only when it is called."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import click

from crmsync import __version__
from crmsync.errors import CrmsyncError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write settings and schedule for this machine, by asking."),
    "pull": ("pull", "Read what changed in the CRM and write it to the CDP."),
    "check": ("check", "Try every setting, login, object and field, and say what to do."),
    "status": ("status", "Say how each sync is, as monitoring plugins do."),
    "runs": ("runs", "Show the history: a table, JSON, or one HTML page with charts."),
    "explain": ("explain", "Show what becomes of one row, and what was delivered of it."),
    "rejects": ("rejects", "List, show, retry or drop what could not be delivered."),
    "fields": ("fields", "Show the org's fields beside the CDP's; suggest a mapping."),
    "reconcile": ("reconcile", "Compare every Id in the CRM with what was delivered, and mend it."),
    "state": ("state", "Show or set how far a sync is; force a lock open."),
    "config": ("config", "Show every setting and where it was set."),
    "sandbox": ("sandbox", "Serve a make-believe Salesforce and Experiture on this machine."),
    "demo": ("demo", "Try it all against the sandbox: full pull, changes, delta, proof."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed, and listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module = __import__(f"crmsync.cli.{COMMANDS[cmd_name][0]}", fromlist=["command"])
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            from crmsync.text import did_you_mean

            ctx.fail(f"There is no command {name!r}{did_you_mean(name, COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with: crmsync demo",
)
@click.version_option(__version__, prog_name="crmsync")
def cli() -> None:
    """Keep the profiles of an Experiture CDP in step with a CRM."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the code that README.md lists."""
    try:
        code = cli.main(args=args, prog_name="crmsync", standalone_mode=False)
        _leave(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("crmsync: stopped", err=True)
        _leave(130)
    except CrmsyncError as error:
        from crmsync.cli.common import say_error

        say_error(error)
        _leave(error.exit_code)
    except BrokenPipeError:
        sys.exit(141)
    except Exception:  # noqa: BLE001 - the last resort: a bug, reported without values
        from crmsync.cli.common import say_bug

        say_bug()
        sys.exit(1)


def _leave(code: int) -> NoReturn:
    """End the process. A run that was told to stop does not wait for a request that gets no answer."""
    if code in (75, 130, 143):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
