"""The small parsers: durations, the kinds of settings, the reject limit, the operator's condition."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.config import RejectLimit, condition, format_duration, parse_duration
from crmsync.config.settings import BY_VARIABLE, SETTINGS
from crmsync.config.values import parse, plain_http, show

HERE = Path("/srv/sync")


def parsed(variable: str, written: object) -> object:
    return parse(BY_VARIABLE[variable], written, HERE)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("36h", 129_600),
        ("7d", 604_800),
        ("1h30m", 5_400),
        ("45", 45),
        (" 1D 2h ", 93_600),
    ],
)
def test_durations_as_operators_write_them(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "m", "-5m", "1.5h", "30m1h", "10 minutes", "5m5m", "1w", "٣s", "999999999d"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@given(st.integers(0, 36_525 * 86_400))
def test_a_formatted_duration_reads_back(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@given(st.text(max_size=12))
def test_parse_duration_raises_nothing_but_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_duration(text) >= timedelta()


def test_every_default_is_valid_and_shown_as_it_is_written() -> None:
    for setting in SETTINGS:
        if setting.default is not None:
            assert show(parse(setting, setting.default, HERE)) == setting.default


def test_every_example_is_valid() -> None:
    for setting in SETTINGS:
        if setting.example is not None:
            assert show(parse(setting, setting.example, HERE)) == setting.example


@pytest.mark.parametrize(
    ("variable", "written", "value"),
    [
        ("CRMSYNC_BATCH_SIZE", 250, 250),
        ("CRMSYNC_BATCH_SIZE", "10_000", 10_000),
        ("CRMSYNC_OVERLAP", 600, timedelta(minutes=10)),
        ("CRMSYNC_OVERLAP", timedelta(hours=2), timedelta(hours=2)),
        ("CRMSYNC_MAX_QUOTA", "75 %", 0.75),
        ("CRMSYNC_MAX_QUOTA", 75, 0.75),
        ("CRMSYNC_STATE", "s3://acme-sync/prod/", "s3://acme-sync/prod"),
        ("CRMSYNC_STATE", "var/../state", "/srv/sync/state"),
        ("CRMSYNC_CACHE", "/tmp/cache/", Path("/tmp/cache")),
        ("CRMSYNC_STATSD", "unix:///run/dsd.socket", "unix:///run/dsd.socket"),
        ("CRMSYNC_LOG_LEVEL", "INFO", "info"),
        ("SALESFORCE_AUTH", "client-credentials", "client_credentials"),
        ("SALESFORCE_LOGIN_URL", "acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("SALESFORCE_LOGIN_URL", "https://acme.my.salesforce.com/", "https://acme.my.salesforce.com"),
        ("SALESFORCE_API_VERSION", "v62.0", "62.0"),
        ("SALESFORCE_API_VERSION", 62, "62.0"),
        ("HUBSPOT_PORTAL_ID", 62515, 62515),
        ("CRMSYNC_ALLOW_HTTP_HOSTS", "a.test, B.test", ("a.test", "b.test")),
        ("CRMSYNC_ALLOW_HTTP_HOSTS", ["a.test"], ("a.test",)),
    ],
)
def test_values(variable: str, written: object, value: object) -> None:
    assert parsed(variable, written) == value


@pytest.mark.parametrize(
    ("variable", "written", "sentence"),
    [
        ("CRMSYNC_BATCH_SIZE", "0", "must be from 1 to 10000"),
        ("CRMSYNC_BATCH_SIZE", "10001", "must be from 1 to 10000"),
        ("CRMSYNC_BATCH_SIZE", "many", "must be a whole number"),
        ("CRMSYNC_BATCH_SIZE", True, "must be a whole number"),
        ("CRMSYNC_BATCH_SIZE", 1.5, "must be a whole number"),
        ("CRMSYNC_OVERLAP", "2d", "must be from 0s to 1d"),
        ("CRMSYNC_MAX_QUOTA", "0.8", "must be from 1% to 100%"),
        ("CRMSYNC_MAX_QUOTA", "101%", "must be a percentage"),
        ("CRMSYNC_MAX_REJECTS", "-1", "must be a percentage such as 5% or a count"),
        ("CRMSYNC_STATE", "gs://bucket/prefix", "s3://bucket/prefix"),
        ("CRMSYNC_STATE", "s3://Bucket/prefix", "s3://bucket/prefix"),
        ("CRMSYNC_CACHE", "~/cache", "without ~"),
        ("CRMSYNC_LOG_LEVEL", "inof", "did you mean info"),
        ("SALESFORCE_LOGIN_URL", "https://login.salesforce.com/services/oauth2/token", "host only"),
        ("SALESFORCE_INSTANCE_URL", "acme.lightning.force.com", "My Domain"),
        ("EXPERITURE_BASE_URL", "ftp://api.test", "must be a URL"),
        ("EXPERITURE_BASE_URL", "https://api.test:port", "must be a URL"),
        ("EXPERITURE_BASE_URL", "https:///v1", "must be a URL"),
        ("EXPERITURE_BASE_URL", "https://user:pass@api.test", "user name"),
        ("EXPERITURE_BASE_URL", "https://api.test/v1#top", "fragment"),
        ("EXPERITURE_SCOPE", "one\ntwo", "line break"),
        ("EXPERITURE_API_KEY", "key\n", "line break"),
        ("EXPERITURE_API_KEY", 12345, "must be a text"),
        ("CRMSYNC_STATSD", "agent:port", "must be host:port"),
        ("CRMSYNC_ALLOW_HTTP_HOSTS", "http://a.test", "without a scheme"),
        ("SALESFORCE_API_VERSION", "newest", "such as 62.0"),
    ],
)
def test_refused_values(variable: str, written: object, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        parsed(variable, written)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://api.test", False),
        ("http://127.0.0.1:8080", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:8080", False),
        ("http://localhost", False),
        ("http://api.localhost", False),
        ("http://api.test", True),
        ("http://127.0.0.1.evil.test", True),
        ("http://localhost.evil.test", True),
        ("http://10.0.0.1", True),
    ],
)
def test_plain_http_is_known(url: str, plain: bool) -> None:
    assert plain_http(url) is plain


def test_reject_limit_is_a_share_with_a_floor_or_a_count() -> None:
    share, count, none = (parsed("CRMSYNC_MAX_REJECTS", written) for written in ("5%", "200", "0%"))
    assert share == RejectLimit(0.05, 50)
    assert [share.allowed(records) for records in (0, 1_000, 1_019, 1_020, 100_000)] == [
        50,
        50,
        50,
        51,
        5_000,
    ]
    assert [count.allowed(records) for records in (0, 1_000_000)] == [200, 200]
    assert none.allowed(1_000_000) == 0
    assert [show(limit) for limit in (share, count, none)] == ["5%", "200", "0"]


@given(st.integers(0, 10**9), st.integers(1, 100))
def test_reject_limit_is_exact_to_the_record(records: int, percent: int) -> None:
    assert parsed("CRMSYNC_MAX_REJECTS", f"{percent}%").allowed(records) == max(50, records * percent // 100)


@pytest.mark.parametrize(
    "text",
    [
        "RecordType.DeveloperName = 'Customer'",
        "IsDeleted = false AND (Email != null OR Phone != null)",
        "Name = 'Today; LIMIT 1 -- ORDER BY ('",
        r"Name = 'O\'Brien)'",
        "Id IN (SELECT ContactId FROM CampaignMember WHERE Status = 'Sent')",
        "CreatedDate > 2020-01-01T00:00:00Z",
        "Limit__c > 5 AND Today__c = true",
        "Products__c INCLUDES ('A;B', 'C')",
        "Name LIKE '/*%'",
    ],
)
def test_conditions_that_stand(text: str) -> None:
    assert condition.problems(text) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "blank"),
        ("   ", "blank"),
        ("Name = 'x') OR (Name != 'x'", "balanced parentheses"),
        ("(Name = 'x'", "balanced parentheses"),
        ("Name = 'x", "balanced single quotes"),
        (r"Name = 'x\'", "balanced single quotes"),
        ('Name = "x"', "double ones"),
        ("Name = 'x' ORDER  BY Name", "without ORDER BY"),
        ("Name = 'x' order\nby Name", "without ORDER BY"),
        ("Name = 'x'LIMIT 5", "without LIMIT"),
        ("Name = 'x' OFFSET 5", "without OFFSET"),
        ("Name = 'x' GROUP BY Name", "without GROUP BY"),
        ("Name = 'x' HAVING COUNT(Id) > 1", "without HAVING"),
        ("Name = 'x' FOR UPDATE", "without FOR"),
        ("Name = 'x' WITH SECURITY_ENFORCED", "without WITH"),
        ("Name = 'x' ALL ROWS", "without ALL ROWS"),
        ("Id IN (SELECT Id FROM Contact LIMIT 5)", "without LIMIT"),
        ("Name = 'x' -- all", "comment"),
        ("Name = 'x' /* all */", "comment"),
        ("Name = 'x';", "semicolon"),
        ("CreatedDate = TODAY", "relative date TODAY"),
        ("CreatedDate > LAST_N_DAYS:30", "relative date LAST_N_DAYS"),
        ("CreatedDate = this_month", "relative date this_month"),
        ("CreatedDate < N_WEEKS_AGO:2", "relative date N_WEEKS_AGO"),
        ("CreatedDate = NEXT_90_DAYS", "relative date NEXT_90_DAYS"),
        ("CreatedDate = LAST_FISCAL_QUARTER", "relative date LAST_FISCAL_QUARTER"),
        ("WHERE Name = 'x'", "condition only"),
        ("SELECT Id FROM Contact", "condition only"),
    ],
)
def test_conditions_that_are_refused(text: str, sentence: str) -> None:
    assert any(sentence in problem for problem in condition.problems(text)), condition.problems(text)


@given(st.text(alphabet="()'\\ aA", max_size=30))
def test_no_accepted_condition_reaches_out_of_its_parentheses(text: str) -> None:
    """Read by hand, character by character: in a string or not, how deep, and never below the ground."""
    if condition.problems(text):
        return
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            quoted = escaped or character != "'"
            escaped = character == "\\" and not escaped
        elif character == "'":
            quoted = True
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
            assert depth >= 0
    assert not quoted
    assert depth == 0
