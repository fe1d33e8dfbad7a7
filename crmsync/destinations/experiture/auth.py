"""Experiture's tokens: a given one, or OAuth client credentials (contract experiture 2)."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any
from urllib.parse import urlencode

import orjson

from crmsync.config import ExperitureSettings
from crmsync.errors import AuthError, Outage
from crmsync.http import Budget, Client, Reply, Retry, Stopper, passing
from crmsync.text import one_line

EARLY = 60.0
"""Seconds before its end at which a token is replaced; less for a token that lives shortly."""


class GivenToken:
    """EXPERITURE_API_KEY as it is."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self) -> str:
        return self._token

    def renew(self, stale: str) -> bool:  # noqa: ARG002 - there is no other token
        return False


class ClientCredentials:
    """Tokens from the token endpoint, replaced before they expire, one request at a time for all threads.

    Whether the endpoint wants the secret in a Basic header or in the body is not published: the header is
    tried first, then the body, and what worked is kept.
    """

    def __init__(
        self, settings: ExperitureSettings, *, budget: Budget, retry: Retry, stopper: Stopper
    ) -> None:
        self._settings = settings
        self._url = str(settings.token_url)
        self._client = Client("Experiture login", self._url, budget=budget, retry=retry, stopper=stopper)
        self._lock = threading.Lock()
        self._token: str | None = None
        self._ends = float("inf")
        self._in_header = True

    @property
    def requests(self) -> int:
        return self._client.requests["login"]

    def token(self) -> str:
        with self._lock:
            if self._token is None or time.monotonic() >= self._ends:
                self._token = self._fetch()
            return self._token

    def renew(self, stale: str) -> bool:
        with self._lock:
            if self._token == stale:
                self._token = self._fetch()
            return True

    def _fetch(self) -> str:
        reply = self._ask()
        if reply.status in (400, 401):
            self._in_header = not self._in_header
            reply = self._ask()
        body = reply.json()
        if passing(reply):
            raise Outage(
                f"Experiture's token endpoint is not available now (HTTP {reply.status})",
                correlation_id=reply.correlation_id,
            )
        if not reply.ok or not isinstance(body, dict) or not body.get("access_token"):
            error = body.get("error") if isinstance(body, dict) else None
            code = one_line((error.get("code") if isinstance(error, dict) else error) or "")
            raise AuthError(
                f"Experiture refused the login (HTTP {reply.status}{f', {code}' if code else ''})",
                hint="Check EXPERITURE_CLIENT_ID, EXPERITURE_CLIENT_SECRET, EXPERITURE_TOKEN_URL "
                "and EXPERITURE_SCOPE.",
                correlation_id=reply.correlation_id,
            )
        token = str(body["access_token"])
        lifetime = _lifetime(body, token)
        self._ends = time.monotonic() + lifetime - min(EARLY, lifetime / 5)
        return token

    def _ask(self) -> Reply:
        form = {"grant_type": "client_credentials"}
        if self._settings.scope:
            form["scope"] = self._settings.scope
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        pair = (str(self._settings.client_id), str(self._settings.client_secret))
        if self._in_header:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(pair).encode()).decode()
        else:
            form["client_id"], form["client_secret"] = pair
        return self._client.request(
            "POST", self._url, what="login", body=urlencode(form).encode(), headers=headers
        )


def _lifetime(body: dict[str, Any], token: str) -> float:
    """Seconds the token is good for: `expires_in`, else the JWT's own `exp`, else without end.

    A JWT's `exp` is counted from its `iat`, so that a wrong clock here does not make it look expired.
    """
    try:
        return float(body["expires_in"])
    except (KeyError, TypeError, ValueError):
        pass
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return max(0.0, float(claims["exp"]) - float(claims.get("iat", time.time())))
    except (IndexError, KeyError, TypeError, ValueError):
        return float("inf")
