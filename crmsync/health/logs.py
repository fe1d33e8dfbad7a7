"""Logging: one handler on stderr, for people on a terminal and as JSON lines elsewhere, redacted at the sink.

What a line tells beside its message is passed as `extra`, under the names of `MORE`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from crmsync.health.redaction import Redactor, anatomy, hanging, printable
from crmsync.health.screen import Screen

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""How syslog and the journal count."""
_COLOURS = {logging.DEBUG: 2, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}
_DIM = 2
MORE = ("sync", "correlation_id", "hint", "docs", "exit_code", "progress", "summary", "trace")
"""What a line may tell beside `ts`, `level`, `logger`, `msg` and `run_id`, which every line has."""

_run_id = ""
_sync = ""
_screen: Screen | None = None


def run_id() -> str:
    """The id of the run at hand. Run ids sort by time."""
    return _run_id or begin_run()


def begin_run() -> str:
    """Give the run that begins here an id of its own."""
    set_run_id(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}")
    return _run_id


def set_run_id(run_id: str) -> None:
    """Put this id on every line from here on."""
    global _run_id
    _run_id = run_id


@contextlib.contextmanager
def about(sync: str) -> Iterator[None]:
    """Put this sync's name on every line meanwhile, whichever thread it comes from."""
    global _sync
    before, _sync = _sync, sync
    try:
        yield
    finally:
        _sync = before


def screen() -> Screen | None:
    """Where a status line may be shown: a terminal on which the log is read by a person. Else None."""
    return _screen


def set_up(
    *,
    level: str = "auto",
    form: str = "auto",
    verbosity: int = 0,
    redact: Redactor,
    stream: TextIO | None = None,
) -> None:
    """Send the program's log to stderr.

    `level` "auto" is info on a terminal and for systemd's journal, warning elsewhere; each unit of `verbosity`
    is one level more or less, but errors are always told. `form` "auto" is text on a terminal and JSON lines
    elsewhere. Lines for the journal bear its priorities.
    """
    global _screen
    target = stream or sys.stderr
    on_terminal = target.isatty()
    dumb = os.environ.get("TERM") == "dumb"
    to_journal = _is_journal(target)
    base = _LEVELS.get(level, logging.INFO if on_terminal or to_journal else logging.WARNING)
    as_text = form == "text" or (form != "json" and on_terminal)
    _screen = Screen(target) if on_terminal and as_text and not dumb else None
    handler = _Handler(target, journal=to_journal)
    coloured = on_terminal and not dumb and not os.environ.get("NO_COLOR")
    handler.setFormatter(TextFormatter(redact, coloured=coloured) if as_text else JsonFormatter(redact))
    root = logging.getLogger("crmsync")
    root.handlers[:] = [handler]
    root.setLevel(min(logging.ERROR, max(logging.DEBUG, base - 10 * verbosity)))
    root.propagate = False
    others = logging.getLogger()
    others.handlers[:] = [handler]
    others.setLevel(logging.WARNING)


def is_set_up() -> bool:
    return bool(logging.getLogger("crmsync").handlers)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes above the status line; to the journal with a priority before every line."""

    def __init__(self, stream: TextIO, *, journal: bool) -> None:
        super().__init__(stream)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        with _screen.aside() if _screen is not None else contextlib.nullcontext():
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        priority = _PRIORITIES.get(record.levelno, 5)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd reads this stream for its journal: it tells so by device and inode."""
    told = os.environ.get("JOURNAL_STREAM")
    if not told:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


class TextFormatter(logging.Formatter):
    """`14:03:07 3fa2c1 warning: …`: the time (UTC), the end of the run's id, the level, the message."""

    def __init__(self, redact: Redactor, *, coloured: bool = False) -> None:
        super().__init__()
        self._redact = redact
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        level = self._in_colour(record.levelname.lower(), _COLOURS.get(record.levelno))
        head = f"{self._in_colour(f'{at} {run_id()[-6:]}', _DIM)} {level}:"
        more = _more(record)
        said = record.getMessage()
        call = more.get("correlation_id", "")
        said += f" [correlation {call}]" if call and call not in said else ""
        said += "".join(f"\n  → {more[name]}" for name in ("hint", "docs") if more.get(name))
        return f"{head} {printable(hanging(self._redact(said)) + self._redact(_trace(record)))}"

    def _in_colour(self, text: str, colour: int | None) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured and colour else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (UTC), level, logger, msg, run_id, and whatever there is of `MORE`."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": self._shown(record.getMessage()),
            "run_id": run_id(),
            **{name: self._shown(value) for name, value in _more(record).items()},
        }
        trace = _trace(record)
        if trace:
            line["trace"] = self._shown(trace.strip())
        return orjson.dumps(line, default=str).decode()

    def _shown(self, value: Any) -> Any:
        if isinstance(value, str):
            return printable(self._redact(value))
        if isinstance(value, dict):
            return {self._shown(name): self._shown(inner) for name, inner in value.items()}
        return [self._shown(inner) for inner in value] if isinstance(value, list | tuple) else value


def _more(record: logging.LogRecord) -> dict[str, Any]:
    told = {name: getattr(record, name, None) for name in MORE}
    told["sync"] = told["sync"] or _sync
    return {name: value for name, value in told.items() if value not in (None, "")}


def _trace(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "\n" + anatomy(error) if error else ""
