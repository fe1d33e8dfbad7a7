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

JOB_ID_NAMES = ("jobId", "job_id", "jobID", "id")
STATE_NAMES = ("status", "state", "jobStatus", "job_status", "jobState")
SUCCEEDED = frozenset(
    {"completed", "complete", "succeeded", "success", "successful", "done", "finished", "processed", "ok"}
    | {"completedwitherrors", "completedwithfailures", "partiallycompleted", "partialsuccess", "partial"}
    | {"partiallysucceeded", "completedpartially", "partiallyfailed"}
)
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
INDEX_NAMES = ("index", "recordIndex", "record_index", "position", "i", "rowIndex", "recordNumber")
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
        return Refused("content", reason_of(reply, {**body, **_as_error(data)}), index_of(data))
    if job_id is None:
        settled = _settled(data, reply, size, trust_accepted=reply.status != 202)
        return settled or Unproven(f"HTTP {reply.status} with neither a job id nor results")
    settled = _settled(data, reply, size, trust_accepted=False)
    speaks_of_all = settled is not None and not settled.unplaced
    if speaks_of_all and settled is not None and (state in SUCCEEDED or not state):
        return settled
    return Working(job_id, state)


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
        placed = _settled(data, reply, size, trust_accepted=False)
        if placed and len(placed.refused) == size:
            return placed
        return Refused("content", reason_of(reply, {**body, **_as_error(data)}), index_of(data))
    if state in SUCCEEDED:
        return _settled(data, reply, size, trust_accepted=True) or Settled()
    return Working(job_id, state)


def state_of(data: Mapping[str, Any]) -> str:
    """The job's state, lower case, letters only (`COMPLETED_WITH_ERRORS` → `completedwitherrors`)."""
    for holder in (data, data.get("job")):
        if isinstance(holder, Mapping):
            for name in STATE_NAMES:
                value = holder.get(name)
                if isinstance(value, str):
                    return re.sub(r"[^a-z]", "", value.lower())
    return ""


def reason_of(reply: Reply, body: Any) -> Reason:
    """Code, message and field of an error envelope, whatever is there of them (contract experiture 3)."""
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else (body if isinstance(body, dict) else {})
    details = error.get("details")
    path = details.get("path") if isinstance(details, dict) else error.get("path")
    return Reason(
        code=str(error.get("code") or f"HTTP_{reply.status}"),
        message=str(error.get("message") or error.get("reason") or "no message"),
        field=_field_of(str(path or error.get("field") or "")),
        status=reply.status,
        correlation_id=correlation_id(reply),
    )


def correlation_id(reply: Reply) -> str:
    """From the header first, then the body (contract experiture 3)."""
    body = reply.json()
    inner = body.get("correlationId") if isinstance(body, dict) else None
    return str(reply.headers.get("x-correlation-id") or inner or "")


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


def _refusal_or_unproven(reply: Reply, body: Any) -> Outcome:
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return Refused("content", reason_of(reply, body), index_of(body))
    return Unproven(f"HTTP {reply.status} with a body that says nothing of the records")


def _settled(data: Mapping[str, Any], reply: Reply, size: int, *, trust_accepted: bool) -> Settled | None:
    """Proof from per-record results, counts, or both. None where `data` holds neither."""
    refused, listed_all = _listed(data, reply, size)
    written = _written(data)
    if written is None and trust_accepted:
        written = _largest(data, ACCEPTED_COUNTS)
    failed = _largest(data, REFUSED_COUNTS)
    if written is None and failed is None and not listed_all and not (refused and trust_accepted):
        return None
    if listed_all:
        return Settled(refused)
    named = len(refused)
    missing = failed - named if failed is not None else size - written - named if written is not None else 0
    return Settled(refused, max(0, min(missing, size - named)))


def _listed(data: Mapping[str, Any], reply: Reply, size: int) -> tuple[dict[int, Reason], bool]:
    """Refused records by index, and whether a list tells the outcome of every record of the batch."""
    refused: dict[int, Reason] = {}
    listed_all = False
    for holder in _holders(data):
        for name in RESULT_LISTS:
            entries = holder.get(name)
            if not isinstance(entries, list):
                continue
            rows = [entry for entry in entries if isinstance(entry, dict)]
            told = [name in REFUSED_LISTS or _entry_refused(entry) for entry in rows]
            clear = all(bad or _entry_written(entry) for bad, entry in zip(told, rows, strict=True))
            listed_all = listed_all or (clear and len(rows) == size > 0)
            for place, (bad, entry) in enumerate(zip(told, rows, strict=True)):
                if bad:
                    index = _entry_index(entry)
                    index = place if index is None and len(rows) == size else index
                    if index is not None and 0 <= index < size:
                        refused[index] = _entry_reason(entry, reply)
    return refused, listed_all


def _holders(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield data
    for name in NESTED:
        inner = data.get(name)
        if isinstance(inner, dict):
            yield inner


def _entry_refused(entry: Mapping[str, Any]) -> bool:
    if entry.get("success") is False or entry.get("accepted") is False or entry.get("error"):
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
        code=str(holder.get("code") or holder.get("errorCode") or "REFUSED"),
        message=str(text or "no message"),
        field=_field_of(str(path or "")),
        status=reply.status,
        correlation_id=correlation_id(reply),
    )


def _field_of(path: str) -> str:
    found = _INDEX.search(path)
    return (found[2] or "") if found else path


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
