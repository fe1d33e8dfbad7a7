"""What every store keeps to: one suite, run against every implementation.

An implementation joins by a `Place`: how to open it, anew each time as another process would.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from crmsync.errors import CrmsyncError, StateConflict, StateError, TryAgain
from crmsync.state import store as stores
from crmsync.state.dry import DryStore
from crmsync.state.store import FileStore, Store

NAME = "contacts/state.json"
LOG = "contacts/runs.jsonl"
FORK = multiprocessing.get_context("fork")


@dataclass
class Place:
    """`open` gives a store on the same place each time; `shared` says whether two of them see each other."""

    open: Callable[[], Store]
    shared: bool = True


def in_a_directory(folder: Path) -> Place:
    return Place(lambda: FileStore(folder / "state"))


def as_a_rehearsal(folder: Path) -> Place:
    only = DryStore(FileStore(folder / "state"))
    return Place(lambda: only, shared=False)


ALL = [in_a_directory, as_a_rehearsal]
SHARED = [in_a_directory]


@pytest.fixture(params=ALL, ids=lambda place: place.__name__)
def place(request, tmp_path) -> Place:
    return request.param(tmp_path)


@pytest.fixture(params=SHARED, ids=lambda place: place.__name__)
def shared(request, tmp_path) -> Place:
    return request.param(tmp_path)


@pytest.fixture
def store(place) -> Store:
    return place.open()


class TestDocuments:
    def test_there_is_none_at_first(self, store):
        assert store.read(NAME) is None

    def test_what_was_written_is_read(self, store):
        version = store.write(NAME, b"one", None)
        document = store.read(NAME)
        assert document is not None
        assert (document.data, document.version) == (b"one", version)

    @pytest.mark.parametrize("data", [b"", b"\x00\xff\n", b"x" * 3_000_000])
    def test_bytes_come_back_as_they_were(self, store, data):
        store.write(NAME, data, None)
        assert store.read(NAME).data == data

    def test_a_write_needs_the_version_that_stands(self, store):
        first = store.write(NAME, b"one", None)
        second = store.write(NAME, b"two", first)
        for stale in (first, None, "never"):
            with pytest.raises(StateConflict):
                store.write(NAME, b"three", stale)
        assert store.read(NAME).data == b"two"
        assert store.write(NAME, b"three", second) != second

    def test_a_document_that_is_not_there_has_no_version_to_expect(self, store):
        with pytest.raises(StateConflict):
            store.write(NAME, b"one", "never")
        assert store.read(NAME) is None

    def test_documents_stand_apart(self, store):
        store.write(NAME, b"one", None)
        store.write("leads/state.json", b"two", None)
        assert store.read(NAME).data == b"one"

    def test_a_deleted_document_is_gone_and_may_be_written_again(self, store):
        store.write(NAME, b"one", None)
        store.delete(NAME)
        assert store.read(NAME) is None
        store.delete(NAME)
        store.write(NAME, b"two", None)
        assert store.read(NAME).data == b"two"

    def test_names_are_the_documents_directly_below(self, store):
        assert store.names("contacts/outbox") == []
        for name in ("b", "a", "c"):
            version = store.write(f"contacts/outbox/{name}", b"1", None)
            store.write(f"contacts/outbox/{name}", b"2", version)
        store.write("contacts/outbox/deeper/d", b"1", None)
        store.write("contacts/outboxes/e", b"1", None)
        store.delete("contacts/outbox/c")
        assert store.names("contacts/outbox") == ["contacts/outbox/a", "contacts/outbox/b"]

    def test_several_threads_write_documents_of_their_own(self, store):
        def write(number: int) -> None:
            for part in range(10):
                store.write(f"contacts/outbox/{number}-{part}", b"x", None)
                store.delete(f"contacts/outbox/{number}-{part}") if part % 2 else None

        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.names("contacts/outbox")) == 30

    def test_a_local_path_can_be_written_to(self, store):
        path = store.local("contacts/ledger.sqlite")
        path.write_bytes(b"x")
        assert store.local("contacts/ledger.sqlite").read_bytes() == b"x"


class TestLogs:
    def test_a_log_that_is_not_there_is_empty(self, store):
        assert store.read_log(LOG) == b""

    def test_lines_are_added_in_order(self, store):
        store.append(LOG, b"one\n")
        store.append(LOG, b"two\nthree\n")
        assert store.read_log(LOG) == b"one\ntwo\nthree\n"

    def test_a_log_can_be_replaced_and_goes_on(self, store):
        store.append(LOG, b"one\ntwo\n")
        store.replace_log(LOG, b"two\n")
        store.append(LOG, b"three\n")
        assert store.read_log(LOG) == b"two\nthree\n"

    def test_a_deleted_log_is_empty(self, store):
        store.append(LOG, b"one\n")
        store.delete(LOG)
        assert store.read_log(LOG) == b""
        store.append(LOG, b"two\n")
        assert store.read_log(LOG) == b"two\n"


class TestSharing:
    """What another process sees, and who wins."""

    def test_another_process_sees_what_was_written(self, shared):
        version = shared.open().write(NAME, b"one", None)
        shared.open().append(LOG, b"line\n")
        other = shared.open()
        assert other.read(NAME) == stores.Document(b"one", version)
        assert other.read_log(LOG) == b"line\n"

    def test_of_many_processes_that_count_none_loses_a_step(self, shared):
        def count(steps: int) -> None:
            store = shared.open()
            while steps:
                document = store.read(NAME)
                number = int(document.data) if document else 0
                try:
                    store.write(NAME, b"%d" % (number + 1), document.version if document else None)
                except StateConflict:
                    continue
                store.append(LOG, b"%d\n" % number)
                steps -= 1

        children = [FORK.Process(target=count, args=(12,)) for _ in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
        assert [child.exitcode for child in children] == [0] * 4
        assert shared.open().read(NAME).data == b"48"
        assert sorted(map(int, shared.open().read_log(LOG).split())) == list(range(48))

    def test_only_one_of_many_creates_a_document(self, shared):
        won = FORK.Queue()

        def create(number: int) -> None:
            try:
                shared.open().write(NAME, b"%d" % number, None)
                won.put(number)
            except StateConflict:
                won.put(None)

        children = [FORK.Process(target=create, args=(number,)) for number in range(6)]
        for child in children:
            child.start()
        results = [won.get(timeout=30) for _ in children]
        for child in children:
            child.join(30)
        (winner,) = [number for number in results if number is not None]
        assert shared.open().read(NAME).data == b"%d" % winner


def killed(work: Callable[[], None], seconds: float) -> None:
    """Run this in a child process and kill it after so long."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"


class TestCrash:
    def test_a_killed_writer_leaves_the_old_document_or_the_new_one(self, shared):
        def rewrite() -> None:
            store = shared.open()
            while True:
                document = store.read(NAME)
                number = json.loads(document.data)["n"] if document else 0
                body = json.dumps({"n": number + 1, "filler": str(number + 1) * 30_000}).encode()
                store.write(NAME, body, document.version if document else None)

        chance, numbers = random.Random(7), []
        for _ in range(20):
            killed(rewrite, chance.uniform(0.005, 0.03))
            document = shared.open().read(NAME)
            body = json.loads(document.data) if document else {"n": 0, "filler": ""}
            assert body["filler"] == (str(body["n"]) * 30_000 if body["n"] else "")
            numbers.append(body["n"])
        assert numbers == sorted(numbers)
        assert numbers[-1] > 0
        assert shared.open().names("contacts") in ([NAME], [])
        shared.open().write(NAME, b"free", shared.open().read(NAME).version)

    def test_a_killed_appender_leaves_whole_lines(self, shared):
        line = b"x" * 60_000 + b"\n"

        def append() -> None:
            store = shared.open()
            while True:
                store.append(LOG, line)

        for wait in (0.01, 0.02, 0.03):
            killed(append, wait)
            shared.open().append(LOG, b"after\n")
        lines = shared.open().read_log(LOG).splitlines(keepends=True)
        assert set(lines) <= {line, b"after\n"}
        assert lines.count(b"after\n") == 3


class TestDirectory:
    """What only a directory has: modes, disks, and the document before."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        return tmp_path / "deep" / "state"

    @pytest.fixture
    def files(self, folder) -> FileStore:
        return FileStore(folder)

    def test_files_are_their_owners_alone(self, files, folder):
        before = os.umask(0)
        try:
            version = files.write(NAME, b"one", None)
            files.write(NAME, b"two", version)
            files.append(LOG, b"one\n")
            files.replace_log("contacts/rejects.jsonl", b"two\n")
            files.local("contacts/ledger.sqlite")
        finally:
            os.umask(before)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
        assert {modes[path] for path in modes if path.is_file()} == {0o600}
        assert {modes[path] for path in modes if path.is_dir()} == {0o700}
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700

    def test_the_document_before_is_kept(self, files, folder):
        version = files.write(NAME, b"one", None)
        version = files.write(NAME, b"two", version)
        files.write(NAME, b"three", version)
        assert (folder / f"{NAME}.previous").read_bytes() == b"two"
        assert files.names("contacts") == [NAME]

    def test_a_deleted_document_leaves_nothing_behind(self, files, folder):
        version = files.write(NAME, b"one", None)
        files.write(NAME, b"two", version)
        files.delete(NAME)
        assert [path.name for path in (folder / "contacts").iterdir() if path.name != ".guard"] == []

    def test_a_new_document_is_on_the_disk_before_its_name_is(self, files, monkeypatch):
        happened: list[str] = []
        for name in ("fsync", "replace"):
            real = getattr(os, name)
            monkeypatch.setattr(
                os, name, lambda *args, _name=name, _real=real: (happened.append(_name), _real(*args))[1]
            )
        files.write(NAME, b"one", None)
        assert happened == ["fsync", "replace", "fsync"]

    def test_an_appended_line_is_on_the_disk_when_it_returns(self, files, monkeypatch):
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        files.append(LOG, b"one\n")
        assert len(synced) == 1

    @pytest.mark.parametrize("torn", [b"t", b"torn line", b'{"half": "a document'])
    def test_a_torn_last_line_is_neither_read_nor_lengthened(self, files, folder, torn):
        files.append(LOG, b"one\n")
        with (folder / LOG).open("ab") as log:
            log.write(torn)
        assert files.read_log(LOG) == b"one\n"
        files.append(LOG, b"two\n")
        assert (folder / LOG).read_bytes() == b"one\ntwo\n"

    def test_a_log_of_one_torn_line_begins_anew(self, files, folder):
        files.local(LOG).write_bytes(b"torn")
        files.append(LOG, b"one\n")
        assert (folder / LOG).read_bytes() == b"one\n"

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    def test_a_full_disk_passes_and_the_old_document_stands(self, files, folder, monkeypatch, code):
        version = files.write(NAME, b"one", None)
        with monkeypatch.context() as full:
            full.setattr(os, "write", raising(code))
            with pytest.raises(TryAgain) as caught:
                files.write(NAME, b"two", version)
            with pytest.raises(TryAgain):
                files.append(LOG, b"one\n")
        assert caught.value.exit_code == 75
        assert NAME in str(caught.value)
        assert files.read(NAME).data == b"one"
        assert not list((folder / "contacts").glob(".new-*"))
        files.write(NAME, b"two", version)

    def test_a_disk_that_fills_up_within_a_line_leaves_the_lines_before(self, files, monkeypatch):
        files.append(LOG, b"one\n")
        real = os.write
        pieces = iter([lambda fd, data: real(fd, data[:2]), raising(errno.ENOSPC)])
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda fd, data: next(pieces)(fd, data))
            with pytest.raises(TryAgain):
                files.append(LOG, b"two\n")
        assert files.read_log(LOG) == b"one\n"
        files.append(LOG, b"two\n")
        assert files.read_log(LOG) == b"one\ntwo\n"

    def test_a_write_in_pieces_is_whole(self, files, monkeypatch):
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
        files.write(NAME, b"0123456789", None)
        files.append(LOG, b"0123456789\n")
        assert files.read(NAME).data == b"0123456789"
        assert files.read_log(LOG) == b"0123456789\n"

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
    def test_a_forbidden_directory_is_a_matter_of_configuration(self, files, monkeypatch, code):
        files.write(NAME, b"one", None)
        monkeypatch.setattr(os, "open", raising(code))
        monkeypatch.setattr(Path, "read_bytes", raising(code))
        calls = [
            lambda: files.read(NAME),
            lambda: files.write(NAME, b"two", None),
            lambda: files.append(LOG, b"one\n"),
            lambda: files.replace_log(LOG, b"one\n"),
            lambda: files.read_log(LOG),
        ]
        for call in calls:
            with pytest.raises(StateError) as caught:
                call()
            assert caught.value.exit_code == 78
            assert "CRMSYNC_STATE" in (caught.value.hint or "")

    def test_a_file_where_the_directory_should_be_is_refused(self, tmp_path):
        (tmp_path / "state").write_bytes(b"in the way")
        files = FileStore(tmp_path / "state")
        for call in (
            lambda: files.read(NAME),
            lambda: files.write(NAME, b"one", None),
            lambda: files.append(LOG, b"x\n"),
            lambda: files.local(NAME),
        ):
            with pytest.raises(StateError):
                call()
        assert (tmp_path / "state").read_bytes() == b"in the way"

    def test_what_is_raised_is_always_one_of_ours(self, files, monkeypatch):
        monkeypatch.setattr(os, "open", raising(errno.ELOOP))
        with pytest.raises(CrmsyncError):
            files.append(LOG, b"one\n")


class TestRehearsal:
    """What only the overlay has: it reads the real state and leaves it as it is (law 13)."""

    def test_the_real_state_is_read_and_never_touched(self, tmp_path):
        real = FileStore(tmp_path)
        real.write(NAME, b"one", None)
        real.append(LOG, b"one\n")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        dry = DryStore(real)
        dry.write(NAME, b"two", dry.read(NAME).version)
        dry.append(LOG, b"two\n")
        dry.replace_log("contacts/rejects.jsonl", b"x\n")
        dry.local("contacts/ledger.sqlite").write_bytes(b"x")
        assert (dry.read(NAME).data, dry.read_log(LOG)) == (b"two", b"one\ntwo\n")
        dry.delete(NAME)
        dry.delete(LOG)
        assert (dry.read(NAME), dry.read_log(LOG)) == (None, b"")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    def test_parcels_of_real_runs_are_none_of_its_business(self, tmp_path):
        real = FileStore(tmp_path)
        real.write("contacts/outbox/1", b"x", None)
        assert DryStore(real).names("contacts/outbox") == []


def raising(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail
