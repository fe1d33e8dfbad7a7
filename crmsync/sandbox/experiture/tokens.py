"""The CDP's tokens: OAuth client credentials against RS256-signed JWTs, and the check of a bearer."""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import json
import uuid
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from crmsync.sandbox.experiture.replies import FORBIDDEN, Refusal
from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.web import Request, Response

SCOPES = (
    "cdp:profiles:write",
    "cdp:records:write",
    "cdp:records:read",
    "cdp:imports:write",
    "cdp:imports:read",
    "cdp:metadata:read",
)
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-client-secret"  # a local server's, printed for whoever starts it
API_KEY = "sandbox-api-key"


@functools.cache
def signing_key() -> rsa.RSAPrivateKey:
    """One key per process: making one takes a good part of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Tokens:
    """Issues and checks tokens. `generation` rises when every token issued so far is declared expired."""

    def __init__(self, switches: Switches, audience: str) -> None:
        self._switches = switches
        self._audience = audience
        self._generation = 0
        self._known: dict[str, dict[str, Any]] = {}

    def expire(self) -> None:
        """Every token issued so far counts as expired."""
        self._generation += 1

    def granted(self) -> tuple[str, ...]:
        scopes = str(self._switches["granted_scopes"])
        return SCOPES if scopes == "*" else tuple(scopes.split())

    def issue(self, request: Request, now: datetime) -> Response:
        """Answer a call of the token endpoint (RFC 6749, 4.4)."""
        if request.method != "POST":
            return _oauth_error(405, "invalid_request", "use POST")
        if "application/x-www-form-urlencoded" not in request.headers.get("content-type", ""):
            return _oauth_error(400, "invalid_request", "the body must be a form")
        form = request.form()
        if not self._client_known(request, form):
            response = _oauth_error(401, "invalid_client", "unknown client, or wrong way to authenticate")
            response.headers["WWW-Authenticate"] = "Basic"
            return response
        if form.get("grant_type") != "client_credentials":
            return _oauth_error(400, "unsupported_grant_type", "only client_credentials is offered")
        scopes = tuple(form.get("scope", "").split()) or self.granted()
        if not set(scopes) <= set(self.granted()):
            return _oauth_error(400, "invalid_scope", "the client does not have these scopes")
        return self._issued(scopes, now)

    def check(self, request: Request, scope: str, now: datetime) -> str:
        """The caller behind a request's bearer token. Raises Refusal 401, or 403 without the scope."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("CDP_ETL.AUTH.UNAUTHORIZED", "a bearer token is needed")
        token = token.strip()
        if token == API_KEY and self._switches["api_key"] == "accepted":
            return "api-key"
        claims = self._claims(token)
        if claims["exp"] <= now.timestamp() or claims["gen"] < self._generation:
            raise _unauthorized(self._switches["expired_token_code"], "the token has expired")
        if scope not in claims["scope"].split():
            raise Refusal(403, FORBIDDEN, f"the token lacks the scope {scope}")
        return str(claims["jti"])

    def _client_known(self, request: Request, form: dict[str, str]) -> bool:
        wanted = self._switches["client_auth"]
        basic = _basic(request.headers.get("authorization", ""))
        if basic is not None:
            return wanted != "body" and "client_secret" not in form and _is_client(*basic)
        return wanted != "basic" and _is_client(form.get("client_id", ""), form.get("client_secret", ""))

    def _issued(self, scopes: tuple[str, ...], now: datetime) -> Response:
        seconds = self._switches["token_seconds"]
        claims = {
            "iss": self._audience,
            "aud": self._audience,
            "sub": CLIENT_ID,
            "scope": " ".join(scopes),
            "iat": int(now.timestamp()),
            "exp": now.timestamp() + seconds,
            "jti": str(uuid.uuid4()),
            "gen": self._generation,
        }
        body = {"access_token": _signed(claims), "token_type": "Bearer", "scope": claims["scope"]}
        given = self._switches["expires_in"]
        if given != "absent":
            body["expires_in"] = str(int(seconds)) if given == "text" else int(seconds)
        return Response(200, body, {"Cache-Control": "no-store", "Pragma": "no-cache"})

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that was signed here."""
        if token not in self._known:
            try:
                self._known[token] = _verified(token)
            except (ValueError, InvalidSignature):
                raise _unauthorized(self._switches["invalid_token_code"], "the token is not valid") from None
        return self._known[token]


def _unauthorized(code: str, message: str) -> Refusal:
    return Refusal(401, code, message, headers={"WWW-Authenticate": "Bearer"})


def _oauth_error(status: int, code: str, description: str) -> Response:
    body = {"error": code, "error_description": description}
    return Response(status, body, {"Cache-Control": "no-store"})


def _is_client(name: str, secret: str) -> bool:
    return name == CLIENT_ID and hmac.compare_digest(secret.encode(), CLIENT_SECRET.encode())


def _basic(header: str) -> tuple[str, str] | None:
    """The form-encoded pair of a Basic header (RFC 6749, 2.3.1), None without such a header."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(name), unquote_plus(secret)


def _signed(claims: dict[str, Any]) -> str:
    head = {"alg": "RS256", "typ": "JWT", "kid": "sandbox"}
    signed = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    signature = signing_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encode(signature)}"


def _verified(token: str) -> dict[str, Any]:
    """Raises ValueError or InvalidSignature for a token that is not ours."""
    head, claims, signature = token.split(".")
    if json.loads(_decode(head)).get("alg") != "RS256":
        raise ValueError("only RS256 is accepted")
    signing_key().public_key().verify(
        _decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    read = json.loads(_decode(claims))
    assert isinstance(read, dict)
    return read


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
