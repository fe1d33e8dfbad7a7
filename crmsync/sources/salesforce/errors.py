"""Salesforce's refusals, of every shape, as one typed error (contract 1.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage, QuotaExhausted, SourceChanged
from crmsync.http import PASSING_STATUSES, Reply
from crmsync.text import one_line

SERVICE = "Salesforce"

_PERMANENT_SESSION_ERRORS = ("not valid for use with the rest api", "not attached to agent")
_PERMISSION_CODES = frozenset(
    {
        "API_DISABLED_FOR_ORG",
        "API_CURRENTLY_DISABLED",
        "FUNCTIONALITY_NOT_ENABLED",
        "INSUFFICIENT_ACCESS",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "TXN_SECURITY_METERING_ERROR",
    }
)
_LOCATION = re.compile(r"ERROR at Row:\d+:Column:\d+\s*")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused reply said: HTTP status, Salesforce's errorCode (empty where it gave none), message."""

    status: int
    code: str
    message: str

    @property
    def daily_quota(self) -> bool:
        return self.code == "REQUEST_LIMIT_EXCEEDED" and "concurrent" not in self.message.lower()

    @property
    def may_pass(self) -> bool:
        if self.code == "REQUEST_LIMIT_EXCEEDED":
            return not self.daily_quota
        return self.status in PASSING_STATUSES or self.code in ("SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW")

    @property
    def session_expired(self) -> bool:
        permanent = any(words in self.message.lower() for words in _PERMANENT_SESSION_ERRORS)
        return self.status == 401 and self.code in ("INVALID_SESSION_ID", "") and not permanent

    @property
    def words(self) -> str:
        """One line for people: the message without the query that Salesforce repeats in it."""
        located = _LOCATION.split(self.message)
        text = " ".join(located[-1].split()) or "no reason given"
        return f"{self.code or f'HTTP {self.status}'}: {text[:300]}"


class SalesforceError(CrmsyncError):
    """A refusal that no other class fits."""

    exit_code = 1

    def __init__(self, refusal: Refusal, what: str, *, hint: str | None = None) -> None:
        super().__init__(f"Salesforce refused the {what} ({refusal.words})", hint=hint)
        self.refusal = refusal


class QueryRefused(SalesforceError):
    """The query itself is at fault: MALFORMED_QUERY, INVALID_FIELD, INVALID_TYPE and their like."""

    exit_code = 78
    topic = "configuration"


class FieldGone(QueryRefused, SourceChanged):
    """INVALID_FIELD: the describe that the query was made from is no longer true."""

    topic = SourceChanged.topic


class LocatorLost(SalesforceError):
    """A page's link no longer works: its session ended, or it expired."""

    exit_code = 75
    topic = Outage.topic


class QueryTimeout(SalesforceError):
    """The query ran for too long."""

    exit_code = 75
    topic = Outage.topic


class UriTooLong(SalesforceError):
    """The query does not fit a URL."""


class NotThere(SalesforceError):
    """404: no such object, version or resource."""

    exit_code = 78
    topic = "configuration"


def refusal_of(reply: Reply) -> Refusal:
    """Read a refusal out of an array, an object, an OAuth object, HTML or nothing at all."""
    body: Any = reply.json()
    if isinstance(body, list):
        body = body[0] if body else {}
    if not isinstance(body, dict):
        return Refusal(reply.status, "", _plain(reply.body))
    code = body.get("errorCode") or body.get("exceptionCode") or body.get("error") or ""
    message = body.get("message") or body.get("exceptionMessage") or body.get("error_description") or ""
    return Refusal(reply.status, one_line(code), str(message))


def _plain(body: bytes) -> str:
    """The words of an HTML page, for a message."""
    return " ".join(re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace")).split())[:200]


def may_pass(reply: Reply) -> bool:
    return not reply.ok and refusal_of(reply).may_pass


def session_expired(reply: Reply) -> bool:
    return reply.status == 401 and refusal_of(reply).session_expired


_BY_CODE: dict[str, type[SalesforceError]] = {
    "INVALID_QUERY_LOCATOR": LocatorLost,
    "QUERY_TIMEOUT": QueryTimeout,
    "MALFORMED_QUERY": QueryRefused,
    "INVALID_FIELD": FieldGone,
    "INVALID_TYPE": QueryRefused,
    "INVALID_QUERY_FILTER_OPERATOR": QueryRefused,
    "QUERY_TOO_COMPLICATED": QueryRefused,
    "OPERATION_TOO_LARGE": QueryRefused,
    "NOT_FOUND": NotThere,
    "UNSUPPORTED_API_VERSION": NotThere,
}
_HINTS = {
    "UNSUPPORTED_API_VERSION": "Leave SALESFORCE_API_VERSION out, or set a version that the org has.",
    "MALFORMED_QUERY": "Check `where` of the sync, and its fields with `crmsync check`.",
    "INVALID_FIELD": "Check `where` of the sync, and its fields with `crmsync check`.",
    "INVALID_TYPE": "Check `object` of the sync, and what the integration user may see.",
    "INVALID_QUERY_FILTER_OPERATOR": "Check `where` of the sync.",
}


def error_for(reply: Reply, what: str) -> CrmsyncError:
    """The error to raise for a reply that is no success, after all its retries."""
    error = _error_for(reply, what)
    error.correlation_id = reply.correlation_id
    return error


def _error_for(reply: Reply, what: str) -> CrmsyncError:
    refusal = refusal_of(reply)
    if refusal.daily_quota:
        return QuotaExhausted(
            f"Salesforce's request allowance of the day is used up ({refusal.words})",
            hint="The next run goes on from here once the org has requests left.",
        )
    if refusal.status == 401:
        return AuthError(
            f"Salesforce does not accept the session ({refusal.words})",
            hint="Log in anew: check the SALESFORCE_ variables with `crmsync check`.",
        )
    if refusal.code in _BY_CODE:
        return _BY_CODE[refusal.code](refusal, what, hint=_HINTS.get(refusal.code))
    if (refusal.status == 403 and not refusal.may_pass) or refusal.code in _PERMISSION_CODES:
        return AuthError(
            f"Salesforce forbids the {what} ({refusal.words})",
            hint="Give the integration user the permission it lacks, then run `crmsync check`.",
        )
    if refusal.status in (414, 431):
        return UriTooLong(refusal, what)
    if refusal.may_pass:
        return Outage(f"Salesforce could not serve the {what} now ({refusal.words})")
    if reply.ok:
        return Outage(f"Salesforce answered the {what} with something unreadable ({refusal.words})")
    if refusal.status in (404, 410):
        return NotThere(refusal, what)
    if 300 <= refusal.status < 400:
        return ConfigError(
            f"Salesforce redirected the {what} elsewhere",
            hint="Set SALESFORCE_LOGIN_URL or SALESFORCE_INSTANCE_URL to the org's My Domain address.",
        )
    return SalesforceError(refusal, what)
