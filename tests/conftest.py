"""For every test: what this machine has configured for crmsync is out of the way.

With CRMSYNC_NO_SKIPS=1 a test that would be skipped fails: nothing goes untested where everything is there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import TypeVar

import hypothesis
import pytest

hypothesis.settings.register_profile("crmsync", deadline=None)
hypothesis.settings.load_profile("crmsync")

# What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

OWN = ("CRMSYNC_", "SALESFORCE_", "EXPERITURE_", "HUBSPOT_")
no_skips = os.environ.get("CRMSYNC_NO_SKIPS", "") not in ("", "0")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _not_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _not_skipped((yield))


def _not_skipped(report: Report) -> Report:
    if no_skips and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} (CRMSYNC_NO_SKIPS is set)"
    return report


@pytest.fixture(autouse=True)
def _without_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(OWN)]:
        monkeypatch.delenv(name)
