"""Log lines: what stands on each, for people, for machines and for the journal."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crmsync.cli.common import say_error
from crmsync.errors import AuthError
from crmsync.health import logs
from crmsync.health.redaction import Redactor

log = logging.getLogger("crmsync.test")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    kept = [(logging.getLogger(n), logging.getLogger(n).handlers[:]) for n in ("", "crmsync")]
    levels = [(logger, logger.level, logger.propagate) for logger, _ in kept]
    logs.set_run_id("20260501T100000Z-3fa2c1")
    yield
    logs.set_run_id("")
    logs.set_up(redact=Redactor(), stream=io.StringIO())
    for logger, handlers in kept:
        logger.handlers[:] = handlers
    for logger, level, propagate in levels:
        logger.setLevel(level)
        logger.propagate = propagate


def written(act: Callable[[], object], stream: io.StringIO | None = None, **options: Any) -> str:
    target = stream if stream is not None else io.StringIO()
    logs.set_up(redact=Redactor(["s3cr3tvalue"]), stream=target, **options)
    act()
    return target.getvalue()


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_json_line_has_the_run_and_while_one_is_at_work_the_sync() -> None:
    def act() -> None:
        log.warning("before")
        with logs.about("contacts"):
            log.warning("at work")
        log.warning("after")

    before, at_work, after = objects(written(act))
    for line in (before, at_work, after):
        assert list(line)[:5] == ["ts", "level", "logger", "msg", "run_id"]
        assert line["run_id"] == "20260501T100000Z-3fa2c1"
    assert at_work["sync"] == "contacts"
    assert "sync" not in before
    assert "sync" not in after


def test_a_failed_call_says_what_the_service_calls_it() -> None:
    def act() -> None:
        log.warning("refused", extra={"correlation_id": "7b1e-55"})
        say_error(AuthError("forbidden", hint="Ask for it.", correlation_id="9c-1"))

    refused, ended = objects(written(act))
    assert refused["correlation_id"] == "7b1e-55"
    assert (ended["correlation_id"], ended["hint"], ended["exit_code"]) == ("9c-1", "Ask for it.", 77)
    text = written(act, form="text")
    assert "refused [correlation 7b1e-55]\n" in text
    assert "forbidden [correlation 9c-1]\n  → Ask for it.\n" in text


def test_a_line_for_people_names_the_run_by_its_end() -> None:
    text = written(lambda: log.warning("five of six"), form="text")
    assert text[8:] == " 3fa2c1 warning: five of six\n"


def test_a_process_has_one_run_id_and_makes_it_itself() -> None:
    logs.set_run_id("")
    assert logs.run_id() == logs.run_id() != ""


def test_what_a_line_tells_beside_its_message_is_redacted_too() -> None:
    def act() -> None:
        log.error("no", extra={"hint": "use s3cr3tvalue", "correlation_id": "\x1b[2J jo@example.com"})

    for form in ("text", "json"):
        text = written(act, form=form)
        assert "s3cr3tvalue" not in text
        assert "example.com" not in text
        assert "\x1b" not in text


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_levels_are_coloured_on_a_terminal_that_takes_colours(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], environment: dict[str, str], coloured: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = written(lambda: log.warning("look"), stream(), form="text")
    assert ("\x1b[33mwarning\x1b[0m" in text) is coloured
    assert ("\x1b" in text) is coloured


def test_json_lines_are_never_coloured() -> None:
    assert "\x1b" not in written(lambda: log.warning("look"), Terminal(), form="json")


@pytest.mark.parametrize("quietness", [1, 2, 5])
def test_however_quiet_errors_are_told(quietness: int) -> None:
    text = written(lambda: (log.warning("w"), log.error("e")), verbosity=-quietness)
    assert [line["msg"] for line in objects(text)] == ["e"]


@pytest.mark.parametrize("form", ["auto", "text"])
def test_lines_for_the_journal_bear_its_priorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        logs.set_up(redact=Redactor(), stream=journal, form=form)
        log.debug("not asked for")
        log.info("fine")
        log.warning("two\nlines")
        journal.seek(0)
        lines = journal.read().splitlines()
    if form == "auto":
        assert [line[:3] for line in lines] == ["<6>", "<4>"]
        assert [json.loads(line[3:])["msg"] for line in lines] == ["fine", "two\nlines"]
    else:
        assert [line[:3] for line in lines] == ["<6>", "<4>", "<4>"]


def test_another_stream_than_the_journals_gets_no_priorities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:4711")
    assert written(lambda: log.warning("w")).startswith("{")


def test_a_status_line_has_its_place_on_a_terminal_for_people_only(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = pty.openpty()
    with open(terminal, "w") as stream, open(controller, "rb"):
        for options, expected in (({}, True), ({"form": "json"}, False)):
            logs.set_up(redact=Redactor(), stream=stream, **options)  # type: ignore[arg-type]  # of several types
            assert (logs.screen() is not None) is expected
        monkeypatch.setenv("TERM", "dumb")
        logs.set_up(redact=Redactor(), stream=stream)
        assert logs.screen() is None
    logs.set_up(redact=Redactor(), stream=io.StringIO())
    assert logs.screen() is None
