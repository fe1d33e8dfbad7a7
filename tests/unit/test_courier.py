"""One parcel to its end: durable before it leaves, proof or nothing, narrowed where refused (laws 4, 7, 8)."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest
from delivery_fakes import FakeDestination, record, refuses

from crmsync.delivery import courier as couriers
from crmsync.delivery.courier import Abandoned, Courier, Delivered, Waiting
from crmsync.destinations.base import Lost, Reason, Refused, Settled, Unproven, Working
from crmsync.errors import LockHeld, Outage, Unconfirmed
from crmsync.http import Stopper
from crmsync.state.outbox import Outbox, Parcel
from crmsync.state.store import FileStore

DOWN = Refused("passing", Reason("CDP.DOWN", "later", "", 503))


class Post:
    """A courier with its outbox, its destination and its parcels."""

    def __init__(self, folder, **script) -> None:
        self.store = FileStore(folder)
        self.outbox = Outbox(self.store, "contacts")
        self.destination = FakeDestination(**script)
        self.stopper = Stopper()
        self.confirmed = 0
        self.courier = Courier(
            self.destination, self.outbox, job_deadline=60.0, stopper=self.stopper, confirm=self.confirm
        )

    def confirm(self) -> None:
        self.confirmed += 1

    def parcel(self, *ids: str, size: int = 0) -> Parcel:
        records = [record(row_id) for row_id in ids or [f"r{n:03d}" for n in range(size)]]
        entries = [(r.id, r.key, r.stamp, r.digest) for r in records]
        return Parcel.of(entries, self.destination.frame([r.body for r in records]))

    @property
    def jobs(self) -> list[str]:
        return self.store.names("contacts/jobs")


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch):
    monkeypatch.setattr(couriers, "FIRST_POLL", 0.001)
    monkeypatch.setattr(couriers, "LONGEST_POLL", 0.002)


@pytest.fixture
def post(tmp_path):
    return lambda **script: Post(tmp_path, **script)


def ids_of(parcel: Parcel) -> list[str]:
    return [values["id"] for values in orjson.loads(parcel.body)["records"]]


class TestSending:
    def test_bytes_key_and_ids_are_durable_before_they_leave(self, post):
        here = post()
        seen = []
        here.destination.on_submit = lambda records, key, patient: (
            seen.extend(Outbox(here.store, "contacts").parcels()) or Settled()
        )
        parcel = here.parcel("a", "b")
        assert here.courier.carry(parcel) == Delivered(parcel)
        assert seen == [parcel]
        assert here.destination.sent == [(parcel.key, parcel.body)]

    def test_the_parcel_stays_in_the_outbox_until_its_end_has_been_kept(self, post):
        here = post()
        parcel = here.parcel("a")
        here.courier.carry(parcel)
        assert here.outbox.parcels() == [parcel]

    def test_the_lock_is_confirmed_before_every_send(self, post):
        here = post(on_submit=refuses({"r001"}))
        here.courier.carry(here.parcel(size=8))
        assert here.confirmed == len(here.destination.sent) > 1

    def test_nothing_is_sent_once_the_lock_is_lost(self, post):
        here = post()

        def gone() -> None:
            raise LockHeld("taken over")

        courier = Courier(here.destination, here.outbox, job_deadline=1, stopper=Stopper(), confirm=gone)
        with pytest.raises(LockHeld):
            courier.carry(here.parcel("a"))
        assert here.destination.sent == []

    def test_nothing_is_sent_after_the_run_is_over(self, post):
        here = post()
        here.courier.close()
        with pytest.raises(Unconfirmed):
            here.courier.carry(here.parcel("a"))
        assert here.destination.sent == []

    def test_a_narrowing_ends_with_the_run(self, post):
        here = post()

        def answer(records, key, patient):
            here.courier.close()
            return Refused("content", Reason("X", "", status=400))

        here.destination.on_submit = answer
        with pytest.raises(Unconfirmed):
            here.courier.carry(here.parcel(size=8))
        assert len(here.destination.sent) == 1

    def test_a_reply_that_proves_nothing_is_unconfirmed_and_keeps_the_parcel(self, post):
        here = post(on_submit=lambda *_: Unproven("HTTP 200 with neither"))
        parcel = here.parcel("a")
        with pytest.raises(Unconfirmed) as caught:
            here.courier.carry(parcel)
        assert caught.value.exit_code == 75
        assert here.outbox.parcels() == [parcel]

    def test_named_records_of_a_written_batch_are_refused_and_nothing_is_sent_again(self, post):
        reason = Reason("CDP.NO", "no")
        here = post(on_submit=lambda *_: Settled({1: reason}))
        parcel = here.parcel("a", "b", "c")
        assert here.courier.carry(parcel) == Delivered(parcel, {1: reason})
        assert len(here.destination.sent) == 1


class TestJobs:
    def test_an_accepted_batch_is_waited_for_and_its_job_is_kept(self, post):
        here = post(on_submit=lambda *_: Working("job-1", "queued"))
        parcel = here.parcel("a")
        waiting = here.courier.carry(parcel)
        assert isinstance(waiting, Waiting)
        assert (waiting.job_id, waiting.state) == ("job-1", "queued")
        assert [p.job_id for p in here.outbox.parcels()] == ["job-1"]

    def test_asking_goes_on_until_the_job_ends(self, post):
        answers = [Working("job-1"), Working("job-1"), Settled()]
        here = post(on_submit=lambda *_: Working("job-1"), on_poll=lambda _: answers.pop(0))
        step = here.courier.carry(here.parcel("a"))
        while isinstance(step, Waiting):
            step = here.courier.ask(step)
        assert isinstance(step, Delivered)
        assert here.destination.polled == ["job-1"] * 3
        assert len(here.destination.sent) == 1

    def test_a_job_past_its_deadline_is_unconfirmed(self, post):
        here = post(on_submit=lambda *_: Working("job-1"), on_poll=lambda _: Working("job-1", "running"))
        waiting = here.courier.carry(here.parcel("a"))
        with pytest.raises(Unconfirmed, match="job-1 is still running"):
            here.courier.ask(replace(waiting, since=time.monotonic() - 61))
        assert len(here.outbox.parcels()) == 1

    def test_a_lost_job_is_abandoned(self, post):
        here = post(on_submit=lambda *_: Working("job-1"), on_poll=Lost)
        result = here.courier.ask(here.courier.carry(here.parcel("a")))
        assert isinstance(result, Abandoned)
        assert result.parcel.ids == ("a",)

    @pytest.mark.parametrize("takes", [0.0, 0.1, 1.5, 8.0])
    @pytest.mark.parametrize("late", [0.0, 0.2])
    def test_jobs_are_asked_for_about_when_they_are_done(self, post, monkeypatch, takes, late):
        """Also by a caller who is `late` with every question: that does not make jobs seem longer and longer."""
        monkeypatch.setattr(couriers, "FIRST_POLL", 0.25)
        monkeypatch.setattr(couriers, "LONGEST_POLL", 10.0)
        clock = [1000.0]
        monkeypatch.setattr(couriers.time, "monotonic", lambda: clock[0])
        done_at = {}

        def accept(records, key, patient):
            done_at[key] = clock[0] + takes
            return Working(key)

        def look(job):
            return Settled() if clock[0] >= done_at[job] else Working(job)

        here = post(on_submit=accept, on_poll=look)
        waited = []
        for _ in range(40):
            step, begun = here.courier.carry(here.parcel("a")), clock[0]
            while isinstance(step, Waiting):
                clock[0] = step.next_at + late
                step = here.courier.ask(step)
            waited.append(clock[0] - begun)
        assert max(waited[20:]) <= max(0.25, takes * 1.15) + 0.5 + 2 * late
        assert len(here.destination.polled) <= 40 * 4

    def test_a_failed_job_is_narrowed(self, post):
        def answer(records, key, patient):
            return Working("whole") if len(records) == 8 else refuses({"r003"})(records, key, patient)

        failed = Refused("content", Reason("JOB_FAILED", ""))
        here = post(on_submit=answer, on_poll=lambda _: failed)
        result = here.courier.ask(here.courier.carry(here.parcel(size=8)))
        assert isinstance(result, Delivered)
        assert set(result.refused) == {3}


class TestResuming:
    def test_without_a_job_the_same_bytes_go_under_the_same_key(self, post):
        here = post()
        parcel = here.parcel("a")
        here.outbox.add(parcel)
        (kept,) = here.outbox.parcels()
        assert here.courier.resume(kept) == Delivered(parcel)
        assert here.destination.sent == [(parcel.key, parcel.body)]

    def test_a_job_is_asked_for_and_nothing_is_sent(self, post):
        here = post()
        parcel = replace(here.parcel("a"), job_id="job-9")
        assert isinstance(here.courier.resume(parcel), Delivered)
        assert (here.destination.polled, here.destination.sent) == (["job-9"], [])

    def test_an_expired_key_is_never_used_again(self, post):
        here = post()
        parcel = replace(here.parcel("a"), made_at=time.time() - 23.1 * 3600)
        assert isinstance(here.courier.resume(parcel), Abandoned)
        assert here.destination.sent == []

    def test_a_job_is_asked_for_even_after_its_key_has_expired(self, post):
        here = post()
        parcel = replace(here.parcel("a"), made_at=time.time() - 23.1 * 3600, job_id="job-9")
        assert isinstance(here.courier.resume(parcel), Delivered)

    def test_a_job_unfinished_for_a_day_is_abandoned(self, post):
        here = post(on_poll=lambda job: Working(job, "running"))
        young = replace(here.parcel("a"), made_at=time.time() - 23.9 * 3600, job_id="job-9")
        old = replace(young, made_at=time.time() - 24.1 * 3600)
        assert isinstance(here.courier.resume(young), Waiting)
        assert isinstance(here.courier.resume(old), Abandoned)

    def test_the_deadline_counts_from_when_the_parcel_was_made(self, post):
        here = post(on_poll=lambda job: Working(job, "running"))
        parcel = replace(here.parcel("a"), made_at=time.time() - 120, job_id="job-9")
        waiting = here.courier.resume(parcel)
        assert isinstance(waiting, Waiting)
        with pytest.raises(Unconfirmed):
            here.courier.ask(waiting)

    def test_what_a_person_has_given_up_is_not_asked_for(self, post):
        here = post()
        here.outbox.add(parcel := here.parcel("a"))
        here.outbox.abandon(parcel)
        assert isinstance(here.courier.resume(here.outbox.parcels()[0]), Abandoned)
        assert (here.destination.polled, here.destination.sent) == ([], [])


class TestParts:
    """What a refused batch is divided into."""

    def test_parts_are_durable_before_they_leave_and_gone_after_their_end(self, post):
        here = post()

        def answer(records, key, patient):
            kept = {p.key: ids_of(p) for p in here.outbox.parcels()}
            assert kept[key] == [values["id"] for values in records]
            return refuses({"r005"})(records, key, patient)

        here.destination.on_submit = answer
        parcel = here.parcel(size=16)
        result = here.courier.carry(parcel)
        assert isinstance(result, Delivered)
        assert set(result.refused) == {5}
        assert here.outbox.parcels() == [parcel]

    def test_no_key_ever_goes_with_other_bytes_and_every_part_has_its_own(self, post):
        here = post(on_submit=refuses({"r003", "r090"}, named=True))
        here.courier.carry(here.parcel(size=120))
        keys = [key for key, _ in here.destination.sent]
        assert len(set(keys)) == len(keys) > 2

    def test_parts_that_become_jobs_leave_nothing_behind(self, post):
        verdicts = {}

        def answer(records, key, patient):
            verdicts[key] = refuses({"r002"})(records, key, patient)
            return Working(key)

        here = post(on_submit=answer, on_poll=lambda job: verdicts[job])
        result = here.courier.ask(here.courier.carry(parcel := here.parcel(size=8)))
        assert isinstance(result, Delivered)
        assert set(result.refused) == {2}
        here.outbox.remove(result.parcel)
        assert (here.outbox.parcels(), here.jobs) == ([], [])
        assert parcel.key in verdicts

    @pytest.mark.parametrize("end", [Unproven("?"), Lost("job-1")])
    def test_a_part_that_is_unaccounted_for_stays_with_the_whole(self, post, end):
        def answer(records, key, patient):
            return end if len(records) < 8 else Refused("content", Reason("X", "", status=400))

        here = post(on_submit=answer)
        with pytest.raises(Unconfirmed) as caught:
            here.courier.carry(here.parcel(size=8))
        assert sorted(map(len, here.outbox.parcels())) == [4, 8]
        assert "r00" not in str(caught.value)

    def test_a_stop_ends_the_search_and_keeps_the_parcel(self, post):
        here = post()

        def answer(records, key, patient):
            here.stopper.stop(15)
            return Refused("content", Reason("X", "", status=400))

        here.destination.on_submit = answer
        with pytest.raises(Unconfirmed):
            here.courier.carry(parcel := here.parcel(size=8))
        assert here.outbox.parcels() == [parcel]
        assert len(here.destination.sent) == 1


class TestPoisonAndOutage:
    """A status that may pass: one row's fault, or everybody's (law 8)."""

    @pytest.mark.parametrize("poison", ["r000", "r001", "r250", "r499"])
    def test_one_poisonous_row_among_500_is_found_and_the_others_are_written(self, post, poison):
        here = post(on_submit=refuses({poison}, kind="passing", status=500))
        result = here.courier.carry(here.parcel(size=500))
        assert isinstance(result, Delivered)
        assert set(result.refused) == {int(poison[1:])}
        assert len(here.destination.sent) <= 15

    def test_a_batch_is_tried_under_a_fresh_key_before_it_is_divided(self, post):
        answers = [DOWN, Settled()]
        here = post(on_submit=lambda *_: answers.pop(0))
        parcel = here.parcel(size=500)
        assert here.courier.carry(parcel) == Delivered(parcel)
        (first, body), (second, again) = here.destination.sent
        assert first != second
        assert body == again

    @pytest.mark.parametrize("size", [1, 2, 10, 500])
    def test_where_nothing_succeeds_it_is_an_outage_and_nobody_is_refused(self, post, size):
        here = post(on_submit=lambda *_: DOWN)
        with pytest.raises(Outage) as caught:
            here.courier.carry(parcel := here.parcel(size=size))
        assert caught.value.exit_code == 75
        assert parcel in here.outbox.parcels()
        assert len(here.destination.sent) <= 30

    @pytest.mark.parametrize("size", [2, 10, 500])
    def test_an_outage_that_begins_just_after_others_succeeded_refuses_nobody(self, post, size):
        here = post()

        def answer(records, key, patient):
            if records[0]["id"] == "other" or len(records) < size:
                return Settled() if records[0]["id"] == "other" else DOWN
            here.courier.send(other)  # another thread's batch, the last to get through
            return DOWN

        other = here.parcel("other")
        here.destination.on_submit = answer
        with pytest.raises(Outage):
            here.courier.carry(here.parcel(size=size))

    @pytest.mark.parametrize("after", range(1, 12))
    @pytest.mark.parametrize("kind", ["passing", "content"])
    def test_an_outage_that_begins_while_a_batch_is_narrowed_refuses_nobody(self, post, after, kind):
        """Whatever the first refusal was for: what is refused by then is found again by the next run."""
        here = post()
        calls = iter(range(1000))

        def answer(records, key, patient):
            if next(calls) >= after:
                return DOWN
            return refuses({"r001", "r006"}, kind=kind, status=500 if kind == "passing" else 400)(
                records, key, patient
            )

        here.destination.on_submit = answer
        with pytest.raises(Outage):
            here.courier.carry(here.parcel(size=10))

    def test_a_lone_row_is_refused_where_other_batches_succeed(self, post):
        here = post()

        def answer(records, key, patient):
            if records[0]["id"] == "bad":
                here.courier.send(here.parcel("good"))
                return DOWN
            return Settled()

        here.destination.on_submit = answer
        result = here.courier.carry(here.parcel("bad"))
        assert isinstance(result, Delivered)
        assert set(result.refused) == {0}

    def test_a_heap_of_poisonous_rows_is_no_outage(self, post):
        bad = {f"r{n:03d}" for n in range(100, 164)}
        here = post(on_submit=refuses(bad, kind="passing", status=500))
        result = here.courier.carry(here.parcel(size=500))
        assert isinstance(result, Delivered)
        assert set(result.refused) == set(range(100, 164))

    def test_a_batch_of_bad_rows_alone_is_no_outage_where_the_refusals_are_final(self, post):
        here = post(on_submit=refuses({f"r{n:03d}" for n in range(9)}))
        result = here.courier.carry(here.parcel(size=9))
        assert isinstance(result, Delivered)
        assert len(result.refused) == 9
