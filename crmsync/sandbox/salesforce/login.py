"""The OAuth token endpoint: client credentials, refresh token, JWT bearer, username and password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from math import ceil
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from crmsync.sandbox.salesforce.sessions import Credentials, Sessions, identity_url
from crmsync.sandbox.salesforce.switches import Switches
from crmsync.sandbox.web import Clock, Request, Response

LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
LONGEST_ASSERTION = 180
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _Refused(Exception):
    """A login that is refused: OAuth's error and its description."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class TokenEndpoint:
    """Answers POST /services/oauth2/token."""

    def __init__(
        self, credentials: Credentials, sessions: Sessions, switches: Switches, clock: Clock
    ) -> None:
        self._credentials = credentials
        self._sessions = sessions
        self._switches = switches
        self._clock = clock

    def answer(self, request: Request, base_url: str) -> Response:
        """200 with an access token, or 400 (403 for the login rate, by switch) with OAuth's error."""
        try:
            return Response(200, self._grant(request, base_url))
        except _Refused as refused:
            body = {"error": refused.error}
            if self._switches["error_description"]:
                body["error_description"] = refused.description
            return Response(403 if refused.error == "login_rate_exceeded" else 400, body)

    def _grant(self, request: Request, base_url: str) -> dict[str, Any]:
        if request.method != "POST":
            raise _Refused("invalid_request", "must use HTTP POST")
        self._refuse_hurry()
        typed = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        form = request.form() if typed else {}
        match form.get("grant_type"):
            case None | "":
                raise _Refused("invalid_request", "grant type is missing")
            case "client_credentials":
                return self._client_credentials(form, request, base_url)
            case "refresh_token":
                return self._refresh_token(form, base_url)
            case "password":
                return self._password(form, base_url)
            case grant if grant == JWT_BEARER:
                return self._jwt_bearer(form, base_url)
        raise _Refused("unsupported_grant_type", "grant type not supported")

    def _refuse_hurry(self) -> None:
        match self._switches["login_rate"]:
            case "invalid_grant":
                raise _Refused("invalid_grant", "login rate exceeded")
            case "forbidden":
                raise _Refused("login_rate_exceeded", "login rate exceeded")

    def _client_credentials(self, form: Mapping[str, str], request: Request, base_url: str) -> dict[str, Any]:
        if request.headers.get("host", "").split(":")[0].lower() in LOGIN_HOSTS:
            raise _Refused("invalid_grant", "request not supported on this domain")
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, _, client_secret = _decoded(encoded).decode("utf-8", "replace").partition(":")
        else:
            client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
        self._check_client(client_id, client_secret)
        return self._success(base_url) | {"api_instance_url": "https://api.salesforce.com"}

    def _refresh_token(self, form: Mapping[str, str], base_url: str) -> dict[str, Any]:
        self._check_client(form.get("client_id", ""), form.get("client_secret"))
        try:
            following = self._sessions.rotate(
                form.get("refresh_token", ""),
                rotation=self._switches["refresh_token_rotation"],
                ends_session=self._switches["rotation_ends_session"],
            )
        except ValueError as error:
            raise _Refused("invalid_grant", str(error)) from None
        return self._success(base_url) | ({"refresh_token": following} if following else {})

    def _password(self, form: Mapping[str, str], base_url: str) -> dict[str, Any]:
        self._check_client(form.get("client_id", ""), form.get("client_secret", ""))
        if not self._switches["password_grant"]:
            raise _Refused("invalid_grant", "authentication failure")
        known = self._credentials
        right = known.is_password(form.get("password", ""), trusted=self._switches["trusted_address"])
        if form.get("username") != known.username or not right:
            raise _Refused("invalid_grant", "authentication failure - Invalid Password")
        return self._success(base_url)

    def _jwt_bearer(self, form: Mapping[str, str], base_url: str) -> dict[str, Any]:
        claims = self._claims(form.get("assertion", ""))
        if claims.get("iss") != self._credentials.client_id:
            raise _Refused("invalid_client_id", "client identifier invalid")
        audiences = [f"https://{host}" for host in LOGIN_HOSTS]
        audiences += [base_url] if self._switches["my_domain_audience"] else []
        if claims.get("aud") not in audiences:
            raise _Refused("invalid_grant", "audience is invalid")
        if claims.get("sub") != self._credentials.username:
            raise _Refused("invalid_grant", "user hasn't approved this consumer")
        expires = str(claims.get("exp", ""))
        # Whole seconds: a client that rounds its own clock up is still within the three minutes.
        left = int(expires) - ceil(self._clock.now().timestamp()) if expires.isdigit() else 0
        if not 0 < left <= LONGEST_ASSERTION:
            raise _Refused("invalid_grant", "assertion is expired or lives longer than three minutes")
        opened = self._success(base_url)
        return {"scope": "api"} | {
            name: opened[name] for name in ("access_token", "instance_url", "id", "token_type")
        }

    def _claims(self, assertion: str) -> dict[str, Any]:
        """The claims of an assertion signed RS256 with the sandbox's key."""
        signed, _, signature = assertion.rpartition(".")
        header, _, payload = signed.partition(".")
        try:
            algorithm = json.loads(_decoded(header)).get("alg")
            self._credentials.private_key.public_key().verify(
                _decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            claims = json.loads(_decoded(payload))
        except (ValueError, AttributeError, InvalidSignature):
            raise _Refused("invalid_grant", "invalid assertion") from None
        if algorithm != "RS256" or not isinstance(claims, dict):
            raise _Refused("invalid_grant", "invalid assertion")
        return claims

    def _check_client(self, client_id: str, client_secret: str | None) -> None:
        if client_id != self._credentials.client_id:
            raise _Refused("invalid_client_id", "client identifier invalid")
        if client_secret is not None and client_secret != self._credentials.client_secret:
            raise _Refused("invalid_grant", "invalid client credentials")

    def _success(self, base_url: str) -> dict[str, Any]:
        issued = str(int(self._clock.now().timestamp() * 1000))
        identity = identity_url(base_url)
        signature = hmac.digest(
            self._credentials.client_secret.encode(), (identity + issued).encode(), hashlib.sha256
        )
        return {
            "access_token": self._sessions.open().token,
            "instance_url": base_url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued,
            "signature": base64.b64encode(signature).decode(),
        }


def _decoded(text: str) -> bytes:
    """Base64 of either alphabet, padded or not; empty where it is none."""
    try:
        return base64.urlsafe_b64decode(
            text.strip().replace("+", "-").replace("/", "_") + "=" * (-len(text.strip()) % 4)
        )
    except (ValueError, binascii.Error):
        return b""
