"""A sample of the points at which a pull may be killed; `kill_points.py` tries as many as asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .kill_points import kill_all, spread


@pytest.fixture(autouse=True)
def _importable_by_the_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that are killed find the same crmsync as this one."""
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))


@pytest.mark.parametrize(
    ("back_end", "points", "api"), [("file", 20, "rest"), ("file", 12, "bulk"), ("s3", 8, "rest")]
)
def test_whatever_step_a_pull_is_killed_before_the_next_one_mends_it(
    back_end: str, points: int, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    seen = kill_all(spread(points), back_end, workers=2, api=api)
    assert not seen.wrong, "\n".join(seen.wrong)
    assert seen.died > points // 2, seen.told()
