"""Sandboxes to pull from and crmsyncs to pull with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest

from . import own_machine
from .world import Crmsync, Install, Sandbox, StartSandbox, serving


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need a machine of their own are left out where this one cannot give it."""
    asking = [item for item in items if item.get_closest_marker("own_machine")]
    if asking and not own_machine.possible():
        config.hook.pytest_deselected(items=asking)
        items[:] = [item for item in items if item not in asking]


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

        def make(model: Sandbox | Crmsync) -> Crmsync:
            home = tmp_path / mkdtemp(prefix="home-", dir=tmp_path)
            crmsync = (
                model.twin(home) if isinstance(model, Crmsync) else Crmsync(home, dict(model.environment))
            )
            installed.callback(crmsync.kill_all)
            return crmsync

        yield make


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with serving(tmp_path_factory.mktemp("shared") / "sandbox") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """A sandbox of 300 contacts and an empty workspace.

    Tests share it, one after the other: they may change a contact's title, but add, remove or spoil none.
    Those that must start one of their own by `start_sandbox`.
    """
    shared_sandbox.freshen()
    return shared_sandbox


@pytest.fixture
def crmsync(sandbox: Sandbox, install: Install) -> Crmsync:
    """A crmsync that has never run, set up for `sandbox`."""
    return install(sandbox)


@pytest.fixture(scope="session")
def nasty_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with serving(tmp_path_factory.mktemp("nasty") / "sandbox", 5137) as sandbox:
        yield sandbox


@pytest.fixture
def nasty(nasty_org: Sandbox) -> Sandbox:
    """An org of 5,137 contacts, which the tests share and leave alone, and an empty workspace."""
    nasty_org.freshen()
    return nasty_org


@pytest.fixture
def nasty_crmsync(nasty: Sandbox, install: Install) -> Crmsync:
    """A crmsync that has never run, set up for `nasty`."""
    return install(nasty)
