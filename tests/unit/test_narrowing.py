"""One bad row never costs its neighbours (law 8)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmsync.delivery.narrowing import Verdict, narrow
from crmsync.destinations.base import Reason, Refused, Settled
from crmsync.errors import ConfigError

BAD = Reason("CDP.INVALID", "no", "", 400)


@dataclass
class Service:
    """A destination that refuses certain records, and says more or less about which.

    `how`: "path" names the first bad record of a refused batch, "blind" none; "partial" writes the good ones
    and names the bad, "counts" writes the good ones and only counts the bad. More than `room` records are too many.
    """

    bad: set[int]
    how: str = "blind"
    status: int = 400
    kind: str = "content"
    room: int = 10**9
    written: set[int] = field(default_factory=set)
    tries: list[list[int]] = field(default_factory=list)
    patience: list[bool] = field(default_factory=list)

    def judge(self, indices: list[int], patient: bool) -> Verdict:
        self.tries.append(list(indices))
        self.patience.append(patient)
        return self.answer(indices)

    def answer(self, indices: list[int]) -> Verdict:
        assert indices, "an empty batch"
        reason = Reason("CDP.NO", "no", "", self.status)
        if len(indices) > self.room:
            return Refused("size", Reason("CDP.BIG", "no", "", 413))
        places = [place for place, index in enumerate(indices) if index in self.bad]
        good = {index for index in indices if index not in self.bad}
        if self.how == "partial":
            self.written |= good
            return Settled(dict.fromkeys(places, reason))
        if self.how == "counts":
            self.written |= good
            return Settled(unplaced=len(places), reason=reason)
        if not places:
            self.written |= good
            return Settled()
        return Refused(self.kind, reason, places[0] if self.how == "path" else None)

    def narrow(self, size: int) -> dict[int, Reason]:
        return narrow(size, self.answer(list(range(size))), self.judge)


@settings(deadline=None)
@given(
    size=st.integers(1, 600),
    how=st.sampled_from(["path", "blind", "partial", "counts"]),
    kind=st.sampled_from(["content", "passing"]),
    room=st.sampled_from([10**9, 200, 7]),
    data=st.data(),
)
def test_exactly_the_bad_ones_are_refused_and_every_good_one_is_written(size, how, kind, room, data):
    most = data.draw(st.sampled_from([1, 3, 40, size]))
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=most))
    service = Service(bad, how, kind=kind, room=room)
    refused = service.narrow(size)
    assert set(refused) == bad
    assert service.written == set(range(size)) - bad
    assert len(service.tries) <= 2 * size + 20


@pytest.mark.parametrize("how", ["path", "blind", "partial", "counts"])
@pytest.mark.parametrize("kind", ["content", "passing"])
def test_one_bad_record_among_five_hundred_costs_at_most_fourteen_tries(how, kind):
    for bad in range(500):
        service = Service({bad}, how, kind=kind)
        assert set(service.narrow(500)) == {bad}
        assert service.written == set(range(500)) - {bad}
        assert len(service.tries) <= 14


def test_a_whole_batch_of_bad_records_stays_within_the_bound():
    for how in ("path", "blind", "counts"):
        service = Service(set(range(500)), how)
        assert len(service.narrow(500)) == 500
        assert len(service.tries) <= 1020


def test_a_record_without_a_name_is_refused_only_when_it_failed_alone_and_with_all_patience():
    service = Service({3, 77}, kind="passing", status=503)
    refused = service.narrow(100)
    for index in refused:
        assert service.patience[service.tries.index([index])]


def test_a_batch_that_passes_under_a_fresh_key_costs_one_try_and_no_record():
    service = Service(set())
    refused = narrow(500, Refused("passing", Reason("X", "", status=500)), service.judge)
    assert (refused, len(service.tries), len(service.written)) == ({}, 1, 500)


def test_the_reasons_given_are_those_of_the_records():
    def judge(indices: list[int], patient: bool) -> Verdict:
        return Settled({place: Reason(f"R{i}", "") for place, i in enumerate(indices) if i in (2, 5)})

    refused = narrow(8, Refused("content", BAD, 7), judge)
    assert {index: reason.code for index, reason in refused.items()} == {
        7: "CDP.INVALID", 2: "R2", 5: "R5",
    }  # fmt: skip


def test_a_path_beyond_the_batch_names_nobody():
    service = Service({4})
    assert set(narrow(10, Refused("content", BAD, 10), service.judge)) == {4}


@pytest.mark.parametrize("how", ["path", "blind"])
@pytest.mark.parametrize("size", [3, 50, 500])
def test_a_schema_that_takes_nothing_is_a_configuration_error_found_soon(how, size):
    service = Service(set(range(size)), how, status=422)
    with pytest.raises(ConfigError) as caught:
        service.narrow(size)
    assert caught.value.exit_code == 78
    assert len(service.tries) <= 40


def test_some_rows_refused_by_the_schema_are_no_configuration_error():
    service = Service({0, 100, 200, 300, 400}, status=422)
    assert set(service.narrow(500)) == {0, 100, 200, 300, 400}
    assert service.written == set(range(500)) - service.bad


def test_two_rows_alone_do_not_condemn_the_schema():
    assert set(Service({0, 1}, status=422).narrow(2)) == {0, 1}


def test_too_large_a_batch_is_halved():
    service = Service(set(), room=130)
    assert service.narrow(500) == {}
    assert sorted(map(len, service.tries)) == [125, 125, 125, 125, 250, 250]


def test_a_record_too_large_by_itself_is_refused_alone():
    def judge(indices: list[int], patient: bool) -> Verdict:
        written.update(set(indices) - {9} if 9 not in indices else ())
        return Refused("size", big) if 9 in indices else Settled()

    big = Reason("CDP.BIG", "", "", 413)
    written: set[int] = set()
    assert narrow(64, Refused("size", big), judge) == {9: big}
    assert written == set(range(64)) - {9}
