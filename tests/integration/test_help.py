"""`--help`: one screen for the program, an example for every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from crmsync.cli import cli

from .world import Crmsync


def paths(group: click.Group = cli, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and subcommand, as it is typed."""
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += paths(command, (*above, name))
    return found


@pytest.fixture
def anyone(tmp_path: Path) -> Crmsync:
    return Crmsync(tmp_path / "home", {"COLUMNS": "80"})


def test_the_help_lists_every_command_in_one_screen(anyone: Crmsync) -> None:
    run = anyone.run("--help")
    lines = run.out.splitlines()
    assert run.code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    listed = {line.split()[0] for line in lines if line.startswith("  ") and line.split()}
    assert {name for name, *deeper in paths() if not deeper} <= listed


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_the_help_of_every_command_has_an_example(anyone: Crmsync, path: tuple[str, ...]) -> None:
    run = anyone.run(*path, "--help")
    assert run.code == 0
    assert "Example" in run.out
    example = run.out[run.out.index("Example") :]
    assert f"crmsync {' '.join(path)}" in example or f"crmsync {path[0]}" in example
    assert max(map(len, run.out.splitlines())) <= 80


def test_the_program_runs_by_its_name_as_well(anyone: Crmsync) -> None:
    """The script that an installation makes."""
    script = Path(sys.executable).with_name("crmsync")
    done = subprocess.run(
        [script, "--version"], capture_output=True, text=True, env=anyone.environment(), check=True
    )
    assert done.stdout.startswith("crmsync")


@pytest.mark.parametrize(("typed", "meant"), [("pul", "pull"), ("chekc", "check")])
def test_a_mistyped_command_is_answered_with_the_nearest(anyone: Crmsync, typed: str, meant: str) -> None:
    run = anyone.run(typed)
    assert (run.code, meant in run.err) == (2, True)


def test_help_and_version_need_no_configuration_and_touch_nothing(anyone: Crmsync) -> None:
    anyone.run("--help")
    anyone.run("pull", "--help")
    assert list(anyone.home.iterdir()) == []
