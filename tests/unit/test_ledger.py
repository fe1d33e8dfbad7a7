"""What was proved, per Id: forgotten before it is sent, believed only under its own generation (law 3)."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from crmsync.errors import StateError, TryAgain
from crmsync.state import overlap
from crmsync.state.ledger import Ledger
from crmsync.state.store import FileStore

D1, D2 = b"1" * 32, b"2" * 32
AT1, AT2 = "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = Ledger(path)
    yield opened
    opened.close()


def digests(ledger: Ledger, *ids: str) -> dict[str, bytes | None]:
    return {row_id: entry.digest for row_id, entry in ledger.lookup(ids).items()}


def test_what_was_remembered_is_known_with_its_generation(ledger):
    ledger.begin_generation("before")
    ledger.remember([("a", "k", AT1, D1)])
    entry = ledger.lookup(["a", "b"])["a"]
    assert (entry.key, entry.stamp, entry.digest) == ("k", AT1, D1)
    assert ledger.is_current(entry)
    assert "b" not in ledger.lookup(["a", "b"])
    assert len(ledger) == 1
    ledger.begin_generation("present")
    assert not ledger.is_current(entry)


def test_forgetting_keeps_the_entry_and_drops_its_digest(ledger):
    ledger.remember([("a", "a", AT1, D1), ("b", "b", AT1, D1)])
    ledger.forget(["a", "never seen"])
    assert digests(ledger, "a", "b", "never seen") == {"a": None, "b": D1}


def test_many_ids_are_looked_up_at_once(ledger):
    rows = [(f"r{n}", f"k{n}", AT1, D1) for n in range(1234)]
    ledger.remember(rows)
    assert len(ledger.lookup([row[0] for row in rows])) == 1234
    assert len(ledger.holders([row[1] for row in rows])) == 1234


def test_what_was_forgotten_stays_forgotten_when_the_process_is_killed(path):
    """The child forgets, says so, and is gone without closing anything."""
    first = Ledger(path)
    first.remember([("a", "a", AT1, D1)])
    first.close()
    code = (
        "import os, sys; from pathlib import Path; from crmsync.state.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1])).forget(['a']); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    again = Ledger(path)
    assert digests(again, "a") == {"a": None}
    again.close()


def test_forgetting_is_on_the_disk_when_it_returns(ledger, path, monkeypatch):
    """Each commit of `forget` runs under synchronous=FULL, that of `remember` need not."""
    statements: list[str] = []
    ledger.remember([("a", "a", AT1, D1)])
    ledger._db.set_trace_callback(statements.append)
    ledger.forget(["a"])
    changing = statements[statements.index("PRAGMA synchronous=FULL") :]
    assert changing[-1] == "COMMIT"
    assert any(statement.startswith("UPDATE entries") for statement in changing)
    assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


class TestGenerations:
    def test_a_ledger_belongs_to_the_state_of_its_generation(self, ledger):
        ledger.reset("g1")
        assert ledger.trusted_by("g1")
        assert not ledger.trusted_by("g2")

    def test_one_ahead_is_trusted_because_nothing_was_sent_in_it(self, ledger):
        ledger.reset("g1")
        ahead = ledger.begin_generation("g1")
        assert ledger.trusted_by("g1")
        assert ledger.trusted_by(ahead)

    def test_two_ahead_is_not_trusted(self, ledger):
        ledger.reset("g1")
        second = ledger.begin_generation("g1")
        third = ledger.begin_generation(second)
        assert [ledger.trusted_by(name) for name in ("g1", second, third)] == [False, True, True]

    def test_every_generation_is_another(self, ledger):
        assert len({ledger.begin_generation("g") for _ in range(20)}) == 20

    def test_no_generation_trusts_no_ledger(self, ledger):
        assert not ledger.trusted_by("")
        ledger.reset("g1")
        assert not ledger.trusted_by("")

    def test_a_reset_empties_it(self, ledger):
        ledger.remember([("a", "a", AT1, D1)])
        ledger.reset("g2")
        assert ledger.is_empty()
        assert ledger.generation == "g2"

    def test_a_generation_survives_the_process(self, path, ledger):
        name = ledger.begin_generation("g1")
        other = Ledger(path)
        assert (other.generation, other.trusted_by("g1")) == (name, True)
        other.close()


class TestSharedKeys:
    def test_the_holder_of_a_key_is_the_newest_written_under_it(self, ledger):
        ledger.remember([("a", "k", AT1, D1)])
        ledger.remember([("b", "k", AT2, D2)])
        assert ledger.holders(["k", "other"]) == {"k": (AT2, "b")}

    def test_within_one_second_the_greater_id_holds(self, ledger):
        ledger.remember([("b", "k", AT1, D1)])
        ledger.remember([("a", "k", AT1, D2)])
        assert ledger.holders(["k"]) == {"k": (AT1, "b")}

    def test_a_row_overwritten_by_another_is_no_longer_what_stands_there(self, ledger):
        ledger.remember([("a", "k", AT1, D1)])
        ledger.remember([("b", "k", AT2, D2)])
        assert digests(ledger, "a", "b") == {"a": None, "b": D2}

    def test_a_row_that_changed_its_key_holds_the_new_one_only(self, ledger):
        ledger.remember([("a", "k", AT1, D1)])
        ledger.remember([("a", "l", AT2, D2)])
        assert ledger.holders(["k", "l"]) == {"l": (AT2, "a")}

    def test_keys_that_are_the_ids_themselves_have_no_rivals(self, ledger):
        ledger.remember([("a", "a", AT1, D1)])
        assert ledger.holders(["a"]) == {}


class TestFile:
    def test_it_is_its_owners_alone(self, ledger, path):
        ledger.remember([("a", "a", AT1, D1)])
        assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o600}

    def test_a_file_that_is_no_ledger_is_refused_and_kept(self, path):
        path.write_bytes(b"not a database, surely, but long enough to look at" * 20)
        with pytest.raises(StateError) as caught:
            Ledger(path)
        assert caught.value.exit_code == 78
        assert "Move it away" in (caught.value.hint or "")
        assert path.read_bytes().startswith(b"not a database")

    def test_an_unknown_format_is_refused(self, ledger, path):
        ledger._set_meta("format", "99")
        with pytest.raises(StateError):
            Ledger(path)

    def test_a_full_disk_passes_and_undoes_what_was_begun(self, ledger):
        ledger.remember([("a", "a", AT1, D1)])
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(TryAgain) as caught:
            ledger.remember((f"r{n}", "k" * 500, AT1, D1) for n in range(500))
        assert caught.value.exit_code == 75
        assert len(ledger) == 1
        ledger.forget(["a"])
        assert digests(ledger, "a") == {"a": None}

    def test_an_error_within_undoes_everything(self, ledger):
        with pytest.raises(StateError):
            ledger.remember([("a", "a", AT1, D1), ("b", None, AT1, D1)])  # type: ignore[list-item]  # on purpose
        assert ledger.is_empty()


class TestOverlap:
    """The newest part of it is in the state as well."""

    def test_a_lost_ledger_is_filled_again_from_the_state(self, tmp_path, ledger, path):
        store = FileStore(tmp_path / "state")
        generation = ledger.begin_generation("g1")
        ledger.remember([("old", "old", AT1, D1), ("a", "k", AT2, D1), ("b", "b", AT2, D1)])
        ledger.forget(["b"])
        overlap.keep(store, "contacts", ledger, AT2)
        fresh = Ledger(tmp_path / "fresh.sqlite")
        fresh.reset(generation)
        overlap.restore(store, "contacts", fresh, generation)
        assert digests(fresh, "old", "a", "b") == {"a": D1}
        assert fresh.lookup(["a"])["a"].key == "k"
        fresh.close()

    def test_entries_of_another_generation_are_not_believed(self, tmp_path, ledger):
        store = FileStore(tmp_path / "state")
        ledger.begin_generation("g1")
        ledger.remember([("a", "a", AT1, D1)])
        overlap.keep(store, "contacts", ledger, AT1)
        ledger.reset("g9")
        overlap.restore(store, "contacts", ledger, "g9")
        assert ledger.is_empty()

    @pytest.mark.parametrize(
        "data", [b"", b"[]", b"{}", b'{"generation":"g1","entries":[["a"]]}', b"nonsense"]
    )
    def test_unreadable_counts_as_none(self, tmp_path, ledger, data):
        store = FileStore(tmp_path / "state")
        store.write("contacts/overlap.json", data, None)
        ledger.reset("g1")
        overlap.restore(store, "contacts", ledger, "g1")
        assert ledger.is_empty()


def test_the_index_by_key_serves_the_question_for_holders(path, ledger):
    """Otherwise every page would read the whole table."""
    db = sqlite3.connect(path)
    plan = db.execute(
        "EXPLAIN QUERY PLAN SELECT key, stamp, id FROM entries WHERE key <> id AND key IN ('a', 'b')"
    ).fetchall()
    db.close()
    assert "entries_by_key" in str(plan)
