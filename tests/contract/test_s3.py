"""State on S3, against real servers as separate processes: moto's, SeaweedFS, and one that ignores conditions."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from s3_servers import CREDENTIALS, Server, careless, moto, s3

from crmsync.config import load
from crmsync.errors import AuthError, ConfigError, CrmsyncError, LockHeld, StateConflict, StateError, TryAgain
from crmsync.http import Retry, Stopper
from crmsync.state import bucket, ledger_sync, open_lock, open_store
from crmsync.state.checkpoint import Checkpoint, new_state
from crmsync.state.lease import LeaseLock, Terms, find
from crmsync.state.ledger import Ledger
from crmsync.state.lock import FileLock
from crmsync.state.outbox import Outbox, Parcel
from crmsync.state.parted_log import MOST_PARTS
from crmsync.state.probe import probe
from crmsync.state.s3 import Fence, S3Store
from crmsync.state.store import FileStore

__all__ = ["careless", "moto", "s3"]

SHORT = Terms(ttl=1.2, renew_every=0.15, margin=0.3)
HOLDER = Path(__file__).with_name("lease_holder.py")
RACERS = 8


def store_at(server: Server, cache: Path | None = None) -> S3Store:
    return S3Store(server.uri, cache, server.endpoint)


@pytest.fixture
def store(s3: Server) -> S3Store:
    return store_at(s3)


@pytest.fixture(autouse=True)
def _no_probe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lease of a place is not preceded by a probe, but where a test is about that."""
    if "careless" not in request.fixturenames:
        monkeypatch.setattr("crmsync.state.lease.refuse_careless", lambda _: None)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(Retry, "pause", lambda *_: 0.0)


def parcel(row_id: str, body: bytes = b"{}") -> Parcel:
    return Parcel.of([(row_id, row_id, "2026-05-01T00:00:00Z", b"digest")], body)


# Documents


def test_a_document_is_replaced_only_by_who_knows_its_version(store: S3Store) -> None:
    first = store.write("contacts/state.json", b"1", None)
    second = store.write("contacts/state.json", b"2", first)

    for expected in (None, first):
        with pytest.raises(StateConflict):
            store.write("contacts/state.json", b"3", expected)
    with pytest.raises(StateConflict):
        store.write("contacts/absent.json", b"3", first)

    document = store.read("contacts/state.json")
    assert document is not None
    assert (document.data, document.version) == (b"2", second)
    assert store.read("contacts/absent.json") is None


def test_what_the_last_run_left_is_kept_beside_the_state(s3: Server) -> None:
    left = store_at(s3).write("contacts/state.json", b"left by the last run", None)
    store = store_at(s3)
    once = store.write("contacts/state.json", b"first checkpoint", left)
    store.write("contacts/state.json", b"second checkpoint", once)

    previous = store.read("contacts/state.json.previous")
    assert previous is not None
    assert previous.data == b"left by the last run"
    assert store.names("contacts") == ["contacts/state.json"]


def test_names_are_those_directly_below(store: S3Store) -> None:
    for name in ("contacts/b", "contacts/a", "contacts/deeper/c", "leads/d"):
        store.write(name, b"", None)
    assert store.names("contacts") == ["contacts/a", "contacts/b"]


def test_a_deleted_name_takes_everything_of_it_along(store: S3Store) -> None:
    first = store.write("contacts/state.json", b"1", None)
    store.write("contacts/state.json", b"2", first)
    store.append("contacts/runs.jsonl", b"line\n")

    for name in ("contacts/state.json", "contacts/runs.jsonl", "contacts/never.json"):
        store.delete(name)

    assert store.read("contacts/state.json") is None
    assert store.read("contacts/state.json.previous") is None
    assert store.read_log("contacts/runs.jsonl") == b""


def test_a_large_batch_comes_back_as_it_went(store: S3Store) -> None:
    body = os.urandom(3_000_000)
    outbox = Outbox(store, "contacts")
    sent = parcel("003A", body)
    outbox.add(sent)
    outbox.note_job(sent, "job-1")

    (kept,) = outbox.parcels()
    assert (kept.body, kept.key, kept.job_id) == (body, sent.key, "job-1")
    outbox.remove(kept)
    assert outbox.is_empty()


def test_local_copies_lie_in_the_cache_and_are_private(s3: Server, tmp_path: Path) -> None:
    path = store_at(s3, tmp_path).local("contacts/ledger.sqlite")
    assert path.is_relative_to(tmp_path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path != S3Store(s3.uri + "-other", tmp_path, s3.endpoint).local("contacts/ledger.sqlite")


# Logs


def test_a_log_is_read_in_the_order_of_its_appends(s3: Server) -> None:
    for store in (store_at(s3), store_at(s3)):
        for _ in range(3):
            lines = store.read_log("contacts/rejects.jsonl").splitlines()
            store.append("contacts/rejects.jsonl", b"%d\n" % len(lines))
    assert store_at(s3).read_log("contacts/rejects.jsonl").split() == [b"%d" % number for number in range(6)]


def test_an_append_by_a_clock_that_is_behind_still_comes_last(moto: Server, monkeypatch: Any) -> None:
    store_at(moto).append("contacts/rejects.jsonl", b"first\n")
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    store_at(moto).append("contacts/rejects.jsonl", b"second\n")
    assert store_at(moto).read_log("contacts/rejects.jsonl") == b"first\nsecond\n"


def test_a_shorter_log_takes_the_place_of_the_old_one_and_of_nothing_newer(s3: Server) -> None:
    mine, other = store_at(s3), store_at(s3)
    for number in range(3):
        mine.append("contacts/rejects.jsonl", b"%d\n" % number)
    assert mine.read_log("contacts/rejects.jsonl") == b"0\n1\n2\n"
    other.append("contacts/rejects.jsonl", b"meanwhile\n")

    mine.replace_log("contacts/rejects.jsonl", b"short\n")
    assert other.read_log("contacts/rejects.jsonl") == b"short\nmeanwhile\n"
    other.replace_log("contacts/rejects.jsonl", b"shorter\n")
    other.replace_log("contacts/rejects.jsonl", b"shortest\n")
    assert mine.read_log("contacts/rejects.jsonl") == b"shortest\n"


def test_a_log_in_many_parts_is_joined_by_the_next_run(moto: Server) -> None:
    store = store_at(moto)
    for number in range(MOST_PARTS + 1):
        store.append("contacts/runs.jsonl", b"%d\n" % number)
    store_at(moto).append("contacts/runs.jsonl", b"last\n")

    assert len(store_at(moto).names("contacts/runs.jsonl")) == 2
    lines = store.read_log("contacts/runs.jsonl").splitlines()
    assert lines == [*(b"%d" % number for number in range(MOST_PARTS + 1)), b"last"]


# Races


def test_of_eight_processes_exactly_one_wins_every_time(s3: Server) -> None:
    rounds = 1 if s3.kind == "seaweedfs" else 4  # it takes seconds to settle a race
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["crmsync.state.s3"])
    start, won = processes.Barrier(RACERS), processes.Queue()
    racers = [processes.Process(target=_race, args=(s3, start, won, me, rounds)) for me in range(RACERS)]
    for racer in racers:
        racer.start()
    victories = [won.get(timeout=60) for _ in range(RACERS)]
    for racer in racers:
        racer.join()
    assert [sum(column) for column in zip(*victories, strict=True)] == [1] * (2 * rounds)


def _race(server: Server, start: Any, won: Any, me: int, rounds: int) -> None:
    """Create an object and then replace it, each time all at once; report where this process was told it won."""
    os.environ.update(CREDENTIALS)
    store = store_at(server)
    victories = []
    for number in range(rounds):
        name = f"race/{number}"
        start.wait(60)
        victories.append(_wins(store, name, b"create %d" % me, None))
        start.wait(60)
        created = store.read(name)
        assert created is not None
        start.wait(60)
        victories.append(_wins(store, name, b"replace %d" % me, created.version))
    won.put(victories)


def _wins(store: S3Store, name: str, data: bytes, expected: str | None) -> bool:
    try:
        store.write(name, data, expected)
    except StateConflict:
        return False
    return True


# Answers that are lost, refusals, and what they are called


@contextmanager
def client_that(store: S3Store, method: str, does: Callable[[Callable[..., Any]], Any]) -> Iterator[None]:
    """Let one method of the store's client do something else."""
    client = store._bucket._client
    original = getattr(client, method)
    setattr(client, method, does(original))
    try:
        yield
    finally:
        setattr(client, method, original)


@pytest.mark.usefixtures("soon")
def test_a_write_whose_answer_was_lost_is_recognised_as_ours(store: S3Store) -> None:
    answers = iter([False, True])

    def lossy(put: Callable[..., Any]) -> Callable[..., Any]:
        def write(**arguments: Any) -> Any:
            answer = put(**arguments)
            if next(answers):
                return answer
            raise ReadTimeoutError(endpoint_url="http://s3")

        return write

    with client_that(store, "put_object", lossy):
        version = store.write("contacts/state.json", b"mine", None)
    document = store.read("contacts/state.json")
    assert document is not None
    assert (document.data, document.version) == (b"mine", version)


@pytest.mark.usefixtures("soon")
def test_a_lost_answer_does_not_make_somebody_elses_write_ours(s3: Server) -> None:
    store = store_at(s3)

    def overtaken(put: Callable[..., Any]) -> Callable[..., Any]:
        def write(**arguments: Any) -> Any:
            if not store.read("contacts/state.json"):
                store_at(s3).write("contacts/state.json", b"theirs", None)
                raise ReadTimeoutError(endpoint_url="http://s3")
            return put(**arguments)

        return write

    with client_that(store, "put_object", overtaken), pytest.raises(StateConflict):
        store.write("contacts/state.json", b"mine", None)


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (404, "NoSuchKey", StateConflict),
        (409, "ConditionalRequestConflict", StateConflict),
        (412, "PreconditionFailed", StateConflict),
        (404, "NoSuchBucket", StateError),
        (403, "AccessDenied", AuthError),
        (400, "ExpiredToken", AuthError),
        (501, "NotImplemented", StateError),
        (301, "PermanentRedirect", StateError),
        (503, "SlowDown", TryAgain),
        (429, "TooManyRequests", TryAgain),
    ],
)
@pytest.mark.usefixtures("soon")
def test_what_a_refused_write_means(moto: Server, status: int, code: str, raised: type[CrmsyncError]) -> None:
    store = store_at(moto)
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
    tries = []

    def refuse(**arguments: Any) -> Any:
        tries.append(arguments["Key"])
        raise ClientError(answer, "PutObject")  # type: ignore[arg-type]  # only what is looked at

    with client_that(store, "put_object", lambda _: refuse), pytest.raises(CrmsyncError) as caught:
        store.write("contacts/state.json", b"", '"etag"')
    assert type(caught.value) is raised
    assert f"{moto.uri}/contacts/state.json" in caught.value.message
    assert len(tries) == (bucket.ATTEMPTS if raised is TryAgain else 1)


def test_a_missing_bucket_is_named(s3: Server) -> None:
    nowhere = S3Store("s3://no-such-bucket/x", None, s3.endpoint)
    with pytest.raises(StateError, match=r"s3://no-such-bucket/x/contacts/state\.json: .*no such bucket"):
        nowhere.read("contacts/state.json")


def test_no_credentials_are_an_authentication_error(moto: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AuthError, match="no usable credentials"):
        store_at(moto).read("contacts/state.json")


@pytest.mark.usefixtures("soon", "moto")
def test_a_server_that_is_away_is_tried_again_later() -> None:
    with pytest.raises(TryAgain, match="no answer"):
        S3Store("s3://bucket/x", None, "http://127.0.0.1:9").read("contacts/state.json")


@pytest.mark.usefixtures("moto")
def test_plain_http_goes_only_to_this_machine_or_to_hosts_that_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"plain http to minio\.example"):
        S3Store("s3://bucket/x", None, "http://minio.example:9000")
    S3Store("s3://bucket/x", None, "http://minio.example:9000", allow_http_hosts=("minio.example",))


# The probe


def test_the_probe_finds_nothing_wrong_with_a_server_that_honours_conditions(store: S3Store) -> None:
    assert probe(store) == []
    assert store._bucket.keys(store._prefix) == []


def test_the_probe_names_what_a_careless_server_ignores(careless: Server) -> None:
    problems = probe(store_at(careless))
    assert any("If-None-Match" in problem for problem in problems)
    assert any("If-Match" in problem and "another version" in problem for problem in problems)


def test_no_lease_is_taken_on_a_careless_server(careless: Server) -> None:
    store = store_at(careless)
    with pytest.raises(StateError, match="cannot keep the state"), LeaseLock(store, "contacts", "r"):
        pass
    assert find(store, "contacts") is None


@pytest.mark.usefixtures("moto")
def test_the_probe_sees_a_race_with_two_winners() -> None:
    class Unguarded(S3Store):
        """Compares and then writes, with time in between."""

        def __init__(self) -> None:
            self._kept: dict[str, bytes] = {}

        def read(self, name: str) -> Any:
            data = self._kept.get(name)
            return None if data is None else SimpleNamespace(data=data, version=str(hash(data)))

        def write(self, name: str, data: bytes, expected: str | None, *, attempts: int = 1) -> str:
            present = self.read(name)
            if (present.version if present else None) != expected:
                raise StateConflict("lost")
            time.sleep(0.05)
            self._kept[name] = data
            return str(hash(data))

        def names(self, prefix: str) -> list[str]:
            return sorted(name for name in self._kept if name.startswith(prefix))

        def delete(self, name: str) -> None:
            del self._kept[name]

    assert [problem.split(" at once")[0] for problem in probe(Unguarded())] == [
        "of several that create an object",
        "of several that replace one version",
    ]


# The lease


def test_a_held_lease_is_refused_with_the_name_of_its_holder(s3: Server) -> None:
    with LeaseLock(store_at(s3), "contacts", "first", terms=Terms()) as held:
        with (
            pytest.raises(LockHeld, match=rf"process {os.getpid()} .*run first"),
            LeaseLock(store_at(s3), "contacts", "second", terms=Terms()),
        ):
            pass
        with LeaseLock(store_at(s3), "leads", "another sync", terms=Terms()):
            held.confirm()


def test_a_lease_outlives_its_ttl_while_it_is_renewed(moto: Server) -> None:
    terms = Terms(ttl=1.6, renew_every=0.2, margin=0.2)
    with LeaseLock(store_at(moto), "contacts", "first", terms=terms) as held:
        time.sleep(1.25 * terms.ttl)
        held.confirm()
        with pytest.raises(LockHeld), LeaseLock(store_at(moto), "contacts", "second", terms=terms):
            pass


def test_a_lease_that_was_given_back_is_free_at_once_and_of_the_same_generation(s3: Server) -> None:
    generations = set()
    mine = LeaseLock(store_at(s3), "contacts", "first", terms=Terms())
    for lock in (mine, LeaseLock(store_at(s3), "contacts", "second", terms=Terms()), mine):
        with lock:
            lock.confirm()
            found = find(store_at(s3), "contacts")
            assert found is not None
            generations.add(found.lease.generation)
    assert len(generations) == 1


def test_after_giving_back_nothing_more_is_confirmed_or_put_into_the_outbox(moto: Server) -> None:
    store = store_at(moto)
    with LeaseLock(store, "contacts", "first", terms=SHORT) as held:
        pass
    with pytest.raises(StateConflict):
        held.confirm()
    with pytest.raises(StateConflict):
        Outbox(store, "contacts").add(parcel("003A"))
    store.append("contacts/runs.jsonl", b"the run's summary\n")


def test_a_lease_is_not_given_back_while_something_is_still_being_written(moto: Server) -> None:
    store = store_at(moto)
    begun, go_on = threading.Event(), threading.Event()

    def slow(put: Callable[..., Any]) -> Callable[..., Any]:
        def write(**arguments: Any) -> Any:
            if arguments["Key"].endswith("/slow"):
                begun.set()
                go_on.wait(30)
            return put(**arguments)

        return write

    with client_that(store, "put_object", slow):
        with LeaseLock(store, "contacts", "first", terms=SHORT):
            writer = threading.Thread(target=store.write, args=("contacts/outbox/slow", b"", None))
            writer.start()
            begun.wait(30)
        found = find(store, "contacts")
        go_on.set()
        writer.join()
    assert found is not None
    assert not found.lease.released


def test_waiting_ends_when_the_holder_gives_back(moto: Server) -> None:
    order = []
    first = LeaseLock(store_at(moto), "contacts", "first", terms=SHORT)

    def hold() -> None:
        with first:
            taken.set()
            time.sleep(0.5)
            order.append("first")

    taken = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    with LeaseLock(store_at(moto), "contacts", "second", wait=30, terms=SHORT):
        order.append("second")
    holder.join()
    assert order == ["first", "second"]


def test_waiting_ends_when_the_run_is_stopped(moto: Server) -> None:
    stopper = Stopper()
    with LeaseLock(store_at(moto), "contacts", "first", terms=SHORT):
        threading.Timer(0.3, stopper.stop, [TryAgain("stopped by a test")]).start()
        with (
            pytest.raises(TryAgain, match="stopped by a test"),
            LeaseLock(store_at(moto), "contacts", "second", wait=60, terms=SHORT, stopper=stopper),
        ):
            pass


def test_of_two_that_start_at_once_one_works(s3: Server) -> None:
    start = threading.Barrier(2)
    done = threading.Barrier(2)
    outcomes = []

    def run(name: str) -> None:
        lock = LeaseLock(store_at(s3), "contacts", name, terms=Terms())
        start.wait()
        try:
            with lock:
                lock.confirm()
                outcomes.append("worked")
                done.wait()
        except LockHeld:
            outcomes.append("held")
            done.wait()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "worked"]


def test_nothing_is_sent_with_less_than_one_timeout_of_lease_left(moto: Server) -> None:
    store = store_at(moto)
    terms = Terms(ttl=1.0, renew_every=60, margin=0.7)
    with LeaseLock(store, "contacts", "first", terms=terms) as held:
        time.sleep(0.5)

        def away(**_: Any) -> Any:
            raise ReadTimeoutError(endpoint_url="http://s3")

        with client_that(store, "put_object", lambda _: away), pytest.raises(TryAgain, match="no answer"):
            held.confirm()
        held.confirm()
        time.sleep(1.1)
        with pytest.raises(StateConflict, match="ran out"):
            held.confirm()
        with pytest.raises(StateConflict, match="ran out"):
            store.append("contacts/rejects.jsonl", b"{}\n")


def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lease(moto: Server) -> None:
    store = store_at(moto)
    terms = Terms(ttl=5.0, renew_every=60, margin=10)
    with LeaseLock(store, "contacts", "first", terms=terms) as held:

        def unheard(put: Callable[..., Any]) -> Callable[..., Any]:
            def write(**arguments: Any) -> Any:
                put(**arguments)
                raise ReadTimeoutError(endpoint_url="http://s3")

            return write

        with client_that(store, "put_object", unheard), pytest.raises(TryAgain, match="no answer"):
            held.confirm()
        with pytest.raises(TryAgain, match="could not be renewed in time"):
            held.confirm()
    found = find(store, "contacts")
    assert found is not None
    assert found.lease.released


def test_a_lease_that_was_removed_by_force_is_lost(moto: Server) -> None:
    store = store_at(moto)
    with LeaseLock(store, "contacts", "first", terms=SHORT) as held:
        store.delete("contacts/lease.json")
        time.sleep(3 * SHORT.renew_every)
        with pytest.raises(StateConflict, match="removed"):
            held.confirm()
    assert find(store, "contacts") is None


def test_a_lease_that_cannot_be_read_is_refused(moto: Server) -> None:
    store = store_at(moto)
    store.write("contacts/lease.json", b"{", None)
    with (
        pytest.raises(StateError, match=r"contacts/lease\.json cannot be read"),
        LeaseLock(store, "contacts", "first"),
    ):
        pass


# Holders that stop, and those who take over


@pytest.fixture
def holder(s3: Server) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a run that holds the lease and has a batch in its outbox."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HOLDER), s3.uri, s3.endpoint, str(SHORT.ttl)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def with_a_state(server: Server) -> None:
    """A sync that has run before."""
    with LeaseLock(store_at(server), "contacts", "an earlier run"):
        pass
    Checkpoint(store_at(server), "contacts").save(new_state("contacts", "Contact", "profiles"))


def test_a_holder_that_died_is_succeeded_and_its_outbox_with_it(
    s3: Server, holder: Callable[[], subprocess.Popen[str]]
) -> None:
    with_a_state(s3)
    process = holder()
    before = find(store_at(s3), "contacts")
    process.kill()
    process.wait()
    begun = time.monotonic()
    store = store_at(s3)
    with LeaseLock(store, "contacts", "successor", wait=30, terms=SHORT) as lock:
        assert time.monotonic() - begun >= SHORT.ttl
        lock.confirm()
        assert [kept.body for kept in Outbox(store, "contacts").parcels()] == [b"the holder's"]
    after = find(store_at(s3), "contacts")
    assert before is not None
    assert after is not None
    assert after.lease.generation == after.lease.floor == before.lease.generation + 1


def test_a_holder_that_wakes_after_its_lease_writes_nothing_and_sends_nothing(
    s3: Server, holder: Callable[[], subprocess.Popen[str]]
) -> None:
    with_a_state(s3)
    process = holder()
    os.kill(process.pid, signal.SIGSTOP)
    store = store_at(s3)
    with LeaseLock(store, "contacts", "successor", wait=30, terms=SHORT) as lock:
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate("go on\n", timeout=30)
        for came_of in json.loads(said.splitlines()[-1]).values():
            assert came_of.startswith("StateConflict: the lease of contacts is lost")
        lock.confirm()
        assert [kept.body for kept in Outbox(store, "contacts").parcels()] == [b"the holder's"]
        state = Checkpoint(store, "contacts").load()
        assert state is not None
        assert state.watermark is None
        assert store.read_log("contacts/rejects.jsonl") == b""


def test_a_holder_that_wakes_past_its_lease_is_out_even_if_nobody_took_over(
    s3: Server, holder: Callable[[], subprocess.Popen[str]]
) -> None:
    with_a_state(s3)
    process = holder()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.5 * SHORT.ttl)
    os.kill(process.pid, signal.SIGCONT)
    said, _ = process.communicate("go on\n", timeout=30)
    assert all("ran out" in came_of for came_of in json.loads(said.splitlines()[-1]).values())


def test_what_was_under_way_when_its_writer_stopped_does_no_harm_later(s3: Server) -> None:
    """The old run has passed every check of its own: only what the server compares can keep it out."""
    with_a_state(s3)
    old, new = store_at(s3), store_at(s3)
    stopped = LeaseLock(old, "contacts", "old", terms=Terms(ttl=0.5, renew_every=60))
    stopped.__enter__()
    checkpoint = Checkpoint(old, "contacts")
    state = checkpoint.load()
    assert state is not None
    generation = find(new, "contacts").lease.generation  # type: ignore[union-attr]  # it is there
    Outbox(old, "contacts").add(parcel("003A", b"sent before"))

    with LeaseLock(new, "contacts", "new", wait=30, terms=SHORT):
        old.stand_under("contacts", Fence(generation, lambda: None))
        Outbox(old, "contacts").add(parcel("003A", b"older than what is there now"))
        with pytest.raises(StateConflict):
            checkpoint.save(state)
        outbox = Outbox(new, "contacts")
        assert [kept.body for kept in outbox.parcels()] == [b"sent before"]
        Outbox(old, "contacts").remove(outbox.parcels()[0])
        assert [kept.body for kept in outbox.parcels()] == [b"sent before"]
        assert old.local("contacts/ledger.sqlite").name != new.local("contacts/ledger.sqlite").name

    with LeaseLock(new, "contacts", "next", terms=SHORT):
        assert [kept.body for kept in Outbox(new, "contacts").parcels()] == [b"sent before"]
    dying, last = store_at(s3), store_at(s3)
    LeaseLock(dying, "contacts", "dying", terms=Terms(ttl=0.5, renew_every=60)).__enter__()
    with LeaseLock(last, "contacts", "last", wait=30, terms=SHORT):
        assert [kept.body for kept in Outbox(last, "contacts").parcels()] == [b"sent before"]


def test_a_takeover_that_is_cut_short_is_begun_again(moto: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(moto)
    brief = Terms(ttl=0.5, renew_every=60)
    LeaseLock(store, "contacts", "old", terms=brief).__enter__()
    Outbox(store, "contacts").add(parcel("003A", b"old's"))

    def cut_short(*_: object) -> None:
        raise TryAgain("S3 is away")

    with monkeypatch.context() as patched:
        patched.setattr(S3Store, "inherit", cut_short)
        with (
            pytest.raises(TryAgain, match="S3 is away"),
            LeaseLock(store_at(moto), "contacts", "second", terms=SHORT, wait=30),
        ):
            pass
    third = store_at(moto)
    with LeaseLock(third, "contacts", "third", terms=SHORT):
        assert [kept.body for kept in Outbox(third, "contacts").parcels()] == [b"old's"]


# The ledger


def entries(ledger: Ledger) -> dict[str, bytes | None]:
    return {row_id: entry.digest for row_id, entry in ledger.lookup(["003A", "003B"]).items()}


def proved_by_a_run(store: S3Store, generation: str) -> str:
    """Prove two records on the ledger of this store, and keep it; the generation that the state then names."""
    ledger = Ledger(store.local("contacts/ledger.sqlite"))
    named = ledger.begin_generation(generation)
    stamp = "2026-05-01T00:00:00Z"
    ledger.remember([("003A", "003A", stamp, b"a"), ("003B", "003B", stamp, b"b")])
    ledger_sync.upload(store, "contacts", ledger)
    ledger.close()
    return named


def test_the_ledger_goes_to_another_machine_by_way_of_the_store(s3: Server, tmp_path: Path) -> None:
    here, there = store_at(s3, tmp_path / "here"), store_at(s3, tmp_path / "there")
    generation = proved_by_a_run(here, "begun")

    path = there.local("contacts/ledger.sqlite")
    ledger_sync.fetch(there, "contacts", generation, path)
    ledger = Ledger(path)
    assert entries(ledger) == {"003A": b"a", "003B": b"b"}
    assert ledger.trusted_by(generation)
    ledger.close()
    assert sorted(kept.name for kept in path.parent.iterdir()) == [path.name]


def test_a_ledger_of_another_generation_is_not_fetched(moto: Server, tmp_path: Path) -> None:
    proved_by_a_run(store_at(moto, tmp_path / "here"), "begun")
    there = store_at(moto, tmp_path / "there")
    path = there.local("contacts/ledger.sqlite")
    ledger_sync.fetch(there, "contacts", "another", path)
    assert not path.exists()


def test_only_ledgers_that_a_state_may_name_are_kept(moto: Server, tmp_path: Path) -> None:
    store = store_at(moto, tmp_path)
    first = proved_by_a_run(store, "begun")
    second = proved_by_a_run(store, first)
    third = proved_by_a_run(store, second)
    assert store.names("contacts/ledger") == sorted(f"contacts/ledger/{kept}" for kept in (second, third))


def test_a_successor_on_the_same_machine_takes_what_was_proved_and_nothing_later(
    moto: Server, tmp_path: Path
) -> None:
    old, new = store_at(moto, tmp_path), store_at(moto, tmp_path)
    LeaseLock(old, "contacts", "old", terms=Terms(ttl=0.5, renew_every=60)).__enter__()
    theirs = Ledger(old.local("contacts/ledger.sqlite"))
    generation = theirs.begin_generation("begun")
    theirs.remember([("003A", "003A", "2026-05-01T00:00:00Z", b"a")])

    with LeaseLock(new, "contacts", "new", terms=SHORT, wait=30):
        path = new.local("contacts/ledger.sqlite")
        ledger_sync.fetch(new, "contacts", generation, path)
        theirs.remember([("003B", "003B", "2026-05-01T00:00:00Z", b"too late")])
        ledger = Ledger(path)
        assert entries(ledger) == {"003A": b"a"}
        ledger.close()
    theirs.close()


def test_a_predecessors_ledger_of_another_generation_is_left_alone(moto: Server, tmp_path: Path) -> None:
    old, new = store_at(moto, tmp_path), store_at(moto, tmp_path)
    LeaseLock(old, "contacts", "old", terms=Terms(ttl=0.5, renew_every=60)).__enter__()
    proved_by_a_run(old, "begun")
    with LeaseLock(new, "contacts", "new", terms=SHORT, wait=30):
        path = new.local("contacts/ledger.sqlite")
        ledger_sync.fetch(new, "contacts", "written on another machine since", path)
        assert list(path.parent.iterdir()) == []


def test_a_ledger_in_a_directory_stays_where_it_is(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    path = store.local("contacts/ledger.sqlite")
    ledger_sync.fetch(store, "contacts", "any", path)
    ledger = Ledger(path)
    ledger.remember([("003A", "003A", "2026-05-01T00:00:00Z", b"a")])
    ledger_sync.upload(store, "contacts", ledger)
    ledger.close()
    assert store.names("contacts") == ["contacts/ledger.sqlite"]


# Which store and which lock


def test_the_configuration_chooses_store_and_lock(moto: Server, tmp_path: Path) -> None:
    def opened(state: str) -> tuple[str, str]:
        environ = {"CRMSYNC_STATE": state, "CRMSYNC_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
        config = load(config_path=None, environ=environ, cwd=tmp_path, require=frozenset())
        store = open_store(config)
        return type(store).__name__, type(open_lock(config, store, "contacts", "r", 0.0)).__name__

    assert opened(moto.uri) == (S3Store.__name__, LeaseLock.__name__)
    assert opened(str(tmp_path / "state")) == (FileStore.__name__, FileLock.__name__)


def test_without_boto3_the_way_out_is_named(tmp_path: Path) -> None:
    script = """
import sys; sys.modules["boto3"] = None
from pathlib import Path
from crmsync.config import load
from crmsync.errors import ConfigError
from crmsync.state import open_store
home = Path(sys.argv[1])
environ = {"CRMSYNC_STATE": "s3://bucket/p", "HOME": str(home)}
config = load(config_path=None, environ=environ, cwd=home, require=frozenset())
try:
    open_store(config)
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert "pip install 'crmsync[s3]'" in done.stdout, done.stderr


def test_without_s3_boto3_is_not_imported(tmp_path: Path) -> None:
    script = """
import sys
import crmsync.pull, crmsync.state.ledger_sync
print(sorted(name for name in sys.modules if name.startswith("boto")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
