"""The bar and its place: true to what is known, never wider than the terminal, never in the way of a line."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.delivery.counts import Counts
from crmsync.health import logs
from crmsync.health.progress import Progress
from crmsync.health.redaction import Redactor
from crmsync.health.screen import Screen


def progress(read: int, expected: int | None, *, written: int = 0, seconds: float = 10.0) -> Progress:
    """That of a run which began so long ago."""
    counts = Counts(read=read, written=written, expected=expected)
    counts.rejected["invalid_email"] = read // 50
    made = Progress("contacts", counts)
    made._gauge.start -= seconds
    made.measure()
    made._gauge.start, made._gauge.last_eta = made._gauge.start, 0.0
    made.measure()
    return made


def test_with_a_known_total_there_is_a_bar_a_rate_and_an_estimate() -> None:
    line = progress(2500, 10_000, written=2000).line(120)
    assert re.match(r"contacts  \[=+ +\]  25%  2,500 of 10,000 read  2\d\d rows/s  00:00:3\d left", line), (
        line
    )
    assert line.endswith("2,000 written  50 rejected")


@pytest.mark.parametrize(("read", "expected"), [(2500, None), (2500, 0), (2500, 2000)])
def test_without_one_or_with_one_proved_wrong_there_is_neither_bar_nor_estimate(
    read: int, expected: int | None
) -> None:
    line = progress(read, expected).line(120)
    assert line.startswith("contacts  2,500 read  2")
    assert "left" not in line
    assert "%" not in line


def test_ids_being_compared_are_progress_too() -> None:
    made = Progress("contacts", Counts(compared=4000))
    made.measure()
    assert made.line(80).startswith("contacts  4,000 compared")


@pytest.mark.parametrize("width", [79, 99, 200])
def test_an_ordinary_terminal_has_room_for_the_bar(width: int) -> None:
    line = progress(25_000, 100_000, written=20_000).line(width)
    assert re.search(r"\[=+ +\]  25%  25,000 of 100,000 read  .* left", line)


@given(st.integers(1, 200), st.integers(0, 10**7), st.none() | st.integers(0, 10**7), st.integers(0, 10**7))
def test_no_line_is_wider_than_the_terminal(
    width: int, read: int, expected: int | None, written: int
) -> None:
    line = progress(read, expected, written=written).line(width)
    assert 0 < len(line) <= width
    assert width < 20 or line.startswith("contacts")


def test_the_log_is_told_the_same_in_words_and_in_numbers(caplog: pytest.LogCaptureFixture) -> None:
    made = progress(2500, 10_000, written=2000)
    logger = logging.getLogger("crmsync")
    before, logger.propagate = logger.propagate, True
    try:
        with caplog.at_level(logging.INFO, "crmsync"):
            made.report()
    finally:
        logger.propagate = before
    (record,) = caplog.records
    assert "2,500 of 10,000 read" in record.getMessage()
    told = record.__dict__["progress"]
    assert (told["read"], told["expected"], told["written"], told["rejected"]) == (2500, 10_000, 2000, 50)
    assert told["eta_seconds"] > 0


def test_without_a_terminal_the_log_hears_of_a_long_run_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crmsync.health.progress.INTERVAL", 0.01)
    heard = threading.Event()
    monkeypatch.setattr(logging.getLogger("crmsync.health.progress"), "info", lambda *_, **__: heard.set())
    with caplog.at_level(logging.INFO, "crmsync"), Progress("contacts", Counts(read=7)):
        assert heard.wait(30)
    heard.clear()
    with caplog.at_level(logging.WARNING, "crmsync"), Progress("contacts", Counts(read=7)) as quiet:
        assert not quiet.is_shown
    assert not heard.is_set()


@pytest.fixture
def terminal() -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A terminal of 40 columns to write to, and the end at which it can be read."""
    controller, device = pty.openpty()
    resize(device, 40)
    with os.fdopen(device, "w") as stream:
        yield stream, controller
    os.close(controller)


def resize(device: int, columns: int) -> None:
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def shown(controller: int, until: str) -> str:
    """What has come, which ends with this text."""
    seen = ""
    while not seen.endswith(until):
        seen += os.read(controller, 65536).decode()
    return seen


def test_a_log_line_comes_above_the_status_line(terminal: tuple[io.TextIOWrapper, int]) -> None:
    stream, controller = terminal
    logs.set_up(redact=Redactor(), stream=stream)
    screen = logs.screen()
    assert screen is not None
    screen.show(lambda width: "busy"[:width])
    logging.getLogger("crmsync.test").warning("look")
    screen.clear()
    print("end", file=stream, flush=True)
    seen = shown(controller, "end\r\n").removesuffix("end\r\n")
    logs.set_up(redact=Redactor(), stream=io.StringIO())
    busy, wipe, rest = seen.partition("\r\x1b[J")
    assert busy == "busy"
    assert wipe
    line, ended, after = rest.partition("\r\n")
    assert line.endswith("look")
    assert ended
    assert after == "busy\r\x1b[J"


def test_a_terminal_made_narrower_is_wiped_whole(terminal: tuple[io.TextIOWrapper, int]) -> None:
    stream, controller = terminal
    screen = Screen(stream)
    screen.show(lambda width: "x" * width)
    assert shown(controller, "x" * 39) == "x" * 39
    resize(stream.fileno(), 15)
    screen.show(lambda width: "y" * width)
    assert shown(controller, "y" * 14) == "\r\x1b[2A\x1b[J" + "y" * 14


def test_a_stream_without_a_size_has_eighty_columns() -> None:
    stream = io.StringIO()
    Screen(stream).show(lambda width: "x" * width)
    assert len(stream.getvalue()) == 79
