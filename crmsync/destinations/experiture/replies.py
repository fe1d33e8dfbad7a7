"""Reading what Experiture answers. Pure.

The contract leaves open where the job id stands, how states are called, and how counts and refused records
are given (contract experiture 7). What can be read is read; what cannot is `Unproven`, never success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from crmsync.destinations.base import Lost, Outcome, Reason, Refused, Settled, Unproven, Working
from crmsync.http import Reply
from crmsync.text import one_line

JOB_ID_NAMES = ("jobId", "job_id", "jobID", "id")
STATE_NAMES = ("status", "state", "jobStatus", "job_status", "jobState")
PARTLY = frozenset(
    {"completedwitherrors", "completedwithfailures", "partiallycompleted", "partialsuccess", "partial"}
    | {"partiallysucceeded", "completedpartially", "partiallyfailed"}
)
"""Ended, with some records refused."""
SUCCEEDED = PARTLY | {
    *("completed", "complete", "succeeded", "success", "successful", "done", "finished", "processed", "ok")
}
FAILED = frozenset(
    {"failed", "failure", "error", "errored", "rejected", "cancelled", "canceled", "aborted", "expired"}
)
WRITTEN_PARTS = ("inserted", "created", "updated", "unchanged")
WRITTEN_TOTALS = ("upserted", "succeeded", "success", "successful", "written", "merged")
WRITTEN_WORDS = SUCCEEDED | {"accepted", *WRITTEN_PARTS, *WRITTEN_TOTALS}
REFUSED_WORDS = FAILED | {"invalid", "refused"}
ACCEPTED_COUNTS = ("accepted", "processed")
REFUSED_COUNTS = ("rejected", "failed", "errored", "invalid", "errors", "failures", "rejects")
REFUSED_LISTS = (
    "errors",
    "rejected",
    "rejectedRecords",
    "failures",
    "failed",
    "failedRecords",
    "recordErrors",
)
RESULT_LISTS = ("results", "records", "items", "outcomes", "recordResults", *REFUSED_LISTS)
INDEX_NAMES = ("index", "recordIndex", "record_index", "rowIndex", "i")
"""Counted from 0. `position` and `recordNumber` may count from 1: their records are found by halving."""
NESTED = ("result", "results", "counts", "summary", "stats", "counters", "totals", "data", "job")

_INDEX = re.compile(r"records?\[(\d+)\](?:\.(.+))?")


def job_id_of(data: Mapping[str, Any]) -> str | None:
    """The job id, at the top of `data` or within a `job`."""
    for holder in (data, data.get("job")):
        if isinstance(holder, Mapping):
            for name in JOB_ID_NAMES:
                value = holder.get(name)
                if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
                    return str(value)
    return None


def acceptance(reply: Reply, size: int) -> Outcome:
    """The meaning of a 2xx reply to a batch of `size` records."""
    body = reply.json()
    if not isinstance(body, dict) or body.get("success") is False:
        return _refusal_or_unproven(reply, body)
    data = _data(body)
    job_id, state = job_id_of(data), state_of(data)
    if state in FAILED:
        return _failure(reply, body, data, size)
    if job_id is None:
        if state and state not in WRITTEN_WORDS:
            return _unproven(reply, f"the state {state} and no job id")
        settled = _settled(data, reply, size, terminal=reply.status != 202)
        return settled or _unproven(reply, "neither a job id nor results")
    settled = _settled(data, reply, size, terminal=False)
    speaks_of_all = settled is not None and not settled.unplaced and (state in SUCCEEDED or not state)
    return settled if settled is not None and speaks_of_all else Working(job_id, state)


def job_progress(reply: Reply, job_id: str, size: int) -> Outcome:
    """The meaning of the reply to a question about a job."""
    if reply.status == 404:
        return Lost(job_id)
    body = reply.json()
    if not reply.ok or not isinstance(body, dict):
        return Working(job_id, f"HTTP {reply.status}")
    data = _data(body)
    state = state_of(data)
    if state in FAILED:
        return _failure(reply, body, data, size)
    if state in SUCCEEDED and body.get("success") is not False:
        settled = _settled(data, reply, size, terminal=True) or Settled()
        hidden = state in PARTLY and not settled.refused and not settled.unplaced
        return Settled(unplaced=1) if hidden else settled
    return Working(job_id, state)


def state_of(data: Mapping[str, Any]) -> str:
    """The job's state, lower case, letters only (`COMPLETED_WITH_ERRORS` → `completedwitherrors`).

    Where several words are given, one that speaks of no success counts (`status: ok, state: running`).
    """
    holders = [holder for holder in (data, data.get("job")) if isinstance(holder, Mapping)]
    told = (holder.get(name) for holder in holders for name in STATE_NAMES)
    spelled = (re.sub(r"[^a-z]", "", value.lower()) for value in told if isinstance(value, str))
    words = [word for word in spelled if word]
    return next((word for word in words if word not in SUCCEEDED), words[0] if words else "")


def reason_of(reply: Reply, body: Any) -> Reason:
    """Code, message and field of an error envelope, whatever is there of them (contract experiture 3)."""
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else (body if isinstance(body, dict) else {})
    details = error.get("details")
    path = details.get("path") if isinstance(details, dict) else error.get("path")
    return Reason(
        code=one_line(error.get("code") or f"HTTP_{reply.status}"),
        message=str(error.get("message") or error.get("reason") or "no message"),
        field=_field_of(str(path or error.get("field") or "")),
        status=reply.status,
        correlation_id=correlation_id(reply),
    )


def correlation_id(reply: Reply) -> str:
    """From the header first, then the body (contract experiture 3)."""
    body = reply.json()
    inner = body.get("correlationId") if isinstance(body, dict) else None
    return reply.correlation_id or one_line(inner or "", 80)


def index_of(body: Any) -> int | None:
    """The record an error's path points at (`records[2].email` → 2), None where it points at none."""
    for text in _paths(body):
        found = _INDEX.search(text)
        if found:
            return int(found[1])
    return None


def _paths(body: Any) -> Iterator[str]:
    error = body.get("error") if isinstance(body, dict) else None
    for holder in (error, body):
        if isinstance(holder, dict):
            details = holder.get("details")
            for entry in details if isinstance(details, list) else [details, holder]:
                if isinstance(entry, dict):
                    yield str(entry.get("path") or "")
            yield str(holder.get("message") or "")


def _data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    data = body.get("data")
    return data if isinstance(data, dict) else body


def _as_error(data: Mapping[str, Any]) -> dict[str, Any]:
    error = data.get("error")
    if isinstance(error, dict):
        return {"error": error}
    listed = data.get("errors")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return {"error": listed[0]}
    text = error if isinstance(error, str) else data.get("errorMessage") or data.get("message")
    return {"error": {"message": text}} if text else {}


def _failure(reply: Reply, body: Mapping[str, Any], data: Mapping[str, Any], size: int) -> Outcome:
    """The meaning of a state of failure: every record refused by name, or the batch as a whole."""
    refused = _listed(data, reply, size)[0]
    if len(refused) == size:
        return Settled(refused)
    error = _as_error(data)
    return Refused("content", reason_of(reply, {**body, **error}), index_of({**data, **error}))


def _refusal_or_unproven(reply: Reply, body: Any) -> Outcome:
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return Refused("content", reason_of(reply, body), index_of(body))
    return _unproven(reply, "a body that says nothing of the records")


def _unproven(reply: Reply, brought: str) -> Unproven:
    return Unproven(f"HTTP {reply.status} with {brought}", correlation_id(reply))


def _settled(data: Mapping[str, Any], reply: Reply, size: int, *, terminal: bool) -> Settled | None:
    """Proof from per-record results, counts, or both. None where `data` holds none.

    Only in a `terminal` reply does accepted mean written, and do refusals alone prove the rest written; any
    other has to account for every record. Records that the counts leave out are refused namelessly, unless
    a word of success and a count of refusals speak for them.
    """
    refused, nameless, clear = _listed(data, reply, size)
    named, told = len(refused), _largest(data, REFUSED_COUNTS)
    failed = max(told or 0, named + nameless)
    written = _written(data)
    if written is None and terminal:
        written = _largest(data, ACCEPTED_COUNTS)
    accounted = (written or 0) + failed
    if clear < size and (accounted == 0 if terminal else accounted < size):
        return None
    sure = clear == size or written is None or (told is not None and state_of(data) in SUCCEEDED)
    unplaced = failed - named + (0 if sure else max(0, size - accounted))
    return Settled(refused, min(unplaced, size - named))


def _listed(data: Mapping[str, Any], reply: Reply, size: int) -> tuple[dict[int, Reason], int, int]:
    """Refused records by index, how many more are refused namelessly, and how many have a clear outcome."""
    refused: dict[int, Reason] = {}
    nameless = 0
    clear: set[int] = set()
    for holder in _holders(data):
        for name in RESULT_LISTS:
            entries = holder.get(name)
            if not isinstance(entries, list):
                continue
            for place, entry in enumerate(entries):
                row = entry if isinstance(entry, dict) else {"message": entry}
                index = _entry_index(row)
                in_order = len(entries) == size and (name not in REFUSED_LISTS or size == 1)
                index = place if index is None and in_order else index
                index = index if index is not None and 0 <= index < size else None
                if _entry_refused(row) or (name in REFUSED_LISTS and not _entry_written(row)):
                    if index is None:
                        nameless += 1
                    else:
                        refused[index] = _entry_reason(row, reply)
                        clear.add(index)
                elif index is not None and _entry_written(row):
                    clear.add(index)
    return refused, nameless, len(clear)


def _holders(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield data
    for name in NESTED:
        inner = data.get(name)
        if isinstance(inner, dict):
            yield inner


def _entry_refused(entry: Mapping[str, Any]) -> bool:
    if (
        entry.get("success") is False
        or entry.get("accepted") is False
        or entry.get("error")
        or entry.get("errors")
    ):
        return True
    return _entry_word(entry) in REFUSED_WORDS


def _entry_written(entry: Mapping[str, Any]) -> bool:
    return (
        entry.get("success") is True or entry.get("accepted") is True or _entry_word(entry) in WRITTEN_WORDS
    )


def _entry_word(entry: Mapping[str, Any]) -> str:
    named = (entry.get(name) for name in ("outcome", "result", "operation", "action"))
    return state_of(entry) or next((word.lower() for word in named if isinstance(word, str)), "")


def _entry_index(entry: Mapping[str, Any]) -> int | None:
    for name in INDEX_NAMES:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return index_of(entry)


def _entry_reason(entry: Mapping[str, Any], reply: Reply) -> Reason:
    inner = entry.get("error")
    listed = entry.get("errors")
    if not isinstance(inner, dict) and isinstance(listed, list) and listed and isinstance(listed[0], dict):
        inner = listed[0]
    holder = inner if isinstance(inner, dict) else entry
    text = inner if isinstance(inner, str) else holder.get("message") or holder.get("reason")
    details = holder.get("details")
    path = details.get("path") if isinstance(details, dict) else holder.get("path") or holder.get("field")
    return Reason(
        code=one_line(holder.get("code") or holder.get("errorCode") or "REFUSED"),
        message=str(text or "no message"),
        field=_field_of(str(path or "")),
        status=reply.status,
        correlation_id=correlation_id(reply),
    )


def _field_of(path: str) -> str:
    found = _INDEX.search(path)
    return one_line((found[2] or "") if found else path)


def _written(data: Mapping[str, Any]) -> int | None:
    """How many records were written: inserted, updated and unchanged together, or one counter for all."""
    parts = [_largest(data, (name,)) for name in WRITTEN_PARTS]
    together = sum(part for part in parts if part is not None) if any(p is not None for p in parts) else None
    alone = _largest(data, WRITTEN_TOTALS)
    return max((n for n in (together, alone) if n is not None), default=None)


def _largest(data: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The largest counter of these names, in the first place that has one."""
    for holder in _holders(data):
        found = [
            int(value)
            for name in names
            for spelled in (name, f"{name}Records", f"{name}Count", f"{name}_records", f"{name}_count")
            if isinstance(value := holder.get(spelled), int) and not isinstance(value, bool)
        ]
        if found:
            return max(found)
    return None
