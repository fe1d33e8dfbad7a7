"""Worlds to break things in, at once: pauses that would take seconds take milliseconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partialmethod
from pathlib import Path

import pytest

from crmsync.delivery import courier
from crmsync.http import Retry

from .world import World, serving

MakeWorld = Callable[..., World]
"""Makes a world that ends with the test: `make_world(contacts, marker=…, login=…)`."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "__init__", partialmethod(Retry.__init__, first=0.001, longest=0.004))
    monkeypatch.setattr(courier, "FIRST_POLL", 0.004)
    monkeypatch.setattr(courier, "LONGEST_POLL", 0.02)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    with ExitStack() as open_ones:

        def make(contacts: int = 60, marker: str = "", login: str = "client_credentials") -> World:
            return open_ones.enter_context(serving(tmp_path / "home", contacts, marker, login))

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """60 contacts that nobody has delivered yet."""
    return make_world()


@pytest.fixture
def settled(world: World) -> World:
    """60 contacts, delivered; the request log is empty."""
    world.pull("--full")
    world.forget_requests()
    return world
