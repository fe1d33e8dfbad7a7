"""One deliverer per sync at a time (law 4)."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import orjson

from crmsync.errors import LockHeld
from crmsync.state.store import explained

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, for the message."""

    pid: int
    host: str
    run_id: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} (run {self.run_id})"


class Lock(Protocol):
    """A run holds it as a context."""

    def __enter__(self) -> Self:
        """Raises LockHeld naming the holder."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def confirm(self) -> None:
        """Make sure that the lock is still ours before something is sent. Raises LockHeld."""
        ...


class FileLock:
    """A `flock` on a file that stays open for the run: the kernel gives it back after any crash."""

    def __init__(self, path: Path, run_id: str, *, wait: float = 0.0) -> None:
        self._path = path
        self._run_id = run_id
        self._wait = wait
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            self._acquire()
            me = Holder(os.getpid(), socket.gethostname(), self._run_id, _now())
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, orjson.dumps(asdict(me)), 0)
        except OSError as error:
            self._close()
            raise explained(error, str(self._path)) from None
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def confirm(self) -> None:
        """Nothing can take a kernel lock away, but a thread may outlive the run that held it."""
        if self._descriptor is None:
            raise LockHeld("the run is over and its lock given back")

    def _acquire(self) -> None:
        deadline = time.monotonic() + self._wait
        waits = False
        while not self._try():
            if time.monotonic() >= deadline:
                raise LockHeld(
                    f"another run is at work: {self._holder() or 'its name could not be read'}",
                    hint="Wait for it to end, or pass --wait 60s.",
                )
            if not waits:
                log.info("waiting for another run to end: %s", self._holder() or "its name could not be read")
            waits = True
            time.sleep(0.1)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> Holder | None:
        assert self._descriptor is not None
        try:
            return Holder(**orjson.loads(os.pread(self._descriptor, 4096, 0)))
        except (orjson.JSONDecodeError, TypeError):
            return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class NoLock:
    """For a dry run, which takes none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def confirm(self) -> None:
        """Nothing is sent in a dry run."""
