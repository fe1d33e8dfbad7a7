"""The rooms keep their doors: imports go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "crmsync"

FORBIDDEN = {
    "sources": ("crmsync.destinations", "crmsync.state", "crmsync.cli", "crmsync.pull", "crmsync.delivery"),
    "destinations": ("crmsync.sources", "crmsync.state", "crmsync.cli", "crmsync.pull", "crmsync.delivery"),
    "state": ("crmsync.sources.salesforce", "crmsync.destinations", "crmsync.cli", "crmsync.pull"),
    "delivery": (
        "crmsync.cli",
        "crmsync.pull",
        "crmsync.sources.salesforce",
        "crmsync.destinations.experiture",
    ),
    "health": ("crmsync.cli", "crmsync.pull", "crmsync.sources", "crmsync.destinations"),
    "config": ("crmsync.cli", "crmsync.pull", "crmsync.sources", "crmsync.destinations", "crmsync.state"),
    "setup": ("crmsync.cli", "crmsync.pull", "crmsync.sources", "crmsync.destinations", "crmsync.state"),
    "sandbox": (
        "crmsync.cli",
        "crmsync.pull",
        "crmsync.sources",
        "crmsync.destinations",
        "crmsync.state",
        "crmsync.mapping",
        "crmsync.normalize",
    ),
}
PURE = (
    "comparison",
    "mapping",
    "normalize",
    "regions",
    "ownership",
    "window",
    "parents",
    "tombstones",
    "fit",
    "setup/machine",
    "setup/schedule",
    "setup/texts",
    "health/run",
    "health/deviations",
    "health/status",
    "health/timeline",
    "health/markup",
    "health/scale",
    "health/charts",
    "health/figures",
    "health/page",
)
TOUCHES_THE_WORLD = {"os", "socket", "requests", "sqlite3", "pathlib", "subprocess", "time", "logging"}


def imported_by(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("room", "doors"), FORBIDDEN.items())
def test_no_room_imports_what_is_above_or_beside_it(room: str, doors: tuple[str, ...]) -> None:
    trespassers = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for name in imported_by(path)
        if any(name == door or name.startswith(f"{door}.") for door in doors)
    ]
    assert trespassers == []


@pytest.mark.parametrize("module", PURE)
def test_the_pure_core_does_no_io(module: str) -> None:
    path = PACKAGE.joinpath(*module.split("/")).with_suffix(".py")
    roots = {name.partition(".")[0] for name in imported_by(path)}
    assert roots & TOUCHES_THE_WORLD == set()


def test_the_run_knows_protocols_only() -> None:
    for module in ("pull", "journal", "deletions"):
        names = imported_by(PACKAGE / f"{module}.py")
        assert not {n for n in names if ".salesforce" in n or ".experiture" in n or n == "requests"}, module
