"""`crmsync init`"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click

from crmsync.cli.common import shown
from crmsync.cli.questions import Questions, prompt
from crmsync.config import Config, load
from crmsync.config.files import default_state, xdg
from crmsync.errors import ConfigError
from crmsync.health.redaction import printable
from crmsync.setup import answers as given
from crmsync.setup import placing, texts
from crmsync.setup.machine import SYSTEM_USER, Machine
from crmsync.setup.schedule import Kind, environment, files
from crmsync.setup.steps import Setup, steps

OWN_VARIABLES = ("CRMSYNC_", "SALESFORCE_", "EXPERITURE_", "HUBSPOT_")
KINDS: tuple[Kind, ...] = get_args(Kind)
SYSTEM_FOLDER = Path("/etc/crmsync")

EPILOG = """\b
Examples:
  crmsync init                              asks for everything
  crmsync init --dir /etc/crmsync --schedule systemd
  SALESFORCE_CLIENT_SECRET=... crmsync init --yes --schedule cron
    --set SALESFORCE_LOGIN_URL=https://acme.my.salesforce.com
"""


@click.command(epilog=EPILOG)
@click.option("--dir", "folder", metavar="DIR", help="Where the files go.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting; secrets not here.")
@click.option("--schedule", type=click.Choice(KINDS), help="What is to start a pull.")
@click.option("--user", metavar="NAME", help="Who runs it: crmsync if root sets it up, else you.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take --set and the environment.")
@click.option("--force", is_flag=True, help="Replace files; the old ones are kept as *.old.")
@click.option("--no-check", is_flag=True, help="Do not run check at the end.")
def command(
    folder: str | None,
    pairs: tuple[str, ...],
    schedule: Kind | None,
    user: str | None,
    yes: bool,
    force: bool,
    no_check: bool,
) -> int:
    """Write .env, crmsync.toml and the timer or crontab for this machine, then check them.

    It asks, or takes what --set, the environment and files from before say. Secrets come from a prompt,
    the environment or files. Nothing is replaced without --force, and nothing written unless all is.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: give --yes, and the settings by --set.")
    root = os.geteuid() == 0
    where = Path.cwd() / (folder or _folder(root, ask=not yes))
    toml = where / _toml_name(where)
    answers = given.known(toml, os.environ, pairs)
    if not yes:
        _announce([path for path in (toml, where / ".env") if path.exists()], force=force)
    user = user or (SYSTEM_USER if root else _me())
    answers.setdefault("CRMSYNC_STATE", _state(user))
    questions = Questions(answers, Path.cwd())
    if not yes:
        for service in given.SERVICES:
            questions.service(service)
        questions.ask("CRMSYNC_STATE")
        questions.ask("CRMSYNC_DEFAULT_REGION", optional=True)
        schedule = schedule or _ask_schedule()
    ways = questions.ways or {service: given.way_of(service, answers) for service in given.SERVICES}
    plan = _plan(given.kept(answers, ways), toml, schedule or "none", user)
    _refuse_to_replace(plan, force=force)
    written = placing.place(where, plan.files, try_out=plan.load)
    for file in plan.files:
        path = where / file.name
        click.echo(printable(f"{'written' if path in written else 'unchanged'}: {path}"))
    for warning in plan.machine.warnings(own_tmp=plan.kind == "systemd"):
        click.echo(printable(f"note: {warning}"))
    return _finish(plan, root=root, check=not no_check)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written: where, for which machine, and the files."""

    toml: Path
    kind: Kind
    machine: Machine
    files: list[placing.NewFile]

    def load(self, folder: Path) -> Config:
        """What the files say, from where they lie for now. Raises ConfigError."""
        return load(config_path=str(folder / self.toml.name), environ={}, cwd=folder)


def _plan(answers: Mapping[str, str], toml: Path, kind: Kind, user: str) -> Plan:
    """Raises ConfigError for answers that make up no configuration, or none that can be scheduled."""
    config = given.trial(answers, Path.cwd(), require=("source", "destination"))
    written = given.spelled(answers, config, Path.cwd())
    machine = _machine(config, toml, user)
    new = [
        placing.NewFile(".env", texts.env_text(written), secret=True),
        placing.NewFile(toml.name, texts.toml_text(written, _syncs_of(toml))),
    ]
    if kind != "none":
        machine.check()
        own = os.geteuid() != 0 and user == _me()
        new += [placing.NewFile(name, text) for name, text in files(kind, machine, own_crontab=own).items()]
    return Plan(toml, kind, machine, new)


def _syncs_of(toml: Path) -> str | None:
    return texts.syncs_of(toml.read_text("utf-8")) if toml.is_file() else None


def _machine(config: Config, toml: Path, user: str) -> Machine:
    script = Path(sys.executable).with_name("crmsync")
    found = shutil.which("crmsync")
    if found and script.exists() and Path(found).samefile(script):
        script = Path(found)
    command = (str(script),) if script.exists() else (sys.executable, "-m", "crmsync")
    try:
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        group = user
    return Machine(
        command=command,
        user=user,
        group=group,
        state=config.state,
        config=str(toml),
        interval=config.interval,
        metrics=str(config.prometheus_file) if config.prometheus_file else None,
        parts=(sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])),
    )


def _refuse_to_replace(plan: Plan, *, force: bool) -> None:
    folder = plan.toml.parent
    changed = placing.differing(folder, plan.files)
    for file in changed:
        click.echo(shown(placing.difference(folder, file)))
    if changed and not force:
        names = ", ".join(file.name for file in changed)
        raise ConfigError(
            f"{folder} holds {names} already, which would change as shown above; nothing was written",
            hint="--force replaces them, and keeps the old ones as *.old.",
        )


def _finish(plan: Plan, *, root: bool, check: bool) -> int:
    """Hand the files over, say what is left to do, and check as the one who will run it. The exit code."""
    machine, folder = plan.machine, plan.toml.parent
    paths = [folder / file.name for file in plan.files if file.secret or file.name == plan.toml.name]
    own, exists = machine.user == _me(), _exists(machine.user)
    if root and not own and exists:
        _hand_over(machine, paths)
    can_check = check and (own or (root and exists))
    setup = Setup(plan.kind, machine, folder, paths, [sync.name for sync in plan.load(folder).syncs])
    left = steps(setup, root=root, user_exists=exists, own=own, checked=can_check)
    click.echo("\nWhat to do next:")
    for step in left:
        click.echo(printable(f"  {step}"))
    if not can_check:
        return 0
    click.echo("\n$ crmsync check")
    return _check(machine, become=not own)


def _hand_over(machine: Machine, written: list[Path]) -> None:
    """Make the files and the place of the state the user's."""
    for path in written:
        shutil.chown(path, machine.user, machine.group)
    state = Path(machine.state)
    if machine.local_state and not state.exists():
        state.mkdir(mode=0o700, parents=True)
        shutil.chown(state, machine.user, machine.group)


def _check(machine: Machine, *, become: bool) -> int:
    """`crmsync check` in the environment that the schedule gives it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    as_user = ["runuser", "-u", machine.user, "--"] if become else []
    done = subprocess.run(  # noqa: S603 - our own program
        [*as_user, *machine.command, "check"], env=plain | environment(machine), check=False
    )
    return done.returncode


def _folder(root: bool, *, ask: bool) -> str:
    usual = str(SYSTEM_FOLDER if root else Path.cwd())
    return str(prompt("Folder for the files", default=usual)) if ask else usual


def _toml_name(folder: Path) -> str:
    """The name under which crmsync looks for its file there."""
    home = xdg(os.environ, "CONFIG", ".config")
    places = (SYSTEM_FOLDER, home / "crmsync" if home else None)
    return "config.toml" if folder in places else "crmsync.toml"


def _announce(present: list[Path], *, force: bool) -> None:
    if present and not force:
        listed = " and ".join(str(path) for path in present)
        click.echo(
            shown(
                f"{listed}: there already. What they say is offered as an answer; what would change is shown"
            )
        )
        click.echo("in the end, and nothing is replaced without --force.")


def _ask_schedule() -> Kind:
    click.echo("\nWhat is to start a pull every 15 minutes?")
    usual = "cron" if shutil.which("crontab") else "none"
    if Path("/run/systemd/system").is_dir():
        usual = "systemd"
    chosen: Kind = prompt("Schedule", type=click.Choice(KINDS), default=usual)
    return chosen


def _state(user: str) -> str:
    if user != _me():
        return Machine().state
    found = default_state(os.environ)
    return found[0] if found else Machine().state


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
