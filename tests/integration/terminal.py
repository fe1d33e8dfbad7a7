"""A person at a terminal: reads what a program asks there, and types."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import time
from pathlib import Path

from .world import PATIENCE


class Terminal:
    """A command that runs on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.said = ""
        self._seen = 0
        self._process, self._descriptor = pty.fork()
        if self._process == 0:
            try:
                os.chdir(folder)
                os.execve(command[0], command, environment)
            finally:
                os._exit(127)

    def answer(self, prompt: str, keys: str) -> None:
        """Wait until the program asks for this, then type."""
        self._read_until(prompt)
        os.write(self._descriptor, keys.encode())

    def end(self) -> int:
        """Wait for the program's end. Its exit code."""
        self._read_until(None)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])

    def interrupt(self) -> int:
        """Press Ctrl-C, again where it went unnoticed, until the program ends. Its exit code."""
        while True:
            os.write(self._descriptor, b"\x03")
            with contextlib.suppress(TimeoutError):
                self._read_until(None, patience=1.0)
                return self.end()

    def _read_until(self, prompt: str | None, patience: float = PATIENCE) -> None:
        """Raises TimeoutError, and AssertionError where the program ends before it asks."""
        deadline = time.monotonic() + patience
        while prompt is None or prompt not in self.said[self._seen :]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"waited in vain for {prompt or 'the end'} after {self.said}")
            if not select.select([self._descriptor], [], [], left)[0]:
                continue
            read = b""
            with contextlib.suppress(OSError):
                read = os.read(self._descriptor, 65536)
            if not read:
                assert prompt is None, f"ended before {prompt}: {self.said}"
                return
            self.said += read.decode(errors="replace")
        self._seen = self.said.index(prompt, self._seen) + len(prompt)
