"""Counting the I/O steps of a run, and ending it before one of them.

A step is a call of the store, a commit of the ledger, or either end of an HTTP exchange. What a run would do
after its last step is refused, so that no clean-up code can make a crash look kinder than it is.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests

from crmsync import journal
from crmsync.http import client as http
from crmsync.state.ledger import Ledger

STORE_CALLS = ("read", "write", "put", "append", "read_log", "replace_log", "names", "delete")
CHANGES = ("COMMIT", "INSERT", "UPDATE", "DELETE")


class Crash(BaseException):
    """The program is no more. Nothing may catch this and go on."""


class Steps:
    """Counts the steps of one run, from any thread; before step number `last`, or the first whose name begins
    with it, it calls `end`.

    `end` raises or kills; every later step then raises Crash. `meanwhile` is called before each step with its
    number and name, for what the world does while the run is at work. `taken` names the steps.
    """

    def __init__(
        self,
        last: int | str | None = None,
        end: Callable[[], None] | None = None,
        meanwhile: Callable[[int, str], None] = lambda _number, _what: None,
    ) -> None:
        self._last = last
        self._end = end
        self._meanwhile = meanwhile
        self._guard = threading.Lock()
        self._busy = 0
        self._connections: list[sqlite3.Connection] = []
        self.taken: list[str] = []
        self.over = False

    def take(self, what: str) -> None:
        """Note one step. Raises Crash from the last one on."""
        with self._guard:
            if not self.over:
                self.taken.append(what)
                number = len(self.taken)
                if self._last in (number, what[: len(str(self._last))]):
                    self.over = True
                    if self._end is not None:
                        self._end()
            if self.over:
                raise Crash(what)
        self._meanwhile(number, what)

    @contextmanager
    def within(self, what: str) -> Iterator[None]:
        """One call to the outside: a step before it, and it counts as under way until it is over."""
        self.take(what)
        with self._guard:
            self._busy += 1
        try:
            yield
        finally:
            with self._guard:
                self._busy -= 1

    def keep(self, connection: sqlite3.Connection) -> None:
        self._connections.append(connection)

    def bury(self, patience: float = 10.0) -> None:
        """After a crash: wait for the calls that were under way, and let go of the ledger's file."""
        self.over = True
        deadline = time.monotonic() + patience
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.002)
        for connection in self._connections:
            connection.close()


class _Connection:
    """A SQLite connection whose changes are steps. Within a transaction only its commit is one."""

    def __init__(self, real: sqlite3.Connection, steps: Steps) -> None:
        self._real = real
        self._steps = steps

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if self._steps.over and statement != "ROLLBACK":
            raise Crash(statement)
        word = statement.lstrip().partition(" ")[0]
        if word == "COMMIT" or (word in CHANGES and not self._real.in_transaction):
            with self._steps.within(f"ledger {word}"):
                return self._real.execute(statement, *arguments)
        return self._real.execute(statement, *arguments)

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        if self._steps.over:
            raise Crash(statement)
        return self._real.executemany(statement, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def counted_ledger(steps: Steps) -> type[Ledger]:
    """The ledger's class, its commits counted."""

    class CountedLedger(Ledger):
        def __init__(self, path: Path) -> None:
            steps.take("ledger open")
            super().__init__(path)
            steps.keep(self._db)
            self._db = _Connection(self._db, steps)  # type: ignore[assignment]  # it takes its place

    return CountedLedger


def count_store(store: Any, steps: Steps) -> Any:
    """The same store, each of its calls a step."""
    for name in STORE_CALLS:
        setattr(store, name, _counted(getattr(store, name), f"store {name}", steps))
    return store


def _counted(call: Callable[..., Any], what: str, steps: Steps) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        with steps.within(f"{what} {arguments[0]}"):
            return call(*arguments, **named)

    return counted


@contextmanager
def counted_io(steps: Steps) -> Iterator[None]:
    """Within the block, new ledgers and new HTTP sessions count their steps here."""
    new_session = http.new_session

    def counted_session(connections: int = 4) -> Any:
        session = new_session(connections)
        adapter = session.get_adapter("https://")
        send = adapter.send

        def exchange(request: requests.PreparedRequest, **named: Any) -> requests.Response:
            what = f"{request.method} {(request.url or '').partition('?')[0]}"
            with steps.within(f"send {what}"):
                response = send(request, **named)
            steps.take(f"answer {what}")
            return response

        adapter.send = exchange  # type: ignore[method-assign]  # it takes its place
        return session

    with ExitStack() as patches:
        patches.enter_context(patch.object(http, "new_session", counted_session))
        patches.enter_context(patch.object(journal, "Ledger", counted_ledger(steps)))
        yield
