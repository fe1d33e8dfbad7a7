"""Finding and reading the files a configuration comes from: crmsync.toml, `.env`, and files that hold one
secret."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path

from crmsync.errors import ConfigError


def config_file(named: str | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The toml file to read: `named`, else `$CRMSYNC_CONFIG`, else the first default that exists, else None.

    Raises ConfigError for a named file that is not there; a default that is not there is passed over.
    """
    for path, who in (
        (named, "--config"),
        (environ.get("CRMSYNC_CONFIG", "").strip(), "CRMSYNC_CONFIG (environment)"),
    ):
        if path:
            found = cwd / path
            if not isfile(found):
                raise ConfigError(
                    f"{who}: there is no file {found}", hint="Correct the path, or leave it out."
                )
            return found
    candidates = (
        cwd / "crmsync.toml",
        *_below(xdg(environ, "CONFIG", ".config"), "crmsync", "config.toml"),
        Path("/etc/crmsync/config.toml"),
    )
    return next((path for path in candidates if isfile(path)), None)


def read_toml(path: Path) -> dict[str, object]:
    """The file's tables. Raises ConfigError where it cannot be read or is no toml."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid toml: {error}") from None


def read_env(path: Path) -> dict[str, str]:
    """The variables of a `.env` file, `$` and all, empty where there is no such file. Raises ConfigError."""
    from dotenv import dotenv_values

    if not isfile(path):
        return {}
    try:
        read = dotenv_values(path, interpolate=False)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    return {variable: value for variable, value in read.items() if value is not None}


def read_secret(path: Path) -> str:
    """What a secret's file holds, less one line break at its end.

    Raises ValueError with the end of a sentence, which never repeats what the file holds.
    """
    try:
        held = path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"names {path}, which cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"names {path}, which is not UTF-8 text") from None
    held = held.removesuffix("\n").removesuffix("\r")
    if not held.strip():
        raise ValueError(f"names {path}, which is empty")
    return held


def default_state(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Where state goes unless told, and which variable says so; None where nothing says."""
    return _default_directory(environ, "STATE", ".local/state")


def default_cache(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Where local copies go unless told, and which variable says so; None where nothing says."""
    return _default_directory(environ, "CACHE", ".cache")


def xdg(environ: Mapping[str, str], what: str, below_home: str) -> Path | None:
    """The user's base directory of a kind. As the XDG rules have it, a relative path counts as unset."""
    named = environ.get(f"XDG_{what}_HOME", "")
    if named.startswith("/"):
        return Path(named)
    home = environ.get("HOME", "")
    return Path(home, below_home) if home.startswith("/") else None


def _default_directory(environ: Mapping[str, str], what: str, below_home: str) -> tuple[str, str] | None:
    """systemd's `$STATE_DIRECTORY` may list several, separated by colons: the first is ours."""
    given = environ.get(f"{what}_DIRECTORY", "").split(":")[0]
    if given.startswith("/"):
        return given, f"${what}_DIRECTORY"
    base = xdg(environ, what, below_home)
    if base is None:
        return None
    named = environ.get(f"XDG_{what}_HOME", "").startswith("/")
    return str(base / "crmsync"), f"$XDG_{what}_HOME" if named else "default"


def _below(base: Path | None, *parts: str) -> tuple[Path, ...]:
    return () if base is None else (base.joinpath(*parts),)
