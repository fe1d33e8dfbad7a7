"""Records in, proof out: what is sent, in which order, and what may be relied on (laws 1, 3, 4, 5, 7, 12)."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from delivery_fakes import FakeDestination, at, record, refuses
from hypothesis import given, settings
from hypothesis import strategies as st

from crmsync.delivery import Counts, Courier, Delivery, Limits, Position, Tracker
from crmsync.delivery import courier as couriers
from crmsync.destinations.base import Lost, Reason, Refused, Settled, Unproven, Working
from crmsync.errors import AuthError, Outage, Unconfirmed
from crmsync.http import Stopper
from crmsync.mapping import Reject, Skip
from crmsync.state.ledger import Ledger
from crmsync.state.outbox import Outbox, Parcel
from crmsync.state.rejects import Rejects
from crmsync.state.store import FileStore

DONE = Position("changes", "done")


class Room:
    """One run's delivery on a state directory. A second room on the same directory is the next run."""

    def __init__(self, folder: Path, destination: FakeDestination, *, write_all: bool = False, **limits):
        self.store = FileStore(folder)
        self.destination = destination
        self.ledger_path = self.store.local("contacts/ledger.sqlite")
        self.ledger = Ledger(self.ledger_path)
        self.outbox = Outbox(self.store, "contacts")
        self.rejects = Rejects(self.store, "contacts", "run-1")
        self.tracker = Tracker()
        self.counts = Counts()
        self.begun = 0
        self.stopper = Stopper()
        self.delivery = Delivery(
            Courier(destination, self.outbox, job_deadline=60, stopper=self.stopper, confirm=lambda: None),
            destination,
            self.outbox,
            self.ledger,
            self.rejects,
            self.tracker,
            self.counts,
            limits=Limits(**{"batch": 2, "in_flight": 3, "jobs": 4, **limits}),
            begin=self.begin,
            check=lambda: None,
            write_all=write_all,
        )

    def begin(self) -> None:
        assert not self.destination.sent[self.begun :] or self.begun
        self.begun += 1
        self.ledger.begin_generation("parent")

    def add(self, *outcomes, place: Position | None = DONE) -> None:
        self.delivery.add(outcomes, place)

    def deliver(self, *outcomes, place: Position | None = DONE) -> None:
        self.add(*outcomes, place=place)
        self.delivery.drain()

    def close(self) -> None:
        self.delivery.close()
        self.ledger.close()

    def look(self, ids: list[str]) -> dict[str, bytes | None]:
        """What stands in the ledger's file for these Ids, as another process would see it."""
        db = sqlite3.connect(self.ledger_path)
        try:
            marks = ",".join("?" * len(ids))
            return dict(db.execute(f"SELECT id, digest FROM entries WHERE id IN ({marks})", ids))
        finally:
            db.close()


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch):
    monkeypatch.setattr(couriers, "FIRST_POLL", 0.001)
    monkeypatch.setattr(couriers, "LONGEST_POLL", 0.002)


@pytest.fixture
def run(tmp_path):
    """Opens the rooms of successive runs; the one before is closed first."""
    rooms: list[Room] = []

    def opened(destination: FakeDestination | None = None, **kwargs) -> Room:
        if rooms:
            rooms[-1].close()
        rooms.append(Room(tmp_path, destination or FakeDestination(), **kwargs))
        return rooms[-1]

    yield opened
    for room in rooms[-1:]:
        room.close()


class TestWhatIsSent:
    def test_records_go_in_batches_and_the_position_is_reached_after_proof(self, run):
        room = run(in_flight=1)
        room.deliver(*(record(f"r{n}") for n in range(5)))
        assert room.destination.batches == [["r0", "r1"], ["r2", "r3"], ["r4"]]
        assert room.tracker.reached() == [DONE]
        assert (room.counts.read, room.counts.written, room.counts.batches) == (5, 5, 3)
        assert room.outbox.is_empty()

    def test_a_large_body_is_sent_before_its_batch_is_full(self, run):
        room = run(batch=500, body=310, in_flight=1)
        room.deliver(*(record(f"r{n}", text="x" * 100) for n in range(6)))
        assert [len(batch) for batch in room.destination.batches] == [2, 2, 2]
        assert all(len(body) <= 310 + len(b'{"records":[]}') for _, body in room.destination.sent)

    def test_what_is_proved_already_is_not_sent_again(self, run):
        run().deliver(record("a", 1), record("b", 1))
        room = run()
        room.deliver(record("a", 1), record("b", 2))
        assert room.destination.batches == [["b"]]
        assert (room.counts.unchanged, room.counts.written) == (1, 1)
        assert room.tracker.reached() == [DONE]

    def test_a_quiet_run_sends_nothing_and_begins_nothing(self, run):
        run().deliver(record("a"))
        room = run()
        room.deliver(record("a"))
        assert (room.begun, room.destination.sent, room.delivery.has_sent) == (0, [], False)

    def test_a_run_begins_once_and_before_the_first_byte(self, run):
        room = run()
        room.destination.on_submit = lambda *_: Settled() if room.begun == 1 else Unproven("not begun")
        room.deliver(*(record(f"r{n}") for n in range(9)))
        assert room.begun == 1

    def test_write_all_sends_also_what_an_earlier_run_proved_but_nothing_twice(self, run):
        rows = [record(f"r{n}") for n in range(6)]
        run().deliver(*rows)
        room = run(write_all=True)
        room.deliver(*rows)
        assert sorted(room.destination.batches) == [["r0", "r1"], ["r2", "r3"], ["r4", "r5"]]
        room.deliver(*rows)
        assert len(room.destination.sent) == 3
        assert room.counts.unchanged == 6

    def test_write_all_sends_even_the_first_record_that_nothing_was_sent_before(self, run):
        run().deliver(record("a"))
        room = run(write_all=True)
        room.deliver(record("a"))
        assert room.destination.batches == [["a"]]

    def test_a_digest_is_forgotten_durably_before_its_record_is_sent(self, run):
        run().deliver(record("a", 1), record("b", 1))
        seen = []
        room = run()

        def answer(records, key, patient):
            seen.append(room.look(["a", "b"]))
            return Settled()

        room.destination.on_submit = answer
        room.deliver(record("a", 2), record("b", 2))
        assert seen == [{"a": None, "b": None}]
        assert room.look(["a", "b"]) == {"a": record("a", 2).digest, "b": record("b", 2).digest}

    @pytest.mark.parametrize("pages", [1, 2])
    def test_what_lands_while_its_row_waits_in_a_batch_is_forgotten_too(self, run, pages):
        """A row that got another key, while its former version was still in flight."""
        room = run()
        goes_on, seen = threading.Event(), []

        def answer(records, key, patient):
            goes_on.wait(10)
            seen.append(room.look(["a"]))
            return Settled()

        room.destination.on_submit = answer
        room.add(record("a", 1, key="k1"), record("b", 1))
        waits, fills = record("a", 2, key="k2"), record("b", 2)
        if pages == 2:
            room.add(waits, place=None)
        threading.Timer(0.05, goes_on.set).start()
        while pages == 2 and not room.look(["a"]):
            room.delivery.idle()
        room.deliver(*[waits, fills][pages - 1 :], place=None)
        assert seen == [{}, {"a": None}]

    def test_what_was_not_proved_is_sent_again_by_the_next_run(self, run):
        run().deliver(record("a", 1))
        room = run(FakeDestination(lambda *_: Unproven("?")))
        with pytest.raises(Unconfirmed):
            room.deliver(record("a", 2))
        assert room.look(["a"]) == {"a": None}
        for parcel in room.outbox.parcels():  # even if the outbox were lost
            room.outbox.remove(parcel)
        room = run()
        room.deliver(record("a", 1))
        assert room.destination.batches == [["a"]]

    def test_skips_and_rejects_are_settled_without_sending(self, run):
        room = run()
        room.deliver(Skip("a", at(1), "deleted"), Reject("b", at(1), "invalid_email", "email", "is bad"))
        assert room.destination.sent == []
        assert room.tracker.reached() == [DONE]
        assert (room.counts.skipped, room.counts.rejected) == (
            Counter({"deleted": 1}),
            Counter({"invalid_email": 1}),
        )
        assert "b" in room.rejects

    def test_refused_records_are_kept_as_rejects_and_are_not_in_the_ledger(self, run):
        room = run(FakeDestination(refuses({"b"}, named=True)), batch=3)
        room.deliver(record("a"), record("b", 1, "bad"), record("c"))
        assert (room.counts.written, room.counts.refused) == (2, Counter({"CDP.NO": 1}))
        (kept,) = room.rejects.entries()
        assert (kept.id, kept.origin, kept.code, kept.stamp) == ("b", "destination", "CDP.NO", at(1))
        assert kept.values == record("b", 1, "bad").values
        assert room.look(["a", "b", "c"]).keys() == {"a", "c"}
        assert room.tracker.reached() == [DONE]
        assert room.outbox.is_empty()

    def test_rejects_are_durable_before_the_position_is_reached(self, run):
        room = run(FakeDestination(refuses({"a"}, named=True)))
        room.deliver(record("a"))
        assert [entry.id for entry in Rejects(room.store, "contacts").entries()] == ["a"]

    def test_a_delivered_row_closes_its_reject(self, run):
        run(FakeDestination(refuses({"a"}, named=True))).deliver(record("a", 1))
        room = run()
        room.deliver(record("a", 2))
        assert len(room.rejects) == 0


class TestSharedKeys:
    """Two rows with one match key (law 5)."""

    def test_in_one_batch_the_newer_wins(self, run):
        room = run(batch=10)
        room.deliver(record("a", 2, key="k"), record("b", 1, key="k"))
        assert room.destination.batches == [["a"]]
        assert room.counts.skipped == Counter({"shared_key": 1})
        assert room.tracker.reached() == [DONE]

    def test_an_older_row_is_skipped_runs_later(self, run):
        run().deliver(record("a", 2, key="k"))
        room = run()
        room.deliver(record("b", 1, key="k"))
        assert room.destination.sent == []
        assert room.counts.skipped == Counter({"shared_key": 1})

    def test_a_newer_row_overwrites_and_the_older_is_known_to_be_gone(self, run):
        run().deliver(record("a", 1, key="k"))
        run().deliver(record("b", 2, key="k"))
        room = run()
        room.deliver(record("a", 1, key="k"))
        assert room.counts.skipped == Counter({"shared_key": 1})
        room.deliver(record("a", 3, key="k"))
        assert room.destination.batches == [["a"]]

    def test_an_older_row_later_in_the_page_does_not_overwrite_what_landed_meanwhile(self, run):
        """A page of unordered rows is larger than a batch: some of it is proved before the rest is looked at."""
        room = run(batch=1, in_flight=1)
        fillers = [record(f"f{n}") for n in range(8)]
        room.deliver(record("a", 9, key="k"), *fillers, record("b", 5, key="k"))
        assert ["b"] not in room.destination.batches
        assert room.counts.skipped == Counter({"shared_key": 1})

    def test_an_older_version_later_in_the_page_is_not_sent_either(self, run):
        room = run(batch=1, in_flight=1)
        fillers = [record(f"f{n}") for n in range(8)]
        room.deliver(record("a", 9), *fillers, record("a", 5))
        assert room.destination.batches.count(["a"]) == 1
        assert room.counts.skipped == Counter({"superseded": 1})


class TestOrder:
    """One version of a key in flight, an older one never after a newer one (law 4)."""

    def test_a_newer_version_waits_for_the_one_in_flight(self, run):
        room = run(batch=1)
        arrived, go = threading.Event(), threading.Event()
        order: list[str] = []

        def answer(records, key, patient):
            version = records[0]["v"]
            if version == "old":
                arrived.set()
                assert go.wait(5)
            order.append(version)
            return Settled()

        room.destination.on_submit = answer
        room.add(record("a", 1, "old"))
        assert arrived.wait(5)
        threading.Timer(0.05, go.set).start()
        room.deliver(record("a", 2, "new"))
        assert order == ["old", "new"]

    def test_the_same_version_again_while_in_flight_is_not_sent_twice(self, run):
        room = run(batch=1)
        go = threading.Event()
        room.destination.on_submit = lambda *_: Settled() if go.wait(5) else Unproven("stuck")
        room.add(record("a", 1), place=None)
        room.add(record("a", 1))
        assert room.tracker.reached() == []
        go.set()
        room.delivery.drain()
        assert len(room.destination.sent) == 1
        assert room.tracker.reached() == [DONE]

    def test_replay_comes_to_its_end_before_anything_newer(self, run):
        room = run(FakeDestination(lambda *_: Working("job-1"), lambda job: Working(job)), batch=1)
        room.add(record("a", 1, "old"), record("b", 1, "old"))
        while len(room.outbox.parcels()) < 2 or any(p.job_id is None for p in room.outbox.parcels()):
            room.delivery.idle()
        left = {p.name for p in room.outbox.parcels()}  # the process dies here

        ended: list[str] = []
        answers = {"job-1": [Working("job-1"), Working("job-1"), Settled(), Settled()]}

        def poll(job):
            outcome = answers[job].pop(0)
            if isinstance(outcome, Settled):
                ended.append("replayed")
            return outcome

        room = run(FakeDestination(lambda *_: ended.append("new") or Settled(), poll))
        assert {p.name for p in room.outbox.parcels()} == left
        room.delivery.replay()
        room.deliver(record("a", 2, "new"))
        assert ended == ["replayed", "replayed", "new"]
        assert room.counts.replayed == 2
        assert room.outbox.is_empty()

    def test_what_was_never_answered_goes_again_with_its_own_key_and_bytes(self, run):
        room = run(FakeDestination(lambda *_: Unproven("?")))
        with pytest.raises(Unconfirmed):
            room.deliver(record("a", 1))
        before = list(room.destination.sent)
        room = run()
        room.delivery.replay()
        assert room.destination.sent == before
        assert room.begun == 1
        assert room.look(["a"]) == {"a": record("a", 1).digest}

    def test_parcels_of_one_key_are_replayed_one_after_the_other_in_their_order(self, run):
        room = run()
        for second in range(4):
            r = record("a", second)
            room.outbox.add(Parcel.of([(r.id, r.key, r.stamp, r.digest)], room.destination.frame([r.body])))
        busy, order = threading.Semaphore(1), []

        def answer(records, key, patient):
            assert busy.acquire(blocking=False), "two versions of a key in flight"
            time.sleep(0.005)
            order.append(records[0]["s"])
            busy.release()
            return Settled()

        room.destination.on_submit = answer
        room.delivery.replay()
        assert order == [0, 1, 2, 3]

    def test_records_refused_in_a_replay_become_rejects(self, run):
        room = run(FakeDestination(lambda *_: Unproven("?")))
        with pytest.raises(Unconfirmed):
            room.deliver(record("a"), record("b"))
        room = run(FakeDestination(refuses({"b"}, named=True)))
        room.delivery.replay()
        assert [entry.id for entry in room.rejects.entries()] == ["b"]

    def test_an_older_version_is_not_sent_after_a_newer_one_landed_and_a_third_was_refused(self, run):
        room = run(
            FakeDestination(
                lambda records, *_: Settled({0: Reason("NO", "")} if "bad" in str(records) else {})
            )
        )
        room.deliver(record("a", 5, "good"))
        room.deliver(record("a", 5, "bad"))
        room.deliver(record("a", 3, "older"))
        assert len(room.destination.sent) == 2
        assert room.counts.skipped == Counter({"superseded": 1})


class CDP:
    """A destination that applies batches after random delays, at once or as jobs, and watches over the order."""

    def __init__(self, seed: int, bad: set[str]) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.in_flight: set[str] = set()
        self.landed: dict[str, list[tuple[int, str]]] = {}
        self.jobs: dict[str, tuple[list[dict], int]] = {}
        self.bad = bad
        self.faults: list[str] = []

    def submit(self, records, key, patient):
        with self.lock:
            keys = [values["k"] for values in records]
            if len(set(keys)) < len(keys) or self.in_flight & set(keys):
                self.faults.append(f"{keys} while {self.in_flight} is in flight")
            self.in_flight |= set(keys)
            delay, as_job = self.random.random() * 0.003, self.random.random() < 0.4
            if as_job:
                self.jobs[key] = (records, self.random.randrange(3))
        time.sleep(delay)
        return Working(key) if as_job else self.apply(records)

    def poll(self, job):
        with self.lock:
            records, rounds = self.jobs[job]
            self.jobs[job] = (records, rounds - 1)
        return Working(job) if rounds > 0 else self.apply(records)

    def apply(self, records):
        with self.lock:
            refused = {}
            for place, values in enumerate(records):
                self.in_flight.discard(values["k"])
                if values["v"] in self.bad:
                    refused[place] = Reason("CDP.NO", "no")
                    continue
                self.landed.setdefault(values["k"], []).append((values["s"], values["id"]))
            return Settled(refused)


row = st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 9), st.sampled_from(["", "x", "bad"]))


@settings(max_examples=30, deadline=None)
@given(
    pages=st.lists(st.lists(row, max_size=8), max_size=5),
    keys=st.sampled_from([{}, {"a": "k", "b": "k"}, dict.fromkeys("abcd", "k")]),
    batch=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_whatever_the_timing_one_version_at_a_time_and_none_after_a_newer_one(pages, keys, batch, seed):
    cdp = CDP(seed, {"bad"})
    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder), FakeDestination(cdp.submit, cdp.poll), batch=batch)
        places = [Position("changes", f"{n}") for n in range(len(pages))]
        for page, place in zip(pages, places, strict=True):
            room.add(*(record(i, s, v, key=keys.get(i)) for i, s, v in page), place=place)
        room.delivery.drain()
        reached = room.tracker.reached()
        left = room.outbox.parcels()
        settled = room.counts
        room.close()
    assert cdp.faults == []
    for versions in cdp.landed.values():
        stamps = [version[0] if len({v[1] for v in versions}) == 1 else version for version in versions]
        assert stamps == sorted(stamps)
    good = [(keys.get(i, i), s) for page in pages for i, s, v in page if v != "bad"]
    for key in {key for key, _ in good}:
        newest_good = max(s for k, s in good if k == key)
        newest = max(s for page in pages for i, s, _ in page if keys.get(i, i) == key)
        if newest == newest_good and not any(
            v == "bad" and s == newest and keys.get(i, i) == key for page in pages for i, s, v in page
        ):
            assert cdp.landed[key][-1][0] == newest
    assert reached == places
    assert left == []
    assert settled.read == sum(map(len, pages)) == (
        settled.written + settled.unchanged + settled.skipped.total() + settled.rejects
    )  # fmt: skip


class TestBounds:
    """Memory is bounded by what is in flight (law 12)."""

    def test_no_more_requests_than_allowed_and_hardly_more_parcels(self, run):
        room = run(batch=1, in_flight=3)
        now, peaks, parcels = [0], [0], [0]
        lock, first_three = threading.Lock(), threading.Barrier(3)

        def answer(records, key, patient):
            if records[0]["id"] in ("r0", "r1", "r2"):
                first_three.wait(10)
            with lock:
                now[0] += 1
                peaks[0] = max(peaks[0], now[0])
                parcels[0] = max(parcels[0], len(room.store.names("contacts/outbox")))
            time.sleep(0.002)
            with lock:
                now[0] -= 1
            return Settled()

        room.destination.on_submit = answer
        room.deliver(*(record(f"r{n}") for n in range(40)))
        assert peaks[0] <= 3
        assert parcels[0] <= 4

    def test_no_more_unfinished_jobs_than_allowed_and_those_in_flight(self, run):
        unfinished: set[str] = set()
        most = [0]
        lock = threading.Lock()

        def answer(records, key, patient):
            with lock:
                unfinished.add(key)
                most[0] = max(most[0], len(unfinished))
            return Working(key)

        chance = random.Random(1)

        def poll(job):
            with lock:
                if most[0] < 5 or chance.random() < 0.8:
                    return Working(job)
                unfinished.discard(job)
            return Settled()

        room = run(FakeDestination(answer, poll), batch=1, in_flight=2, jobs=5)
        room.deliver(*(record(f"r{n}") for n in range(60)))
        assert 5 <= most[0] <= 5 + 2 + 1
        assert room.counts.written == 60

    def test_jobs_are_asked_for_without_keeping_the_next_batches_back(self, run):
        """The first job ends only once the last batch has arrived."""
        room = run(batch=1, in_flight=1, jobs=8)
        room.destination.on_submit = lambda records, key, _: Working(records[0]["id"])

        def poll(job):
            assert room.destination.polled.count(job) < 2000, "the batches after it never came"
            return Settled() if len(room.destination.sent) == 6 else Working(job)

        room.destination.on_poll = poll
        room.deliver(*(record(f"r{n}") for n in range(6)))
        assert room.counts.written == 6


class TestFailures:
    @pytest.mark.parametrize(
        "error", [Outage("down"), AuthError("no"), AssertionError("a bug"), KeyboardInterrupt()]
    )
    def test_what_a_courier_meets_surfaces_and_nothing_moves_past_it(self, run, error):
        def answer(records, key, patient):
            if records[0]["id"] == "b":
                raise error
            return Settled()

        room = run(FakeDestination(answer), batch=1)
        with pytest.raises(type(error)):
            room.deliver(record("a"), record("b"), record("c"))
        room.delivery.quiesce(5)
        assert room.tracker.reached() == []
        assert [p.ids for p in room.outbox.parcels()] == [("b",)]

    def test_what_else_is_in_flight_is_still_proved(self, run):
        go = threading.Event()

        def answer(records, key, patient):
            if records[0]["id"] == "b":
                raise Outage("down")
            assert go.wait(5)
            return Settled()

        room = run(FakeDestination(answer), batch=1, in_flight=2)
        with pytest.raises(Outage):
            room.deliver(record("a"), record("b"))
        go.set()
        room.delivery.quiesce(5)
        assert room.look(["a", "b"]) == {"a": record("a").digest}

    def test_a_quiesced_run_sends_nothing_more(self, run):
        room = run(batch=10)
        room.add(record("a"))
        room.delivery.quiesce(0.01)
        room.delivery.drain()
        assert room.destination.sent == []
        assert room.tracker.reached() == []

    def test_quiescing_gives_up_after_its_time(self, run):
        go = threading.Event()
        room = run(FakeDestination(lambda *_: Settled() if go.wait(10) else Unproven("stuck")), batch=1)
        room.add(record("a"))
        room.delivery.quiesce(0.05)
        assert not room.outbox.is_empty()
        go.set()

    def test_nothing_leaves_after_the_run_is_closed(self, run):
        go = threading.Event()

        def answer(records, key, patient):
            assert go.wait(5)
            return Refused("content", Reason("X", "", status=400))

        room = run(FakeDestination(answer), batch=4, in_flight=1)
        room.add(*(record(f"r{n}") for n in range(4)))
        room.delivery.quiesce(0.01)
        room.delivery.close()
        go.set()
        for thread in [t for t in threading.enumerate() if t.name.startswith("courier")]:
            thread.join(5)
        assert len(room.destination.sent) == 1


class TestAbandoned:
    def test_a_lost_job_gives_its_ids_back_and_holds_the_position(self, run):
        room = run(FakeDestination(lambda *_: Working("job-1"), Lost))
        room.deliver(record("a"), record("b"))
        assert room.delivery.abandoned == ["a", "b"]
        assert room.tracker.reached() == []
        assert not room.outbox.is_empty()

    def test_delivered_again_it_is_settled(self, run):
        room = run(FakeDestination(lambda *_: Working("job-1"), Lost))
        room.deliver(record("a"), record("b"))
        room.destination.on_submit = lambda *_: Settled()
        room.delivery.forget_abandoned()
        room.deliver(record("a"), Skip("b", "", "gone"), place=None)
        assert room.delivery.abandoned == []
        room.delivery.settle_lost()
        assert room.tracker.reached() == [DONE]
        assert room.outbox.is_empty()
        assert room.store.names("contacts/jobs") == []


class TestARowThatFailsAlone:
    """A parcel of an interrupted run that no one takes: an outage, or its row is at fault (law 8)."""

    def test_it_is_rejected_as_soon_as_something_else_succeeds(self, run):
        answers = refuses({"bad"}, kind="passing", status=500)
        room = run(FakeDestination(answers))
        with pytest.raises(Outage):
            room.deliver(record("bad"))
        room = run(FakeDestination(answers))
        room.delivery.replay()
        room.add(record("bad"), record("good"))
        room.delivery.finish()
        assert (room.counts.written, dict(room.counts.refused)) == (1, {"CDP.NO": 1})
        assert "bad" in room.rejects
        assert room.outbox.is_empty()
        assert room.tracker.reached() == [DONE]

    def test_while_nothing_succeeds_it_is_an_outage_and_stays(self, run):
        answers = refuses({"bad"}, kind="passing", status=500)
        room = run(FakeDestination(answers))
        with pytest.raises(Outage):
            room.deliver(record("bad"))
        room = run(FakeDestination(answers))
        room.delivery.replay()
        room.add(record("bad"))
        with pytest.raises(Outage):
            room.delivery.finish()
        assert len(room.outbox.parcels()) >= 1
        assert "bad" not in room.rejects
        assert room.tracker.reached() == []

    def test_nothing_newer_of_its_key_is_sent_meanwhile(self, run):
        answers = refuses({"bad"}, kind="passing", status=500)
        room = run(FakeDestination(answers))
        with pytest.raises(Outage):
            room.deliver(record("bad", 1))
        room = run(FakeDestination(answers))
        room.delivery.replay()
        with pytest.raises(Outage):
            room.deliver(record("bad", 2))
        assert all(b'"s":2' not in body for _, body in room.destination.sent)
