"""Putting new files into a folder: all of them or none, and nothing over an old one unless told to."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crmsync.config.files import read_env
from crmsync.errors import ConfigError, CrmsyncError


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be: its name in the folder, what it holds, and whether that is secret."""

    name: str
    text: str = field(repr=False)
    secret: bool = False


def differing(folder: Path, new: list[NewFile]) -> list[NewFile]:
    """The files that are there already and hold something else. Raises ConfigError for one not readable."""
    found = []
    for file in new:
        path = folder / file.name
        try:
            if path.is_symlink() or (path.exists() and path.read_bytes() != file.text.encode()):
                found.append(file)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    return found


def difference(folder: Path, file: NewFile) -> str:
    """What would change in a file, line by line; of secrets only which."""
    path = folder / file.name
    if file.secret:
        return f"{path}: {_changed_names(read_env(path), _as_env(file))}"
    old = path.read_text("utf-8", "replace").splitlines()
    lines = difflib.unified_diff(old, file.text.splitlines(), str(path), f"{path} (new)", lineterm="", n=1)
    return "\n".join(lines)


def place(
    folder: Path, new: list[NewFile], *, try_out: Callable[[Path], object] = lambda _: None
) -> list[Path]:
    """Write the files: first beside their places, where `try_out` sees them and may raise, then into them.
    Returns those that are new or different.

    What is replaced is kept under its name with `.old`. On any error, an interruption included, the folder
    is as it was. Secret files are 0600 from their first byte on. Raises ConfigError where the folder cannot
    be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".crmsync-init-", dir=folder))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written to ({error.strerror})") from None
    try:
        for file in new:
            _write(stage / file.name, file)
        try_out(stage)
        changed = {file.name for file in differing(folder, new)}
        names = [file.name for file in new if file.name in changed or not (folder / file.name).exists()]
        return _swap(folder, stage, names)
    except OSError as error:
        raise CrmsyncError(
            f"{folder}: cannot be written to ({error.strerror}); nothing was changed"
        ) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write(path: Path, file: NewFile) -> None:
    mode = 0o600 if file.secret else 0o644
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as opened:
        opened.write(file.text)
        opened.flush()
        os.fsync(opened.fileno())


def _swap(folder: Path, stage: Path, names: list[str]) -> list[Path]:
    """Every staged file into its place; back again if one of them cannot go.

    What is replaced is `*.old` before anything new takes its place.
    """
    before = stage / "before"
    before.mkdir()
    replaced = [name for name in names if os.path.lexists(folder / name)]
    for name in replaced:
        _require_replaceable(folder / _old(name))
        _twin(folder / name, before / name)
        _twin(folder / name, stage / _old(name))
    moved = [_old(name) for name in replaced] + names
    absent = {name for name in moved if not os.path.lexists(folder / name)}
    reached: list[str] = []
    try:
        for name in moved:
            reached.append(name)
            if name not in absent and not os.path.lexists(before / name):
                os.replace(folder / name, before / name)
            os.replace(stage / name, folder / name)
    except BaseException as error:
        stuck = _put_back(folder, before, reached, absent)
        if stuck:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CrmsyncError(
                f"{folder}: cannot be written to ({reason}), and {', '.join(stuck)} could not be put back",
                hint="What a file held before is in the one of its name with .old.",
            ) from None
        raise
    return [folder / name for name in names]


def _put_back(folder: Path, before: Path, reached: list[str], absent: set[str]) -> list[str]:
    """Undo, the last first. Gives what could not be put back; of such a file its `.old` stays."""
    stuck: list[str] = []
    for name in reversed(reached):
        if any(name == _old(other) for other in stuck):
            continue
        try:
            if name in absent:
                (folder / name).unlink(missing_ok=True)
            elif os.path.lexists(before / name):
                os.replace(before / name, folder / name)
        except OSError:
            stuck.append(name)
    return stuck


def _old(name: str) -> str:
    return f"{name}.old"


def _require_replaceable(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        raise ConfigError(
            f"{path} is a directory, where a replaced file is to be kept; nothing was changed",
            hint="Remove it, or give it another name.",
        )


def _twin(path: Path, twin: Path) -> None:
    try:
        os.link(path, twin, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, twin, follow_symlinks=False)


def _as_env(file: NewFile) -> Mapping[str, str | None]:
    from io import StringIO

    from dotenv import dotenv_values

    return dotenv_values(stream=StringIO(file.text), interpolate=False)


def _changed_names(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> str:
    told = {
        "new": [name for name in new if name not in old],
        "different": [name for name in new if name in old and new[name] != old[name]],
        "gone": [name for name in old if name not in new],
    }
    return "; ".join(_listed(told)) or "the same secrets, written differently"


def _listed(told: Mapping[str, list[str]]) -> Iterator[str]:
    for what, names in told.items():
        if names:
            yield f"{what}: {', '.join(names)}"
