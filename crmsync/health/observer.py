"""Whoever is told how a run goes."""

from __future__ import annotations

from collections.abc import Sequence

from crmsync.health.ending import Ending


class Observer:
    """Told of a run's beginning, of each sync's end and of the run's own. It may raise: the run goes on."""

    name = ""
    """The setting that asked for it, which is what a warning names."""

    def begin(self) -> None:
        """Before the first sync."""

    def synced(self, ending: Ending) -> None:
        """After each sync that ran; one that found its lock held did not."""

    def end(self, code: int, endings: Sequence[Ending], said: str) -> None:
        """At the end, with the exit code of the run and, in words, what became of it."""
