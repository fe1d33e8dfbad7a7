"""Refresh tokens that a service has rotated, kept per connection outside any sync's state."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator

import orjson

from crmsync.errors import StateError
from crmsync.state.store import Store, explained


class CredentialVault:
    """The refresh token of one connection: a login host and a client.

    It remembers which configured token the rotated one descends from: once the operator configures another,
    the configured one counts again.
    """

    def __init__(self, store: Store, connection: str, configured: str) -> None:
        self._store = store
        self._name = f"credentials/{_short(connection)}.json"
        self._configured = configured

    def load(self) -> str | None:
        document = self._store.read(self._name)
        if document is None:
            return self._configured
        try:
            kept = orjson.loads(document.data)
            return str(kept["token"]) if kept["seed"] == _short(self._configured) else self._configured
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise StateError(
                f"{self._store.location}/{self._name} cannot be read",
                hint="Remove it and configure a fresh refresh token.",
            ) from None

    def save(self, refresh_token: str) -> None:
        present = self._store.read(self._name)
        data = orjson.dumps({"seed": _short(self._configured), "token": refresh_token})
        self._store.write(self._name, data, present.version if present else None)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold this machine's lock on the connection."""
        path = self._store.local(f"{self._name}.lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise explained(error, str(path)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
