"""The configuration: `load` gives the frozen `Config`, or a ConfigError with everything that is wrong with
it."""

from crmsync.config.durations import format_duration, parse_duration
from crmsync.config.load import load
from crmsync.config.model import Config, ExperitureSettings, HubspotSettings, SalesforceSettings
from crmsync.config.sync import FieldRule, Sync
from crmsync.config.tables import DEFAULT_SYNC
from crmsync.config.values import RejectLimit

__all__ = [
    "DEFAULT_SYNC",
    "Config",
    "ExperitureSettings",
    "FieldRule",
    "HubspotSettings",
    "RejectLimit",
    "SalesforceSettings",
    "Sync",
    "format_duration",
    "load",
    "parse_duration",
]
