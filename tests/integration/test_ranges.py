"""Ranged pulls: what they read, and whether they move the watermark."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from .world import Crmsync, Install, Sandbox, StartSandbox

DAY = 86_400.0


@pytest.fixture(scope="module")
def pulled_yesterday(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Crmsync:
    """A crmsync whose last pull was a day ago; ten contacts have changed right after it."""
    shared_sandbox.freshen()
    crmsync = Crmsync(tmp_path_factory.mktemp("yesterday") / "home", dict(shared_sandbox.environment))
    crmsync.pull("--full")
    shared_sandbox.retitle(shared_sandbox.delivered()[:10], "Changed yesterday")
    shared_sandbox.advance(DAY)
    return crmsync


@pytest.fixture
def late(pulled_yesterday: Crmsync, sandbox: Sandbox, install: Install) -> Crmsync:
    """Its twin, for one test."""
    return install(pulled_yesterday)


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (("--since", "1h"), "unread"),
        (("--since", "1h", "--until", "10m"), "unread"),
        (("--until", "1h"), "--until"),
        (("--limit", "10"), "trial"),
        (("--limit", "10", "--full"), "trial"),
        (("--since", "30d", "--until", "1h"), "--until"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_range_that_leaves_something_unread_leaves_the_watermark_and_says_so(
    late: Crmsync, arguments: tuple[str, ...], because: str
) -> None:
    yesterday = late.watermark()
    run = late.run("pull", "--json", *arguments)
    assert run.code == 0
    assert (run.sync["watermark"], run.sync["watermark_moved"]) == (yesterday, False)
    assert late.watermark() == yesterday
    (note,) = (note for note in run.sync["notes"] if "watermark stays" in note)
    assert str(yesterday) in note
    assert because in note
    assert note in run.err


@pytest.mark.parametrize("arguments", [("--since", "2d"), ("--full",), ("--full", "--changed")], ids=" ".join)
def test_a_range_that_begins_before_the_watermark_moves_it(late: Crmsync, arguments: tuple[str, ...]) -> None:
    yesterday = late.watermark()
    result = late.pull(*arguments)
    assert result["watermark_moved"]
    assert late.watermark() == result["window"]["end"] > str(yesterday)


def test_what_a_range_left_unread_is_read_by_the_next_pull(late: Crmsync) -> None:
    assert late.pull("--since", "1h")["read"] == 0
    assert late.pull()["written"] == 10


def test_limit_reads_no_more_than_so_many_rows(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """Also before there is a watermark; the first pull that counts comes after it."""
    assert crmsync.pull("--limit", "10")["read"] == 10
    assert crmsync.watermark() is None
    assert crmsync.run("pull").code == 78
    assert crmsync.pull("--full")["read"] == 300
    sandbox.assert_in_step()


def test_the_first_ranged_pull_sets_the_watermark(crmsync: Crmsync) -> None:
    result = crmsync.pull("--since", "2000-01-01")
    assert crmsync.watermark() == result["window"]["end"]


def test_until_is_exclusive_and_since_inclusive(start_sandbox: StartSandbox, install: Install) -> None:
    sandbox = start_sandbox(20)
    crmsync = install(sandbox)
    crmsync.pull("--full")
    ids = sandbox.delivered()
    for row_id, stamp in zip(ids, ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"), strict=False):
        sandbox.crm("update", object="Contact", id=row_id, fields={"Title": "At midnight"}, stamp=stamp)
    sandbox.crm("clock", freeze="2027-02-01T00:00:00Z")
    before = sandbox.cdp("counts")["writes"]
    crmsync.pull("--since", "2027-01-01", "--until", "2027-01-02")
    assert [write["key"] for write in sandbox.cdp("writes", since=before)] == ids[:1]


def test_since_writes_again_what_is_known_to_be_delivered_unless_changed_is_asked_for(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    profiles = crmsync.pull("--full")["written"]
    assert crmsync.pull("--since", "2000-01-01", "--changed")["written"] == 0
    assert crmsync.pull("--since", "2000-01-01")["written"] == profiles
    assert crmsync.pull("--full")["written"] == profiles
    sandbox.assert_in_step()


def test_the_window_follows_the_sources_clock_not_this_machines(
    start_sandbox: StartSandbox, install: Install
) -> None:
    sandbox = start_sandbox(20)
    crmsync = install(sandbox)
    sandbox.crm("clock", freeze="2031-05-06T07:08:09Z")
    assert crmsync.pull("--full")["watermark"] == "2031-05-06T07:08:04Z"
    sandbox.crm("clock", freeze="2031-05-06T08:00:00Z")
    window = crmsync.pull()["window"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    assert window["end"] == "2031-05-06T07:59:55Z"
    assert end - start < timedelta(hours=1, minutes=15)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "10"),
        ("--since", "may"),
        ("--since", "2026-13-01"),
        ("--limit", "0"),
        ("--full", "--since", "1d"),
        ("--changed",),
        ("--since", "1h", "--until", "2h"),
    ],
    ids=" ".join,
)
def test_a_range_that_means_nothing_is_a_usage_error(crmsync: Crmsync, arguments: tuple[str, ...]) -> None:
    run = crmsync.run("pull", *arguments)
    assert run.code == 2
    assert run.err
