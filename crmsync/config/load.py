"""Loading the configuration: collect, parse, check, freeze. All problems are told at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from crmsync import ownership
from crmsync.config import checks, logins, tables
from crmsync.config.layers import Collected, Given, collect
from crmsync.config.model import Config, ExperitureSettings, HubspotSettings, Resolved, SalesforceSettings
from crmsync.config.settings import SETTINGS, Setting
from crmsync.config.sync import Sync
from crmsync.config.values import parse, plain_http
from crmsync.errors import ConfigError
from crmsync.text import did_you_mean

BOTH = frozenset({"source", "destination"})


def load(
    *,
    config_path: str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str],
    cwd: Path,
    require: Collection[str] = BOTH,
) -> Config:
    """The configuration from files, `environ` and `flags` (variable name to value), paths relative to `cwd`.

    `require` says whose login must be complete: "source", "destination", both, or nothing. Raises ConfigError
    with every problem found, each naming where the value was given and what would be right.
    """
    collected = collect(config_path, flags or {}, environ, cwd)
    given = collected.given
    problems = list(collected.problems)
    values = _values(given, problems)
    syncs, matrix = _syncs(collected, problems)
    login = _logins(given, values, _required(syncs, require), problems)
    problems += [*_unsafe_urls(given, values), *_shared_login_host(given, values, login), *_no_state(given)]
    if problems:
        raise ConfigError(problems)
    return _freeze(collected, values, login, syncs, matrix)


def _values(given: Mapping[str, Given], problems: list[str]) -> dict[str, Any]:
    """Every setting's parsed value by variable, None where it is not given or not valid."""
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        found = given.get(setting.variable)
        values[setting.variable] = None
        if found is None or found.written is None:
            continue
        try:
            values[setting.variable] = parse(setting, found.written, found.folder)
        except ValueError as error:
            problems.append(f"{found.where}: {error}{_quoted(setting, found)}")
    region = values["CRMSYNC_DEFAULT_REGION"]
    if region is not None:
        values["CRMSYNC_DEFAULT_REGION"] = _region(region, given["CRMSYNC_DEFAULT_REGION"].where, problems)
    return values


def _quoted(setting: Setting, found: Given) -> str:
    """The value as it was written, where neither a credential nor a person can be in it."""
    return "" if setting.secret or setting.kind in ("text", "url") else f", not {str(found.written)!r:.60}"


def _region(written: str, where: str, problems: list[str]) -> str:
    """The country in capitals, if the phone library knows it."""
    from phonenumbers import SUPPORTED_REGIONS

    region = written.upper()
    if region not in SUPPORTED_REGIONS:
        known = ", such as US, GB or DE" if len(region) != 2 else did_you_mean(region, SUPPORTED_REGIONS)
        problems.append(f"{where}: must be the two letters of a country (ISO 3166){known}")
    return region


def _syncs(
    collected: Collected, problems: list[str]
) -> tuple[tuple[Sync, ...], Mapping[str, tuple[str, ...]]]:
    """The syncs and the ownership matrix, checked for themselves and against one another."""
    found: list[str] = []
    numbered = tables.read_syncs(collected.syncs, found)
    matrix = tables.read_ownership(collected.ownership, ownership.DEFAULT_OWNERSHIP, found)
    syncs = tuple(numbered.values())
    found += [*checks.problems(numbered), *ownership.problems(syncs, matrix)]
    problems += [f"{collected.name}: {problem}" for problem in found]
    return syncs, matrix


def _required(syncs: Collection[Sync], require: Collection[str]) -> set[logins.Service]:
    """The services that must be ready to log in: those the syncs use, or the usual two for want of syncs."""
    sources = {sync.source for sync in syncs} or {"salesforce"}
    destinations = {sync.destination for sync in syncs} or {"experiture"}
    names = (sources if "source" in require else set()) | (
        destinations if "destination" in require else set()
    )
    return {logins.SERVICES[name] for name in names if name in logins.SERVICES}


def _logins(
    given: Mapping[str, Given],
    values: Mapping[str, Any],
    required: Collection[logins.Service],
    problems: list[str],
) -> dict[logins.Service, str | None]:
    """Each service's login. What is in the way of one is a problem only where it is required."""
    found: dict[logins.Service, str | None] = {}
    for service in logins.SERVICES.values():
        chosen = given.get(service.chooser or "")
        login, problem = logins.choose(service, given.keys(), values.get(service.chooser or ""))
        choice_is_readable = chosen is None or values[service.chooser or ""] is not None
        found[service] = login
        if problem and service in required and choice_is_readable:
            problems.append(f"{chosen.where}: {problem}" if chosen else f"{service.name}: {problem}")
    return found


def _shared_login_host(
    given: Mapping[str, Given], values: Mapping[str, Any], login: Mapping[logins.Service, str | None]
) -> Iterator[str]:
    host = urlsplit(values["SALESFORCE_LOGIN_URL"] or "").hostname
    if login[logins.SALESFORCE] == "client_credentials" and host in logins.SHARED_LOGIN_HOSTS:
        yield (
            f"{given['SALESFORCE_LOGIN_URL'].where}: client credentials are not accepted at {host}; "
            f"set SALESFORCE_LOGIN_URL to the org's My Domain host, https://….my.salesforce.com"
        )


def _no_state(given: Mapping[str, Given]) -> Iterator[str]:
    if "CRMSYNC_STATE" not in given:
        yield "CRMSYNC_STATE: is not set, and neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME says where"


def _unsafe_urls(given: Mapping[str, Given], values: Mapping[str, Any]) -> Iterator[str]:
    """Law 10: plain http only on this machine, and to hosts that the operator lists."""
    allowed = values["CRMSYNC_ALLOW_HTTP_HOSTS"] or ()
    for setting in SETTINGS:
        url = values[setting.variable]
        if setting.kind == "url" and url and plain_http(url) and urlsplit(url).hostname not in allowed:
            yield (
                f"{given[setting.variable].where}: plain http would show secrets on the way; "
                f"use https, or list {urlsplit(url).hostname} in CRMSYNC_ALLOW_HTTP_HOSTS"
            )


def _freeze(
    collected: Collected,
    values: Mapping[str, Any],
    login: Mapping[logins.Service, Any],
    syncs: tuple[Sync, ...],
    matrix: Mapping[str, tuple[str, ...]],
) -> Config:
    def section(name: str) -> dict[str, Any]:
        return {s.key: values[s.variable] for s in SETTINGS if s.section == name and s.in_files}

    def origin(variable: str) -> str:
        return collected.given[variable].origin if variable in collected.given else "not set"

    top = section("")
    top["allow_http_hosts"] = top["allow_http_hosts"] or ()
    return Config(
        path=collected.path,
        syncs=syncs,
        ownership=MappingProxyType(dict(matrix)),
        salesforce=SalesforceSettings(login=login[logins.SALESFORCE], **section("salesforce")),
        experiture=ExperitureSettings(login=login[logins.EXPERITURE], **section("experiture")),
        hubspot=HubspotSettings(login=login[logins.HUBSPOT], **section("hubspot")),
        warnings=collected.warnings,
        values=tuple(Resolved(s, values[s.variable], origin(s.variable)) for s in SETTINGS),
        **top,
    )
