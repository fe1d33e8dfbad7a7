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

    def add(self, run: dict[str, Any], lines: int) -> None:
        """Append one run's summary to a log of so many lines, and cut it where it has grown to twice its length."""
        self._store.append(self._name, orjson.dumps(run) + b"\n")
        if lines >= 2 * KEEP_LINES:
            kept = self._store.read_log(self._name).splitlines(keepends=True)[-KEEP_LINES:]
            self._store.replace_log(self._name, b"".join(kept))

    def runs(self) -> list[dict[str, Any]]:
        """Every readable line."""
        found = []
        for line in self._store.read_log(self._name).splitlines():
            try:
                found.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue
        return found
