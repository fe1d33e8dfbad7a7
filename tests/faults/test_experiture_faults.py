"""What the CDP may turn out to do: one parameter per doubt that its contract lists (section 16.19), and more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from crmsync.http import Retry, wire
from crmsync.sandbox.experiture.switches import SWITCHES
from crmsync.sandbox.web import Request, Response

from .conftest import MakeWorld
from .registry import Check, Faults
from .world import DEFAULT_FIELDS, TIMELESS_FIELDS, Row, World, serving, sync_toml

FAULTS = Faults()
HTML = "<html><body><h1>Bad Gateway</h1></body></html>"
BATCH = {"service": "experiture", "path": "upsert-batch"}
SMALL = {"CRMSYNC_BATCH_SIZE": "10"}
REASON = "this record cannot be processed"


def pulls_all_the_same(world: World, *arguments: str, **settings: str) -> Row:
    """A full pull ends well, with one profile for each row that should have one, as it should be."""
    result = world.pull("--full", *arguments, **SMALL | settings)
    assert sorted(world.delivered()) == sorted(world.due())
    world.assert_in_step()
    return result


def keys_and_bodies(world: World) -> Counter[tuple[str, int]]:
    sent = world.requests("experiture", "upsert-batch")
    return Counter((entry["headers"]["Idempotency-Key"], entry["request_bytes"]) for entry in sent)


def poison(world: World, **how: Any) -> str:
    """Make one record that is due fail for ever; give its Id."""
    chosen = sorted(world.due())[7]
    world.cdp("poison", field="salesforce_id", value=chosen, **how)
    return chosen


def costs_one_record(world: World, **settings: str) -> None:
    """The poisoned record is rejected with the API's reason, every other one is delivered."""
    chosen = world.experiture.poisons[0].value
    result = world.pull("--full", **SMALL | settings)
    assert set(world.delivered()) == world.due() - {chosen}
    assert sum(result["refused"].values()) == 1
    assert message_of(world, chosen) == REASON
    assert set(Counter(row["salesforce_id"] for row in world.profiles()).values()) == {1}


def message_of(world: World, row_id: str) -> str:
    run = world.run("rejects", "show", row_id, "--values")
    assert run.code == 0, run.said
    return next(line.split('"')[3] for line in run.out.splitlines() if '"message"' in line)


# --- 16.19: each unknown of the contract


def _any_answer(promise: str, **switches: Any) -> Check:
    def check(world: World) -> None:
        world.cdp("switches", **switches)
        pulls_all_the_same(world)

    check.__doc__ = promise
    return check


_SAME = "The result is the same."
for _name, _switches in {
    "batch-answered-by-a-job": {"batch_mode": "job"},
    "batch-answered-by-its-results": {"batch_mode": "inline"},
    "accepted-with-202": {"accept_status": 202},
    "accepted-with-200": {"accept_status": 200},
    "correlation-id-in-no-body": {"body_correlation_id": "none"},
    "correlation-id-in-every-body": {"body_correlation_id": "both"},
}.items():
    FAULTS.add(_name)(_any_answer(_SAME, **_switches))


@FAULTS.add("one-bad-record-partial")
def _(world: World) -> None:
    """A batch that is written but for one record costs that record alone, with the API's reason."""
    poison(world)
    costs_one_record(world)


@FAULTS.add("one-bad-record-all-or-nothing")
def _(world: World) -> None:
    """A batch that is refused as a whole for one record costs that record alone, with the API's reason."""
    world.cdp("switches", outcome="all_or_nothing")
    poison(world)
    costs_one_record(world)


def _never_another_body(mismatch: str) -> Check:
    def check(world: World) -> None:
        world.cdp("switches", key_mismatch=mismatch, outcome="all_or_nothing", error_path="none")
        poison(world)
        lost = world.fault("lose_answer", **BATCH, times=3, after=2)
        costs_one_record(world)
        assert world.hits(lost) == 3
        sizes = Counter(key for key, _ in keys_and_bodies(world))
        assert set(sizes.values()) == {1}

    check.__doc__ = (
        "Never provoked: a key goes with one body only, a retry repeats both, another body has another key."
    )
    return check


for _mismatch in ("409", "422", "replay"):
    FAULTS.add(f"known-key-with-another-body-{_mismatch}")(_never_another_body(_mismatch))


def _cached(cache: str) -> Check:
    def check(world: World) -> None:
        world.cdp("switches", cache_errors=cache)
        world.cdp("poison", field="salesforce_id", value=sorted(world.due())[7], status=500)

        def heal(_request: Request, response: Response) -> None:
            if response.status == 500:
                world.cdp("clear_poison")

        with world.after_each_answer(heal):
            pulls_all_the_same(world)

    check.__doc__ = (
        "An error that passes but is replayed under its key is tried under a fresh one: nothing is rejected."
    )
    return check


for _cache in ("no", "4xx", "all"):
    FAULTS.add(f"errors-cached-{_cache}")(_cached(_cache))


def _unknown_field(code: str) -> Check:
    def check(world: World) -> None:
        world.configure(sync_toml(DEFAULT_FIELDS + 'no_such_field = "Title"\n', require="[]"))
        assert world.run("pull", "--full").code == 78
        assert not world.requests("experiture", "upsert-batch")
        world.cdp("switches", unknown_field_code=code, metadata="forbidden")
        run = world.run("pull", "--full", "--json")
        assert (run.code, run.sync["new_rejects"], run.sync["watermark"]) == (78, 0, None), run.said
        assert len(world.requests("experiture", "upsert-batch")) < 25

    check.__doc__ = (
        "A field that the object does not have is 78 before anything is sent; where the schema cannot be read, "
        "after a few tries, and not a reject for every row."
    )
    return check


for _code, _word in (
    ("CDP_ETL.VALIDATION.REQUEST_SCHEMA", "request-schema"),
    ("schema_mismatch", "mismatch"),
):
    FAULTS.add(f"unknown-field-{_word}")(_unknown_field(_code))


@FAULTS.add("502-in-html")
def _(world: World) -> None:
    """A gateway's HTML page is tried again."""
    broken = world.fault("status", **BATCH, status=502, body=HTML, times=3, after=1)
    pulls_all_the_same(world)
    assert world.hits(broken) == 3


def _limited(form: str) -> Check:
    def check(world: World) -> None:
        told = {
            "seconds": {"Retry-After": "1"},
            "date": {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)},
            "absent": {},
        }[form]
        asked: list[float] = []
        pause = Retry.pause

        def heard(retry: Retry, attempt: int, wanted: float | None) -> float:
            seconds = pause(retry, attempt, wanted)
            asked.append(wanted or 0.0)
            assert seconds >= (wanted or 0.0)
            return seconds

        world.fault("status", **BATCH, status=429, headers=told, after=1)
        with mock.patch.object(Retry, "pause", heard):
            pulls_all_the_same(world)
        (seconds,) = asked
        assert (0 < seconds <= 2) is (form != "absent")

    check.__doc__ = "The pause is at least as long as asked for; then the batch is sent again under its key."
    return check


for _form in ("seconds", "date", "absent"):
    FAULTS.add(f"retry-after-{_form}")(_limited(_form))


@FAULTS.add("job-stuck")
def _(world: World) -> None:
    """A job that never ends is 75 at its deadline; nothing moves past it, and the next run asks for it again."""
    world.cdp("switches", job_fate="stick")
    run = world.run("pull", "--full", "--json", CRMSYNC_JOB_DEADLINE="1s")
    assert (run.code, run.sync["watermark"]) == (75, None), run.said
    world.cdp("switches", job_fate="finish")
    sent = len(world.requests("experiture", "upsert-batch"))
    for job in world.cdp("jobs"):
        world.cdp("job", id=job["id"], action="finish")
    world.pull("--full", code=0)
    assert len(world.requests("experiture", "upsert-batch")) == sent
    world.assert_in_step()


@FAULTS.add("job-lost")
def _(world: World) -> None:
    """A job answered 404 is given up loudly (exit 3): its rows are read and sent again."""
    lost = world.fault("status", service="experiture", path="/jobs/", status=404, body={"success": False})
    result = world.pull("--full", code=3, **SMALL)
    assert world.hits(lost) == 1
    assert result["abandoned"] == 10
    assert result["written"] == len(world.due())
    world.assert_in_step()


@FAULTS.add("job-lost-after-it-was-done")
def _(world: World) -> None:
    """What a lost job may have written does not hide a row that went back meanwhile: it is written again."""
    world.configure(sync_toml(TIMELESS_FIELDS))
    chosen = sorted(world.due())[0]
    world.change(chosen, Title="There")
    world.pull("--full")
    world.change(chosen, Title="And back")

    def back_at_once(request: Request, _response: Response) -> None:
        if "upsert-batch" in request.path:
            world.cdp("switches", job_fate="finish")
            world.change(chosen, Title="There")

    world.cdp("switches", job_fate="finish_then_lose")
    with world.after_each_answer(back_at_once):
        world.pull(code=3)
    assert world.profile(chosen)["job_title"] == "There"


@FAULTS.add("every-job-lost")
def _(world: World) -> None:
    """Where every job is lost the run gives up with 75: unknown is not success."""
    world.cdp("switches", job_fate="lose")
    run = world.run("pull", "--full", "--json")
    assert (run.code, run.sync["watermark"]) == (75, None), run.said
    world.cdp("switches", job_fate="finish")
    assert world.run("pull", "--full").code in (0, 3)
    world.assert_in_step()


@FAULTS.add("job-in-an-unknown-state")
def _(world: World) -> None:
    """An unknown state is unfinished until the deadline (75); `state abandon-job` has the rows sent again."""
    world.cdp("switches", state_done="quiesced")
    run = world.run("pull", "--full", "--json", CRMSYNC_JOB_DEADLINE="1s")
    assert (run.code, run.sync["watermark"]) == (75, None), run.said
    assert "quiesced" in run.err
    world.cdp("switches", state_done="completed")
    waiting = world.run("state", "show", "--json").json["outbox"]
    assert [entry["job"] for entry in waiting]
    for entry in waiting:
        assert world.run("state", "abandon-job", "contacts", entry["job"]).code == 0
    assert world.run("pull").code in (3, 0)
    world.assert_in_step()
    assert world.run("state", "show", "--json").json["outbox"] == []


def _without_key(missing: str) -> Check:
    def check(world: World) -> None:
        world.cdp("switches", missing_key=missing)
        world.configure(sync_toml(match_key='"email"', require="[]"))
        result = world.pull("--full", **SMALL)
        blank = [r for r in world.contacts() if not (r["Email"] or "").strip() and not r["IsDeleted"]]
        assert result["rejected"]["missing_match_key"] == len(blank) > 0
        assert all(profile.get("email") for profile in world.profiles())
        assert world.cdp("counts")["duplicates"]["profiles"]["email"] == 0

    check.__doc__ = (
        "A record without its match key is a reject and never sent: it can neither be inserted nor refused."
    )
    return check


for _missing in ("insert", "refuse"):
    FAULTS.add(f"missing-key-{_missing}")(_without_key(_missing))


def _expired(code: str) -> Check:
    def check(world: World) -> None:
        world.cdp("switches", expired_token_code=code)
        batches: list[Request] = []

        def expire_once(request: Request, _response: Response) -> None:
            if "upsert-batch" in request.path:
                batches.append(request)
                if len(batches) == 2:
                    world.cdp("expire_tokens")

        with world.after_each_answer(expire_once):
            pulls_all_the_same(world, CRMSYNC_IN_FLIGHT="1")
        assert len(world.requests("experiture", "oauth/token")) == 2

    check.__doc__ = (
        "Any 401 renews the token once, for all threads, and the request is repeated under its key."
    )
    return check


for _code in ("TOKEN_EXPIRED", "UNAUTHORIZED", "TOKEN_INVALID"):
    FAULTS.add(f"expired-token-as-{_code.lower().replace('_', '-')}")(_expired(f"CDP_ETL.AUTH.{_code}"))


# --- beyond the list


@FAULTS.add("token-never-accepted")
def _(world: World) -> None:
    """A token that is refused for good is exit 77 after two logins."""
    world.fault("status", **BATCH, status=401, body={"success": False}, times=None)
    assert world.run("pull", "--full", CRMSYNC_IN_FLIGHT="1").code == 77
    assert len(world.requests("experiture", "oauth/token")) <= 2


@FAULTS.add("scope-missing")
def _(world: World) -> None:
    """A missing scope is exit 77, at once."""
    world.cdp("switches", granted_scopes="cdp:metadata:read")
    assert world.run("pull", "--full").code == 77
    assert len(world.requests("experiture", "upsert-batch")) <= 1


@FAULTS.add("retry-after-an-hour")
def _(world: World) -> None:
    """A pause longer than five minutes is left to the next run: 75, now."""
    world.fault("status", **BATCH, status=429, headers={"Retry-After": "3600"}, times=None)
    assert world.run("pull", "--full", **SMALL).code == 75
    world.server.faults.clear()
    pulls_all_the_same(world)


def _too_large(body: str) -> Check:
    def check(world: World) -> None:
        world.cdp("switches", max_body_bytes=1500, too_large_body=body)
        pulls_all_the_same(world, CRMSYNC_BATCH_SIZE="30")
        assert 413 in {entry["status"] for entry in world.requests("experiture", "upsert-batch")}

    check.__doc__ = (
        "A batch that is too large (413) is halved until it fits, each half under a key of its own."
    )
    return check


for _body in ("json", "html"):
    FAULTS.add(f"413-in-{_body}")(_too_large(_body))


@FAULTS.add("a-record-too-large")
def _(world: World) -> None:
    """A single record that is too large is a reject; its neighbours are delivered."""
    chosen = sorted(world.due())[3]
    world.change(chosen, Description="x" * 5000)
    world.configure(sync_toml(DEFAULT_FIELDS.replace('"Title"', '"Description"')))
    world.cdp("switches", max_body_bytes=4000)
    result = world.pull("--full", **SMALL)
    assert sum(result["refused"].values()) == 1
    assert set(world.delivered()) == world.due() - {chosen}


BREAKS: dict[str, dict[str, Any]] = {
    "no-answer-although-written": {"kind": "lose_answer"},
    "reset-at-once": {"kind": "cut", "at": "accept"},
    "reset-in-headers": {"kind": "cut", "at": "headers", "bytes": 30},
    "reset-mid-body": {"kind": "cut", "at": "body", "bytes": 20},
    "truncated-body": {"kind": "truncate"},
    "504-although-written": {"kind": "replace_status_after_processing", "status": 504, "body": HTML},
    "409-of-a-race": {"kind": "status", "status": 409, "body": {"success": False}},
    "500": {"kind": "status", "status": 500, "body": {"success": False}},
    "503-html": {"kind": "status", "status": 503, "body": HTML},
}


def _repeated(rule: dict[str, Any]) -> Check:
    def check(world: World) -> None:
        action = dict(rule)
        broken = world.fault(action.pop("kind"), **BATCH, times=2, after=1, **action)
        pulls_all_the_same(world)
        assert world.hits(broken) == 2
        sizes = Counter(key for key, _ in keys_and_bodies(world))
        assert set(sizes.values()) == {1}
        assert set(Counter(write["key"] for write in world.writes()).values()) == {1}

    check.__doc__ = "Sent again with the same bytes under the same key: every record is written once."
    return check


for _name, _rule in BREAKS.items():
    FAULTS.add(_name)(_repeated(_rule))


@FAULTS.add("never-answering")
def _(world: World) -> None:
    """A socket that never answers is given up after its time, and the batch sent again under its key."""
    broken = world.fault("hang", **BATCH, seconds=30, processed=True)
    with mock.patch.object(wire, "READ_TIMEOUT", 0.2):
        pulls_all_the_same(world)
    assert world.hits(broken) == 1


@FAULTS.add("outage")
def _(world: World) -> None:
    """When nothing succeeds any more it is an outage: 75, no reject, and the next run sends the same batches."""
    world.fault("status", **BATCH, status=503, body=HTML, times=None, after=2)
    run = world.run("pull", "--full", "--json", **SMALL)
    assert run.code == 75
    assert (run.sync["refused"], run.sync["watermark"]) == ({}, None)
    world.server.faults.clear()
    before = {key for key, _ in keys_and_bodies(world)}
    world.forget_requests()
    result = world.pull(**SMALL)
    assert result["resumed"]
    assert before & {key for key, _ in keys_and_bodies(world)}
    world.assert_in_step()


@FAULTS.add("2xx-that-proves-nothing")
def _(world: World) -> None:
    """A 2xx with neither a job id nor results is unconfirmed: 75, and nothing moves past it."""
    world.fault("status", **BATCH, status=200, body={"success": True, "data": {"operation": "upsert"}})
    run = world.run("pull", "--full", "--json", **SMALL)
    assert (run.code, run.sync["watermark"]) == (75, None)
    world.pull(**SMALL)
    world.assert_in_step()


@FAULTS.add("2xx-in-html")
def _(world: World) -> None:
    """A login page answered with 200 is unconfirmed: 75, and nothing moves past it."""
    world.fault("status", **BATCH, status=200, body=HTML)
    run = world.run("pull", "--full", "--json", **SMALL)
    assert (run.code, run.sync["watermark"]) == (75, None)
    world.pull(**SMALL)
    world.assert_in_step()


@pytest.mark.parametrize("name", FAULTS.known)
def test_fault(make_world: MakeWorld, name: str) -> None:
    fault = FAULTS.known[name]
    fault.check(make_world(fault.contacts, login=fault.login))


# --- every answer to every doubt

UNPROVABLE = {"job_fate=stick", "job_fate=lose", "job_fate=finish_then_lose"}
DOUBTS = {
    f"{switch.name}={value}": {switch.name: value}
    for switch in SWITCHES.values()
    for value in switch.values[1:]
} | {"row_report=all": {"row_report": "all", "rows_name": "results"}}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_whatever_the_answer_to_a_doubt(make_world: MakeWorld, doubt: str) -> None:
    """Everything but the rejects is delivered. Where nobody can know, the run is 75 and nothing has moved."""
    world = make_world()
    world.cdp("switches", **DOUBTS[doubt])
    code = 75 if doubt in UNPROVABLE else 0
    result = world.pull("--full", code=code, CRMSYNC_JOB_DEADLINE="1s", **SMALL)
    if code:
        assert result["watermark"] is None
    else:
        rejected = {entry["id"] for entry in world.rejects() if entry["origin"] == "destination"}
        assert set(world.delivered()) == world.due() - rejected
        assert len(rejected) < 5


# --- one bad record among 10,000

MANY = 10_000
SICK = "n4711@example.com"
NAMELESS = {"with_path": False}
BAD: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "only-that-record-in-a-job": ({}, {}),
    "only-that-record-inline": ({}, {"batch_mode": "inline"}),
    "400-naming-it": ({"status": 400}, {}),
    "422-inline": ({"status": 422, **NAMELESS}, {"batch_mode": "inline"}),
    "500": ({"status": 500, **NAMELESS}, {}),
    "500-inline-cached": ({"status": 500, **NAMELESS}, {"batch_mode": "inline", "cache_errors": "all"}),
    "409-cached": ({"status": 409, **NAMELESS}, {"cache_errors": "all"}),
    "409-inline": ({"status": 409, **NAMELESS}, {"batch_mode": "inline"}),
    "500-in-its-job": ({"status": 500, "in_job": True, **NAMELESS}, {}),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """10,000 contacts, all of which can be delivered. Tests leave the org alone and take a home of their own."""
    with serving(tmp_path_factory.mktemp("many"), 0) as world:
        people = [{"LastName": f"N{n}", "Email": f"n{n}@example.com"} for n in range(MANY)]
        world.crm("insert", object="Contact", rows=people, stamp="2026-03-01T12:00:00Z")
        yield world


@pytest.mark.parametrize("how", BAD)
def test_one_bad_record_among_10_000_costs_that_record(many: World, tmp_path: Path, how: str) -> None:
    sickness, switches = BAD[how]
    many.cdp("reset")
    many.forget_requests()
    many.home = tmp_path
    many.cdp("switches", **switches)
    many.cdp("poison", field="email", value=SICK, **sickness)
    result = many.pull("--full")
    assert (result["written"], sum(result["refused"].values())) == (MANY - 1, 1)
    emails = {row["email"] for row in many.profiles()}
    assert len(emails) == len(many.profiles()) == MANY - 1
    assert SICK not in emails
    (reject,) = many.rejects()
    assert message_of(many, reject["id"]) == REASON
    assert len(many.requests("experiture", "upsert-batch")) - MANY // 500 <= 20


# --- and a rehearsal


def test_a_dry_run_sends_nothing_and_keeps_nothing(world: World) -> None:
    result = world.pull("--full", "--dry-run")
    assert result["written"] == len(world.due())
    assert not world.requests("experiture", "upsert-batch")
    assert not (world.state / "contacts" / "state.json").exists()
    assert world.pull("--full")["written"] == len(world.due())
