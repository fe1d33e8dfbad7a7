"""One deliverer per sync at a time, also after a crash (law 4)."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from crmsync.errors import LockHeld, StateError, TryAgain
from crmsync.state.lock import FileLock

HOLD = """
import sys, time
from pathlib import Path
from crmsync.state.lock import FileLock
with FileLock(Path(sys.argv[1]), "run-of-the-other"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_kept_out_and_told_by_whom(path, holder):
    with pytest.raises(LockHeld) as caught, FileLock(path, "mine"):
        pass
    assert caught.value.exit_code == 75
    assert f"process {holder.pid} " in str(caught.value)
    assert "run-of-the-other" in str(caught.value)


def test_whoever_was_kept_out_does_not_disturb_the_holder(path, holder):
    for _ in range(2):
        with pytest.raises(LockHeld, match="run-of-the-other"), FileLock(path, "mine"):
            pass


def test_a_killed_holder_gives_it_back(path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with FileLock(path, "mine"):
        assert b"mine" in path.read_bytes()


def test_it_is_given_back_at_the_end_with_the_name_removed(path):
    with FileLock(path, "first"):
        pass
    assert path.read_bytes() == b""
    with FileLock(path, "second"):
        pass


def test_it_is_given_back_after_an_error(path):
    with pytest.raises(ValueError), FileLock(path, "first"):
        raise ValueError
    with FileLock(path, "second"):
        pass


def test_within_one_process_too_there_is_one_holder(path):
    with FileLock(path, "first"):
        with pytest.raises(LockHeld, match="first"), FileLock(path, "second"):
            pass
        assert b"first" in path.read_bytes()


def test_waiting_long_enough_gets_it(path, holder):
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace('"run-of-the-other"', '"patient", wait=30'), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with waiting:
        assert b"run-of-the-other" in path.read_bytes()
        holder.stdin.close()
        assert waiting.stdout.readline() == "held\n"
        assert b"patient" in path.read_bytes()
        waiting.stdin.close()
        assert waiting.wait(10) == 0


def test_a_holder_that_cannot_be_named_is_a_holder_all_the_same(path, holder):
    path.write_bytes(b"{")
    with pytest.raises(LockHeld, match="could not be read"), FileLock(path, "mine"):
        pass


def test_the_file_is_its_owners_alone(path):
    with FileLock(path, "mine"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_a_matter_of_configuration(tmp_path):
    with pytest.raises(StateError), FileLock(tmp_path / "missing" / "lock", "mine"):
        pass


def test_a_full_disk_passes_and_leaves_the_lock_free(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(TryAgain), FileLock(path, "first"):
            pass
    with FileLock(path, "second"):
        pass
