"""One line per finished run, for `runs`, `status` and whoever asks what happened."""

from __future__ import annotations

from typing import Any

import orjson

from crmsync.state.store import Store

KEEP_LINES = 2000


class History:
    """The runs of one sync, oldest first."""

    def __init__(self, store: Store, sync: str) -> None:
        self._store = store
        self._name = f"{sync}/runs.jsonl"
        self._length = 0

    def add(self, run: dict[str, Any]) -> None:
        """Append one run's summary. A log that `runs` has found to be twice as long as it may be is cut."""
        self._store.append(self._name, orjson.dumps(run) + b"\n")
        if self._length >= 2 * KEEP_LINES:
            kept = self._store.read_log(self._name).splitlines(keepends=True)[-KEEP_LINES:]
            self._store.replace_log(self._name, b"".join(kept))

    def runs(self, newest: int | None = None) -> list[dict[str, Any]]:
        """Every readable line, or those among the newest so many."""
        found = []
        lines = self._store.read_log(self._name).splitlines()
        self._length = len(lines)
        for line in lines[-newest:] if newest else lines:
            try:
                found.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue
        return found
