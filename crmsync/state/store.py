"""Where state lives: small named documents with compare-and-swap, and logs that only grow."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crmsync.errors import CrmsyncError, StateConflict, StateError, TryAgain

PREVIOUS = ".previous"


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document and the version that a compare-and-swap expects."""

    data: bytes
    version: str


class Store(Protocol):
    """Documents and logs by name; names are relative, with `/` between their parts.

    Every call may raise StateError or TryAgain (a full disk, a store that does not answer).
    """

    location: str
    """Where this is, for people: a directory or `s3://bucket/prefix`."""

    def read(self, name: str) -> Document | None: ...

    def write(self, name: str, data: bytes, expected: str | None) -> str:
        """Replace the document durably if its version is still `expected` (None: there must be none yet).

        Gives the new version. Raises StateConflict when somebody else was first.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a document durably, whatever is there: for names that the holder of the lock alone writes."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Add whole lines to a log, durably. What a crash left of an unfinished line is cut off first."""
        ...

    def read_log(self, name: str) -> bytes:
        """The log's whole lines, empty where there is none: a line that a crash cut short never was durable."""
        ...

    def replace_log(self, name: str, data: bytes) -> None:
        """Put a shorter log in the place of the old one, atomically."""
        ...

    def names(self, prefix: str) -> list[str]:
        """The documents directly below a prefix, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove a document or log; none there is fine."""
        ...

    def local(self, name: str) -> Path:
        """A path on this machine that belongs to this state, for what has to be a file."""
        ...

    def find(self, name: str) -> Path | None:
        """The same path if there is a file already; nothing is made."""
        ...


class FileStore:
    """State in a directory: files 0600 in directories 0700, replaced atomically, fsynced."""

    def __init__(self, directory: str | Path) -> None:
        self._root = Path(directory)
        self.location = str(self._root)

    def read(self, name: str) -> Document | None:
        with self._explained(name):
            try:
                data = self._path(name).read_bytes()
            except FileNotFoundError:
                return None
        return Document(data, _version(data))

    def write(self, name: str, data: bytes, expected: str | None) -> str:
        path = self._path(name)
        with self._explained(name), self._guarded(path):
            present = self.read(name)
            if (present.version if present else None) != expected:
                raise StateConflict(f"{path} has been written by somebody else meanwhile")
            if present:
                _keep_previous(path)
            replace_file(path, data)
        return _version(data)

    def put(self, name: str, data: bytes) -> None:
        path = self._text_path(name)
        with self._explained(name):
            try:
                replace_file(path, data)
            except FileNotFoundError:
                self._directory(self._path(name).parent)
                replace_file(path, data)

    def append(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with self._explained(name):
            self._directory(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _cut_torn_line(descriptor, path)
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def read_log(self, name: str) -> bytes:
        document = self.read(name)
        return whole_lines(document.data) if document else b""

    def replace_log(self, name: str, data: bytes) -> None:
        self.put(name, data)

    def names(self, prefix: str) -> list[str]:
        folder = self._path(prefix)
        with self._explained(prefix):
            if not folder.is_dir():
                return []
            return sorted(f"{prefix}/{entry.name}" for entry in folder.iterdir() if _is_document(entry))

    def delete(self, name: str) -> None:
        with self._explained(name):
            for path in (self._text_path(name), self._text_path(name) + PREVIOUS):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def local(self, name: str) -> Path:
        path = self._path(name)
        with self._explained(name):
            self._directory(path.parent)
        return path

    def find(self, name: str) -> Path | None:
        path = self._path(name)
        return path if path.exists() else None

    def _path(self, name: str) -> Path:
        return self._root / name

    def _text_path(self, name: str) -> str:
        """The path as text, for names that come by the thousand: pathlib interns every part of each."""
        return f"{self.location}/{name}"

    def _directory(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        for step in reversed([step for step in missing if not step.exists()]):
            step.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def _guarded(self, path: Path) -> Iterator[None]:
        """Only one process at a time compares and swaps in a folder."""
        self._directory(path.parent)
        descriptor = os.open(path.parent / ".guard", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn what the operating system says into a sentence that names the file and the way out."""
        try:
            yield
        except OSError as error:
            raise explained(error, str(self._path(name))) from None


def explained(error: OSError, path: str) -> CrmsyncError:
    """The error to raise for a failed file operation. A full disk passes; a forbidden folder does not."""
    said = f"{path}: {error.strerror or type(error).__name__}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE):
        return TryAgain(
            f"the state cannot be written ({said})",
            hint="Free some room; nothing is lost, the next run goes on from the last checkpoint.",
        )
    return StateError(
        f"the state cannot be used ({said})",
        hint="Point CRMSYNC_STATE at a directory that this user owns, or run as the user who does.",
    )


def whole_lines(log: bytes) -> bytes:
    """A log up to and including its last line end."""
    return log[: log.rfind(b"\n") + 1]


def _cut_torn_line(descriptor: int, path: Path) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.ftruncate(descriptor, len(whole_lines(path.read_bytes())))


def _version(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _is_document(entry: Path) -> bool:
    hidden = entry.name.startswith(".")
    return entry.is_file() and not hidden and not entry.name.endswith(PREVIOUS)


def _previous(path: Path) -> Path:
    return path.with_name(path.name + PREVIOUS)


def _keep_previous(path: Path) -> None:
    _previous(path).unlink(missing_ok=True)
    try:
        os.link(path, _previous(path))
    except OSError:
        shutil.copyfile(path, _previous(path))


def replace_file(path: str | Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write beside, fsync, rename over, fsync the folder: a crash leaves the old file or the new one."""
    directory = os.path.dirname(path) or "."
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".new-")
    try:
        try:
            os.fchmod(descriptor, mode)
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
