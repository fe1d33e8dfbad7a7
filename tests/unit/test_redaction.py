"""Secrets and personal data stay in, in text and JSON lines, tracebacks included (law 10)."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmsync.errors import CrmsyncError
from crmsync.health.logs import JsonFormatter, TextFormatter, set_run_id, set_up
from crmsync.health.redaction import MASK, Redactor, printable


def line(formatter_class, message: str, *args: object, secrets=(), error: BaseException | None = None) -> str:
    """A log line as it would be written, with a traceback where there is an error."""
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    record = logging.LogRecord("crmsync.test", logging.WARNING, __file__, 1, message, args, info)
    return formatter_class(Redactor(secrets)).format(record)


FORMATTERS = pytest.mark.parametrize("formatter", [TextFormatter, JsonFormatter])

secrets = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"]), min_size=6
).map(lambda text: f"§{text}")  # so that it is no word of the line itself
few = settings(max_examples=40, deadline=None)
emails = st.emails()
mobiles = st.integers(10**9, 10**14 - 1).map(lambda n: f"+{n}")
spaced = st.builds(
    lambda c, a, b, d, gap: f"+{c}{gap}{a}{gap}{b}{gap}{d}",
    st.integers(1, 99),
    st.integers(100, 999),
    st.integers(100, 999),
    st.integers(1000, 9999),
    st.sampled_from([" ", "-", ".", " (", ") "]),
)
american = st.builds(
    lambda area, a, b, form: form.format(area, a, b),
    st.integers(200, 999),
    st.integers(200, 999),
    st.integers(1000, 9999),
    st.sampled_from(["({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "{} {} {}"]),
)
around = st.sampled_from(
    [
        "{}",
        "value {}",
        "({})",
        '"{}"',
        "'{}'",
        "[{}]",
        "x={}",
        "x: {}",
        "x:{}",
        '{{"k": "{}"}}',
        "<{}>",
        "a,{};b",
    ]
)


def everywhere(text: str, known=()) -> list[str]:
    """The line with this text in its message, in its arguments, and in a chained exception."""
    lines = []
    for formatter in (TextFormatter, JsonFormatter):
        lines.append(line(formatter, text.replace("%", "%%") + "%s", "", secrets=known))
        lines.append(line(formatter, "met %s and %r", text, [text], secrets=known))
        inner = CrmsyncError(text)
        outer = CrmsyncError(f"while at work: {text}")
        outer.__cause__ = inner
        lines.append(line(formatter, "failed", secrets=known, error=outer))
    return lines


@few
@given(secrets, around)
def test_no_known_secret_survives(secret, form):
    for written in everywhere(form.format(secret), [secret]):
        assert secret not in written
        assert json.dumps(secret)[1:-1] not in written


@few
@given(secrets)
def test_no_known_secret_survives_in_a_url_or_a_form(secret):
    for spelled in (quote(secret, safe=""), quote_plus(secret)):
        for written in everywhere(f"GET https://host/x?p={spelled}&q=1", [secret]):
            assert spelled not in written


@few
@given(st.lists(secrets, min_size=2, max_size=4))
def test_secrets_within_secrets_are_all_masked(several):
    joined = "".join(several)
    for written in everywhere(joined, [*several, joined]):
        assert all(secret not in written for secret in several)


@few
@given(emails, around)
def test_no_email_survives(address, form):
    for written in everywhere(form.format(address)):
        assert address not in written
        assert f"@{address.partition('@')[2]}" not in written


@few
@given(emails)
def test_no_email_survives_in_a_url(address):
    encoded = quote(address, safe="")
    for written in everywhere(f"GET https://host/query?q={encoded}"):
        assert encoded not in written


@few
@given(mobiles | spaced | american, around)
def test_no_phone_number_survives(number, form):
    for written in everywhere(form.format(number)):
        assert number not in written
        assert number[-8:] not in written


def test_names_with_an_apostrophe_go_as_a_whole():
    assert Redactor()("to o'brien@example.com now") == "to [e-mail] now"
    assert Redactor()("Email='jo@example.com'") == "Email='[e-mail]'"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def-123456",
        "00D5g000004abcd!AQEAQFx.secretpart_123",
        "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",
        '{"access_token": "s3cr3tvalue", "x": 1}',
        "client_secret=s3cr3tvalue&grant_type=x",
        "password: 's3cr3tvalue'",
        "https://user:s3cr3tvalue@host/x",
        "https://bucket/x?X-Amz-Signature=s3cr3tvalue&X-Amz-Credential=s3cr3tvalue",
        "https://blob/x?sv=1&sig=s3cr3tvalue",
        "refresh_token='s3cr3tvalue'",
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_told(text):
    for written in everywhere(text):
        assert MASK in written
        for part in ("s3cr3tvalue", "secretpart", "def-123456", "c2lnbmF0dXJl"):
            assert part not in written


def test_a_secret_of_several_lines_is_masked_in_text_too():
    key = "-----BEGIN KEY-----\nMIIEabcdef\nghijklmnop\n-----END KEY-----"
    for written in everywhere(f"the key is {key}", [key]):
        assert "MIIEabcdef" not in written
        assert "ghijklmnop" not in written


@pytest.mark.parametrize(
    "text",
    [
        "5,137 read, 12 written in 1.5 s; watermark 2026-05-01T10:00:00Z",
        "window 2026-05-01T10:00:00+00:00 to 2026-05-01T10:15:00+0000",
        "job 3f0c1b1e-1a2b-4c3d-9e8f-001122334455 is running",
        "row 0035g00000AbCdEfGH: email is not a well-formed e-mail address",
        "Salesforce at https://acme.my.salesforce.com gave no answer (ConnectTimeout)",
        "HTTP 400 CDP_ETL.VALIDATION.REQUEST_INVALID [correlation 7b1e]",
        "the token is not accepted (HTTP 401)",
        "state /var/lib/crmsync/contacts/state.json, process 1234567890",
    ],
)
def test_ordinary_words_stay_as_they_are(text):
    assert Redactor()(text) == text


STEERING = "\x00\x07\x08\x1b[31mred\x1b]0;title\x07\r\x7f\x9b2J\u202e\u2066\u2028\u200b\ufeff\ud800"


@FORMATTERS
def test_control_characters_are_visible_and_harmless(formatter):
    written = line(formatter, "before %s after", STEERING, error=ValueError(STEERING))
    written.encode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202e\u2066\ufeff\ud800]", written)
    assert "x1b[31mred" in written
    assert "u202e" in written


@few
@given(st.text())
def test_nothing_that_is_shown_steers_a_terminal(text):
    shown = printable(text)
    assert all(character.isprintable() or ord(character) > 0x9F or character in "\t\n" for character in shown)
    shown.encode()


@few
@given(st.text(st.characters()))
def test_a_json_line_is_one_line_of_json_whatever_is_in_it(text):
    written = line(JsonFormatter, "%s", text, error=ValueError(text))
    assert "\n" not in written
    assert json.loads(written)["level"] == "warning"


def test_a_json_line_says_what_when_where_and_in_which_run():
    set_run_id("run-7")
    parsed = json.loads(line(JsonFormatter, "%d rows", 5))
    set_run_id("")
    assert (parsed["msg"], parsed["level"], parsed["logger"], parsed["run_id"]) == (
        "5 rows", "warning", "crmsync.test", "run-7",
    )  # fmt: skip
    assert parsed["ts"].endswith("+00:00")
    assert "trace" not in parsed


class TestSetUp:
    @pytest.fixture(autouse=True)
    def loggers(self):
        names = ("", "crmsync")
        before = [
            (logging.getLogger(n), logging.getLogger(n).handlers[:], logging.getLogger(n).level)
            for n in names
        ]
        propagated = logging.getLogger("crmsync").propagate
        yield
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
        logging.getLogger("crmsync").propagate = propagated

    def written(self, act, **options) -> str:
        stream = io.StringIO()
        set_up(redact=Redactor(["s3cr3tvalue"]), stream=stream, **options)
        act()
        return stream.getvalue()

    def test_elsewhere_than_on_a_terminal_it_writes_json_from_warnings_up(self):
        def act() -> None:
            logging.getLogger("crmsync.x").info("quiet")
            logging.getLogger("crmsync.x").warning("with s3cr3tvalue")

        (parsed,) = map(json.loads, self.written(act).splitlines())
        assert parsed["msg"] == f"with {MASK}"

    def test_more_words_are_asked_for_one_level_at_a_time(self):
        log = logging.getLogger("crmsync.x")

        def act() -> None:
            log.debug("d")
            log.info("i")

        assert len(self.written(act, verbosity=1).splitlines()) == 1
        assert len(self.written(act, verbosity=2).splitlines()) == 2

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_other_libraries_are_redacted_as_well(self, form):
        def act() -> None:
            logging.getLogger("urllib3.pool").warning("GET https://h/?token=abcdefgh for a@example.com")

        written = self.written(act, form=form)
        assert "abcdefgh" not in written
        assert "example.com" not in written
        assert "[e-mail]" in written


def test_what_a_line_of_the_log_holds_is_redacted_however_deep_it_lies() -> None:
    formatter = JsonFormatter(Redactor(["s3cr3t-value"]))
    record = logging.LogRecord("crmsync", logging.INFO, "", 0, "the end", None, None)
    record.summary = {"refused": {"dup jane@acme.com": 1}, "notes": ["s3cr3t-value"]}
    line = formatter.format(record)
    assert "jane@acme.com" not in line
    assert "s3cr3t-value" not in line
    assert "[e-mail]" in line
