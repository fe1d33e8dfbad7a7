"""The one place that opens connections."""

from crmsync.http.client import (
    LONGEST_WAIT,
    PASSING_STATUSES,
    Auth,
    Budget,
    Client,
    Retry,
    Stopper,
    passing,
)
from crmsync.http.origins import is_loopback, origin_of, require_safe
from crmsync.http.wire import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    USER_AGENT,
    NoAnswer,
    Reply,
    failure,
    json_of,
    parse_http_date,
)

__all__ = [
    "CONNECT_TIMEOUT",
    "LONGEST_WAIT",
    "PASSING_STATUSES",
    "READ_TIMEOUT",
    "USER_AGENT",
    "Auth",
    "Budget",
    "Client",
    "NoAnswer",
    "Reply",
    "Retry",
    "Stopper",
    "failure",
    "is_loopback",
    "json_of",
    "origin_of",
    "parse_http_date",
    "passing",
    "require_safe",
]
