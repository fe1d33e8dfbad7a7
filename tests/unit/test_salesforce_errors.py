"""Salesforce's refusals: every shape of body, every row of the table of errors, and what follows from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage, QuotaExhausted
from crmsync.http import Reply
from crmsync.sources.salesforce.errors import (
    FieldGone,
    LocatorLost,
    NotThere,
    QueryRefused,
    QueryTimeout,
    SalesforceError,
    UriTooLong,
    error_for,
    may_pass,
    refusal_of,
    session_expired,
)


def reply(status: int, body: Any, content_type: str = "application/json") -> Reply:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {"Content-Type": content_type}, encoded)


def refused(status: int, code: str, message: str = "said so") -> Reply:
    return reply(status, [{"message": message, "errorCode": code}])


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ([{"message": "m", "errorCode": "C", "fields": ["Email"]}], "C", "m"),
        ([{"message": "m", "errorCode": "C"}, {"message": "n", "errorCode": "D"}], "C", "m"),
        ({"message": "m", "errorCode": "C"}, "C", "m"),
        ({"exceptionCode": "InvalidBatch", "exceptionMessage": "m"}, "InvalidBatch", "m"),
        ({"error": "invalid_grant", "error_description": "expired"}, "invalid_grant", "expired"),
        ({"error": "invalid_grant"}, "invalid_grant", ""),
        ([{"message": None, "errorCode": None}], "", ""),
        ([], "", ""),
        ({}, "", ""),
        (["odd"], "", '["odd"]'),
        (b"", "", ""),
        (
            b"<html><h1>Bad Message 431</h1><pre>reason: Too Large</pre></html>",
            "",
            "Bad Message 431 reason: Too Large",
        ),
        (b"\xff\xfe\x00", "", "��\x00"),
        (b'[{"message": "cut o', "", '[{"message": "cut o'),
    ],
)
def test_bodies_of_every_shape_are_read(body: Any, code: str, message: str) -> None:
    read = refusal_of(reply(400, body))
    assert (read.status, read.code, read.message) == (400, code, message)


TABLE: list[tuple[int, str, str, type[CrmsyncError], int]] = [
    (401, "INVALID_SESSION_ID", "Session expired or invalid", AuthError, 77),
    (401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API", AuthError, 77),
    (401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", AuthError, 77),
    (401, "INVALID_JWT_FORMAT", "malformed", AuthError, 77),
    (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QuotaExhausted, 75),
    (
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
        Outage,
        75,
    ),
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", Outage, 75),
    (403, "API_DISABLED_FOR_ORG", "", AuthError, 77),
    (403, "API_CURRENTLY_DISABLED", "", AuthError, 77),
    (403, "FUNCTIONALITY_NOT_ENABLED", "", AuthError, 77),
    (403, "INSUFFICIENT_ACCESS", "", AuthError, 77),
    (403, "TXN_SECURITY_METERING_ERROR", "", AuthError, 77),
    (403, "SOMETHING_NEW", "", AuthError, 77),
    (400, "MALFORMED_QUERY", "unexpected token: 'FORM'", QueryRefused, 78),
    (400, "INVALID_FIELD", "No such column 'Foo__c' on entity 'Contact'.", FieldGone, 78),
    (400, "INVALID_TYPE", "sObject type 'XYZZY' is not supported.", QueryRefused, 78),
    (400, "QUERY_TIMEOUT", "Your query request was running for too long.", QueryTimeout, 75),
    (400, "QUERY_TOO_COMPLICATED", "too many joins", QueryRefused, 78),
    (400, "OPERATION_TOO_LARGE", "exceeded 100000 distinct who/what's", QueryRefused, 78),
    (400, "INVALID_QUERY_LOCATOR", "invalid query locator", LocatorLost, 75),
    (400, "INVALID_QUERY_FILTER_OPERATOR", "", QueryRefused, 78),
    (400, "INVALID_REPLICATION_DATE", "", SalesforceError, 1),
    (400, "EXCEEDED_ID_LIMIT", "", SalesforceError, 1),
    (404, "NOT_FOUND", "The requested resource does not exist", NotThere, 78),
    (404, "UNSUPPORTED_API_VERSION", "", NotThere, 78),
    (410, "UNSUPPORTED_API_VERSION", "", NotThere, 78),
    (405, "METHOD_NOT_ALLOWED", "", SalesforceError, 1),
    (409, "CONFLICT", "", SalesforceError, 1),
    (500, "UNKNOWN_EXCEPTION", "An unexpected error occurred.", Outage, 75),
    (503, "SERVER_UNAVAILABLE", "Server too busy", Outage, 75),
    (400, "SERVER_UNAVAILABLE", "Server too busy", Outage, 75),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "exit_code"), TABLE)
def test_every_row_of_the_table_has_its_class_and_exit_code(
    status: int, code: str, message: str, kind: type[CrmsyncError], exit_code: int
) -> None:
    error = error_for(refused(status, code, message), "query")
    assert type(error) is kind
    assert error.exit_code == exit_code


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("UNSUPPORTED_API_VERSION", "SALESFORCE_API_VERSION"),
        ("MALFORMED_QUERY", "`where`"),
        ("INVALID_FIELD", "`where`"),
        ("INVALID_TYPE", "`object`"),
    ],
)
def test_what_a_setting_can_mend_names_it(code: str, setting: str) -> None:
    hint = error_for(refused(400, code, "no"), "query").hint
    assert hint is not None
    assert setting in hint


HTML = b"<html><body>We are setting things up</body></html>"


@pytest.mark.parametrize("body", [HTML, b"", {"error": "odd"}, {}, []])
@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        *((status, Outage, 75) for status in (406, 420, 429, 500, 502, 503, 504)),
        *((status, UriTooLong, 1) for status in (414, 431)),
        (401, AuthError, 77),
        (403, AuthError, 77),
        (404, NotThere, 78),
        (410, NotThere, 78),
        (302, ConfigError, 78),
        (200, Outage, 75),
    ],
)
def test_refusals_without_a_code_go_by_their_status(
    status: int, kind: type[CrmsyncError], exit_code: int, body: Any
) -> None:
    error = error_for(reply(status, body, "text/html"), "query")
    assert type(error) is kind
    assert error.exit_code == exit_code


@pytest.mark.parametrize(
    ("status", "code", "message", "again"),
    [
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", False),
        (403, "REQUEST_LIMIT_EXCEEDED", "", False),
        (503, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", False),
        (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded.", True),
        (403, "REQUEST_LIMIT_EXCEEDED", "concurrentPerOrgLongTxn limit exceeded.", True),
        (403, "INSUFFICIENT_ACCESS", "", False),
        (400, "QUERY_TIMEOUT", "", False),
        (400, "UNABLE_TO_LOCK_ROW", "", True),
        (500, "UNKNOWN_EXCEPTION", "", True),
        (401, "INVALID_SESSION_ID", "", False),
        (414, "", "", False),
        (200, "SERVER_UNAVAILABLE", "", False),
    ],
)
def test_what_may_pass(status: int, code: str, message: str, again: bool) -> None:
    assert may_pass(refused(status, code, message)) is again


@pytest.mark.parametrize("body", [HTML, b""])
@pytest.mark.parametrize("status", [406, 420, 429, 500, 502, 503, 504])
def test_an_overloaded_edge_may_pass(status: int, body: bytes) -> None:
    assert may_pass(reply(status, body, "text/html"))


@pytest.mark.parametrize(
    ("status", "code", "message", "renewable"),
    [
        (401, "INVALID_SESSION_ID", "Session expired or invalid", True),
        (401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API", False),
        (401, "INVALID_SESSION_ID", "Connected app is not attached to Agent", False),
        (401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", False),
        (401, "INVALID_JWT_FORMAT", "", False),
        (403, "INVALID_SESSION_ID", "Session expired or invalid", False),
    ],
)
def test_which_sessions_can_be_renewed(status: int, code: str, message: str, renewable: bool) -> None:
    assert session_expired(refused(status, code, message)) is renewable


@pytest.mark.parametrize("body", [b"", HTML])
def test_a_401_that_says_nothing_is_worth_one_renewal(body: bytes) -> None:
    assert session_expired(reply(401, body, "text/html"))


def test_the_query_is_not_repeated_in_the_message() -> None:
    message = (
        "\nSELECT Id, Foo__c FROM Contact WHERE Email = 'ann@example.com'\n           ^\n"
        "ERROR at Row:1:Column:12\nNo such column 'Foo__c' on entity 'Contact'."
    )
    words = str(error_for(refused(400, "INVALID_FIELD", message), "query"))
    assert "No such column 'Foo__c'" in words
    assert "ann@example.com" not in words


def test_a_page_of_html_stays_short() -> None:
    words = str(error_for(reply(503, b"<p>" + b"busy " * 10_000, "text/html"), "query"))
    assert "busy" in words
    assert len(words) < 500


def test_a_long_message_is_cut() -> None:
    assert len(str(error_for(refused(400, "MALFORMED_QUERY", "word " * 10_000), "query"))) < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["errorCode", "message", "error", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    status=st.sampled_from([200, 302, 400, 401, 403, 404, 409, 414, 429, 500, 503]), body=JSON | st.binary()
)
def test_no_body_whatever_breaks_the_reading(status: int, body: Any) -> None:
    given_reply = reply(status, body)
    error = error_for(given_reply, "query")
    assert isinstance(error, CrmsyncError)
    assert isinstance(may_pass(given_reply), bool)
    assert str(error)
