"""Metrics and the heartbeat, each on its own."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses

from crmsync.config import DEFAULT_SYNC
from crmsync.delivery import RecordLag
from crmsync.errors import AuthError, CrmsyncError
from crmsync.health import prometheus, tail
from crmsync.health.dogstatsd import DogStatsd
from crmsync.health.ending import Ending
from crmsync.health.heartbeat import Heartbeat
from crmsync.health.observer import Observer
from crmsync.health.observers import Observers
from crmsync.health.prometheus import METRICS, PrometheusFile
from crmsync.health.redaction import Redactor
from crmsync.health.tail import MISSING, Tail, keep_tail
from crmsync.http import Stopper

NOW = 1_790_000_000.0
GOOD = Ending(
    sync="contacts",
    source="salesforce",
    exit_code=0,
    at=NOW,
    duration_seconds=2.5,
    in_step=True,
    records={"read": 10, "written": 7, "rejected": 1},
    skipped={"no_email": 2},
    requests={"source": 4, "destination": 3},
    watermark=NOW - 10,
    lag_seconds=10.0,
    record_lag_seconds=70.0,
    rejects_open=5,
    api_used=100,
    api_limit=1000,
)
BROKEN = Ending("contacts", "salesforce", exit_code=1, at=NOW + 900, duration_seconds=0.5)
URL = "https://hc.test/ping/5ec2e7?create=1"


class Told(Observer):
    """Writes down what it is told, and fails where it is asked to."""

    name = "TOLD"

    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[Any] = []
        self._error = error

    def begin(self) -> None:
        self._hear("begin")

    def synced(self, ending: Ending) -> None:
        self._hear(ending.exit_code)

    def end(self, code: int, endings: Sequence[Ending], said: str) -> None:
        self._hear(("end", code, len(endings)))

    def _hear(self, what: object) -> None:
        self.heard.append(what)
        if self._error:
            raise self._error


@pytest.fixture
def loggers() -> Iterator[None]:
    """Leaves logging as it was."""
    kept = [(logging.getLogger(name), *_of(logging.getLogger(name))) for name in ("", "crmsync")]
    yield
    for logger, handlers, level in kept:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def _of(logger: logging.Logger) -> tuple[list[logging.Handler], int]:
    return logger.handlers[:], logger.level


# --- all of them ----------------------------------------------------------------------------------------------


def test_a_bug_is_told_before_it_ends_the_run() -> None:
    told = Told()

    def run() -> dict[str, Any]:
        raise ValueError("ada@example.org")

    with pytest.raises(ValueError, match="ada"), Observers([told]) as watched:
        watched.watch(DEFAULT_SYNC, run)
    assert told.heard == ["begin", 1, ("end", 1, 1)]


@pytest.mark.parametrize(("error", "code"), [(AuthError("no"), 77), (KeyboardInterrupt(), 130)])
def test_what_ends_a_run_between_two_syncs_is_told(error: BaseException, code: int) -> None:
    told = Told()
    with pytest.raises(type(error)), Observers([told]):
        raise error
    assert told.heard == ["begin", ("end", code, 0)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CrmsyncError("it rests"), "TOLD: it rests"),
        (PermissionError(13, "Permission denied", "/x"), "TOLD: [Errno 13] Permission denied: '/x'"),
        (ValueError("ada@example.org"), "TOLD: failed (ValueError)"),
    ],
)
def test_an_observer_that_fails_is_warned_of_and_the_others_are_told(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    fails, told = Told(error), Told()
    with Observers([fails, told]) as watched:
        watched.end(0, "")
    assert told.heard == fails.heard == ["begin", ("end", 0, 0)]
    assert [record.getMessage() for record in caplog.records] == [said, said]


# --- Prometheus -----------------------------------------------------------------------------------------------


@pytest.fixture
def exposition(tmp_path: Path) -> Path:
    return tmp_path / "crmsync.prom"


@pytest.fixture
def file(exposition: Path) -> PrometheusFile:
    return PrometheusFile(exposition, {"contacts", "leads"}, timedelta(minutes=15))


def lines(path: Path, *having: str) -> list[str]:
    """The samples in which all of this occurs."""
    told = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [line for line in told if all(part in line for part in having)]


def test_a_run_that_learned_everything_tells_every_metric(file: PrometheusFile, exposition: Path) -> None:
    file.synced(GOOD)
    assert {line.partition("{")[0] for line in lines(exposition)} == METRICS.keys()
    (interval,) = lines(exposition, "crmsync_interval_seconds")
    assert interval.endswith(" 900.0")


def test_a_run_that_learned_nothing_keeps_what_stays_true(file: PrometheusFile, exposition: Path) -> None:
    file.synced(GOOD)
    kept = {name for name, metric in METRICS.items() if metric.stays}
    before = [line for name in kept for line in lines(exposition, name)]
    file.synced(BROKEN)
    assert [line for name in kept for line in lines(exposition, name)] == before
    assert {line.partition("{")[0] for line in lines(exposition)} - kept == {
        "crmsync_build_info",
        "crmsync_interval_seconds",
        "crmsync_last_run_timestamp_seconds",
        "crmsync_last_exit_code",
        "crmsync_run_duration_seconds",
    }


def test_what_the_last_run_did_not_skip_is_not_told(file: PrometheusFile, exposition: Path) -> None:
    file.synced(GOOD)
    file.synced(replace(GOOD, skipped={"deleted": 1}))
    (only,) = lines(exposition, "crmsync_records_skipped")
    assert 'reason="deleted"' in only


def test_a_sync_that_reads_another_source_now_keeps_nothing(file: PrometheusFile, exposition: Path) -> None:
    file.synced(GOOD)
    file.synced(replace(BROKEN, source="hubspot"))
    assert lines(exposition, 'source="salesforce"') == []


def test_what_is_not_ours_is_left_out(file: PrometheusFile, exposition: Path) -> None:
    exposition.write_text(
        'somebody_elses 1\ncrmsync_lag_seconds{sync="leads"} 3\n'
        'crmsync_lag_seconds{sync="leads",source="salesforce"} NaN\n'
        'crmsync_rejects_pending{sync="leads",source="salesforce"} 4\n'
    )
    file.synced(GOOD)
    (kept,) = lines(exposition, "leads")
    assert kept.startswith("crmsync_rejects_pending")
    assert lines(exposition, "somebody_elses") == []


@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe", b"}{", b'crmsync_lag_seconds{sync="contacts" 3', b"a 1 2 3 4"]
)
def test_garbage_is_begun_anew(file: PrometheusFile, exposition: Path, garbage: bytes) -> None:
    exposition.write_bytes(garbage)
    file.synced(GOOD)
    assert lines(exposition, "crmsync_last_exit_code")


def test_two_runs_that_end_at_once_both_stay(file: PrometheusFile, exposition: Path) -> None:
    """One waits for the other: the folder's lock is held until the first has written."""
    folder = os.open(exposition.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    second = threading.Thread(target=file.synced, args=(replace(GOOD, sync="leads"),))
    second.start()
    exposition.write_text('crmsync_rejects_pending{sync="contacts",source="salesforce"} 4\n')
    os.close(folder)
    second.join()
    assert lines(exposition, 'sync="contacts"')
    assert lines(exposition, 'sync="leads"')


def test_a_folder_that_stays_locked_is_an_error(
    file: PrometheusFile, exposition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "LOCK_PATIENCE", 0.0)
    folder = os.open(exposition.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        file.synced(GOOD)
    os.close(folder)
    assert not exposition.exists()


# --- DogStatsD ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("agent.test:9125", ("agent.test", 9125)),
        ("agent.test", ("agent.test", 8125)),
        ("[::1]:9125", ("::1", 9125)),
        ("[::1]", ("::1", 8125)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, meant: tuple[str, int]) -> None:
    client = DogStatsd(address)._client
    assert (client.host, client.port) == meant


def test_an_agent_can_be_spoken_to_by_its_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind(str(tmp_path / "dsd.socket"))
        DogStatsd(f"unix://{tmp_path}/dsd.socket").synced(GOOD)
        first = agent.recv(1000)
    assert first.startswith(b"crm_sync.failures:0|c|#sync:contacts,source:salesforce")


def test_nobody_at_the_address_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    DogStatsd(f"unix://{tmp_path}/nobody").synced(GOOD)
    (record,) = caplog.records
    assert record.getMessage() == f"CRMSYNC_STATSD: nobody takes metrics at unix://{tmp_path}/nobody"


# --- the heartbeat --------------------------------------------------------------------------------------------


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def heartbeat(url: str = URL) -> Heartbeat:
    return Heartbeat(url, Tail(Redactor()), Stopper())


@pytest.mark.parametrize(
    ("code", "endings", "verdict"),
    [
        (0, [GOOD], ""),
        (0, [GOOD, replace(GOOD, in_step=False)], "/log"),
        (0, [], "/log"),
        (3, [GOOD], "/fail"),
        *[(code, [BROKEN], "/fail") for code in (1, 4, 77, 78)],
        *[(code, [BROKEN], "/log") for code in (75, 130, 143)],
    ],
)
def test_the_exit_code_decides_the_ping(
    wire: responses.RequestsMock, code: int, endings: list[Ending], verdict: str
) -> None:
    """The query of the URL, as that of a slug, comes before the run's id."""
    wire.post(f"https://hc.test/ping/5ec2e7{verdict}", body="OK")
    heartbeat().end(code, endings, "said")
    url = wire.calls[0].request.url
    assert url is not None
    assert url.startswith(f"https://hc.test/ping/5ec2e7{verdict}?create=1&rid=")


def test_a_check_that_asks_for_a_pause_is_left_alone(wire: responses.RequestsMock) -> None:
    wire.post("https://hc.test/ping/5ec2e7", status=429, headers={"Retry-After": "200"})
    with pytest.raises(CrmsyncError, match="answered with 429"):
        heartbeat().end(0, [GOOD], "said")
    assert len(wire.calls) == 1


def test_a_ping_that_gets_no_answer_is_tried_again_but_for_the_first(
    wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stopper, "sleep", lambda *_: None)
    pings = heartbeat()
    with pytest.raises(CrmsyncError, match="no answer") as at_start:
        pings.begin()
    assert len(wire.calls) == 1
    with pytest.raises(CrmsyncError, match="no answer"):
        pings.end(0, [GOOD], "said")
    assert len(wire.calls) == 4
    assert "5ec2e7" not in str(at_start.value)


def test_a_body_keeps_its_bounds(wire: responses.RequestsMock, loggers: None) -> None:
    """What is said comes first, the end of the log last."""
    wire.post("https://hc.test/ping/5ec2e7/fail", body="OK")
    logging.getLogger("crmsync").setLevel(logging.WARNING)
    kept = keep_tail(Redactor(["s3cr3tvalue"]))
    log = logging.getLogger("crmsync.test")
    for number in range(3000):
        log.info("line %d ä of the log, s3cr3tvalue, ada@example.org", number)
    Heartbeat(URL, kept, Stopper()).end(1, [BROKEN], "säid " * 10_000)
    body = wire.calls[0].request.body
    assert isinstance(body, bytes)
    assert 99_000 < len(body) <= 100_000
    assert body.decode().startswith("säid säid")
    assert b"\n\n...\n" in body
    assert "line 2999 ä".encode() in body
    assert body.endswith(b"\n")
    assert b"s3cr3tvalue" not in body
    assert b"ada@" not in body


# --- the end of the log ---------------------------------------------------------------------------------------


def test_the_tail_has_what_is_not_shown(loggers: None, capsys: pytest.CaptureFixture[str]) -> None:
    own = logging.getLogger("crmsync")
    own.handlers[:] = [logging.StreamHandler()]
    own.setLevel(logging.WARNING)
    kept = keep_tail(Redactor())
    logging.getLogger("crmsync.x").info("told to the tail alone")
    logging.getLogger("crmsync.x").debug("told to nobody")
    logging.getLogger("crmsync.x").warning("told to both")
    shown = capsys.readouterr().err
    assert shown == "told to both\n"
    last = kept.last(1000).decode()
    assert ("told to the tail alone" in last, "told to both" in last, "told to nobody" in last) == (
        True,
        True,
        False,
    )


@pytest.mark.parametrize("most", [0, 4, 50, 200, 1000])
def test_the_tail_is_whole_lines_within_its_bounds(most: int) -> None:
    kept = Tail(Redactor(), 120)
    for number in range(5):
        kept.emit(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", None, None))
    last = kept.last(most)
    assert len(last) <= max(most, len(MISSING))
    assert last.startswith(MISSING)
    assert all(b"line" in line for line in last.splitlines()[1:])


def test_a_short_log_is_whole() -> None:
    kept = Tail(Redactor(), tail.MOST_BYTES)
    kept.emit(logging.LogRecord("x", logging.INFO, "", 0, "all of it", None, None))
    assert kept.last(1000).endswith(b"all of it\n")
    assert not kept.last(1000).startswith(MISSING)


def test_a_line_that_cannot_be_told_is_left_out() -> None:
    kept = Tail(Redactor())
    kept.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d rows", ("no number",), None))
    assert kept.last(1000) == b""


# --- how long a change takes ----------------------------------------------------------------------------------


@pytest.fixture
def at() -> Callable[[], datetime]:
    return lambda: datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def test_the_longest_lag_of_the_windows_changes_counts(at: Callable[[], datetime]) -> None:
    lag = RecordLag(at)
    lag.since = "2026-05-01T11:00:00Z"
    lag.proved(["2026-05-01T11:58:00Z", "2026-05-01T11:57:00Z"])
    lag.proved(["2026-05-01T11:59:00Z"])
    assert lag.seconds == 180


def test_what_was_changed_before_the_window_does_not_count(at: Callable[[], datetime]) -> None:
    """A renamed parent sends its children, a backfill everything: neither says how long a change takes."""
    lag = RecordLag(at)
    lag.proved(["2026-05-01T11:59:00Z"])
    lag.since = "2026-05-01T11:00:00Z"
    lag.proved(["2020-01-01T00:00:00Z", ""])
    assert lag.seconds is None
