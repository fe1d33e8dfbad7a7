"""The answers that settings files are made of: what is known already, what is wrong with one, what is kept.

Answers are settings by variable, `…_FILE` ones included, as an operator would write them. What they must be
is not decided here: they are loaded as if they were the environment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from crmsync.config import Config, load
from crmsync.config import values as shapes
from crmsync.config.files import read_env, read_toml
from crmsync.config.logins import EXPERITURE, SALESFORCE, Service, Way, choose
from crmsync.config.settings import BY_VARIABLE, SETTINGS, VARIABLES
from crmsync.errors import ConfigError
from crmsync.text import did_you_mean

SERVICES = (SALESFORCE, EXPERITURE)
"""The services of the sync that stands without any file."""

Answers = dict[str, str]
_FILE = "_FILE"


def known(toml: Path, environ: Mapping[str, str], given: Iterable[str]) -> Answers:
    """What an earlier crmsync.toml and the `.env` beside it say, over it the environment, over it `given`,
    each `VARIABLE=VALUE`.

    Raises ConfigError for a file that cannot be read, and for what is given and is no setting.
    """
    answers: Answers = {}
    for layer in (_from_toml(toml), read_env(toml.with_name(".env")), environ, _pairs(given)):
        for variable in VARIABLES:
            value = layer.get(variable, "")
            if value.strip() and variable != "CRMSYNC_CONFIG":
                answers.pop(_twin(variable), None)
                answers[variable] = value
    return answers


def trial(answers: Mapping[str, str], folder: Path, require: Collection[str] = ()) -> Config:
    """The configuration that the answers make, relative paths from `folder`. Raises ConfigError."""
    with TemporaryDirectory() as nowhere:
        empty = Path(nowhere, "crmsync.toml")
        empty.touch()
        return load(config_path=str(empty), environ=answers, cwd=folder, require=require)


def objection(variable: str, answers: Mapping[str, str], ways: Iterable[Way], folder: Path) -> str | None:
    """What is wrong with this one answer beside the others, as the end of a sentence; None if nothing is.

    What the `ways` to log in still lack is taken as given.
    """
    lacking = {name: "x" for way in ways for name in way.missing(_settled(answers))}
    try:
        trial(lacking | dict(answers), folder)
    except ConfigError as error:
        for problem in error.problems:
            where, _, reason = problem.partition(": ")
            if where.split(" ")[0] == variable:
                return reason
    return None


def way_of(service: Service, answers: Mapping[str, str]) -> Way:
    """The way to log in that the answers make up. Raises ConfigError where it is none, or more than one."""
    name, problem = choose(service, _settled(answers), answers.get(service.chooser or ""))
    if name is None:
        raise ConfigError(f"{service.name}: {problem}")
    return service.way(name)


def kept(answers: Mapping[str, str], ways: Mapping[Service, Way]) -> Answers:
    """The answers without those that belong to another way to log in."""
    left = dict(answers)
    for service, way in ways.items():
        other = {name for each in service.ways for name in (*each.needs, *each.uses)}
        for variable in other - {*way.needs, *way.uses}:
            left.pop(variable, None)
            left.pop(variable + _FILE, None)
        if service.chooser:
            left[service.chooser] = way.name
    return left


def spelled(answers: Mapping[str, str], config: Config, folder: Path) -> Answers:
    """The answers as they are written down: in their plainest form, paths in full."""
    found = {resolved.setting.variable: resolved.value for resolved in config.values}
    return {
        variable: (
            str(folder / value.strip())
            if variable not in BY_VARIABLE
            else value
            if BY_VARIABLE[variable].secret
            else shapes.show(found[variable])
        )
        for variable, value in answers.items()
    }


def _settled(answers: Mapping[str, str]) -> set[str]:
    """The settings that have an answer, be it the path of a file."""
    return {variable if variable in BY_VARIABLE else variable.removesuffix(_FILE) for variable in answers}


def _twin(variable: str) -> str:
    """The variable that gives the same setting in the other form."""
    return variable + _FILE if variable in BY_VARIABLE else variable.removesuffix(_FILE)


def _from_toml(path: Path) -> Answers:
    """The settings of an earlier file; its syncs are not among the answers."""
    tables = read_toml(path) if path.is_file() else {}
    answers = {}
    for setting in SETTINGS:
        table = tables.get(setting.section, {}) if setting.section else tables
        for variable, key in (
            (setting.variable, setting.key),
            (setting.file_variable, f"{setting.key}_file"),
        ):
            value = table.get(key) if isinstance(table, dict) else None
            if variable in VARIABLES and value is not None:
                answers[variable] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return answers


def _pairs(given: Iterable[str]) -> Answers:
    answers: Answers = {}
    for pair in given:
        variable, _, value = pair.partition("=")
        if variable not in VARIABLES or variable == "CRMSYNC_CONFIG":
            raise ConfigError(f"--set {variable}: is not a setting{did_you_mean(variable, VARIABLES)}")
        if variable in BY_VARIABLE and BY_VARIABLE[variable].secret:
            raise ConfigError(
                f"others see what is on a command line: --set cannot carry the secret {variable}",
                hint=f"Set it in the environment, or name its file: --set {variable}{_FILE}=PATH.",
            )
        answers[variable] = value
    return answers
