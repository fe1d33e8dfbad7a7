"""One line per run, and no more of them than anybody will read."""

from __future__ import annotations

from pathlib import Path

from crmsync.state.history import KEEP_LINES, History
from crmsync.state.store import FileStore


def test_runs_come_back_in_their_order_and_the_newest_of_them_alone(tmp_path: Path) -> None:
    history = History(FileStore(tmp_path), "contacts")
    for number in range(5):
        history.add({"n": number})
    assert [run["n"] for run in history.runs()] == [0, 1, 2, 3, 4]
    assert [run["n"] for run in history.runs(2)] == [3, 4]


def test_a_log_twice_as_long_as_is_kept_is_cut_to_its_newest_lines(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.append("contacts/runs.jsonl", b"".join(b'{"n": %d}\n' % n for n in range(2 * KEEP_LINES - 1)))
    for number in (2 * KEEP_LINES - 1, 2 * KEEP_LINES):
        history = History(store, "contacts")
        history.runs(10)
        history.add({"n": number})
    kept = [run["n"] for run in history.runs()]
    assert kept == list(range(KEEP_LINES + 1, 2 * KEEP_LINES + 1))
