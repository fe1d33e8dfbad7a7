"""Logging: one handler on stderr, for people on a terminal and as JSON lines elsewhere, redacted at the sink."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson

from crmsync.health.redaction import Redactor, anatomy, hanging, printable

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_run_id = ""


def set_run_id(run_id: str) -> None:
    """Put this id on every line from here on."""
    global _run_id
    _run_id = run_id


def set_up(
    *,
    level: str = "auto",
    form: Literal["auto", "text", "json"] = "auto",
    verbosity: int = 0,
    redact: Redactor,
    stream: TextIO | None = None,
) -> None:
    """Send the program's log to stderr.

    `level` "auto" is info on a terminal and warning elsewhere; each unit of `verbosity` is one level more or
    less. `form` "auto" is text on a terminal and JSON lines elsewhere.
    """
    target = stream or sys.stderr
    on_terminal = target.isatty()
    base = _LEVELS.get(level, logging.INFO if on_terminal else logging.WARNING)
    handler = logging.StreamHandler(target)
    as_text = form == "text" or (form == "auto" and on_terminal)
    handler.setFormatter(TextFormatter(redact) if as_text else JsonFormatter(redact))
    root = logging.getLogger("crmsync")
    root.handlers[:] = [handler]
    root.setLevel(max(logging.DEBUG, base - 10 * verbosity))
    root.propagate = False
    others = logging.getLogger()
    others.handlers[:] = [handler]
    others.setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """`14:03:07 warning: …`"""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        said = hanging(self._redact(record.getMessage()))
        return printable(f"{at} {record.levelname.lower()}: {said}{self._redact(_trace(record))}")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (UTC), level, logger, msg, run_id and, of an error, trace."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": printable(self._redact(record.getMessage())),
            "run_id": _run_id,
        }
        trace = _trace(record)
        if trace:
            line["trace"] = printable(self._redact(trace.strip()))
        return orjson.dumps(line).decode()


def _trace(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "\n" + anatomy(error) if error else ""
