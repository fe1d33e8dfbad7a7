"""For every test: what this machine has configured for crmsync is out of the way."""

from __future__ import annotations

import os

import pytest

OWN = ("CRMSYNC_", "SALESFORCE_", "EXPERITURE_", "HUBSPOT_")


@pytest.fixture(autouse=True)
def _without_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(OWN)]:
        monkeypatch.delenv(name)
