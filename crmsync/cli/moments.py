"""Times and durations as options: `36h`, `2026-05-01`, `2026-05-01T12:00Z`, `2x`. Without a zone they are UTC."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from crmsync.config import parse_duration


class Instant(click.ParamType[datetime | timedelta]):
    """An ISO time or date, or how long ago. A lenient parser would read "10" as a date."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta:
        if isinstance(value, datetime | timedelta):
            return value
        if not value.isdigit():
            with contextlib.suppress(ValueError, OverflowError):
                return parse_duration(value)
        try:
            return self._isolated(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; try 36h, 7d, 2026-05-01 or 2026-05-01T12:00:00Z", param, ctx)

    def _isolated(self, value: str) -> datetime:
        from dateutil.parser import isoparse

        parsed = isoparse(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


class Duration(click.ParamType[timedelta]):
    """A length of time: `60s`, `15m`, `36h`, `7d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is no duration; try 60s, 15m or 36h", param, ctx)


class Age(click.ParamType[timedelta | float]):
    """A length of time, or a multiple of something usual: `45m`, `2x`, `1.5x`."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta | float:
        if isinstance(value, timedelta | float):
            return value
        times = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)x", value.strip().lower())
        try:
            age = float(times[1]) if times else parse_duration(value)
        except ValueError:
            age = timedelta()
        if not age:
            self.fail(f"{value!r} is no age; try 2x, 45m or 3h", param, ctx)
        return age


INSTANT = Instant()
DURATION = Duration()
AGE = Age()
