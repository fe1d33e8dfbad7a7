"""The benchmark's one command, small: it must not rot. What it measures is not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


def test_the_quick_run_measures_every_case_and_writes_the_page_and_the_plot(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == {"a", "b", "c", "d", "p"}
    for programs in (results["a"]["programs"], results["b"]["job"], results["b"]["inline"]):
        assert all(run["lost"] == 0 for run in programs["crmsync"])
        ours, floor = programs["crmsync"][0], programs["floor"][0]
        assert floor["records"] == ours["records"] == ours["deliverable"] > 0
        assert floor["requests"]["page"] == ours["requests"]["page"]
        assert programs["guide"][0]["delivered"] > 0
    assert "held" in (tmp_path / "README.md").read_text()
    assert ElementTree.parse(tmp_path / "results.svg").getroot().tag.endswith("svg")


def test_a_quick_run_does_not_replace_the_results_that_are_kept() -> None:
    done = subprocess.run([sys.executable, str(RUN), "--quick"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--output" in done.stderr
