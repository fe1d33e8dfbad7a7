"""How many requests a service is sent at once: fewer as soon as it says that they are too many."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

OVERLOADED = frozenset({429, 503})


class Turn:
    """One request's place among those at work. `waited`: others had to end first."""

    def __init__(self, *, waited: bool) -> None:
        self.began = time.monotonic()
        self.waited = waited
        self.status = 0


class Gate:
    """Lets at most `most` requests through at once. Safe to use from several threads.

    Each time the service is overloaded that number is halved, once for all the requests that met the same
    overload; every answer that is none raises it by its own share of one, so that as many answers as there are
    requests at work raise it by one.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._allowed = float(most)
        self._at_work = 0
        self._halved_at = 0.0
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be at work now; one always may."""
        return int(self._allowed)

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait until there is room, and keep it for the block, which is to note the answer's status."""
        with self._changed:
            waits = not self._has_room()
            self._changed.wait_for(self._has_room)
            self._at_work += 1
        turn = Turn(waited=waits)
        try:
            yield turn
        finally:
            with self._changed:
                self._at_work -= 1
                self._learn(turn)
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._at_work < self.allowed

    def _learn(self, turn: Turn) -> None:
        if turn.status in OVERLOADED:
            if turn.began >= self._halved_at:
                self._allowed = max(1.0, self._allowed / 2)
                self._halved_at = time.monotonic()
        elif turn.status:
            self._allowed = min(self._most, self._allowed + 1 / self._allowed)
