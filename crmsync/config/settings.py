"""Every setting there is: its variable, what it means, its default and its range.

This is the one source for parsing, for `config show`, for `.env.example` and for the reference page. A
setting is named by its environment variable; its place in crmsync.toml follows from it: `CRMSYNC_BATCH_SIZE`
is `batch_size` at the top, `SALESFORCE_CLIENT_ID` is `client_id` in `[salesforce]`. A secret may also be
given as the path of a file that holds it, under its name with `_FILE`; inside crmsync.toml that is the only
way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "text",
    "secret",
    "url",
    "address",
    "duration",
    "integer",
    "percent",
    "share",
    "path",
    "location",
    "choice",
    "list",
    "version",
]

_SECTIONS = {"SALESFORCE_": "salesforce", "EXPERITURE_": "experiture", "HUBSPOT_": "hubspot", "CRMSYNC_": ""}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default`, `least` and `most` are written as an operator would write the value.

    `secret` values are never shown, and never stand in crmsync.toml. `bare_host` marks a URL that must be a
    scheme and a host only. `in_files` is False where the setting is needed before any file can be read.
    """

    variable: str
    kind: Kind
    about: str
    default: str | None = None
    least: str | None = None
    most: str | None = None
    choices: tuple[str, ...] = ()
    example: str | None = None
    secret: bool = False
    multiline: bool = False
    bare_host: bool = False
    in_files: bool = True

    @property
    def section(self) -> str:
        """The toml table it belongs to, empty for the top of the file."""
        return next(section for prefix, section in _SECTIONS.items() if self.variable.startswith(prefix))

    @property
    def key(self) -> str:
        """Its name inside the section, and as an attribute of the frozen configuration."""
        return self.variable.split("_", 1)[1].lower()

    @property
    def toml_path(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def file_variable(self) -> str:
        """The variable that names a file holding the secret."""
        return f"{self.variable}_FILE"


def _secret(variable: str, about: str, *, multiline: bool = False) -> Setting:
    return Setting(variable, "secret", about, secret=True, multiline=multiline)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "SALESFORCE_INSTANCE_URL",
        "url",
        "The org's own host, for a token that is used as it is.",
        example="https://acme.my.salesforce.com",
        bare_host=True,
    ),
    _secret("SALESFORCE_ACCESS_TOKEN", "A token that is used as it is, and not renewed."),
    Setting(
        "SALESFORCE_LOGIN_URL",
        "url",
        "Where the token endpoint is; client credentials need the org's My Domain host.",
        default="https://login.salesforce.com",
        example="https://acme.my.salesforce.com",
        bare_host=True,
    ),
    Setting("SALESFORCE_CLIENT_ID", "text", "The consumer key of the connected app."),
    _secret("SALESFORCE_CLIENT_SECRET", "The consumer secret of the connected app."),
    Setting("SALESFORCE_USERNAME", "text", "The integration user, for JWT bearer and for SOAP login."),
    _secret(
        "SALESFORCE_PRIVATE_KEY",
        "The PEM private key whose certificate the connected app holds.",
        multiline=True,
    ),
    _secret(
        "SALESFORCE_REFRESH_TOKEN", "The first refresh token; a rotated one is kept with the credentials."
    ),
    _secret("SALESFORCE_PASSWORD", "The password for SOAP login, which Salesforce retires in 2027."),
    _secret(
        "SALESFORCE_SECURITY_TOKEN", "The security token for SOAP login from outside the trusted networks."
    ),
    Setting(
        "SALESFORCE_AUTH",
        "choice",
        "Chooses the login where the settings of more than one are complete.",
        choices=("token", "client_credentials", "jwt", "refresh_token", "password"),
    ),
    Setting(
        "SALESFORCE_API_VERSION",
        "version",
        "The API version; without it the newest that both the org and crmsync know.",
        example="62.0",
    ),
    Setting(
        "SALESFORCE_API",
        "choice",
        "How changes are read; auto is by a bulk job where there are more than the threshold.",
        default="auto",
        choices=("auto", "rest", "bulk"),
    ),
    Setting(
        "SALESFORCE_BULK_THRESHOLD",
        "integer",
        "Rows in a window of a day or more, above which they are read by a bulk job.",
        default="200000",
        least="1",
    ),
    Setting("SALESFORCE_BULK_DEADLINE", "duration", "How long a run waits for a bulk job.", "2h", "1s", "1d"),
    _secret("EXPERITURE_API_KEY", "A static bearer token."),
    Setting("EXPERITURE_CLIENT_ID", "text", "The OAuth client made in the console under API Access."),
    _secret("EXPERITURE_CLIENT_SECRET", "The secret of that client."),
    Setting(
        "EXPERITURE_TOKEN_URL", "url", "The token endpoint, which the console shows once the client is made."
    ),
    Setting(
        "EXPERITURE_SCOPE",
        "text",
        "The scopes to ask for, separated by blanks, where the endpoint wants them.",
    ),
    Setting(
        "EXPERITURE_BASE_URL",
        "url",
        "Where the API is.",
        default="https://api.experiture.ai/public/v1",
    ),
    _secret("HUBSPOT_TOKEN", "The token of a private app."),
    Setting("HUBSPOT_CLIENT_ID", "text", "The client id of the app, for a refresh token."),
    _secret("HUBSPOT_CLIENT_SECRET", "The app's client secret, which also signs its webhooks."),
    _secret("HUBSPOT_REFRESH_TOKEN", "The refresh token of the app's installation."),
    Setting("HUBSPOT_BASE_URL", "url", "Where the API is.", default="https://api.hubapi.com"),
    Setting(
        "HUBSPOT_PUBLIC_URL",
        "url",
        "The webhook address as HubSpot calls it; signatures are computed over it.",
    ),
    _secret(
        "HUBSPOT_CLIENT_SECRET_PREVIOUS", "The client secret before a rotation, accepted beside the new one."
    ),
    Setting("HUBSPOT_PORTAL_ID", "integer", "The account whose webhooks are accepted.", least="1"),
    Setting(
        "CRMSYNC_STATE",
        "location",
        "Where the state is: a directory, or s3://bucket/prefix; without it $STATE_DIRECTORY, "
        "else $XDG_STATE_HOME/crmsync.",
        example="s3://acme-sync/prod",
    ),
    Setting(
        "CRMSYNC_CACHE",
        "path",
        "A directory for local copies; without it $CACHE_DIRECTORY, else $XDG_CACHE_HOME/crmsync.",
    ),
    Setting(
        "CRMSYNC_CONFIG",
        "path",
        "The toml file; without it the first of ./crmsync.toml, ~/.config/crmsync/config.toml and "
        "/etc/crmsync/config.toml.",
        in_files=False,
    ),
    Setting("CRMSYNC_BATCH_SIZE", "integer", "Records in one batch.", default="500", least="1", most="10000"),
    Setting("CRMSYNC_IN_FLIGHT", "integer", "Requests at one time.", default="8", least="1", most="64"),
    Setting("CRMSYNC_JOBS", "integer", "Batches accepted and unfinished at one time.", "32", "1", "1000"),
    Setting(
        "CRMSYNC_OVERLAP", "duration", "How far each window reaches back before the last.", "10m", "0s", "1d"
    ),
    Setting(
        "CRMSYNC_SETTLE",
        "duration",
        "How far a window's end stays behind Salesforce's clock.",
        "5s",
        "0s",
        "10m",
    ),
    Setting(
        "CRMSYNC_INTERVAL",
        "duration",
        "How often a pull is started, which `status` expects.",
        "15m",
        "1m",
        "31d",
    ),
    Setting(
        "CRMSYNC_JOB_DEADLINE", "duration", "How long a run waits for a batch's proof.", "30m", "1s", "1d"
    ),
    Setting(
        "CRMSYNC_DEFAULT_REGION",
        "text",
        "The country of phone numbers that do not say theirs, in two letters.",
        example="US",
    ),
    Setting(
        "CRMSYNC_MAX_REJECTS",
        "share",
        "New rejects a run may have before it exits 3: a share of its records, at least 50, or a count.",
        default="5%",
    ),
    Setting(
        "CRMSYNC_MAX_QUOTA",
        "percent",
        "The share of the org's daily calls that may be used.",
        "80%",
        "1%",
        "100%",
    ),
    Setting(
        "CRMSYNC_LOG_LEVEL",
        "choice",
        "What is logged; auto is info on a terminal and for systemd's journal, warning elsewhere.",
        default="auto",
        choices=("auto", "debug", "info", "warning", "error"),
    ),
    Setting(
        "CRMSYNC_LOG_FORMAT",
        "choice",
        "How it is logged; auto is text on a terminal and json elsewhere.",
        default="auto",
        choices=("auto", "text", "json"),
    ),
    Setting("CRMSYNC_STATSD", "address", "The host and port of a DogStatsD agent.", example="127.0.0.1:8125"),
    Setting(
        "CRMSYNC_PROMETHEUS_FILE",
        "path",
        "A file in the textfile collector's directory, rewritten after each run.",
        example="/var/lib/prometheus/node-exporter/crmsync.prom",
    ),
    Setting("CRMSYNC_HEARTBEAT_URL", "url", "A dead-man check that each run reports to.", secret=True),
    Setting(
        "CRMSYNC_ALLOW_HTTP_HOSTS",
        "list",
        "Hosts that may be spoken to without TLS, separated by commas; loopback always may.",
        example="cdp.test,sandbox",
    ),
)

BY_VARIABLE: dict[str, Setting] = {setting.variable: setting for setting in SETTINGS}
SECRETS: tuple[Setting, ...] = tuple(setting for setting in SETTINGS if setting.secret)
VARIABLES: tuple[str, ...] = (*BY_VARIABLE, *(setting.file_variable for setting in SECRETS))
"""Every variable that means something, the `_FILE` ones included."""
