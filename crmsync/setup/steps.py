"""What is left to do once the files are written, as commands to copy. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crmsync.setup.machine import SYSTEM_USER, Machine
from crmsync.setup.schedule import CRONTAB, SERVICE, SYSUSERS, TIMER, Kind, by_hand, useradd


@dataclass(frozen=True, slots=True)
class Setup:
    """What was written: the schedule's files and the settings (`owned`) in `folder`, for these syncs."""

    kind: Kind
    machine: Machine
    folder: Path
    owned: Sequence[Path]
    syncs: Sequence[str]


def steps(setup: Setup, *, root: bool, user_exists: bool, own: bool, checked: bool) -> list[str]:
    """The commands in their order. `root`: typed by root, who needs no sudo; `own`: run by who types them;
    `checked`: check runs anyway."""
    sudo = "" if root else "sudo "
    commands = [] if own else list(_for_the_user(setup, sudo, user_exists))
    if not checked:
        commands.append(by_hand(setup.machine, "check", sudo=not own))
    commands.append(by_hand(setup.machine, "pull", "--full", sudo=not own))
    return [*commands, *_schedule(setup, sudo, own=own)]


def _for_the_user(setup: Setup, sudo: str, user_exists: bool) -> Iterator[str]:
    """The user, and what has to be the user's."""
    machine = setup.machine
    if not user_exists and machine.user == SYSTEM_USER:
        described = f"systemd-sysusers {shlex.quote(str(setup.folder / SYSUSERS))}"
        yield sudo + (described if setup.kind == "systemd" else useradd())
    if machine.local_state:
        yield f"{sudo}install -d -m 0700 -o {machine.user} -g {machine.group} {shlex.quote(machine.state)}"
    yield f"{sudo}chown {machine.user}:{machine.group} {shlex.join(map(str, setup.owned))}"


def _schedule(setup: Setup, sudo: str, *, own: bool) -> Iterator[str]:
    if setup.kind == "systemd":
        units = shlex.join(str(setup.folder / name) for name in (SERVICE, TIMER))
        timers = " ".join(f"crmsync@{name}.timer" for name in setup.syncs)
        yield f"{sudo}install -m 0644 {units} /etc/systemd/system/"
        yield f"{sudo}systemctl daemon-reload"
        yield f"{sudo}systemctl enable --now {timers}"
    elif setup.kind == "cron":
        file = shlex.quote(str(setup.folder / CRONTAB))
        if own:
            yield f"(crontab -l 2>/dev/null; cat {file}) | crontab -"
        else:
            yield f"{sudo}install -m 0644 {file} /etc/cron.d/crmsync"
