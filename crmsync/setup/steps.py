"""What is left to do once the files are written, as commands to copy. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from crmsync.setup.machine import SYSTEM_USER, Machine
from crmsync.setup.schedule import CRONTAB, SERVICE, SYSUSERS, TIMER, Kind, by_hand, useradd


def steps(
    kind: Kind,
    machine: Machine,
    folder: Path,
    files: list[Path],
    *,
    root: bool,
    user_exists: bool,
    own: bool,
    checked: bool,
) -> list[str]:
    """The commands in their order. `root`: typed by root, who needs no sudo; `own`: run by who types them;
    `checked`: check runs anyway."""
    sudo = "" if root else "sudo "
    commands = []
    if not own:
        if not user_exists and machine.user == SYSTEM_USER:
            sysusers = f"systemd-sysusers {shlex.quote(str(folder / SYSUSERS))}"
            commands.append(sudo + (sysusers if kind == "systemd" else useradd()))
        owner = f"{machine.user}:{machine.group}"
        if machine.local_state:
            owned = f"-o {machine.user} -g {machine.group}"
            commands.append(f"{sudo}install -d -m 0700 {owned} {machine.state}")
        commands.append(f"{sudo}chown {owner} {shlex.join(map(str, files))}")
    if not checked:
        commands.append(by_hand(machine, "check", sudo=not own))
    commands.append(by_hand(machine, "pull", "--full", sudo=not own))
    return [*commands, *_schedule(kind, folder, sudo, own=own)]


def _schedule(kind: Kind, folder: Path, sudo: str, *, own: bool) -> Iterator[str]:
    if kind == "systemd":
        units = shlex.join(str(folder / name) for name in (SERVICE, TIMER))
        yield f"{sudo}install -m 0644 {units} /etc/systemd/system/"
        yield f"{sudo}systemctl daemon-reload"
        yield f"{sudo}systemctl enable --now crmsync@contacts.timer"
    elif kind == "cron":
        file = shlex.quote(str(folder / CRONTAB))
        if own:
            yield f"(crontab -l 2>/dev/null; cat {file}) | crontab -"
        else:
            yield f"{sudo}install -m 0644 {file} /etc/cron.d/crmsync"
