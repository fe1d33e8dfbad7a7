"""Open rejects: one per Id, never dropped by themselves, whole after any crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import StateError
from crmsync.state.dry import DryStore
from crmsync.state.rejects import Rejects
from crmsync.state.store import FileStore

LOG = "contacts/rejects.jsonl"


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


def opened(store, run: str = "run-1") -> Rejects:
    return Rejects(store, "contacts", run)


def add(rejects: Rejects, row_id: str, code: str = "invalid_email", **more) -> None:
    rejects.add(row_id, origin="here", code=code, field="email", message="m", stamp="s", **more)


def ids(store) -> list[str]:
    return [entry.id for entry in opened(store).entries()]


def test_a_reject_is_kept_with_its_reason(store):
    rejects = opened(store)
    add(rejects, "a", correlation_id="c-1", values={"email": "x"})
    rejects.flush()
    (entry,) = opened(store).entries()
    assert (entry.id, entry.origin, entry.code, entry.field) == ("a", "here", "invalid_email", "email")
    assert (entry.correlation_id, entry.values, entry.run_id) == ("c-1", {"email": "x"}, "run-1")
    assert (entry.attempts, entry.first_at) == (1, entry.last_at)


def test_nothing_is_durable_before_the_flush(store):
    add(opened(store), "a")
    assert ids(store) == []


def test_what_was_flushed_is_not_written_again(store):
    rejects = opened(store)
    add(rejects, "a")
    rejects.flush()
    rejects.flush()
    add(rejects, "b")
    rejects.flush()
    assert store.read_log(LOG).count(b"\n") == 2


def test_a_newer_failure_replaces_the_older_one_and_counts_the_attempts(store):
    first = opened(store)
    add(first, "a", "early")
    first.flush()
    second = opened(store, "run-2")
    add(second, "a", "late")
    second.flush()
    (entry,) = opened(store).entries()
    assert (entry.code, entry.attempts, entry.run_id) == ("late", 2, "run-2")
    assert (first.opened, second.opened) == (1, 0)


def test_the_first_failure_keeps_its_time(store):
    store.append(
        LOG,
        b'{"event":"rejected","id":"a","first_at":"2026-01-01T00:00:00+00:00","attempts":3}\n',
    )
    rejects = opened(store)
    add(rejects, "a")
    rejects.flush()
    (entry,) = opened(store).entries()
    assert (entry.first_at, entry.attempts) == ("2026-01-01T00:00:00+00:00", 4)


def test_a_resolved_reject_is_closed(store):
    rejects = opened(store)
    add(rejects, "a")
    add(rejects, "b")
    rejects.resolve("a", "delivered")
    rejects.flush()
    assert ids(store) == ["b"]
    assert (len(rejects), "a" in rejects, "b" in rejects) == (1, False, True)


def test_resolving_what_is_not_open_writes_nothing(store):
    rejects = opened(store)
    rejects.resolve("a", "delivered")
    rejects.flush()
    assert store.read_log(LOG) == b""


class TestCrash:
    """A line that was cut short was never flushed; all the others stand, and new ones stand beside them."""

    def log_cut_short(self, tmp_path, store, keep: int) -> None:
        rejects = opened(store)
        add(rejects, "a")
        rejects.flush()
        whole = (tmp_path / LOG).read_bytes()
        (tmp_path / LOG).write_bytes(whole + whole.replace(b'"a"', b'"b"')[:keep])

    @pytest.mark.parametrize("keep", [1, 20, 100, -1])
    def test_it_is_left_out(self, tmp_path, store, keep):
        self.log_cut_short(tmp_path, store, keep)
        assert ids(store) == ["a"]

    @pytest.mark.parametrize("keep", [1, 20, 100, -1])
    def test_what_is_added_afterwards_stands_on_its_own(self, tmp_path, store, keep):
        self.log_cut_short(tmp_path, store, keep)
        rejects = opened(store)
        add(rejects, "c")
        rejects.flush()
        add(rejects, "d")
        rejects.flush()
        assert ids(store) == ["a", "c", "d"]

    def test_in_a_rehearsal_too(self, tmp_path, store):
        self.log_cut_short(tmp_path, store, 20)
        dry = DryStore(store)
        rejects = opened(dry)
        add(rejects, "c")
        rejects.flush()
        assert [entry.id for entry in opened(dry).entries()] == ["a", "c"]
        assert ids(store) == ["a"]

    def test_a_failed_write_loses_nothing_once_there_is_room_again(self, store, monkeypatch):
        rejects = opened(store)
        add(rejects, "a")
        with monkeypatch.context() as full:
            full.setattr(FileStore, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
            with pytest.raises(OSError):
                rejects.flush()
        rejects.flush()
        assert ids(store) == ["a"]


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"event":"rejected"}', b'{"id":"a"}', b"\x00\x00"])
def test_a_damaged_line_is_refused_and_named(store, line):
    store.append(LOG, b'{"event":"rejected","id":"a"}\n' + line + b"\n")
    with pytest.raises(StateError, match="line 2") as caught:
        opened(store)
    assert caught.value.exit_code == 78


def test_an_empty_line_is_nobodys_fault(store):
    store.append(LOG, b'\n{"event":"rejected","id":"a"}\n\n')
    assert ids(store) == ["a"]


class TestCompaction:
    def test_a_log_of_closed_rejects_becomes_short_and_says_the_same(self, store):
        rejects = opened(store)
        add(rejects, "stays", values={"v": 1})
        for n in range(600):
            add(rejects, f"r{n}")
            rejects.resolve(f"r{n}", "delivered")
        rejects.flush()
        before = list(opened(store).entries())
        rejects.compact()
        assert store.read_log(LOG).count(b"\n") == 1
        assert list(opened(store).entries()) == before

    def test_a_log_of_open_rejects_is_left_alone(self, store):
        rejects = opened(store)
        for n in range(1200):
            add(rejects, f"r{n}")
        rejects.compact()
        assert store.read_log(LOG).count(b"\n") == 1200

    def test_what_is_not_flushed_yet_is_not_lost(self, store):
        rejects = opened(store)
        add(rejects, "a")
        rejects.compact()
        assert ids(store) == ["a"]

    def test_it_goes_on_after_compacting(self, store):
        rejects = opened(store)
        for _ in range(1100):
            add(rejects, "a")
        rejects.compact()
        add(rejects, "b")
        rejects.flush()
        assert {e.id: e.attempts for e in opened(store).entries()} == {"a": 1100, "b": 1}


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "resolve", "flush", "crash", "compact"]), st.sampled_from("abc")
    ),
    max_size=40,
)


@given(steps)
def test_what_is_stored_is_what_a_dictionary_would_hold(tmp_path_factory, story):
    """Additions and resolutions become lasting with a flush; a crash takes back those after the last one."""
    store = DryStore(FileStore(tmp_path_factory.getbasetemp() / "none"))
    rejects, held, durable = opened(store), {}, {}
    for number, (step, row_id) in enumerate(story):
        if step == "add":
            add(rejects, row_id, f"code-{number}")
            held[row_id] = f"code-{number}"
        elif step == "resolve":
            rejects.resolve(row_id, "delivered")
            held.pop(row_id, None)
        elif step == "crash":
            rejects, held = opened(store), dict(durable)
        else:
            getattr(rejects, step)()
            durable = dict(held)
        assert {row_id for row_id in "abc" if row_id in rejects} == held.keys()
        assert {entry.id: entry.code for entry in opened(store).entries()} == durable
