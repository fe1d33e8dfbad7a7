"""docs/reliability.md says what is tried, neither more nor less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import test_bulk_faults, test_deletes, test_experiture_faults, test_parents, test_salesforce_faults
from .registry import Faults

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
SECTIONS = {
    "Salesforce": {
        "test_salesforce_faults.py": test_salesforce_faults.FAULTS,
        "test_bulk_faults.py": test_bulk_faults.FAULTS,
        "test_deletes.py": test_deletes.FAULTS,
        "test_parents.py": test_parents.FAULTS,
    },
    "Experiture": {"test_experiture_faults.py": test_experiture_faults.FAULTS},
}
CHECKLIST = range(1, 14)
"""The groups of the Salesforce contract's checklist."""


def table(files: dict[str, Faults]) -> list[str]:
    """The rows that the page should have, in the order of the ids."""
    rows = [
        (_order(name), f"| `{name}` | {fault.promise} | `{file}` |")
        for file, faults in files.items()
        for name, fault in faults.known.items()
    ]
    return [row for _, row in sorted(rows)]


def _order(name: str) -> tuple[int, str]:
    number, _, rest = name.partition("-")
    return (int(number), rest) if number.isdigit() and int(number) in CHECKLIST else (0, name)


@pytest.mark.parametrize("service", SECTIONS)
def test_the_page_lists_every_fault_that_is_tried(service: str) -> None:
    section = PAGE.partition(f"\n### {service}\n")[2].partition("\n#")[0]
    listed = [line for line in section.splitlines() if line.startswith("| `")]
    assert listed == table(SECTIONS[service])


def test_every_group_of_the_checklist_is_tried() -> None:
    tried = {_order(name)[0] for faults in SECTIONS["Salesforce"].values() for name in faults.known}
    assert tried == set(CHECKLIST)


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+)(?:\[([^\]]+)\])?)?`", PAGE)
    assert len(named) > 20
    known = {name for files in SECTIONS.values() for faults in files.values() for name in faults.known}
    for path, function, parameter in named:
        text = (ROOT / path).read_text()
        assert not function or f"def {function}(" in text, f"{path}::{function}"
        assert function != "test_fault" or parameter in known, f"{path}::{function}[{parameter}]"
