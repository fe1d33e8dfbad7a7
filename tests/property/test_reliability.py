"""The laws, under anything that may happen to either side, and with a run that may end at any of its steps.

`CRMSYNC_HYPOTHESIS=thorough` tries far more. A failure prints the steps that led to it and a blob for
`@reproduce_failure`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crmsync.errors import AuthError, NoWatermark, TryAgain
from crmsync.window import Range

from .model import Model, lines
from .rig import How, Ran, Rig

THOROUGH = os.environ.get("CRMSYNC_HYPOTHESIS") == "thorough"
PROFILE = settings(
    max_examples=400 if THOROUGH else 10,
    stateful_step_count=30 if THOROUGH else 16,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)

EMAILS = ("good", "odd", "blank", "malformed")
PICK = st.integers(0, 60)
MUTATIONS = st.one_of(
    st.tuples(st.just("insert"), st.sampled_from(EMAILS), PICK),
    st.tuples(st.just("retitle"), PICK),
    st.tuples(st.just("retitle"), PICK),
    st.tuples(st.just("burst"), PICK, PICK),
    st.tuples(st.just("phone"), PICK, st.sampled_from(["", "+49 30 901820", "not a phone"])),
    st.tuples(st.just("email"), PICK, st.sampled_from(EMAILS)),
    st.tuples(st.just("move"), PICK, PICK),
    st.tuples(st.just("touch"), PICK, st.booleans()),
    st.tuples(st.just("delete"), PICK, st.booleans()),
    st.tuples(st.just("undelete"), PICK),
    st.tuples(st.just("merge"), PICK, PICK),
    st.tuples(st.just("rename_account"), PICK),
    st.tuples(st.just("touch_account"), PICK),
    st.tuples(st.just("merge_accounts"), PICK, PICK),
    st.tuples(st.just("begin")),
    st.tuples(st.just("stage"), PICK),
    st.tuples(st.just("stage_insert"), PICK),
    st.tuples(st.just("stage_rename"), PICK),
    st.tuples(st.just("commit")),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("advance"), st.sampled_from([1, 4, 30, 300, 700, 4000, 30_000])),
)
CRM_SWITCHES = st.fixed_dictionaries(
    {
        "page_values": st.sampled_from(["fetch", "query"]),
        "deleted_between_pages": st.sampled_from(["vanish", "appear"]),
        "empty_last_page": st.booleans(),
        "reparent_bumps_stamp": st.booleans(),
        "undelete_keeps_master": st.booleans(),
        "undeleted_in_log": st.booleans(),
        "bulk_polls": st.sampled_from([0, 0, 1, 4]),
        "bulk_reads": st.sampled_from(["start", "end"]),
        "bulk_page_rows": st.sampled_from([50_000, 3, 7]),
        "bulk_header_row": st.sampled_from(["each_page", "first_page"]),
        "bulk_number_header": st.booleans(),
        "bulk_locator_header": st.sampled_from(["always", "not_on_last"]),
        "bulk_empty_result": st.sampled_from(["header", "header_uncounted", "nothing", "nothing_uncounted"]),
        "bulk_bad_query": st.sampled_from(["refuse", "fail"]),
    }
)
CDP_SWITCHES = st.fixed_dictionaries(
    {
        "batch_mode": st.sampled_from(["job", "inline"]),
        "accept_status": st.sampled_from([202, 200]),
        "outcome": st.sampled_from(["partial", "all_or_nothing"]),
        "validation": st.sampled_from(["at_accept", "in_job"]),
        "error_path": st.sampled_from(["first", "all", "none"]),
        "row_error_status": st.sampled_from([400, 422]),
        "row_report": st.sampled_from(["errors", "all", "none"]),
        "key_in_flight": st.sampled_from(["409", "wait"]),
        "cache_errors": st.sampled_from(["no", "4xx"]),
        "job_seconds": st.sampled_from([0, 0, 0.03, 0.2]),
        "job_order": st.sampled_from(["fifo", "random"]),
    }
)
PLACES = st.sampled_from(
    [
        ("salesforce", "/query"),
        ("salesforce", "/jobs/query"),
        ("salesforce", "/results"),
        ("salesforce", "/updated"),
        ("salesforce", "/deleted"),
        ("salesforce", "/describe"),
        ("salesforce", "oauth2/token"),
        ("experiture", "upsert-batch"),
        ("experiture", "upsert-batch"),
        ("experiture", "/jobs/"),
        ("experiture", "/metadata/"),
        ("experiture", "oauth/token"),
    ]
)
ACTIONS = st.sampled_from(
    [
        {"kind": "cut", "at": "accept"},
        {"kind": "cut", "at": "headers", "bytes": 20},
        {"kind": "cut", "at": "body", "bytes": 5},
        {"kind": "lose_answer"},
        {"kind": "truncate"},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503, "body": "<html>busy</html>"},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        {"kind": "replace_status_after_processing", "status": 503},
    ]
)
RANGES = st.sampled_from(
    [Range()] * 6
    + [Range(since=timedelta(minutes=5)), Range(since=timedelta(days=500)), Range(until=timedelta(minutes=1))]
    + [Range(limit=3), Range(full=True, changed=True)]
)
APIS = st.sampled_from(["rest", "bulk"])
CRASHES = st.one_of(st.none(), st.integers(1, 40), st.integers(1, 160), st.just("while polling"))


class Reliability(RuleBasedStateMachine):
    """Both sides and a crmsync between them. Ends with a quiet world in which everything must agree."""

    deletes: Literal["ignore", "flag"] = "ignore"

    @initialize(
        contacts=st.integers(5, 40),
        seed=st.integers(1, 50),
        updated=st.sampled_from(["answer", "answer", "forbidden", "not_replicateable"]),
        skew=st.sampled_from([0, 3600, -3600, 86400 * 400]),
        poisoned=st.booleans(),
        losing=st.sampled_from([False, False, True]),
        forcing=st.sampled_from([False, False, True]),
        version=st.sampled_from(["", "", "57.0", "49.0"]),
        settles_by=APIS,
    )
    def open(
        self,
        contacts: int,
        seed: int,
        updated: str,
        skew: int,
        poisoned: bool,
        losing: bool,
        forcing: bool,
        version: str,
        settles_by: Literal["rest", "bulk"],
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="crmsync-property-"))
        self.rig = Rig(self.folder, contacts, seed, self.deletes, version)
        self.settles_by = settles_by
        self.rig.crm("clock", advance=skew)
        self.rig.crm("switches", updated=updated)
        self.longest_transaction = timedelta(hours=20) if updated == "answer" else timedelta(minutes=9)
        self.model = Model(self.rig)
        self.rig.on_save = self.model.check_state
        self.repeating = poisoned or losing or forcing
        self.poisoned, self.losing, self.forcing = poisoned, losing, forcing
        self.serial = 0
        self.transactions: list[tuple[str, datetime]] = []

    @rule(mutations=st.lists(MUTATIONS, min_size=1, max_size=6))
    def change(self, mutations: list[tuple[Any, ...]]) -> None:
        for mutation in mutations:
            self.mutate(mutation)

    @rule(seconds=st.sampled_from([10, 60, 700, 4000]))
    def advance(self, seconds: int) -> None:
        self.mutate(("advance", seconds))

    @rule(switches=CRM_SWITCHES, sizes=st.lists(st.integers(0, 7), max_size=4))
    def turn_crm(self, switches: dict[str, Any], sizes: list[int]) -> None:
        self.rig.crm("switches", **switches)
        self.rig.crm("page_sizes", sizes=[*sizes, 3] if sizes else [])

    @rule(switches=CDP_SWITCHES)
    def turn_cdp(self, switches: dict[str, Any]) -> None:
        self.rig.cdp("switches", **switches)

    @rule(place=PLACES, action=ACTIONS, after=st.integers(0, 4), times=st.integers(1, 6))
    def break_requests(self, place: tuple[str, str], action: dict[str, Any], after: int, times: int) -> None:
        service, path = place
        described = {"service": service, "path": path, "after": after, "times": times, "action": action}
        self.rig.server.faults.add(described)

    @rule(requests=st.integers(0, 8))
    def expire(self, requests: int) -> None:
        self.rig.crm("expire_sessions", after=requests)
        self.rig.cdp("expire_tokens")

    @precondition(lambda self: self.poisoned)
    @rule(status=st.sampled_from([None, 400, 422, 500]), with_path=st.booleans(), in_job=st.booleans())
    def poison(self, status: int | None, with_path: bool, in_job: bool) -> None:
        self.rig.cdp(
            "poison", field="job_title", value="poison", status=status, with_path=with_path, in_job=in_job
        )

    @precondition(lambda self: self.poisoned)
    @rule(pick=PICK)
    def spoil(self, pick: int) -> None:
        self.mutate(("poison", pick))

    @rule(fate=st.sampled_from(["finish", "finish", "failed", "aborted", "stuck"]))
    def decide_bulk_jobs(self, fate: str) -> None:
        """What becomes of bulk jobs: those to come, and those that are waited for."""
        self.rig.crm("bulk_fate", outcome=fate)
        for job in self.rig.crm("bulk_jobs"):
            self.rig.crm("bulk_fate", outcome=fate, id=job["id"])

    @precondition(lambda self: self.losing)
    @rule(fate=st.sampled_from(["finish", "lose", "finish_then_lose", "stick"]))
    def lose_jobs(self, fate: str) -> None:
        self.rig.cdp("switches", job_fate=fate)

    @precondition(lambda self: self.losing and self.deletes == "ignore")
    @rule()
    def lose_ledger(self) -> None:
        for path in (self.folder / "state" / "contacts").glob("ledger.sqlite*"):
            path.unlink()

    @rule(
        asked=RANGES,
        api=APIS,
        in_flight=st.sampled_from([1, 1, 8]),
        batch=st.sampled_from([1, 2, 5, 500]),
        crash_at=CRASHES,
        meanwhile=st.lists(st.tuples(st.integers(1, 90), MUTATIONS), max_size=4),
    )
    def pull(
        self,
        asked: Range,
        api: Literal["rest", "bulk"],
        in_flight: int,
        batch: int,
        crash_at: int | str | None,
        meanwhile: list[tuple[int, tuple[Any, ...]]],
    ) -> None:
        due: dict[int, list[tuple[Any, ...]]] = {}
        for step, mutation in meanwhile:
            due.setdefault(step, []).append(mutation)

        def happen(step: int, _what: str) -> None:
            for mutation in due.pop(step, []):
                self.mutate(mutation)

        if asked.is_given and not self.forcing and not asked.changed:
            asked = Range()
        if crash_at == "while polling":
            crash_at = self.rig.poll
        ran = self.run(How(asked, api, in_flight, batch, crash_at, happen))
        expected = TryAgain | AuthError | (NoWatermark if asked.until else TryAgain)
        assert ran.error is None or isinstance(ran.error, expected), repr(ran.error)

    @rule()
    def settle(self) -> None:
        """Let everything come to its end without faults, and compare."""
        self.rig.server.faults.clear()
        self.rig.cdp("clear_poison")
        self.rig.cdp("switches", job_fate="finish")
        self.decide_bulk_jobs("finish")
        for job in self.rig.cdp("jobs"):
            if job["phase"] in ("queued", "running") and not job["lost"]:
                self.rig.cdp("job", id=job["id"], action="finish")
        while self.transactions:
            self.mutate(("commit",))
        for _ in range(2):
            self.mutate(("advance", 4000))
            ran = self.run(How(api=self.settles_by))
            assert ran.ended_well, repr(ran.error)
        refused = self.rig.open_rejects()
        if self.poisoned and refused:
            assert self.run(How(redo=tuple(sorted(refused)))).ended_well
        self.model.check_end(flags=self.deletes == "flag")
        before = len(self.rig.cdp("writes"))
        self.mutate(("advance", 4000))
        assert self.run(How(api=self.settles_by)).ended_well
        assert len(self.rig.cdp("writes")) == before, "a quiet pull wrote something"

    @invariant()
    def nothing_is_wrong(self) -> None:
        if hasattr(self, "model"):
            self.model.check_writes()
            assert not self.model.wrong, "\n".join(lines(self.model.wrong))

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        try:
            self.settle()
            self.nothing_is_wrong()
        finally:
            self.rig.close()
            shutil.rmtree(self.folder)

    def run(self, how: How) -> Ran:
        if not how.redo and not self.rig.has_begun():
            how = replace(how, asked=Range(full=True))
        self.model.may_repeat = self.repeating or bool(how.redo) or self.rig.goes_on_writing_all()
        ran = self.rig.run(how)
        self.model.check_writes()
        return ran

    def mutate(self, mutation: tuple[Any, ...]) -> None:
        """Carry out a change, unless the org refuses it, and take note of what it made."""
        kind, *arguments = mutation
        try:
            getattr(self, f"_{kind}")(*arguments)
        except (ValueError, IndexError):
            return
        self.model.observe()

    def _alive(self, pick: int, object_: str = "Contact") -> str:
        rows = [row["Id"] for row in self.rig.crm("dump", object=object_) if not row["IsDeleted"]]
        return sorted(rows)[pick % len(rows)] if rows else ""

    def _next(self) -> int:
        self.serial += 1
        return self.serial

    def _address(self, kind: str) -> str | None:
        number = self._next()
        return {
            "good": f"someone{number}@acme.com",
            "odd": f" Some.One+{number}@ACME.co.uk ",
            "blank": None,
            "malformed": f"someone{number}@@acme",
        }[kind]

    def _update(self, row_id: str, **fields: Any) -> None:
        self.rig.crm("update", object="Contact", id=row_id, fields=fields)

    def _insert(self, kind: str, account: int, **where: str) -> None:
        row = {
            "LastName": f"Number {self._next()}",
            "Email": self._address(kind),
            "Title": f"Title {self._next()}",
            "AccountId": self._alive(account, "Account") or None,
        }
        self.rig.crm("insert", object="Contact", rows=[row], **where)

    def _retitle(self, pick: int) -> None:
        self._update(self._alive(pick), Title=f"Title {self._next()}")

    def _burst(self, pick: int, many: int) -> None:
        for number in range(many % 12 + 1):
            self._retitle(pick + number)

    def _poison(self, pick: int) -> None:
        self._update(self._alive(pick), Title="poison", FirstName=f"Poisoned {self._next()}")

    def _phone(self, pick: int, phone: str) -> None:
        self._update(self._alive(pick), Phone=phone or None, Title=f"Title {self._next()}")

    def _email(self, pick: int, kind: str) -> None:
        self._update(self._alive(pick), Email=self._address(kind))

    def _move(self, pick: int, account: int) -> None:
        self._update(self._alive(pick), AccountId=self._alive(account, "Account"))

    def _touch(self, pick: int, system: bool) -> None:
        self.rig.crm("touch", object="Contact", id=self._alive(pick), system=system)

    def _delete(self, pick: int, hard: bool) -> None:
        self.rig.crm("delete", object="Contact", id=self._alive(pick), hard=hard)

    def _undelete(self, pick: int) -> None:
        binned = [row["Id"] for row in self.rig.crm("dump", object="Contact") if row["IsDeleted"]]
        self.rig.crm("undelete", object="Contact", id=sorted(binned)[pick % len(binned) if binned else 0])

    def _merge(self, winner: int, loser: int) -> None:
        self.rig.crm("merge", object="Contact", winner=self._alive(winner), losers=[self._alive(loser)])

    def _rename_account(self, pick: int) -> None:
        fields = {"Name": f"Company {self._next()}"}
        self.rig.crm("update", object="Account", id=self._alive(pick, "Account"), fields=fields)

    def _touch_account(self, pick: int) -> None:
        self.rig.crm("touch", object="Account", id=self._alive(pick, "Account"))

    def _merge_accounts(self, winner: int, loser: int) -> None:
        first, second = self._alive(winner, "Account"), self._alive(loser, "Account")
        self.rig.crm("merge", object="Account", winner=first, losers=[second])

    def _begin(self) -> None:
        self.transactions.append((self.rig.crm("begin")["transaction"], self.rig.salesforce.clock.now()))

    def _stage(self, pick: int) -> None:
        fields = {"Title": f"Title {self._next()}"}
        name = self.transactions[-1][0]
        self.rig.crm("update", object="Contact", id=self._alive(pick), fields=fields, transaction=name)

    def _stage_insert(self, account: int) -> None:
        self._insert("good", account, transaction=self.transactions[-1][0])

    def _stage_rename(self, pick: int) -> None:
        fields, name = {"Name": f"Company {self._next()}"}, self.transactions[-1][0]
        row_id = self._alive(pick, "Account")
        self.rig.crm("update", object="Account", id=row_id, fields=fields, transaction=name)

    def _commit(self) -> None:
        self.rig.crm("commit", transaction=self.transactions.pop(0)[0])

    def _rollback(self) -> None:
        self.rig.crm("rollback", transaction=self.transactions.pop()[0])

    def _advance(self, seconds: int) -> None:
        latest = self.rig.salesforce.clock.now() + timedelta(seconds=seconds)
        while self.transactions and latest - self.transactions[0][1] > self.longest_transaction:
            self.mutate(("commit",))
        self.rig.crm("clock", advance=seconds)


class Flagging(Reliability):
    deletes: Literal["ignore", "flag"] = "flag"


@pytest.mark.parametrize("machine", [Reliability, Flagging])
def test_the_laws_hold_whatever_happens(machine: type[Reliability]) -> None:
    run_state_machine_as_test(machine, settings=PROFILE)
