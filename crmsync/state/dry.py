"""A state to rehearse on: reads what is there, keeps every change in memory, leaves no trace (law 13)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from crmsync.errors import StateConflict
from crmsync.state.store import Document, Store


class DryStore:
    """An overlay over another store that forgets everything at its end."""

    def __init__(self, real: Store) -> None:
        self._real = real
        self._documents: dict[str, bytes | None] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="crmsync-dry-")
        self.location = real.location

    @property
    def real(self) -> Store:
        """What is really there, to be read only."""
        return self._real

    def read(self, name: str) -> Document | None:
        if name not in self._documents:
            return self._real.read(name)
        data = self._documents[name]
        return None if data is None else Document(data, f"dry-{hash(data)}")

    def write(self, name: str, data: bytes, expected: str | None) -> str:
        present = self.read(name)
        if (present.version if present else None) != expected:
            raise StateConflict(f"{name} has been written by somebody else meanwhile")
        self._documents[name] = data
        return f"dry-{hash(data)}"

    def put(self, name: str, data: bytes) -> None:
        self._documents[name] = data

    def append(self, name: str, data: bytes) -> None:
        self._documents[name] = self.read_log(name) + data

    def read_log(self, name: str) -> bytes:
        if name in self._documents:
            return self._documents[name] or b""
        return self._real.read_log(name)

    def replace_log(self, name: str, data: bytes) -> None:
        self.put(name, data)

    def names(self, prefix: str) -> list[str]:
        """Only what the rehearsal itself has put there: parcels of real runs are none of its business."""
        inside = (name for name, data in self._documents.items() if data is not None)
        return sorted(name for name in inside if name.rpartition("/")[0] == prefix)

    def delete(self, name: str) -> None:
        self._documents[name] = None

    def local(self, name: str) -> Path:
        path = Path(self._folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def find(self, name: str) -> Path | None:
        path = Path(self._folder.name) / name
        return path if path.exists() else None
