"""Collecting the settings from where they are given. Setting by setting, a later layer wins over an earlier:

    defaults < crmsync.toml < .env beside it < environment < $CREDENTIALS_DIRECTORY < flags

An empty value counts as not given, in every layer. Nothing is parsed here: each value keeps how it was
written, who gave it, and the folder that a relative path in it starts from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os.path import isfile
from pathlib import Path

from crmsync.config import files
from crmsync.config.settings import BY_VARIABLE, SECRETS, SETTINGS, VARIABLES, Setting
from crmsync.text import did_you_mean

COMMAND_LINE = "command line"
DEFAULT = "default"

_KUBERNETES = re.compile(r".*_(SERVICE_HOST|PORT(_.*)?)")
_TABLES = ("salesforce", "experiture", "hubspot")


@dataclass(frozen=True, slots=True)
class Given:
    """One setting as it was given: `written` unparsed, `where` for messages, `origin` for `config show`."""

    written: object = field(repr=False)
    where: str
    origin: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Layer:
    """One place where settings are given, by variable. `labels` says where, if not `VARIABLE (origin)`."""

    origin: str
    folder: Path
    values: Mapping[str, object] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)

    def given(self, variable: str) -> bool:
        value = self.values.get(variable)
        return not (value is None or (isinstance(value, str) and not value.strip()))

    def where(self, variable: str) -> str:
        return self.labels.get(variable, f"{variable} ({self.origin})")


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything that was given. `syncs` and `ownership` are the toml file's own tables, unchecked.

    `name` is how messages call the toml file: by its name where it is at hand, else by its path.
    """

    path: Path | None
    name: str
    given: Mapping[str, Given]
    syncs: object = None
    ownership: object = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def collect(
    config_path: str | None, flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path
) -> Collected:
    """Read every layer. Raises ConfigError where a file cannot be read; lesser problems are collected."""
    path = files.config_file(config_path, environ, cwd)
    folder = path.parent if path else cwd
    tables = files.read_toml(path) if path else {}
    problems: list[str] = []
    settings = {key: value for key, value in tables.items() if key not in ("sync", "ownership")}
    name = path.name if path and path.parent == cwd else str(path or "crmsync.toml")
    toml = _toml_layer(settings, name, folder, problems)
    env = Layer(".env", folder, files.read_env(folder / ".env"))
    environment = Layer("environment", cwd, environ)
    ranked = [
        Layer(COMMAND_LINE, cwd, {BY_VARIABLE[name].variable: value for name, value in flags.items()}),
        _credentials(environ, cwd, problems),
        environment,
        env,
        toml,
    ]
    given: dict[str, Given] = {}
    for setting in SETTINGS:
        found = _pick(setting, ranked, problems) or _default(setting, environ, cwd)
        if found and setting.in_files:
            given[setting.variable] = found
    if path:
        origin = (
            COMMAND_LINE
            if config_path
            else environment.origin
            if environment.given("CRMSYNC_CONFIG")
            else DEFAULT
        )
        given["CRMSYNC_CONFIG"] = Given(path, "--config", origin, cwd)
    return Collected(
        path,
        name,
        given,
        tables.get("sync"),
        tables.get("ownership"),
        tuple(problems),
        (*_unknown(environment), *_unknown(env), *_out_of_place(env)),
    )


def _pick(setting: Setting, ranked: Iterable[Layer], problems: list[str]) -> Given | None:
    """The setting from the first layer that gives it, itself or as the path of a file that holds it."""
    for layer in ranked:
        direct, by_file = layer.given(setting.variable), setting.secret and layer.given(setting.file_variable)
        if direct and by_file:
            problems.append(
                f"{layer.where(setting.variable)}: is given beside {setting.file_variable}; keep one"
            )
        if direct:
            where = layer.where(setting.variable)
            return Given(layer.values[setting.variable], where, layer.origin, layer.folder)
        if by_file:
            return _from_file(setting, layer, problems)
    return None


def _from_file(setting: Setting, layer: Layer, problems: list[str]) -> Given:
    """The secret from the file a layer names; a file that cannot be read gives a secret of None, and a
    problem."""
    where = layer.where(setting.file_variable)
    secret = None
    try:
        secret = files.read_secret(layer.folder / str(layer.values[setting.file_variable]).strip())
    except ValueError as error:
        problems.append(f"{where}: {error}")
    return Given(secret, where, f"{layer.origin}, {setting.file_variable}", layer.folder)


def _default(setting: Setting, environ: Mapping[str, str], cwd: Path) -> Given | None:
    where = f"{setting.variable} ({DEFAULT})"
    computed = {"CRMSYNC_STATE": files.default_state, "CRMSYNC_CACHE": files.default_cache}.get(
        setting.variable
    )
    if computed is not None:
        found = computed(environ)
        return found and Given(found[0], where, found[1], cwd)
    return None if setting.default is None else Given(setting.default, where, DEFAULT, cwd)


def _toml_layer(tables: Mapping[str, object], name: str, folder: Path, problems: list[str]) -> Layer:
    """The file's settings by variable. Unknown keys, and secrets in plain sight, are problems."""
    paths = {setting.toml_path: setting for setting in SETTINGS if setting.in_files}
    file_paths = {f"{setting.toml_path}_file": setting for setting in SECRETS}
    known = [path for path, setting in paths.items() if not setting.secret] + list(file_paths)
    values: dict[str, object] = {}
    labels: dict[str, str] = {}
    for path, value in _flat(tables):
        where = f"{name}: {path}"
        if path in _TABLES:
            problems.append(f"{where}: must be a table, [{path}]")
        elif path in file_paths:
            variable = file_paths[path].file_variable
            values[variable], labels[variable] = value, where
        elif path not in paths:
            near = did_you_mean(path, [*known, "sync", "ownership"])
            problems.append(f"{where}: is not a setting{near}")
        elif paths[path].secret:
            problems.append(
                f"{where} is a secret, and does not belong in this file; set {paths[path].variable} in the "
                f"environment or in .env, or name its file with {path}_file"
            )
        else:
            variable = paths[path].variable
            values[variable], labels[variable] = value, where
    return Layer(name, folder, values, labels)


def _flat(tables: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in tables.items():
        if key in _TABLES and isinstance(value, dict):
            yield from ((f"{key}.{inner}", held) for inner, held in value.items())
        else:
            yield key, value


def _credentials(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> Layer:
    """The secrets that systemd hands over: files named like the variable, in either case."""
    origin = "$CREDENTIALS_DIRECTORY"
    directory = environ.get("CREDENTIALS_DIRECTORY", "").strip()
    values: dict[str, object] = {}
    for setting in SECRETS if directory else ():
        names = (setting.variable, setting.variable.lower())
        path = next((cwd / directory / name for name in names if isfile(cwd / directory / name)), None)
        if path is not None:
            try:
                values[setting.variable] = files.read_secret(path)
            except ValueError as error:
                problems.append(f"{setting.variable} ({origin}): {error}")
    return Layer(origin, cwd, values)


def _unknown(layer: Layer) -> Iterator[str]:
    """Warnings for variables that look like settings and are none; those Kubernetes makes of a Service are
    not meant."""
    for variable in sorted(layer.values):
        if (
            variable.startswith("CRMSYNC_")
            and variable not in VARIABLES
            and not _KUBERNETES.fullmatch(variable)
        ):
            near = did_you_mean(variable, [name for name in VARIABLES if name.startswith("CRMSYNC_")])
            yield f"{layer.where(variable)}: is not a setting and has no effect{near}"


def _out_of_place(layer: Layer) -> Iterator[str]:
    """Warnings for settings that come too late in a file, because they say which files are read."""
    for setting in SETTINGS:
        if not setting.in_files and layer.given(setting.variable):
            yield f"{layer.where(setting.variable)}: has no effect here; set it in the environment"
