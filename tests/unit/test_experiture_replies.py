"""What Experiture's answers prove, in every shape that its documentation leaves open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.destinations.base import Lost, Outcome, Refused, Settled, Unproven, Working
from crmsync.destinations.experiture.replies import acceptance, index_of, job_progress, reason_of, state_of
from crmsync.http import Reply

SIZE = 5


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def accept(data: Any, status: int = 200, **envelope: Any) -> Outcome:
    return acceptance(reply({"success": True, "data": data, **envelope}, status), SIZE)


def poll(data: Any, status: int = 200, **envelope: Any) -> Outcome:
    return job_progress(reply({"success": True, "data": data, **envelope}, status), "j1", SIZE)


def refusals(outcome: Outcome) -> tuple[list[int], int]:
    """The refused records and the number of nameless ones of a settled batch."""
    assert isinstance(outcome, Settled), outcome
    return sorted(outcome.refused), outcome.unplaced


WRITTEN = ([], 0)

# --- jobs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("name", ["jobId", "job_id", "jobID", "id"])
@pytest.mark.parametrize("value", ["job_1", 17])
def test_a_job_id_is_found_under_every_name(name: str, value: Any, status: int) -> None:
    assert accept({name: value, "status": "queued"}, status) == Working(str(value), "queued")
    assert accept({"job": {name: value, "state": "QUEUED"}}, status) == Working(str(value), "queued")


def test_a_job_id_may_stand_outside_of_data() -> None:
    assert acceptance(reply({"jobId": "j1", "status": "pending"}, 202), SIZE) == Working("j1", "pending")


@pytest.mark.parametrize("value", ["", " ", None, True, {}, []])
def test_what_is_no_job_id_is_none(value: Any) -> None:
    assert isinstance(accept({"jobId": value}, 202), Unproven)


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"accepted": True, "acceptedRecords": SIZE},
        {"acceptedRecords": SIZE, "rejectedRecords": 0},
        {"status": "accepted", "acceptedRecords": SIZE, "rejectedRecords": 0},
        {"inserted": 0, "updated": 0, "rejected": 0},
        {"counts": {"inserted": 0, "updated": 0, "rejected": 0}},
        {"inserted": 3, "updated": 0, "rejected": 0},
        {"inserted": 3},
        {"rejected": 0},
        {"rejected": 2},
        {"errors": []},
        {"errors": [{"index": 1, "message": "no"}]},
        {"results": [{"index": 0, "status": "inserted"}]},
        {"status": "completed"},
        {"status": "success"},
        {"status": "success", "rejected": 0},
        {"status": "processing", "inserted": 4, "updated": 1},
        {"status": "somethingnew", "inserted": 4, "updated": 1},
    ],
)
def test_an_accepted_job_is_not_done(data: dict[str, Any], status: int) -> None:
    assert isinstance(accept({"jobId": "j1", **data}, status), Working)


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        ({"inserted": 3, "updated": 2, "rejected": 0}, []),
        ({"status": "completed", "succeeded": 5}, []),
        ({"results": [{"index": n, "status": "updated"} for n in range(5)]}, []),
        ({"inserted": 4, "errors": [{"index": 2, "message": "no"}]}, [2]),
    ],
)
def test_a_job_that_accounts_for_every_record_is_done(data: dict[str, Any], refused: list[int]) -> None:
    assert refusals(accept({"jobId": "j1", **data})) == (refused, 0)


@pytest.mark.parametrize(
    "word",
    [
        "completed",
        "COMPLETED",
        "succeeded",
        "success",
        "done",
        "finished",
        "Completed_With_Errors",
        "partial",
    ],
)
@pytest.mark.parametrize("name", ["status", "state", "jobStatus", "job_status", "jobState"])
def test_words_of_success_end_a_job(word: str, name: str) -> None:
    assert refusals(poll({name: word, "inserted": 4, "errors": [{"index": 3}]})) == ([3], 0)
    assert refusals(poll({"job": {name: word}, "inserted": 4, "errors": [{"index": 3}]})) == ([3], 0)


@pytest.mark.parametrize("word", ["completed", "done", "SUCCESS"])
def test_a_completed_job_is_proof_without_counts(word: str) -> None:
    assert refusals(poll({"status": word})) == WRITTEN
    assert refusals(poll({"status": word, "acceptedRecords": SIZE})) == WRITTEN
    assert refusals(poll({"status": word, "inserted": 0, "updated": 0, "rejected": 0})) == WRITTEN


@pytest.mark.parametrize(
    "word", ["completed_with_errors", "PARTIAL_SUCCESS", "partially_completed", "partial"]
)
@pytest.mark.parametrize("more", [{}, {"acceptedRecords": SIZE}, {"errors": []}, {"inserted": SIZE}])
def test_a_partial_success_that_names_no_refusal_is_looked_into(word: str, more: dict[str, Any]) -> None:
    refused, unplaced = refusals(poll({"status": word, **more}))
    assert refused == []
    assert unplaced > 0


@pytest.mark.parametrize(
    "word", ["queued", "pending", "running", "in_progress", "accepted", "paused", "Xyzzy", "", "200"]
)
def test_any_other_word_is_waited_for(word: str) -> None:
    outcome = poll({"status": word, "inserted": 5, "rejected": 0})
    assert isinstance(outcome, Working)
    assert outcome.job_id == "j1"


@pytest.mark.parametrize(
    "data", [{"status": "ok", "state": "running"}, {"state": "running", "job": {"status": "success"}}]
)
def test_a_word_of_success_beside_another_one_is_none(data: dict[str, Any]) -> None:
    assert poll(data) == Working("j1", "running")


@pytest.mark.parametrize("body", [{"success": True}, {}, [], "text", None, b"<html>", {"data": []}])
def test_a_poll_that_says_nothing_is_waited_for(body: Any) -> None:
    assert isinstance(job_progress(reply(body), "j1", SIZE), Working)


def test_success_that_is_denied_is_waited_for() -> None:
    assert isinstance(poll({"state": "completed"}, success=False), Working)


@pytest.mark.parametrize("status", [500, 503, 400, 429, 302])
def test_a_poll_that_is_refused_is_waited_for(status: int) -> None:
    assert poll({"status": "completed"}, status) == Working("j1", f"HTTP {status}")


@pytest.mark.parametrize("body", [{"success": False}, b"", b"<html>"])
def test_a_job_that_is_not_found_is_lost(body: Any) -> None:
    assert job_progress(reply(body, 404), "j1", SIZE) == Lost("j1")


@pytest.mark.parametrize(
    "word", ["failed", "FAILED", "error", "rejected", "cancelled", "canceled", "aborted"]
)
def test_words_of_failure_refuse_the_batch(word: str) -> None:
    outcome = poll(
        {"status": word, "error": {"code": "C", "message": "m", "details": {"path": "records[2].email"}}}
    )
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.index) == ("content", 2)
    assert (outcome.reason.code, outcome.reason.message, outcome.reason.field) == ("C", "m", "email")
    assert accept({"jobId": "j1", "status": word, "error": {"code": "C"}}) != Working("j1", word)


@pytest.mark.parametrize(
    ("data", "index"),
    [
        ({"errors": [{"code": "C", "path": "records[3]"}]}, 3),
        ({"errors": [{"code": "C", "message": "records[4].phone is odd"}]}, 4),
        ({"error": "records[1]: no"}, 1),
        ({"errorMessage": "something broke"}, None),
        ({}, None),
    ],
)
def test_a_failed_job_points_at_a_record_where_it_can(data: dict[str, Any], index: int | None) -> None:
    outcome = poll({"state": "failed", **data})
    assert isinstance(outcome, Refused)
    assert outcome.index == index


def test_a_failed_job_that_refuses_every_record_by_name_is_settled() -> None:
    errors = [{"index": n, "code": f"C{n}", "message": "no"} for n in range(SIZE)]
    outcome = poll({"status": "failed", "errors": errors})
    assert refusals(outcome) == ([0, 1, 2, 3, 4], 0)
    assert isinstance(outcome, Settled)
    assert outcome.refused[3].code == "C3"


def test_a_failed_job_that_refuses_some_by_name_is_refused_as_a_whole() -> None:
    assert isinstance(poll({"status": "failed", "errors": [{"index": 1}]}), Refused)


# --- inline results: counts ---------------------------------------------------------------------------------

COUNTS: list[tuple[dict[str, Any], tuple[list[int], int]]] = [
    ({"inserted": 3, "updated": 2, "rejected": 0}, WRITTEN),
    ({"inserted": 5}, WRITTEN),
    ({"inserted": 1, "updated": 1, "unchanged": 3}, WRITTEN),
    ({"created": 2, "updated": 3}, WRITTEN),
    ({"upserted": 5, "failed": 0}, WRITTEN),
    ({"succeeded": 4, "failed": 1}, ([], 1)),
    ({"insertedRecords": 3, "updatedRecords": 0, "rejectedRecords": 2}, ([], 2)),
    ({"insertedCount": 3, "updatedCount": 0, "rejectedCount": 2}, ([], 2)),
    ({"inserted_count": 3, "updated_count": 0, "rejected_count": 2}, ([], 2)),
    ({"inserted": 3, "updated": 0, "rejected_records": 2}, ([], 2)),
    ({"inserted": 3, "updated": 1}, ([], 1)),
    ({"inserted": 3, "updated": 0, "rejected": 0}, ([], 2)),
    ({"rejected": 2}, ([], 2)),
    ({"rejected": 9}, ([], 5)),
    ({"acceptedRecords": 5, "rejectedRecords": 0}, WRITTEN),
    ({"acceptedRecords": 4, "rejectedRecords": 1}, ([], 1)),
    ({"accepted": True, "acceptedRecords": 5}, WRITTEN),
    ({"processed": 5, "failed": 2}, ([], 2)),
]


@pytest.mark.parametrize(("counts", "expected"), COUNTS)
@pytest.mark.parametrize("place", [None, "result", "counts", "summary", "stats"])
def test_counts_are_read_flat_or_nested(
    counts: dict[str, Any], expected: tuple[list[int], int], place: str | None
) -> None:
    assert refusals(accept(counts if place is None else {place: counts})) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [({"inserted": 3, "updated": 0, "rejected": 0}, WRITTEN), ({"inserted": 3, "updated": 0}, ([], 2))],
)
def test_a_word_of_success_and_a_count_of_refusals_speak_for_the_rest(
    counts: dict[str, Any], expected: tuple[list[int], int]
) -> None:
    assert refusals(accept({"status": "completed", **counts})) == expected
    assert refusals(poll({"status": "completed", "result": counts})) == expected


def test_counts_without_an_envelope_are_read() -> None:
    assert refusals(acceptance(reply({"inserted": 5}), SIZE)) == WRITTEN


@pytest.mark.parametrize(
    "data",
    [
        {"acceptedRecords": SIZE},
        {"accepted": True, "acceptedRecords": SIZE},
        {"acceptedRecords": SIZE, "rejectedRecords": 0},
        {"inserted": 3, "updated": 0, "rejected": 0},
        {"rejected": 0},
        {"rejected": 2},
        {"errors": [{"index": 1}]},
    ],
)
def test_a_202_without_a_job_proves_only_what_it_accounts_for(data: dict[str, Any]) -> None:
    assert isinstance(accept(data, 202), Unproven)
    assert refusals(accept({"inserted": 4, "updated": 1}, 202)) == WRITTEN


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"objectName": "profiles", "operation": "upsert"},
        {"accepted": True},
        {"inserted": 0, "updated": 0, "rejected": 0},
        {"acceptedRecords": 0},
        {"rejected": 0},
        {"errors": []},
        {"results": []},
        {"results": [{"index": 0}, {"index": 1}]},
        {"inserted": "5", "updated": None, "rejected": True},
        {"inserted": True},
        {"status": "queued", "acceptedRecords": SIZE},
        {"status": "processing", "inserted": 5},
        {"status": "completed"},
    ],
)
def test_a_success_that_tells_nothing_is_unproven(data: dict[str, Any]) -> None:
    assert isinstance(accept(data), Unproven)


@pytest.mark.parametrize(
    "body", [b"", b"<html>Welcome</html>", [], "ok", None, 5, {"success": True}, {"data": [1]}]
)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_body_that_is_no_result_is_unproven(body: Any, status: int) -> None:
    assert isinstance(acceptance(reply(body, status), SIZE), Unproven)


# --- inline results: records --------------------------------------------------------------------------------


def row(index: int, word: str, name: str = "index", **more: Any) -> dict[str, Any]:
    return {name: f"records[{index}]" if name == "path" else index, "status": word, **more}


@pytest.mark.parametrize("listed", ["results", "records", "items", "recordResults"])
@pytest.mark.parametrize("name", ["index", "recordIndex", "record_index", "rowIndex", "path"])
@pytest.mark.parametrize("bad", ["rejected", "failed", "error", "invalid"])
def test_a_list_of_every_record_is_proof(listed: str, name: str, bad: str) -> None:
    rows = [row(n, bad if n in (1, 3) else "updated", name) for n in reversed(range(SIZE))]
    assert refusals(accept({listed: rows})) == ([1, 3], 0)
    assert refusals(accept({"result": {listed: rows}})) == ([1, 3], 0)
    assert refusals(accept({listed: rows}, 202)) == ([1, 3], 0)


def test_a_list_in_the_order_of_the_request_needs_no_index() -> None:
    rows = [
        {"status": "inserted"},
        {"success": False},
        {"outcome": "updated"},
        {"accepted": True},
        {"error": "no"},
    ]
    assert refusals(accept({"results": rows})) == ([1, 4], 0)


@pytest.mark.parametrize(
    "rows",
    [
        [row(n, "inserted") for n in range(SIZE - 1)],
        [row(0, "inserted")] * SIZE,
        [*(row(n, "inserted") for n in range(SIZE - 1)), row(4, "queued")],
        [*(row(n, "inserted") for n in range(SIZE - 1)), {"index": 4}],
        [*(row(n, "inserted") for n in range(SIZE - 1)), row(5, "inserted")],
        [{"email": "a@example.com"} for _ in range(SIZE)],
    ],
)
def test_a_list_that_leaves_a_record_out_is_no_proof(rows: list[Any]) -> None:
    assert isinstance(accept({"results": rows}), Unproven)


@pytest.mark.parametrize(
    "listed", ["errors", "rejected", "rejectedRecords", "failures", "failed", "failedRecords"]
)
def test_refused_records_alone_prove_the_others(listed: str) -> None:
    entries = [{"index": 1, "code": "C", "message": "m"}, {"path": "records[4].email", "message": "n"}]
    outcome = accept({listed: entries})
    assert refusals(outcome) == ([1, 4], 0)
    assert isinstance(outcome, Settled)
    assert (outcome.refused[1].code, outcome.refused[1].message) == ("C", "m")
    assert outcome.refused[4].field == "email"


@pytest.mark.parametrize("listed", ["errors", "failures"])
def test_a_list_of_every_record_may_be_named_after_its_errors(listed: str) -> None:
    rows = [row(n, "rejected" if n == 2 else "inserted") for n in range(SIZE)]
    assert refusals(accept({listed: rows})) == ([2], 0)


def test_as_many_errors_as_records_are_not_an_error_each() -> None:
    entries = [{"index": 0, "message": f"{n}"} for n in range(SIZE)]
    assert refusals(accept({"errors": entries, "inserted": 4})) == ([0], 0)
    nameless = [{"message": f"{n}"} for n in range(SIZE)]
    assert refusals(accept({"errors": nameless}))[0] == []


@pytest.mark.parametrize(
    "entry",
    [
        {"message": "no"},
        {"index": 5},
        {"index": -1},
        {"index": "2"},
        "record 3 is bad",
        7,
        {"recordNumber": 2},
    ],
)
@pytest.mark.parametrize(
    "counts", [{}, {"acceptedRecords": SIZE}, {"inserted": 3, "updated": 0, "rejected": 2}]
)
def test_refusals_that_name_no_record_are_looked_into(entry: Any, counts: dict[str, Any]) -> None:
    refused, unplaced = refusals(accept({"errors": [{"index": 3}, entry], **counts}))
    assert refused == [3]
    assert unplaced > 0


def test_a_single_record_needs_no_index() -> None:
    outcome = acceptance(reply({"data": {"errors": [{"code": "C", "message": "m"}]}}), 1)
    assert refusals(outcome) == ([0], 0)


def test_counts_and_lists_that_disagree_are_looked_into() -> None:
    rows = [row(n, "inserted") for n in range(SIZE)]
    assert refusals(accept({"results": rows, "rejected": 2})) == ([], 2)
    assert refusals(accept({"errors": [{"index": 1}], "inserted": 2, "rejected": 3})) == ([1], 2)


def test_a_list_of_every_record_goes_before_a_count_that_leaves_some_out() -> None:
    rows = [row(n, "inserted" if n < 3 else "merged") for n in range(SIZE)]
    assert refusals(accept({"results": rows, "inserted": 3})) == WRITTEN


@pytest.mark.parametrize(
    ("entry", "code", "message", "field"),
    [
        (
            {"error": {"code": "C", "message": "m", "details": {"path": "records[1].email"}}},
            "C",
            "m",
            "email",
        ),
        ({"error": "m"}, "REFUSED", "m", ""),
        ({"errors": [{"code": "C", "message": "m", "field": "email"}]}, "C", "m", "email"),
        ({"status": "rejected", "errorCode": "C", "reason": "m", "field": "email"}, "C", "m", "email"),
        ({"status": "rejected"}, "REFUSED", "no message", ""),
    ],
)
def test_reasons_are_read_nested_or_flat(entry: dict[str, Any], code: str, message: str, field: str) -> None:
    body = {"success": True, "data": {"inserted": 4, "results": [{"index": 1, **entry}]}}
    outcome = acceptance(reply(body, **{"x-correlation-id": "c-9"}), SIZE)
    assert isinstance(outcome, Settled)
    reason = outcome.refused[1]
    assert (reason.code, reason.message, reason.field) == (code, message, field)
    assert (reason.status, reason.correlation_id) == (200, "c-9")


# --- refusals with a good status ----------------------------------------------------------------------------


def test_an_error_envelope_with_a_good_status_is_a_refusal() -> None:
    body = {"success": False, "error": {"code": "C", "message": "m", "details": {"path": "records[2].email"}}}
    outcome = acceptance(reply(body), SIZE)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.index, outcome.reason.code) == ("content", 2, "C")


@pytest.mark.parametrize(
    "more", [{}, {"error": "text"}, {"data": {"inserted": 5}}, {"data": {"jobId": "j1"}}]
)
def test_success_that_is_denied_is_never_success(more: dict[str, Any]) -> None:
    assert isinstance(acceptance(reply({"success": False, **more}), SIZE), Unproven)


# --- error envelopes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ({"error": {"details": {"path": "records[2].email"}}}, 2),
        ({"error": {"details": [{"path": "records[3]"}, {"path": "records[4]"}]}}, 3),
        ({"error": {"path": "record[1]"}}, 1),
        ({"error": {"message": "records[7].email: no e-mail address"}}, 7),
        ({"details": {"path": "body.records[0].x"}}, 0),
        ({"error": {"details": {"path": "matchKey"}}}, None),
        ({"error": {"details": "records"}}, None),
        ({"error": "records[2]"}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_the_record_an_error_points_at(body: Any, index: int | None) -> None:
    assert index_of(body) == index


@pytest.mark.parametrize(
    ("headers", "body", "correlation"),
    [
        ({"x-correlation-id": "head"}, {"correlationId": "body"}, "head"),
        ({}, {"correlationId": "body"}, "body"),
        ({}, {}, ""),
        ({}, [], ""),
    ],
)
def test_the_correlation_id_comes_from_the_header_first(
    headers: Mapping[str, str], body: Any, correlation: str
) -> None:
    assert reason_of(Reply(400, headers, json.dumps(body).encode()), body).correlation_id == correlation


@pytest.mark.parametrize(
    "body", [None, [], "text", {"error": "text"}, {"error": None}, {"error": {"details": []}}]
)
def test_a_reason_is_made_of_whatever_is_there(body: Any) -> None:
    reason = reason_of(reply(body, 422), body)
    assert (reason.code, reason.message, reason.status) == ("HTTP_422", "no message", 422)


def test_states_are_compared_by_their_letters() -> None:
    assert state_of({"status": "COMPLETED_WITH_ERRORS"}) == "completedwitherrors"
    assert state_of({"status": "In-Progress"}) == "inprogress"
    assert state_of({"status": 200, "state": "done"}) == "done"
    assert state_of({"status": "200", "state": "done"}) == "done"


# --- properties ---------------------------------------------------------------------------------------------

SUCCESS_WORDS = {"completed", "succeeded", "success", "done", "partial", "inserted", "updated", "upserted"}
COUNT_NAMES = ("inserted", "updated", "acceptedRecords", "rejected", "failed", "succeeded")
NEUTRAL = st.none() | st.booleans() | st.sampled_from(["queued", "x", "", "profiles", "accepted", "failed"])
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.integers(-1, 6),
            "status": st.sampled_from(["inserted", "rejected", "queued", ""]),
        },
    ),
    max_size=6,
)


@st.composite
def results(draw: st.DrawFn) -> dict[str, Any]:
    counts = draw(st.dictionaries(st.sampled_from(COUNT_NAMES), st.integers(0, 7), max_size=3))
    lists = draw(
        st.dictionaries(st.sampled_from(["errors", "results", "records", "failures"]), ENTRIES, max_size=2)
    )
    words = draw(
        st.dictionaries(
            st.sampled_from(["status", "state"]),
            st.sampled_from(["completed", "partial", "running", "failed", "queued", "odd"]),
            max_size=2,
        )
    )
    job = draw(st.sampled_from([{}, {}, {"jobId": "j1"}]))
    inner = draw(st.booleans())
    return {**words, **job, **({"result": {**counts, **lists}} if inner else {**counts, **lists})}


@given(data=results(), size=st.integers(1, 6), status=st.sampled_from([200, 202]), polled=st.booleans())
def test_what_is_refused_and_what_is_written_never_exceed_the_batch(
    data: dict[str, Any], size: int, status: int, polled: bool
) -> None:
    answer = reply({"success": True, "data": data}, status)
    outcome = job_progress(answer, "j1", size) if polled else acceptance(answer, size)
    if isinstance(outcome, Settled):
        assert all(0 <= index < size for index in outcome.refused)
        assert 0 <= outcome.unplaced <= size - len(outcome.refused)
    if isinstance(outcome, Refused):
        assert outcome.kind == "content"


@given(data=results(), size=st.integers(1, 6))
def test_a_record_listed_as_refused_is_never_taken_for_written(data: dict[str, Any], size: int) -> None:
    outcome = acceptance(reply({"success": True, "data": data}), size)
    holder = data.get("result", data)
    listed = [
        entry
        for name in ("errors", "failures", "results", "records")
        for entry in holder.get(name, ())
        if entry.get("status") == "rejected"
        or (name in ("errors", "failures") and entry.get("status") != "inserted")
    ]
    if isinstance(outcome, Settled) and not outcome.unplaced:
        named = {entry["index"] for entry in listed if 0 <= entry.get("index", -1) < size}
        assert named <= set(outcome.refused)
        assert bool(listed) == bool(outcome.refused)


SILENT = st.recursive(
    NEUTRAL | st.text(alphabet="xyz", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["success", "data", "result", "status", "errors", "results", "objectName", "message", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=SILENT, size=st.integers(1, 6), status=st.sampled_from([200, 201, 202]))
def test_a_reply_without_a_word_a_count_or_a_list_of_success_is_never_success(
    body: Any, size: int, status: int
) -> None:
    """Such replies may refuse records, but no outcome says that a single record was written for sure."""
    outcome = acceptance(reply(body, status), size)
    written = isinstance(outcome, Settled) and not outcome.unplaced and not outcome.refused
    assert not written
    progress = job_progress(reply(body, status), "j1", size)
    assert not (isinstance(progress, Settled) and not progress.unplaced and not progress.refused)


@given(body=SILENT | st.binary(max_size=30), status=st.sampled_from([200, 202, 400, 404, 500]))
def test_no_reply_whatever_breaks_the_reading(body: Any, status: int) -> None:
    answer = reply(body, status)
    acceptance(answer, SIZE)
    job_progress(answer, "j1", SIZE)
    reason_of(answer, answer.json())
    index_of(answer.json())
