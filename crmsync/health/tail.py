"""The end of the log, kept for whoever is told of a run afterwards."""

from __future__ import annotations

import logging
from collections import deque

from crmsync.health.logs import TextFormatter
from crmsync.health.redaction import Redactor

MOST_BYTES = 100_000
"""What healthchecks.io keeps of a ping's body."""
MISSING = b"...\n"


class Tail(logging.Handler):
    """The last lines of the log, redacted, in no more than `most` bytes of UTF-8."""

    def __init__(self, redact: Redactor, most: int = MOST_BYTES) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(TextFormatter(redact))
        self._most = most
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._is_cut = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "replace") + b"\n"
        except Exception:  # noqa: BLE001 - a line that cannot be told does not end the run
            return
        self._lines.append(line)
        self._size += len(line)
        while self._size > self._most:
            self._size -= len(self._lines.popleft())
            self._is_cut = True

    def last(self, most: int) -> bytes:
        """Whole lines from the end, in at most so many bytes. Where older ones are missing, `...` says so."""
        self.acquire()
        lines, is_cut = list(self._lines), self._is_cut
        self.release()
        left = most - len(MISSING)
        kept: list[bytes] = []
        while lines and len(lines[-1]) <= left:
            left -= len(lines[-1])
            kept.append(lines.pop())
        return (MISSING if lines or is_cut else b"") + b"".join(reversed(kept))


def keep_tail(redact: Redactor) -> Tail:
    """Keep the end of the log from here on, from level info, whatever the level of what is shown."""
    tail = Tail(redact)
    own, others = logging.getLogger("crmsync"), logging.getLogger()
    for handler in own.handlers:
        handler.setLevel(own.level)
    own.setLevel(min(own.level, logging.INFO))
    for logger in (own, others):
        logger.addHandler(tail)
    return tail
