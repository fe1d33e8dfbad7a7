"""How long the source's changes take to be proved delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime


class RecordLag:
    """The longest time from a change to its proof, in one run.

    Only changes of the window count, those from the stamp `since` on: a row that is sent for another reason,
    such as a parent renamed, was changed long before. While `since` is None nothing counts.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now` is the source's clock."""
        self.since: str | None = None
        self.seconds: float | None = None
        self._now = now

    def proved(self, stamps: Iterable[str]) -> None:
        """Records with these stamps (`2024-05-01T10:11:12Z`) have been proved delivered."""
        since = self.since
        if since is None:
            return
        oldest = min((stamp for stamp in stamps if stamp >= since), default=None)
        if oldest is not None:
            seconds = round((self._now() - datetime.fromisoformat(oldest)).total_seconds(), 3)
            self.seconds = max(self.seconds or 0.0, seconds)
