"""Sandboxes to pull from and crmsyncs to pull with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .world import Crmsync, Sandbox, serving

StartSandbox = Callable[..., Sandbox]


@pytest.fixture
def start_sandbox(tmp_path: Path) -> Iterator[StartSandbox]:
    """Starts sandboxes that end with the test: `start_sandbox(contacts, *arguments)`."""
    with ExitStack() as open_ones:

        def start(contacts: int = 300, *arguments: str) -> Sandbox:
            folder = tmp_path / f"sandbox-{contacts}-{'-'.join(arguments)}"
            return open_ones.enter_context(serving(folder, contacts, *arguments))

        yield start


@pytest.fixture
def sandbox(start_sandbox: StartSandbox) -> Sandbox:
    """A sandbox of 300 contacts for one test, which may do with it what it likes."""
    return start_sandbox()


@pytest.fixture
def crmsync(sandbox: Sandbox, tmp_path: Path) -> Crmsync:
    """A crmsync that has never run, set up for `sandbox`."""
    return Crmsync(tmp_path / "home", dict(sandbox.environment))


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
def nasty_crmsync(nasty: Sandbox, tmp_path: Path) -> Crmsync:
    """A crmsync that has never run, set up for `nasty`."""
    return Crmsync(tmp_path / "home", dict(nasty.environment))
