"""The ledger where the state is not on this machine: fetched when the local copy is another's, kept at close.

Under S3 the ledger that a run works on is a local file; what was proved with it is uploaded under the
generation of the ledger that the state names. Losing one costs re-sends, never correctness.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from crmsync.errors import CrmsyncError, StateError
from crmsync.state.dry import DryStore
from crmsync.state.ledger import Ledger
from crmsync.state.store import Store

log = logging.getLogger(__name__)

_BESIDE = ("", "-wal", "-shm", "-journal")


@runtime_checkable
class CarriesFiles(Protocol):
    """A store that is elsewhere: whole files have to be brought there and back."""

    def upload(self, name: str, path: Path) -> None: ...

    def download(self, name: str, path: Path) -> bool: ...


def fetch(store: Store, sync: str, generation: str, path: Path) -> None:
    """Put the ledger that a state of this generation trusts at `path`, if it can be had.

    It may be there already, or on this machine from before a takeover, or in the store. Call it with the lock
    held and before the ledger is opened. Raises what every call of the store may raise.
    """
    if isinstance(store, DryStore):
        _borrow(store.real, sync, generation, path)
        return
    if not isinstance(store, CarriesFiles) or _is_trusted(path, generation):
        return
    fresh = path.with_name(f"{path.name}.fetched")
    former = [other for other in path.parent.iterdir() if other.name.isdigit() and other != path]
    ways: list[Callable[[Path], bool]] = [partial(_copy, other) for other in former]
    ways.append(partial(_download, store, f"{sync}/ledger/{generation}"))
    for obtain in ways:
        _remove(fresh)
        if obtain(fresh) and _is_trusted(fresh, generation):
            _remove(path)
            fresh.replace(path)
            break
    for other in (fresh, *former):
        _remove(other)


def upload(store: Store, sync: str, ledger: Ledger) -> None:
    """Keep the ledger, once for each of its generations, and drop those that no state can name any more.

    Call it when nothing more is going to be proved, before the ledger is closed. A failure is only logged.
    """
    if not isinstance(store, CarriesFiles) or ledger.is_empty():
        return
    folder = f"{sync}/ledger"
    try:
        kept = store.names(folder)
        name = f"{folder}/{ledger.generation}"
        if name in kept:
            return
        with _packed(store.local(f"{sync}/ledger.sqlite")) as packed:
            store.upload(name, packed)
        for other in kept:
            if not ledger.trusted_by(other.rpartition("/")[2]):
                store.delete(other)
    except (CrmsyncError, OSError, sqlite3.DatabaseError) as error:
        log.warning("%s: the ledger was not uploaded (%s)", sync, getattr(error, "message", error))


def duplicate(source: Path, target: Path) -> None:
    """Put a copy of a ledger at `target`, where there is one to be copied."""
    _remove(target)
    if source.exists():
        _copy(source, target)


def _borrow(real: Store, sync: str, generation: str, path: Path) -> None:
    """A copy of the ledger for a rehearsal, which must not touch the real one."""
    present = real.find(f"{sync}/ledger.sqlite")
    if present and _copy(present, path) and _is_trusted(path, generation):
        return
    _remove(path)
    if isinstance(real, CarriesFiles):
        _download(real, f"{sync}/ledger/{generation}", path)


def _is_trusted(path: Path, generation: str) -> bool:
    if not path.exists():
        return False
    try:
        with contextlib.closing(Ledger(path)) as ledger:
            return ledger.trusted_by(generation)
    except StateError:
        return False


def _copy(source: Path, target: Path) -> bool:
    """A compact copy of what is committed in a database, even while somebody else has it open.

    Where nobody has, it is opened as immutable, so that nothing is left beside it.
    """
    in_use = source.with_name(f"{source.name}-wal").exists()
    uri = f"{source.absolute().as_uri()}?mode=ro{'' if in_use else '&immutable=1'}"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.DatabaseError:
        return False
    return True


@contextlib.contextmanager
def _packed(path: Path) -> Iterator[Path]:
    """A compressed copy of a ledger, beside it, for as long as the block lasts."""
    copy = path.with_name(f"{path.name}.copy")
    packed = path.with_name(f"{path.name}.packed")
    try:
        _remove(copy)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
        with copy.open("rb") as plain, gzip.open(packed, "wb", compresslevel=1) as out:
            shutil.copyfileobj(plain, out, 1 << 20)
        yield packed
    finally:
        _remove(copy)
        _remove(packed)


def _download(store: CarriesFiles, name: str, target: Path) -> bool:
    packed = target.with_name(f"{target.name}.packed")
    try:
        if not store.download(name, packed):
            return False
        with gzip.open(packed) as plain, target.open("wb") as out:
            shutil.copyfileobj(plain, out, 1 << 20)
    except (EOFError, gzip.BadGzipFile):
        return False
    finally:
        _remove(packed)
    return True


def _remove(path: Path) -> None:
    for beside in _BESIDE:
        path.with_name(path.name + beside).unlink(missing_ok=True)
