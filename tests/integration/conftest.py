"""Sandboxes to pull from and crmsyncs to pull with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .world import Crmsync, Install, Sandbox, StartSandbox, serving


@pytest.fixture
def start_sandbox(tmp_path: Path) -> Iterator[StartSandbox]:
    with ExitStack() as open_ones:

        def start(contacts: int = 300, *arguments: str) -> Sandbox:
            folder = tmp_path / f"sandbox-{contacts}-{'-'.join(arguments)}"
            return open_ones.enter_context(serving(folder, contacts, *arguments))

        yield start


@pytest.fixture
def install(tmp_path: Path) -> Install:
    homes = (tmp_path / f"home-{number}" for number in range(100))
    return lambda sandbox: Crmsync(next(homes), dict(sandbox.environment))


@pytest.fixture
def sandbox(start_sandbox: StartSandbox) -> Sandbox:
    """A sandbox of 300 contacts for one test, which may do with it what it likes."""
    return start_sandbox()


@pytest.fixture
def crmsync(sandbox: Sandbox, install: Install) -> Crmsync:
    """A crmsync that has never run, set up for `sandbox`."""
    return install(sandbox)


@pytest.fixture(scope="session")
def _nasty_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with serving(tmp_path_factory.mktemp("nasty") / "sandbox", 5137) as sandbox:
        yield sandbox


@pytest.fixture
def nasty(_nasty_org: Sandbox) -> Sandbox:
    """An org of 5,137 contacts, whose contacts the test must leave alone, and an empty workspace."""
    _nasty_org.fresh_cdp()
    return _nasty_org


@pytest.fixture
def nasty_crmsync(nasty: Sandbox, install: Install) -> Crmsync:
    """A crmsync that has never run, set up for `nasty`."""
    return install(nasty)
