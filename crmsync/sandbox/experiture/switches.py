"""What the CDP's public documentation leaves open, as switches.

Every default is *assumed*: a test that is green under it says nothing about the live service. A client
should be tried under every value. `about` says what is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crmsync.sandbox.experiture.tables import Rules
from crmsync.text import did_you_mean

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Switch:
    """One open question. `values` are the known answers; `free` is the type where others are allowed too."""

    name: str
    values: tuple[Value, ...]
    about: str
    free: type | None = None

    @property
    def default(self) -> Value:
        """The assumed answer: the first one."""
        return self.values[0]

    def allows(self, value: object) -> bool:
        if any(value == known and type(value) is type(known) for known in self.values):
            return True
        if self.free is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        return self.free is str and isinstance(value, str) and bool(value)


_AUTH = "CDP_ETL.AUTH."
_401 = (_AUTH + "TOKEN_EXPIRED", _AUTH + "UNAUTHORIZED", _AUTH + "TOKEN_INVALID")

_TOKEN_SWITCHES = (
    Switch("client_auth", ("any", "basic", "body"), "how the token endpoint wants the client's credentials"),
    Switch("token_seconds", (3600,), "a token's lifetime", float),
    Switch("expires_in", ("number", "text", "absent"), "how the token reply gives the lifetime"),
    Switch("granted_scopes", ("*",), "the client's scopes, space-separated; * is all", str),
    Switch("api_key", ("accepted", "refused"), "whether a static key passes as a bearer token"),
    Switch("expired_token_code", _401, "code of a 401 for an expired token"),
    Switch("invalid_token_code", (_401[2], _401[1], _401[0]), "code of a 401 for an unreadable token"),
    Switch("records_scope", ("cdp:records:write",), "scope of the record writes", str),
    Switch("jobs_scope", ("cdp:records:write", "cdp:records:read"), "scope of reading a record job", str),
)

_ENVELOPE_SWITCHES = (
    Switch(
        "body_correlation_id", ("both", "success", "error", "none"), "which envelopes carry correlationId"
    ),
    Switch("remediation", ("text", "links", "absent"), "the shape of error.remediation"),
    Switch("unknown_field_code", ("CDP_ETL.VALIDATION.REQUEST_SCHEMA", "schema_mismatch"), "code of the 422"),
    Switch("error_path", ("first", "all", "none"), "which rows a refused batch names in its details"),
    Switch("too_large_body", ("json", "html"), "what a 413 carries"),
)

_REQUEST_SWITCHES = (
    Switch("content_type", ("refuse", "ignore"), "a body that is not declared as JSON"),
    Switch("gzip_requests", ("refuse", "accept"), "a gzipped request body"),
    Switch("unknown_members", ("refuse", "ignore"), "a member beside record, records and matchKey"),
    Switch("empty_records", ("refuse", "accept"), "an empty records array"),
    Switch("max_body_bytes", (10_000_000, 10_485_760), "whether the 10 MB are MB or MiB", float),
    Switch("bad_match_key", (400, 422), "status for a matchKey that is no field, or no identity key"),
    Switch("missing_key", ("insert", "refuse"), "a record without its match key: silent duplicate, or error"),
    Switch("coercion", (False, True), 'whether "5" passes as 5'),
    Switch("empty_string", ("keep", "null", "refuse"), "what an empty string is"),
    Switch("email_format", ("lenient", "strict", "off"), "how e-mail addresses are checked"),
    Switch("phone_format", (False, True), "whether phone numbers must be E.164"),
    Switch("offset_without_colon", (False, True), "whether +0000 passes as an offset"),
    Switch("longest_string", (None, 255), "the longest string", float),
)

_IDEMPOTENCY_SWITCHES = (
    Switch("non_v4_key", ("reject", "ignore", "accept"), "an Idempotency-Key that is no UUID v4"),
    Switch("key_mismatch", ("422", "409", "replay"), "a known key with another body"),
    Switch("key_in_flight", ("409", "wait"), "a key whose first request is still being processed"),
    Switch("cache_errors", ("no", "4xx", "all"), "which error answers are replayed"),
    Switch("same_body", ("bytes", "json"), "what makes two bodies the same"),
    Switch("replay_marked", (False, True), "whether a replay carries Idempotency-Replayed: true"),
    Switch("processing_seconds", (0,), "how long a write takes", float),
)

_BATCH_SWITCHES = (
    Switch("batch_mode", ("job", "inline"), "a batch is answered by a job id, or by its results"),
    Switch("accept_status", (202, 200), "status of the answer to a batch that became a job"),
    Switch("outcome", ("partial", "all_or_nothing"), "whether one bad record refuses the whole batch"),
    Switch(
        "unknown_field_in_batch", ("refuse_request", "reject_row"), "reach of a field that does not exist"
    ),
    Switch("row_error_status", (400, 422), "status of a batch refused for a record's value"),
    Switch("validation", ("at_accept", "in_job"), "whether a refusal is the answer, or a failed job"),
    Switch("all_rejected", ("partial", "failed"), "the state of a job all of whose records were rejected"),
    Switch("duplicate_keys_in_batch", ("last_wins", "reject_row"), "two records of a batch with one key"),
)

_JOB_SWITCHES = (
    Switch("job_seconds", (0,), "how long a job takes", float),
    Switch("job_order", ("fifo", "random"), "whether jobs finish in the order of their acceptance"),
    Switch("job_fate", ("finish", "stick", "lose", "finish_then_lose"), "what becomes of new jobs"),
    Switch("job_retention_seconds", (86_400, None), "how long a finished job can be read", float),
    Switch("job_id_field", ("jobId", "job_id", "id"), "the field with the job's id", str),
    Switch("state_field", ("status", "state", "jobStatus"), "the field with the job's state", str),
    Switch("state_queued", ("queued", "pending", "QUEUED", "accepted"), "word for a job not begun", str),
    Switch("state_running", ("running", "processing", "RUNNING", "in_progress"), "word for one at work", str),
    Switch("state_done", ("completed", "succeeded", "COMPLETED", "success", "done"), "word for success", str),
    Switch(
        "state_partial",
        ("completed", "completed_with_errors", "partially_completed", "PARTIAL_SUCCESS"),
        "word for success with rejected records",
        str,
    ),
    Switch("state_failed", ("failed", "error", "FAILED"), "word for failure", str),
)

_RESULT_SWITCHES = (
    Switch("counts_at", ("flat", "result", "counts", "summary", "absent"), "where the counts are"),
    Switch(
        "counts_names",
        ("plain", "records", "count", "snake", "guide", "accepted", "succeeded"),
        "how the counts are named",
    ),
    Switch("row_report", ("errors", "all", "none"), "which records are listed in a result"),
    Switch("rows_at", ("flat", "result"), "where the list of records is"),
    Switch("rows_name", ("errors", "results", "records", "failures"), "its name", str),
    Switch("row_index", ("index", "recordIndex", "record_index", "path"), "how it names a record"),
    Switch("row_error", ("nested", "flat"), "whether a record's error is an object of its own"),
    Switch("rejected_word", ("rejected", "failed", "error"), "status of a rejected record in a list", str),
)

_LIMIT_SWITCHES = (
    Switch("rate_limit", (None, 5), "requests per second, token and endpoint class", float),
    Switch("retry_after", ("seconds", "http_date", "absent"), "the form of Retry-After"),
    Switch("retry_after_seconds", (1,), "its value", float),
    Switch("polling_class", ("own", "batch"), "which quota job reads count against"),
)

_METADATA_SWITCHES = (
    Switch("metadata", ("readable", "forbidden", "garbled"), "whether metadata can be read"),
    Switch("identity_keys", ("names", "objects", "absent"), "the shape of identityKeys"),
    Switch("fields_key", ("fields", "properties", "attributes", "columns"), "the key of the field list", str),
    Switch("field_name_key", ("name", "fieldName", "field_name"), "the key of a field's name", str),
)

SWITCHES: dict[str, Switch] = {
    switch.name: switch
    for switch in (
        *_TOKEN_SWITCHES,
        *_ENVELOPE_SWITCHES,
        *_REQUEST_SWITCHES,
        *_IDEMPOTENCY_SWITCHES,
        *_BATCH_SWITCHES,
        *_JOB_SWITCHES,
        *_RESULT_SWITCHES,
        *_LIMIT_SWITCHES,
        *_METADATA_SWITCHES,
    )
}


class Switches:
    """The present values, by name."""

    def __init__(self, changes: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = {name: switch.default for name, switch in SWITCHES.items()}
        self.set(changes or {})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def set(self, changes: Mapping[str, Any]) -> None:
        """Change all or none. Raises ValueError for an unknown name or a value that is not allowed."""
        for name, value in changes.items():
            if name not in SWITCHES:
                raise ValueError(f"there is no switch {name!r}{did_you_mean(name, SWITCHES)}")
            if not SWITCHES[name].allows(value):
                known = ", ".join(repr(known) for known in SWITCHES[name].values)
                raise ValueError(f"{name} cannot be {value!r}; known values are {known}")
        self._values.update(changes)

    def reset(self) -> None:
        self._values = {name: switch.default for name, switch in SWITCHES.items()}

    def described(self) -> dict[str, dict[str, Any]]:
        """The whole table, for people: value, known values, assumed default, and what is not known."""
        return {
            name: {
                "value": self._values[name],
                "values": list(switch.values),
                "assumed_default": switch.default,
                "unknown": switch.about,
                "others_allowed": switch.free is not None,
            }
            for name, switch in SWITCHES.items()
        }

    def rules(self) -> Rules:
        """The switches about values, as the tables take them."""
        return Rules(**{name: self._values[name] for name in Rules.__dataclass_fields__})
