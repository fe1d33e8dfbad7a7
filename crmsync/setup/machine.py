"""Where crmsync is on a machine, who runs it and how often: what a schedule has to know. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from crmsync.config import format_duration
from crmsync.errors import ConfigError

SYSTEM_USER = "crmsync"
"""The static user that a system-wide installation runs as."""

_PLAIN = re.compile(r"/[A-Za-z0-9/._@+,:-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HIDDEN = ("/home/", "/root/", "/run/user/")
_PRIVATE = ("/tmp/", "/var/tmp/")  # noqa: S108 - looked for, not written to


@dataclass(frozen=True, slots=True)
class Machine:
    """As it stands here it is the machine that the files in systemd/ and cron.example are for.

    `command` starts crmsync, its first word an absolute path. `state` is a directory or an s3:// address,
    `config` the toml file, `metrics` the file for a textfile collector. `interval` is the time from one pull
    to the next. `parts` are the other places that the program is made of.
    """

    command: tuple[str, ...] = ("/usr/local/bin/crmsync",)
    user: str = SYSTEM_USER
    group: str = SYSTEM_USER
    state: str = "/var/lib/crmsync"
    config: str = "/etc/crmsync/config.toml"
    interval: timedelta = timedelta(minutes=15)
    metrics: str | None = None
    parts: tuple[str, ...] = ()

    @property
    def local_state(self) -> bool:
        return "://" not in self.state

    @property
    def sees_homes(self) -> bool:
        """Whether something that a run needs lies where ProtectHome=yes shows nothing."""
        return any(path.startswith(_HIDDEN) for path in (*self._paths(), *self.parts))

    @property
    def calendar(self) -> str:
        """The interval as systemd's OnCalendar."""
        minutes, hours = self._every()
        return f"*:0/{minutes}" if minutes else f"0/{hours}:00" if hours else "daily"

    @property
    def crontab(self) -> str:
        """The interval as the five fields of a crontab."""
        minutes, hours = self._every()
        return f"*/{minutes} * * * *" if minutes else f"0 */{hours} * * *" if hours else "0 0 * * *"

    def check(self) -> None:
        """Raises ConfigError for what cannot stand in a unit or a crontab as it is."""
        problems = [
            f"{path!r}: a schedule needs an absolute path of letters, digits and . _ @ + , : -"
            for path in self._paths()
            if not _PLAIN.fullmatch(path)
        ]
        if not self.local_state and not _PLAIN.fullmatch(self.state.removeprefix("s3:/")):
            problems.append(
                f"CRMSYNC_STATE: {self.state!r}: a schedule needs a prefix of letters, digits and / . _ @ + , : -"
            )
        problems += [
            f"{name!r}: is no name for a user or a group on this machine"
            for name in dict.fromkeys((self.user, self.group))
            if not _USER.fullmatch(name)
        ]
        if problems:
            raise ConfigError(problems)
        self._every()

    def warnings(self, *, own_tmp: bool) -> Iterator[str]:
        """What works for who sets it up, and will not on the schedule. `own_tmp`: it has a /tmp of its own."""
        places = [f"{path}/" for path in dict.fromkeys((*self._paths(), *self.parts))]
        hidden = [place.rstrip("/") for place in places if place.startswith(_PRIVATE)]
        if hidden and own_tmp:
            yield f"the service has a /tmp of its own, and will not find {', '.join(hidden)}: put it elsewhere"
        closed = [place.rstrip("/") for place in places if place.startswith("/root/") and self.user != "root"]
        if closed:
            yield f"the user {self.user} has no way to {', '.join(closed)}: install it elsewhere, /opt say"

    def _paths(self) -> list[str]:
        state = [self.state] if self.local_state else []
        return [*self.command[:1], self.config, *state, *([self.metrics] if self.metrics else [])]

    def _every(self) -> tuple[int, int]:
        """The interval in whole minutes, or else in whole hours; neither is a day. Raises ConfigError."""
        minutes, seconds = divmod(int(self.interval.total_seconds()), 60)
        if seconds == 0 and minutes < 60 and 60 % minutes == 0:
            return minutes, 0
        hours, rest = divmod(minutes, 60)
        if seconds == rest == 0 and hours < 24 and 24 % hours == 0:
            return 0, hours
        if seconds == rest == 0 and hours == 24:
            return 0, 0
        raise ConfigError(
            f"CRMSYNC_INTERVAL: {format_duration(self.interval)} cannot be scheduled evenly over a day",
            hint="Take minutes that divide an hour, hours that divide a day, or a day.",
        )
