"""Sandboxes to pull from and crmsyncs to pull with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

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
def install(tmp_path: Path) -> Iterator[Install]:
    with ExitStack() as installed:

        def make(sandbox: Sandbox) -> Crmsync:
            crmsync = Crmsync(Path(mkdtemp(prefix="home-", dir=tmp_path)), dict(sandbox.environment))
            installed.callback(crmsync.kill_all)
            return crmsync

        yield make


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with serving(tmp_path_factory.mktemp("shared") / "sandbox") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """A sandbox of 300 contacts and an empty workspace.

    Tests share it, one after the other: they may change a contact's title, but add, remove or spoil none.
    Those that must start one of their own by `start_sandbox`.
    """
    _sandbox.freshen()
    return _sandbox


@pytest.fixture
def crmsync(sandbox: Sandbox, install: Install) -> Crmsync:
    """A crmsync that has never run, set up for `sandbox`."""
    return install(sandbox)


@pytest.fixture(scope="session")
def _nasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with serving(tmp_path_factory.mktemp("nasty") / "sandbox", 5137) as sandbox:
        yield sandbox


@pytest.fixture
def nasty(_nasty: Sandbox) -> Sandbox:
    """An org of 5,137 contacts, which the tests share and leave alone, and an empty workspace."""
    _nasty.freshen()
    return _nasty


@pytest.fixture
def nasty_crmsync(nasty: Sandbox, install: Install) -> Crmsync:
    """A crmsync that has never run, set up for `nasty`."""
    return install(nasty)
