"""The CDP's pure parts: tables, values, batches, jobs, switches, the shapes of answers."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync import normalize
from crmsync.sandbox.experiture.batches import Examined, Poison, apply, examine
from crmsync.sandbox.experiture.jobs import JobBook
from crmsync.sandbox.experiture.replies import Outcome, RowError, results
from crmsync.sandbox.experiture.switches import SWITCHES, Switches
from crmsync.sandbox.experiture.tables import Field, Flaw, Row, Rules, Table, cleaned, default_schemas

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SCHEMA = default_schemas()["profiles"]


@pytest.fixture
def table() -> Table:
    return Table(default_schemas()["profiles"])


def flaw_of(record: object, match_key: str | None = None, **rules: object) -> Flaw:
    with pytest.raises(Flaw) as caught:
        cleaned(record, SCHEMA, Rules(**rules), match_key)
    return caught.value


class TestTable:
    def test_a_known_key_merges_and_an_unknown_one_inserts(self, table: Table) -> None:
        first, inserted = table.upsert({"salesforce_id": "1", "first_name": "Ada"}, "salesforce_id", NOW)
        again, inserted_again = table.upsert({"salesforce_id": "1", "last_name": "L"}, "salesforce_id", NOW)
        assert (inserted, inserted_again) == (True, False)
        assert again is first
        assert first.fields == {"salesforce_id": "1", "first_name": "Ada", "last_name": "L"}
        assert first.writes == 2
        assert table.upsert({"salesforce_id": "2"}, "salesforce_id", NOW)[1]

    def test_null_clears_and_an_omitted_field_stays(self, table: Table) -> None:
        table.upsert({"email": "a@b.org", "phone": "1", "job_title": "x"}, "email", NOW)
        row, _ = table.upsert({"email": "a@b.org", "phone": None}, "email", NOW)
        assert row.fields == {"email": "a@b.org", "phone": None, "job_title": "x"}

    def test_keys_match_exactly(self, table: Table) -> None:
        table.upsert({"email": "A@b.org"}, "email", NOW)
        assert table.upsert({"email": "a@b.org"}, "email", NOW)[1]

    @pytest.mark.parametrize("record", [{"first_name": "x"}, {"email": None}, {"email": ""}, {"email": " "}])
    def test_without_a_key_every_write_is_another_row(self, table: Table, record: dict[str, object]) -> None:
        assert table.upsert(record, "email", NOW)[1]
        assert table.upsert(record, "email", NOW)[1]
        assert len(table.rows) == 2

    def test_a_row_is_found_by_a_key_that_was_written_later(self, table: Table) -> None:
        row, _ = table.upsert({"email": "a@b.org"}, "email", NOW)
        table.upsert({"customer_id": "none-yet"}, "customer_id", NOW)
        table.upsert({"email": "a@b.org", "customer_id": "c1"}, "email", NOW)
        assert table.upsert({"customer_id": "c1"}, "customer_id", NOW) == (row, False)

    def test_a_row_is_no_longer_found_by_its_old_key(self, table: Table) -> None:
        table.upsert({"email": "old@b.org", "salesforce_id": "1"}, "email", NOW)
        table.upsert({"email": "new@b.org", "salesforce_id": "1"}, "salesforce_id", NOW)
        assert table.upsert({"email": "old@b.org"}, "email", NOW)[1]
        assert not table.upsert({"email": "new@b.org"}, "email", NOW)[1]

    def test_append_never_merges_and_upsert_takes_the_oldest(self, table: Table) -> None:
        oldest = table.append({"email": "a@b.org"}, NOW)
        table.append({"email": "a@b.org"}, NOW)
        assert table.duplicates("email") == 1
        assert table.upsert({"email": "a@b.org"}, "email", NOW) == (oldest, False)

    @given(
        st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "email": st.sampled_from([None, "", "a@b.org", "c@d.org"]),
                    "salesforce_id": st.sampled_from([None, "1", "2"]),
                    "first_name": st.sampled_from([None, "x", "y"]),
                },
            ),
            max_size=20,
        ),
        st.sampled_from(["email", "salesforce_id"]),
    )
    def test_the_index_finds_what_a_scan_would(self, records: list[dict[str, str | None]], key: str) -> None:
        table, model = Table(default_schemas()["profiles"]), []
        for number, record in enumerate(records):
            match_key = key if number % 3 else "email"
            value = record.get(match_key)
            found = next((row for row in model if value and row.get(match_key) == value), None)
            if found is None:
                model.append(dict(record))
            else:
                found.update(record)
            table.upsert(record, match_key, NOW)
        assert [row.fields for row in table.rows] == model


class TestValues:
    def test_a_good_record_is_kept_as_it_is(self) -> None:
        record = {
            "email": "a@b.org",
            "order_count": 3,
            "ltv": 1,
            "email_opted_out": False,
            "crm_deleted_at": None,
            "crm_last_modified_at": "2026-01-02T03:04:05.123+02:00",
        }
        assert cleaned(record, SCHEMA, Rules(), "email") == record

    @pytest.mark.parametrize("record", [{}, [], None, "x", 3])
    def test_a_record_is_an_object_with_a_property(self, record: object) -> None:
        assert flaw_of(record).field is None

    def test_field_names_are_exact(self) -> None:
        assert flaw_of({"Email": "a@b.org"}).unknown

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("first_name", 5),
            ("first_name", ["a"]),
            ("first_name", {"a": 1}),
            ("order_count", "5"),
            ("order_count", 5.5),
            ("order_count", True),
            ("ltv", "1.5"),
            ("email_opted_out", "true"),
            ("email_opted_out", 1),
            ("email", "nobody"),
            ("email", "two@at@b.org"),
            ("subscription_status", "paused"),
            ("crm_last_modified_at", "2026-01-02T03:04:05"),
            ("crm_last_modified_at", "2026-01-02"),
            ("crm_last_modified_at", "2026-13-02T03:04:05Z"),
            ("crm_last_modified_at", "2026-01-02T03:04:05.000+0000"),
            ("crm_last_modified_at", "2026-01-02 03:04:05Z"),
            ("crm_last_modified_at", 1767322800),
        ],
    )
    def test_wrong_types_and_formats_are_refused(self, name: str, value: object) -> None:
        flaw = flaw_of({name: value})
        assert (flaw.field, flaw.value, flaw.unknown) == (name, value, False)

    def test_a_field_may_refuse_null(self) -> None:
        schema = default_schemas()["profiles"]
        schema.add(Field("tier", nullable=False))
        with pytest.raises(Flaw):
            cleaned({"tier": None}, schema, Rules(), None)

    def test_the_switches_about_values(self) -> None:
        assert cleaned({"order_count": "5"}, SCHEMA, Rules(coercion=True), None) == {"order_count": 5}
        assert cleaned({"job_title": ""}, SCHEMA, Rules(), None) == {"job_title": ""}
        assert cleaned({"job_title": ""}, SCHEMA, Rules(empty_string="null"), None) == {"job_title": None}
        assert flaw_of({"job_title": ""}, empty_string="refuse").field == "job_title"
        assert flaw_of({"phone": "0301234"}, phone_format=True).field == "phone"
        assert flaw_of({"job_title": "abc"}, longest_string=2).field == "job_title"
        assert cleaned({"email": "nobody"}, SCHEMA, Rules(email_format="off"), None)
        assert flaw_of({"email": "nobody"}).field == "email"
        assert flaw_of({"email": "p1@localhost"}, email_format="strict").field == "email"
        assert cleaned({"email": "P.1+x@Mail.example"}, SCHEMA, Rules(email_format="strict"), None)
        stamped = {"crm_deleted_at": "2026-01-02T03:04:05.000+0000"}
        assert cleaned(stamped, SCHEMA, Rules(offset_without_colon=True), None) == stamped

    @given(
        st.from_regex(r"[^@\x00]{1,8}@([^@.\x00]{1,5}\.){0,2}[^@\x00]{1,9}", fullmatch=True)
        | st.emails()
        | st.sampled_from(["p1@localhost", "jos\u00e9@b\u00fccher.example", "a@crm.test", "x@\u4f8b.example"])
    )
    def test_the_assumed_email_check_takes_whatever_the_sync_lets_through(self, written: str) -> None:
        sent = normalize.email(written)
        if sent is not None:
            assert cleaned({"email": sent}, SCHEMA, Rules(), None) == {"email": sent}

    @pytest.mark.parametrize("record", [{"first_name": "x"}, {"email": None}, {"email": " "}])
    def test_a_missing_key_is_an_insert_or_an_error(self, record: dict[str, object]) -> None:
        lenient = Rules(email_format="off")
        assert cleaned(record, SCHEMA, lenient, "email") == record
        assert flaw_of(record, "email", missing_key="refuse", email_format="off").field == "email"
        assert cleaned(record, SCHEMA, Rules(missing_key="refuse", email_format="off"), None) == record


GOOD = {"salesforce_id": "1", "email": "a@b.org"}
BAD = {"salesforce_id": "2", "email": "nobody"}
UNKNOWN = {"salesforce_id": "3", "colour": "red"}


class TestBatches:
    def examined(self, table: Table, *records: object, poisons: tuple[Poison, ...] = (), **switches: object):
        return examine(records, table, "salesforce_id", Switches(switches), poisons)

    def test_one_bad_record_rejects_only_itself(self, table: Table) -> None:
        found = self.examined(table, GOOD, BAD)
        assert found.refusal is None
        outcome, writes = apply(found, table, "salesforce_id", NOW, "key", "batch")
        assert outcome.statuses == ["inserted", "rejected"]
        assert [error.path for error in outcome.errors] == ["records[1].email"]
        assert [write.record for write in writes] == [GOOD]

    def test_or_it_refuses_the_batch(self, table: Table) -> None:
        refusal = self.examined(table, GOOD, BAD, outcome="all_or_nothing").refusal
        assert refusal is not None
        assert (refusal.status, refusal.details["path"]) == (400, "records[1].email")

    def test_an_unknown_field_refuses_the_batch_with_422(self, table: Table) -> None:
        refusal = self.examined(table, BAD, UNKNOWN).refusal
        assert refusal is not None
        assert (refusal.status, refusal.code) == (422, "CDP_ETL.VALIDATION.REQUEST_SCHEMA")
        assert refusal.details["path"] == "records[1].colour"
        renamed = self.examined(table, UNKNOWN, unknown_field_code="schema_mismatch").refusal
        assert renamed is not None
        assert renamed.code == "schema_mismatch"
        assert self.examined(table, UNKNOWN, unknown_field_in_batch="reject_row").refusal is None

    def test_what_a_refusal_names(self, table: Table) -> None:
        bad = (GOOD, BAD, BAD)
        none = self.examined(table, *bad, outcome="all_or_nothing", error_path="none").refusal
        every = self.examined(table, *bad, outcome="all_or_nothing", error_path="all").refusal
        assert none is not None
        assert every is not None
        assert none.details == {}
        assert [each["path"] for each in every.details["errors"]] == ["records[1].email", "records[2].email"]

    def test_two_records_with_one_key(self, table: Table) -> None:
        twice = ({"salesforce_id": "1", "job_title": "a"}, {"salesforce_id": "1", "job_title": "b"})
        outcome, _ = apply(self.examined(table, *twice), table, "salesforce_id", NOW, None, "b")
        assert outcome.statuses == ["inserted", "updated"]
        assert table.rows[0].fields["job_title"] == "b"
        refused = self.examined(table, *twice, duplicate_keys_in_batch="reject_row")
        assert [error.index for error in refused.errors] == [1]

    def test_a_poisoned_record_is_rejected(self, table: Table) -> None:
        poison = Poison("salesforce_id", "1", code="CDP_ETL.X", message="no", with_path=False)
        found = self.examined(table, GOOD, poisons=(poison,))
        assert found.refusal is None
        assert (found.errors[0].code, found.errors[0].details()) == ("CDP_ETL.X", {})

    def test_a_poison_with_a_status_answers_for_the_batch(self, table: Table) -> None:
        found = self.examined(table, GOOD, poisons=(Poison("salesforce_id", "1", status=500),))
        assert found.refusal is not None
        assert found.refusal.status == 500
        assert not found.refused_in_job


class TestShapes:
    OUTCOME = Outcome(
        ["inserted", "rejected", "updated"], [RowError(1, "CODE", "why", "email", "nobody", named=True)]
    )

    def test_the_default(self) -> None:
        assert results(self.OUTCOME, Switches()) == {
            "inserted": 1,
            "updated": 1,
            "rejected": 1,
            "errors": [
                {
                    "index": 1,
                    "status": "rejected",
                    "error": {
                        "code": "CODE",
                        "message": "why",
                        "details": {"path": "records[1].email", "value": "nobody"},
                    },
                }
            ],
        }

    def test_every_combination_tells_the_same(self) -> None:
        names = ("counts_at", "counts_names", "row_report", "rows_at", "rows_name", "row_index", "row_error")
        for values in itertools.product(*(SWITCHES[name].values for name in names)):
            chosen = dict(zip(names, values, strict=True))
            data = results(self.OUTCOME, Switches(chosen))
            rows_in = data if chosen["rows_at"] == "flat" else data.get("result", {})
            rows = rows_in.get(chosen["rows_name"])
            if chosen["row_report"] == "none":
                assert rows is None
            else:
                rejected = [row for row in rows if row["status"] == "rejected"]
                assert len(rows) == (3 if chosen["row_report"] == "all" else 1)
                wanted = "records[1].email" if chosen["row_index"] == "path" else 1
                assert [row[chosen["row_index"]] for row in rejected] == [wanted]
                assert (rejected[0].get("error") or rejected[0])["code"] == "CODE"
            place = chosen["counts_at"]
            counts = data if place == "flat" else data.get(place, {})
            numbers = [value for value in counts.values() if isinstance(value, int)]
            assert sum(numbers) == (0 if place == "absent" else 3)


class TestSwitches:
    def test_every_default_is_allowed_and_listed(self) -> None:
        table = Switches().described()
        assert set(table) == set(SWITCHES)
        for name, switch in SWITCHES.items():
            assert switch.about
            assert table[name]["value"] == table[name]["assumed_default"] == switch.values[0]
            for value in switch.values:
                Switches({name: value})

    def test_a_wrong_call_changes_nothing(self) -> None:
        switches = Switches()
        with pytest.raises(ValueError, match="batch_mode"):
            switches.set({"batch_mod": "inline"})
        with pytest.raises(ValueError, match="inline"):
            switches.set({"outcome": "all_or_nothing", "batch_mode": "sometimes"})
        assert switches["outcome"] == "partial"

    @pytest.mark.parametrize(
        ("name", "value"), [("coercion", 1), ("job_seconds", -1), ("job_seconds", True), ("rows_name", "")]
    )
    def test_values_are_typed(self, name: str, value: object) -> None:
        with pytest.raises(ValueError):
            Switches({name: value})


class TestJobs:
    def book(self, ran: list[str]) -> JobBook:
        return JobBook(lambda job, examined: ran.append(job.id) or Outcome(["inserted"]), random.Random(1))

    def accept(self, book: JobBook, now: datetime, **switches: object):
        examined = Examined([{"email": "a@b.org"}])
        return book.accept("profiles", "upsert", "email", examined, None, now, Switches(switches))

    def test_a_job_passes_its_states_and_runs_at_its_end(self) -> None:
        ran: list[str] = []
        book, switches = self.book(ran), Switches()
        job = self.accept(book, NOW, job_seconds=8)
        seen = []
        for second in (0, 3, 7, 8):
            at = NOW + timedelta(seconds=second)
            book.settle(at)
            seen.append((job.phase(at, switches), len(ran)))
        assert seen == [("queued", 0), ("running", 0), ("running", 0), ("done", 1)]
        book.settle(NOW + timedelta(days=1))
        assert ran == [job.id]

    def test_first_accepted_first_finished(self) -> None:
        ran: list[str] = []
        book = self.book(ran)
        slow, fast = self.accept(book, NOW, job_seconds=60), self.accept(book, NOW, job_seconds=1)
        book.settle(NOW + timedelta(seconds=59))
        assert ran == []
        book.settle(NOW + timedelta(seconds=60))
        assert ran == [slow.id, fast.id]

    def test_a_later_job_may_finish_earlier(self) -> None:
        ran: list[str] = []
        book = self.book(ran)
        accepted = [self.accept(book, NOW, job_seconds=60, job_order="random").id for _ in range(20)]
        book.settle(NOW + timedelta(seconds=120))
        assert sorted(ran) == sorted(accepted)
        assert ran != accepted

    def test_fates(self) -> None:
        ran: list[str] = []
        book, switches = self.book(ran), Switches()
        stuck = self.accept(book, NOW, job_fate="stick")
        lost = self.accept(book, NOW, job_fate="lose")
        gone = self.accept(book, NOW, job_fate="finish_then_lose")
        later = NOW + timedelta(hours=5)
        book.settle(later)
        assert ran == [gone.id]
        assert stuck.phase(later, switches) == "running"
        readable = [book.readable("profiles", job.id, later, switches) for job in (stuck, lost, gone)]
        assert readable == [stuck, None, None]

    def test_actions(self) -> None:
        ran: list[str] = []
        book, switches = self.book(ran), Switches()
        job = self.accept(book, NOW, job_seconds=5)
        book.act(job.id, "state:quarantined", NOW)
        book.settle(NOW + timedelta(hours=1))
        assert job.described(NOW, switches)["status"] == "quarantined"
        assert ran == []
        book.act(job.id, "finish", NOW)
        assert job.described(NOW, switches)["status"] == "completed"
        assert ran == [job.id]
        with pytest.raises(ValueError, match="action"):
            book.act(job.id, "explode", NOW)
        with pytest.raises(ValueError, match="no job"):
            book.act("job_x", "finish", NOW)

    def test_a_finished_job_is_kept_for_a_while(self) -> None:
        book, switches = self.book([]), Switches({"job_retention_seconds": 60})
        job = self.accept(book, NOW)
        book.settle(NOW)
        assert book.readable("profiles", job.id, NOW + timedelta(seconds=60), switches) is job
        assert book.readable("profiles", job.id, NOW + timedelta(seconds=61), switches) is None
        assert book.readable("contacts", job.id, NOW, switches) is None


def test_a_dumped_row_says_when_and_how_often_it_was_written() -> None:
    row = Row(7, {"email": "a@b.org"}, NOW, NOW + timedelta(seconds=1), 3)
    assert row.dumped() == {
        "email": "a@b.org",
        "_row": 7,
        "_inserted_at": "2026-03-04T05:06:07+00:00",
        "_updated_at": "2026-03-04T05:06:08+00:00",
        "_writes": 3,
    }
