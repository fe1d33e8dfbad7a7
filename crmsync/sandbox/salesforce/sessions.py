"""What the sandbox's Salesforce lets in: fictional credentials, and the sessions they open."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from functools import cached_property

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.values import long_id, make_id

ORG_ID = "00DFk0000000001"
USER_ID = make_id("005", "Fk", 1)
EXPIRED = "Session expired or invalid"


@dataclass(frozen=True)
class Credentials:
    """Every secret the sandbox accepts. `access_token` is a session that is open from the start."""

    client_id: str = "3MVG9sandbox.consumer_key.of.nobody"
    client_secret: str = "5A4DB0XC0FFEE5EC2E7"
    username: str = "integration@sandbox.example"
    password: str = "pa&ss<word>'1"
    security_token: str = "TokEn4TheSandbox"
    refresh_token: str = "5Aep861sandbox.refresh_token.of.nobody"
    access_token: str = f"{ORG_ID}!AQEAQsandbox.ready_made_access.token"

    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        """The key whose public half the connected app knows, made anew for each sandbox."""
        return rsa.generate_private_key(public_exponent=65_537, key_size=2048)

    def is_password(self, given: str, *, trusted: bool) -> bool:
        """Whether `given` is the password and security token, which a trusted address leaves out."""
        return given == self.password + self.security_token or (trusted and given == self.password)

    @property
    def private_key_pem(self) -> str:
        """The private key as the file that SALESFORCE_PRIVATE_KEY_FILE names."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def values(self) -> dict[str, str]:
        return asdict(self) | {"private_key_pem": self.private_key_pem}


@dataclass(slots=True)
class Session:
    """One login. A `crippled` one came with an expired password and is of no use."""

    token: str
    alive: bool = True
    crippled: bool = False


class Sessions:
    """The open sessions, and the refresh tokens that open more."""

    def __init__(self, credentials: Credentials) -> None:
        self._sessions = {credentials.access_token: Session(credentials.access_token)}
        self._refresh_token = credentials.refresh_token
        self._requests_left: int | None = None
        self.refused_with: str | None = None

    def open(self, *, crippled: bool = False) -> Session:
        token = f"{ORG_ID}!AQ{secrets.token_urlsafe(48).replace('-', '.')}"
        self._sessions[token] = Session(token, crippled=crippled)
        return self._sessions[token]

    def check(self, authorization: str) -> Session:
        """The session of an Authorization header. Raises ApiError (401, or 403 for an expired password)."""
        scheme, _, token = authorization.partition(" ")
        if scheme not in ("Bearer", "OAuth") or not token.strip():
            raise ApiError(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE")
        if self.refused_with is not None:
            raise ApiError(401, "INVALID_SESSION_ID", self.refused_with)
        session = self._sessions.get(token.strip())
        if session is None and "!" not in token and token.count(".") == 2:
            raise ApiError(401, "INVALID_JWT_FORMAT", "Invalid JWT token format")
        self._count_down()
        if session is None or not session.alive:
            raise ApiError(401, "INVALID_SESSION_ID", EXPIRED)
        if session.crippled:
            raise ApiError(
                403,
                "INVALID_OPERATION_WITH_EXPIRED_PASSWORD",
                "The users password has expired, you must call SetPassword before attempting any other API "
                "operations",
            )
        return session

    def expire(self, after: int = 0) -> None:
        """End every session there is, at once or after so many more requests."""
        self._requests_left = after or None
        if not after:
            for session in self._sessions.values():
                session.alive = False

    def rotate(self, refresh_token: str, *, rotation: bool, ends_session: bool) -> str | None:
        """Use a refresh token; returns the one that replaces it, if any. Raises ValueError if refused."""
        if refresh_token != self._refresh_token:
            raise ValueError("expired access/refresh token")
        if not rotation:
            return None
        self._refresh_token = f"5Aep861{secrets.token_urlsafe(40)}"
        if ends_session:
            self.expire()
        return self._refresh_token

    def _count_down(self) -> None:
        if self._requests_left is None:
            return
        if self._requests_left == 0:
            self.expire()
        else:
            self._requests_left -= 1


def identity_url(base_url: str) -> str:
    """What the token endpoint calls `id`."""
    return f"{base_url}/id/{long_id(ORG_ID)}/{USER_ID}"
