"""The configuration as the rest of the program sees it: validated, frozen, and silent about its secrets
when printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from crmsync.config.settings import Setting
from crmsync.config.sync import Sync
from crmsync.config.values import RejectLimit

SalesforceLogin = Literal["token", "client_credentials", "jwt", "refresh_token", "password"]
ExperitureLogin = Literal["api_key", "client_credentials"]
HubspotLogin = Literal["token", "refresh_token"]


@dataclass(frozen=True, slots=True)
class SalesforceSettings:
    """How to reach and log in to Salesforce. `login` is None only where no source was required.

    URLs have no slash at their end. `private_key` is the PEM text itself. `api_version` is like `62.0`.
    """

    login: SalesforceLogin | None
    login_url: str
    instance_url: str | None
    api_version: str | None
    auth: SalesforceLogin | None
    api: Literal["auto", "rest", "bulk"]
    bulk_threshold: int
    bulk_deadline: timedelta
    client_id: str | None
    username: str | None = field(repr=False)
    access_token: str | None = field(repr=False)
    client_secret: str | None = field(repr=False)
    private_key: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    password: str | None = field(repr=False)
    security_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ExperitureSettings:
    """How to reach and log in to Experiture. `login` is None only where no destination was required."""

    login: ExperitureLogin | None
    base_url: str
    token_url: str | None
    scope: str | None
    client_id: str | None
    api_key: str | None = field(repr=False)
    client_secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class HubspotSettings:
    """How to reach HubSpot. `client_secret` also verifies webhooks, as does the previous one after a
    rotation."""

    login: HubspotLogin | None
    base_url: str
    public_url: str | None
    portal_id: int | None
    client_id: str | None
    token: str | None = field(repr=False)
    client_secret: str | None = field(repr=False)
    client_secret_previous: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """One setting with its value (None: not set) and where that came from, for `config show`."""

    setting: Setting
    value: object = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was configured, once and for the whole run.

    `path` is the toml file, if there is one. `state` is an absolute directory or `s3://bucket/prefix`,
    without a slash at its end. `max_quota` is a fraction of the org's day. `warnings` are sentences to be
    logged once logging is up.
    """

    path: Path | None
    syncs: tuple[Sync, ...]
    ownership: Mapping[str, tuple[str, ...]]
    salesforce: SalesforceSettings
    experiture: ExperitureSettings
    hubspot: HubspotSettings
    state: str
    cache: Path | None
    batch_size: int
    in_flight: int
    jobs: int
    overlap: timedelta
    settle: timedelta
    interval: timedelta
    job_deadline: timedelta
    default_region: str | None
    max_rejects: RejectLimit
    max_quota: float
    log_level: Literal["auto", "debug", "info", "warning", "error"]
    log_format: Literal["auto", "text", "json"]
    statsd: str | None
    prometheus_file: Path | None
    heartbeat_url: str | None = field(repr=False)
    allow_http_hosts: tuple[str, ...]
    warnings: tuple[str, ...]
    values: tuple[Resolved, ...] = field(repr=False)

    def is_set(self, variable: str) -> bool:
        """Whether somebody gave this setting, rather than its default."""
        return any(
            entry.origin not in ("default", "not set")
            for entry in self.values
            if entry.setting.variable == variable
        )

    def sync(self, name: str) -> Sync | None:
        return next((sync for sync in self.syncs if sync.name == name), None)
