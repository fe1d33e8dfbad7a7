"""Each law, broken by a small patch in a copy of the package, is missed by one named test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((Path(__file__).parent / "patches").glob("*.patch"))
LAWS = range(1, 14)


@dataclass(frozen=True)
class Mutation:
    """A patch: the law that it breaks, the test that catches it, and its hunks as (path, old text, new text)."""

    law: int
    caught_by: str
    hunks: list[tuple[str, str, str]]

    @classmethod
    def read(cls, path: Path) -> Mutation:
        head, _, diff = path.read_text().partition("\n--- a/")
        law = re.match(r"Law (\d+): .+\.\n", head)
        caught_by = re.search(r"^Caught by (\S.+)$", head, re.MULTILINE)
        assert law, path.name
        assert caught_by, path.name
        target, _, body = diff.partition("\n+++ b/")
        hunks = re.split(r"^@@.*@@.*\n", body.partition("\n")[2], flags=re.MULTILINE)[1:]
        return cls(int(law[1]), caught_by[1], [(target, *_sides(hunk)) for hunk in hunks])

    def apply(self, folder: Path) -> None:
        """Change the copy. Raises AssertionError where the code has moved on: the patch is to be made anew."""
        for target, old, new in self.hunks:
            file = folder / target
            text = file.read_text()
            assert text.count(old) == 1, f"{target} no longer holds, once,\n{old}"
            file.write_text(text.replace(old, new))


def _sides(hunk: str) -> tuple[str, str]:
    """What a hunk takes away and what it puts there, with the lines around."""
    lines = hunk.splitlines(keepends=True)
    return tuple("".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")  # type: ignore[return-value]  # two of them


MUTATIONS = {path.stem: Mutation.read(path) for path in PATCHES}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package, to be imported in its stead."""
    shutil.copytree(ROOT / "crmsync", tmp_path / "crmsync", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests against the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_law_has_its_mutation() -> None:
    assert {mutation.law for mutation in MUTATIONS.values()} == set(LAWS)


def test_without_a_mutation_the_tests_hold(copy: Path) -> None:
    imported = subprocess.run(
        [sys.executable, "-P", "-c", "import crmsync; print(crmsync.__file__)"],
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(imported.stdout.strip()).is_relative_to(copy)
    done = run(copy, *{mutation.caught_by for mutation in MUTATIONS.values()})
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_law_is_missed(copy: Path, name: str) -> None:
    mutation = MUTATIONS[name]
    mutation.apply(copy)
    done = run(copy, mutation.caught_by)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^(FAILED|ERROR) ", done.stdout, re.MULTILINE), done.stdout
