"""What `crmsync config show` prints: each setting, its value and who gave it; of a secret only that it is
set."""

from __future__ import annotations

from crmsync.config.model import Config, Resolved
from crmsync.config.tables import DEFAULT_SYNC
from crmsync.config.values import show

MASK = "********"

Row = tuple[str, str, str]
"""A name, the value as shown, and where it came from."""


def rows(config: Config) -> list[Row]:
    """Every setting in the order of the registry, the chosen logins, then the syncs."""
    return [*map(_setting, config.values), *_logins(config), *_syncs(config)]


def _setting(resolved: Resolved) -> Row:
    shown = show(resolved.value)
    return resolved.setting.variable, MASK if shown and resolved.setting.secret else shown, resolved.origin


def _logins(config: Config) -> list[Row]:
    found = {
        "Salesforce login": config.salesforce.login,
        "Experiture login": config.experiture.login,
        "HubSpot login": config.hubspot.login,
    }
    return [(name, login, "from the settings that are complete") for name, login in found.items() if login]


def _syncs(config: Config) -> list[Row]:
    origin = "default" if config.syncs == (DEFAULT_SYNC,) else str(config.path)
    return [
        (f"sync {sync.name}", f"{sync.source} {sync.object} → {sync.destination} {sync.into}", origin)
        for sync in config.syncs
    ]
