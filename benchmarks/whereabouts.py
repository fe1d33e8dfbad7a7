"""Where crmsync's time goes: py-spy's samples of a full pull, each put down to the innermost function of ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_FRAME = re.compile(r"([^;]+) \(crmsync/([^;:]+):\d+\)")
_IMPORT = "_find_and_load (<frozen importlib._bootstrap>"
RATE = 200


def command(py_spy: Path, program: Sequence[str], samples: Path) -> list[str]:
    """The command that runs a program and writes its samples, waiting threads left out."""
    return [
        str(py_spy),
        "record",
        "--format",
        "raw",
        "--rate",
        str(RATE),
        "--output",
        str(samples),
        "--",
        *program,
    ]


def shares(samples: str) -> dict[str, float]:
    """The share of each function in the time that threads were at work, largest first."""
    counted: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, number = line.rpartition(" ")
        counted[_owner(stack)] += int(number)
    total = sum(counted.values()) or 1
    return {name: number / total for name, number in counted.most_common()}


def _owner(stack: str) -> str:
    if _IMPORT in stack:
        return "imports"
    frames = _FRAME.findall(stack)
    if not frames:
        return "Python itself"
    name, file = frames[-1]
    return f"{file.removesuffix('.py').replace('/', '.')}: {name.replace('.<locals>.', ' › ')}"
