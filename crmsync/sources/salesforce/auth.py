"""Logging in to Salesforce: one class that holds the session, one method a kind of login (contract 1.1)."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from crmsync.config import SalesforceSettings
from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage, TryAgain
from crmsync.http import Budget, Client, Reply, Retry, Stopper, require_safe
from crmsync.sources.base import Vault
from crmsync.sources.salesforce.errors import refusal_of
from crmsync.sources.salesforce.soap import soap_login

log = logging.getLogger(__name__)

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path
JWT_LIFETIME = 170
"""Seconds; Salesforce takes at most three minutes (contract 1.1)."""

_TEST_HOSTS = ("--", ".sandbox.", ".scratch.")
"""What the My Domain host of a sandbox or a scratch org holds, and no production host can."""

_HINTS = {
    "invalid_client_id": "Check SALESFORCE_CLIENT_ID.",
    "invalid_client": "Check SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET.",
    "invalid_grant": "Check the secret, the user's approval of the connected app, and the login URL.",
    "unsupported_grant_type": "Client credentials work on the My Domain host only: set SALESFORCE_LOGIN_URL.",
}


@dataclass(frozen=True, slots=True)
class Session:
    """A token and the host it is good for. `clock` is the server's time and when it was seen (monotonic)."""

    token: str = field(repr=False)
    instance_url: str
    clock: tuple[datetime, float] | None = None


class SalesforceAuth:
    """Holds the session of one run. Logs in when first asked, and anew when the session has ended."""

    def __init__(
        self,
        settings: SalesforceSettings,
        vault: Vault,
        *,
        allowed_http_hosts: tuple[str, ...] = (),
        budget: Budget | None = None,
        retry: Retry | None = None,
        stopper: Stopper | None = None,
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._allowed = allowed_http_hosts
        self._client = Client(
            "Salesforce login", settings.login_url, budget=budget, retry=retry, stopper=stopper
        )
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._soap_logins = 0

    def token(self) -> str:
        return self.session().token

    def session(self) -> Session:
        with self._lock:
            if self._session is None:
                self._session = self._log_in()
            return self._session

    def renew(self, stale: str) -> bool:
        """Log in again unless another thread already has. False where a given token cannot be renewed.

        Raises TryAgain where the org has moved to another instance meanwhile: the next run starts there.
        """
        if self._settings.login == "token":
            return False
        with self._lock:
            if self._session is None or self._session.token == stale:
                before = self._session
                self._session = self._log_in()
                if before and before.instance_url != self._session.instance_url:
                    raise TryAgain("the org has moved to another instance during the run")
            return True

    @property
    def requests(self) -> int:
        """Requests that logging in has cost so far."""
        return self._client.requests["login"] + self._soap_logins

    def _log_in(self) -> Session:
        methods: dict[str | None, Callable[[], Session]] = {
            "token": self._given,
            "client_credentials": self._client_credentials,
            "jwt": self._jwt,
            "refresh_token": self._refresh,
            "password": self._password,
        }
        session = methods[self._settings.login]()
        require_safe(session.instance_url, self._allowed)
        return session

    def _given(self) -> Session:
        return Session(str(self._settings.access_token), str(self._settings.instance_url))

    def _client_credentials(self) -> Session:
        pair = f"{self._settings.client_id}:{self._settings.client_secret}".encode()
        basic = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        return self._grant({"grant_type": "client_credentials"}, basic)[0]

    def _jwt(self) -> Session:
        import jwt

        claims = {
            "iss": self._settings.client_id,
            "sub": self._settings.username,
            "aud": audience(self._settings.login_url),
            "exp": int(time.time()) + JWT_LIFETIME,
        }
        try:
            assertion = jwt.encode(claims, str(self._settings.private_key), algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ConfigError("SALESFORCE_PRIVATE_KEY_FILE holds no RSA private key in PEM form") from None
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return self._grant(grant)[0]

    def _refresh(self) -> Session:
        with self._vault.exclusive():
            grant = {
                "grant_type": "refresh_token",
                "client_id": str(self._settings.client_id),
                "refresh_token": self._vault.load() or str(self._settings.refresh_token),
            }
            if self._settings.client_secret:
                grant["client_secret"] = self._settings.client_secret
            session, body = self._grant(grant)
            rotated = body.get("refresh_token")
            if rotated and rotated != grant["refresh_token"]:
                self._vault.save(str(rotated))
            return session

    def _password(self) -> Session:
        log.warning(
            "SOAP login is deprecated by Salesforce and retires in Summer '27: "
            "move to client credentials or JWT (see SALESFORCE_AUTH)"
        )
        self._soap_logins += 1
        token, instance_url = soap_login(
            self._settings.login_url,
            str(self._settings.username),
            str(self._settings.password),
            self._settings.security_token or "",
        )
        return Session(token, instance_url)

    def _grant(
        self, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> tuple[Session, Any]:
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        reply = self._client.request(
            "POST",
            TOKEN_PATH,
            what="login",
            body=urlencode(form).encode(),
            headers={**sent, **(headers or {})},
        )
        body = reply.json()
        if not reply.ok or not isinstance(body, dict) or not body.get("access_token"):
            error = _login_error(reply, self._client.origin)
            error.correlation_id = reply.correlation_id
            raise error
        instance = body.get("instance_url") or body.get("api_instance_url") or self._client.origin
        clock = (reply.date, time.monotonic()) if reply.date else None
        return Session(str(body["access_token"]), str(instance), clock), body


def audience(login_url: str) -> str:
    """The `aud` of a JWT: login or test, whichever the host stands for (contract 5.3 no. 16)."""
    host = urlsplit(login_url).hostname or ""
    is_test = host == "test.salesforce.com" or any(part in host for part in _TEST_HOSTS)
    return f"https://{'test' if is_test else 'login'}.salesforce.com"


def _login_error(reply: Reply, origin: str) -> CrmsyncError:
    refusal = refusal_of(reply)
    if "rate exceeded" in refusal.message.lower():
        return TryAgain(f"Salesforce limits the logins of this user ({refusal.words})")
    if reply.status in (400, 401, 403):
        return AuthError(f"Salesforce refused the login ({refusal.words})", hint=_HINTS.get(refusal.code))
    if refusal.may_pass:
        return Outage(f"Salesforce's login at {origin} is not available now ({refusal.words})")
    return ConfigError(
        f"{origin} did not answer as a Salesforce login does (HTTP {reply.status})",
        hint="Check SALESFORCE_LOGIN_URL.",
    )
