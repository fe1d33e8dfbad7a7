"""Writes the pages that are made from the code: `python docs/generate.py`. With `--check` it only compares.

configuration.md comes from the settings and the shape of crmsync.toml, commands.md from what `--help` says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from crmsync.cli import cli
from crmsync.config.settings import SETTINGS, Setting
from crmsync.config.shapes import FieldTable, SyncTable
from crmsync.ownership import DEFAULT_OWNERSHIP

FOLDER = Path(__file__).parent
MADE = "<!-- Made from the code by `python docs/generate.py`. Edit the code, not this page. -->"
WIDTH = 78
"""What click takes of a terminal of 80 columns."""
_TABLES = {
    "salesforce": "Salesforce",
    "experiture": "Experiture",
    "hubspot": "HubSpot",
    "": "crmsync itself",
}
_KINDS = {
    "duration": "a duration: `90s`, `10m`, `2h`, `1d`",
    "list": "separated by commas; in the file an array",
    "location": "a directory or `s3://bucket/prefix`",
    "percent": "a percentage",
    "share": "a percentage or a count",
    "address": "`host:port`",
}


def configuration() -> str:
    """Every setting, and every key of the tables in crmsync.toml."""
    parts = [
        "# Configuration",
        MADE,
        "Every setting has a variable; `crmsync.toml` may hold it as well, under the key beside it. What counts "
        "is the default, then `crmsync.toml`, then `.env` in its folder, then the environment, then the "
        "command's options. An empty variable counts as not set. `crmsync config show` says what is in force "
        "and where it was set.",
        "A **secret** never stands in `crmsync.toml`: there its key with `_file` names a file that holds it. Its "
        "variable with `_FILE` does the same, and so does a systemd credential of the variable's name.",
        "Unknown keys are errors, unknown `CRMSYNC_` variables warnings. `.env.example` and "
        "`crmsync.example.toml` are there to be copied.",
        *_settings(),
        "## Syncs: `[[sync]]`",
        "Once for each sync. Without any there is one, named contacts: Salesforce Contacts into profiles, as in "
        "`crmsync.example.toml`.",
        _keys(SyncTable),
        "### The mapping: `[sync.fields]`",
        'Target field to source path: `first_name = "FirstName"`. Or to a table of these keys: '
        '`email = { from = "Email", normalize = "email" }`.',
        _keys(FieldTable),
        "## Owners: `[ownership]`",
        "Who may write a field: `any`, or the `owner` of one sync or several. A field that is not named belongs "
        "to the sync that maps it. What the file says is laid over this, field by field:",
        "\n".join(
            [
                "| field | owners |",
                "|---|---|",
                *(f"| `{name}` | {', '.join(owners)} |" for name, owners in DEFAULT_OWNERSHIP.items()),
            ]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """What `--help` says, of every command."""
    parts = [
        "# Commands",
        MADE,
        "Results go to stdout, the log to stderr. `crmsync COMMAND --help` prints the same as this page.",
    ]
    for path, command in every_command():
        heading = "#" * min(3, 2 + (len(path) > 1))
        parts += [f"{heading} {' '.join(['crmsync', *path])}", f"```text\n{help_of(path, command)}\n```"]
    return "\n\n".join(parts) + "\n"


def every_command(
    group: click.Group = cli, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The program itself, then every command and subcommand."""
    yield above, group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, (*above, name))
        else:
            yield (*above, name), command


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    """As `--help` prints it in a terminal of 80 columns."""
    context = click.Context(cli, info_name="crmsync", **cli.context_settings)
    for name in path:
        within = context.command
        assert isinstance(within, click.Group)
        found = within.get_command(context, name)
        assert found is not None
        context = click.Context(found, info_name=name, parent=context)
    context.terminal_width = WIDTH
    return command.get_help(context).strip()


PAGES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "commands.md": commands}


def _settings() -> Iterator[str]:
    for section, title in _TABLES.items():
        yield f"## {title}" + (f": `[{section}]`" if section else "")
        rows = [_row(setting) for setting in SETTINGS if setting.section == section]
        yield "\n".join(["| variable | key | meaning | default |", "|---|---|---|---|", *rows])


def _row(setting: Setting) -> str:
    key = f"`{setting.key}{'_file' if setting.secret else ''}`" if setting.in_files else "–"
    told = [setting.about]
    if setting.secret:
        told.append("**Secret.**")
    if setting.choices:
        told.append(f"One of {', '.join(f'`{choice}`' for choice in setting.choices)}.")
    if setting.kind in _KINDS:
        told.append(f"{_KINDS[setting.kind].capitalize()}.")
    if setting.least and setting.most:
        told.append(f"From {setting.least} to {setting.most}.")
    if setting.example:
        told.append(f"For example `{setting.example}`.")
    default = f"`{setting.default}`" if setting.default else "–"
    return f"| `{setting.variable}` | {key} | {_cell(' '.join(told))} | {default} |"


def _keys(model: type[BaseModel]) -> str:
    rows = ["| key | kind | meaning | default |", "|---|---|---|---|"]
    for name, about in model.model_fields.items():
        required = about.default is PydanticUndefined
        default = "required" if required else f"`{_toml(about.default)}`" if about.default else "–"
        kind = _kind(name, about.annotation)
        rows.append(f"| `{about.alias or name}` | {kind} | {_cell(about.description or '')} | {default} |")
    return "\n".join(rows)


def _kind(name: str, annotation: Any) -> str:
    if name == "const":
        return "text, number, true or false"
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    inner = [part for part in get_args(annotation) if part is not NoneType]
    if annotation is str or (inner == [str] and get_origin(annotation) is not list):
        return "text"
    return "text or array of texts" if get_origin(annotation) is list else "table"


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    stale = [name for name, make in PAGES.items() if _present(name) != make()]
    if "--check" in arguments:
        sys.stderr.writelines(f"docs/{name} is not what the code says\n" for name in stale)
        return 1 if stale else 0
    for name in stale:
        (FOLDER / name).write_text(PAGES[name]())
    return 0


def _present(name: str) -> str | None:
    path = FOLDER / name
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
