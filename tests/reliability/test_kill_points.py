"""A sample of the points at which a pull may be killed; `kill_points.py` tries as many as asked for."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from .kill_points import LEASES_LOST_AT_MOST, Ended, Killing, kill_all, spread


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


LOST = (
    "the lease of contacts is lost (it ran out before it could be renewed): this run writes and sends nothing more",
    "the lease of contacts could not be renewed in time: nothing is sent with less than 140 s of it left",
)


def ending_with(*ends: tuple[int, str]) -> Killing:
    """One whose pulls end so, one after the other."""
    killing = object.__new__(Killing)
    left = iter(Ended(code, "", "", said) for code, said in ends)
    killing._remote = SimpleNamespace(pull=lambda *_arguments: next(left))
    killing._leases_lost = 0
    return killing


@pytest.mark.parametrize("said", LOST)
def test_a_pull_that_lost_its_lease_is_made_again_and_counted(said: str) -> None:
    killing = ending_with((75, said), (75, said), (0, ""))
    assert killing._must_end().code == 0
    assert killing._leases_lost == 2


@pytest.mark.parametrize(
    "ends",
    [[(75, "Salesforce gave no answer")], [(1, LOST[0])], [(75, LOST[0])] * (LEASES_LOST_AT_MOST + 1)],
    ids=["another reason", "another code", "again and again"],
)
def test_any_other_end_of_a_pull_that_nobody_killed_is_wrong(ends: list[tuple[int, str]]) -> None:
    with pytest.raises(AssertionError, match="a pull that nobody killed"):
        ending_with(*ends)._must_end()
