"""The files that start crmsync on time, each as a text for one machine: units, a timer, a crontab. Pure.

The files in systemd/ and cron.example are these texts for the machine that `Machine()` describes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from posixpath import basename, dirname
from typing import Literal

from crmsync.config import format_duration
from crmsync.config.settings import SECRETS
from crmsync.setup.machine import SYSTEM_USER, Machine

Kind = Literal["systemd", "cron", "none"]

SERVICE, TIMER, SYSUSERS, CRONTAB = (
    "crmsync@.service",
    "crmsync@.timer",
    "crmsync.sysusers.conf",
    "crmsync.cron",
)


def files(kind: Kind, machine: Machine, *, own_crontab: bool = False) -> dict[str, str]:
    """The files by name. `own_crontab`: for the crontab of the user who runs it, not for /etc/cron.d."""
    if kind == "systemd":
        users = {SYSUSERS: sysusers()} if machine.user == SYSTEM_USER else {}
        return {SERVICE: service(machine), TIMER: timer(machine), **users}
    return {CRONTAB: crontab(machine, own=own_crontab)} if kind == "cron" else {}


def environment(machine: Machine) -> dict[str, str]:
    """What cron, systemd and runs by hand have in common, so that all meet one state."""
    return {"CRMSYNC_CONFIG": machine.config, "CRMSYNC_STATE": machine.state}


def by_hand(machine: Machine, *arguments: str, sudo: bool = True) -> str:
    """The command line of a run by hand that meets the schedule's state."""
    settings = [f"{name}={value}" for name, value in environment(machine).items()]
    become = ["sudo", "-u", machine.user] if sudo else []
    return shlex.join([*become, "env", *settings, *machine.command, *arguments])


def service(machine: Machine) -> str:
    """`crmsync@.service`: one pull of the sync that the instance names."""
    return _SERVICE.format(
        by_hand=by_hand(machine, "…").replace("'…'", "…"),
        command=" ".join(_started_by(machine)),
        user=machine.user,
        group=machine.group,
        environment="\n".join(f"Environment={name}={value}" for name, value in environment(machine).items()),
        credentials="\n".join(
            f"LoadCredential={name}:crmsync.{name}" for name in (s.variable.lower() for s in SECRETS)
        ),
        places="\n".join(_places(machine)),
        homes="read-only" if machine.sees_homes else "yes",
    )


def timer(machine: Machine) -> str:
    """`crmsync@.timer`."""
    return _TIMER.format(interval=format_duration(machine.interval), calendar=machine.calendar)


def sysusers() -> str:
    """The system user, for systemd-sysusers."""
    return (
        "# The user that crmsync runs as. Without systemd-sysusers:\n"
        f"# {useradd()}\n"
        f'u {SYSTEM_USER} - "crmsync" {Machine().state} /usr/sbin/nologin\n'
    )


def useradd() -> str:
    """The same user, made by hand."""
    home = Machine().state
    return f"useradd --system --user-group --home-dir {home} --shell /usr/sbin/nologin {SYSTEM_USER}"


def crontab(machine: Machine, *, own: bool = False) -> str:
    """A file for /etc/cron.d; with `own`, lines for the user's own crontab, which name no user."""
    head = _OWN_CRONTAB if own else _SYSTEM_CRONTAB
    user = "" if own else f"  {machine.user}"
    settings = "\n".join(f"{name}={value}" for name, value in {**environment(machine), **_FOR_PEOPLE}.items())
    command = shlex.join([*machine.command, "pull"])
    return f"{head}{_CRON_NOTES}\n{settings}\n\n{machine.crontab}{user}  {command}\n"


def _places(machine: Machine) -> Iterator[str]:
    """What a run may write to."""
    if machine.local_state and dirname(machine.state) == "/var/lib":
        yield f"StateDirectory={basename(machine.state)}"
        yield "StateDirectoryMode=0700"
    elif machine.local_state:
        yield f"ReadWritePaths={machine.state}"
    yield "CacheDirectory=crmsync"
    yield "CacheDirectoryMode=0700"
    if machine.metrics:
        yield f"ReadWritePaths=-{dirname(machine.metrics)}"
    else:
        yield "# With CRMSYNC_PROMETHEUS_FILE, its directory, which the user has to be able to write to:"
        yield "#ReadWritePaths=-/var/lib/prometheus/node-exporter"


def _started_by(machine: Machine) -> tuple[str, ...]:
    """The unit for any machine finds crmsync in systemd's search path, and can be verified where it is not."""
    return ("/usr/bin/env", "crmsync") if machine.command == Machine().command else machine.command


_FOR_PEOPLE = {"CRMSYNC_LOG_FORMAT": "text"}
"""cron's mail is read by people."""

_SERVICE = """\
# One pull of the sync that is named after the @. Its timer starts it:
#   systemctl enable --now crmsync@contacts.timer
# A run by hand that meets the same state:
#   {by_hand}

[Unit]
Description=crmsync: pull %i
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command} pull %i
User={user}
Group={group}
{environment}

# Secrets are in .env beside the configuration, where runs by hand find them too; or in the credential store,
# where only the service does: put one into /etc/credstore/crmsync.salesforce_client_secret, root's and 0600.
# What is not there is left out.
{credentials}

# 143 is a run that was told to stop and did. 75, try again later, stays a failure: the timer tries again all
# the same, and a unit that is marked as failed is how an outage shows. Where CRMSYNC_HEARTBEAT_URL or the
# metrics watch over it, add 75 in a drop-in.
SuccessExitStatus=143
# A run that is stopped goes on where it was. It waits 20 seconds for what is in flight.
TimeoutStartSec=3h
TimeoutStopSec=90s

# What it may write to.
{places}
UMask=0077

# What it may not do.
AmbientCapabilities=
CapabilityBoundingSet=
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
PrivateTmp=yes
PrivateUsers=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome={homes}
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
MemoryMax=1G
TasksMax=256
"""

_TIMER = """\
# When to pull the sync that is named after the @: systemctl enable --now crmsync@contacts.timer

[Unit]
Description=crmsync: pull %i every {interval}

[Timer]
OnCalendar={calendar}
Persistent=yes
# The same minute's delay each time, another on each machine: a fleet does not log in at once.
RandomizedDelaySec=60
FixedRandomDelay=yes
AccuracySec=1s

[Install]
WantedBy=timers.target
"""

_SYSTEM_CRONTAB = "# crmsync from cron. Copy to /etc/cron.d/crmsync and adapt the user and the paths.\n"
_OWN_CRONTAB = "# crmsync, in the crontab of the user who runs it.\n"
_CRON_NOTES = """\
# Cron, systemd and runs by hand have to meet the same state: both variables are absolute.
# Output comes only when something is wrong, so that cron's mail stays worth reading.
# No flock is needed: a second run finds the lock held and ends at once, silently, with exit code 75.
"""
