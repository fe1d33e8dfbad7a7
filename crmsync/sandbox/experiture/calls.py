"""What a request to the records API must look like before any record is examined. No I/O."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from crmsync.sandbox.experiture.replies import INVALID, Refusal
from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.experiture.tables import ObjectSchema
from crmsync.sandbox.web import Request, Response

MOST_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class WriteCall:
    """A records write that is framed correctly. `match_key` is None for an append."""

    operation: str
    batch: bool
    records: list[Any]
    match_key: str | None


def too_large(request: Request, switches: Switches) -> Response | Refusal | None:
    """The answer to a body above the limit, None for one within it."""
    if len(request.body) <= switches["max_body_bytes"]:
        return None
    if switches["too_large_body"] == "html":
        return Response(413, "<html><body><h1>413 Request Entity Too Large</h1></body></html>")
    return Refusal(413, INVALID, "the body is larger than 10 MB")


def read_write(
    request: Request, schema: ObjectSchema, operation: str, *, batch: bool, switches: Switches
) -> WriteCall:
    """The call in a request's body. Raises Refusal."""
    body = _json_object(request, switches)
    payload = "records" if batch else "record"
    known = {payload} | ({"matchKey"} if operation == "upsert" else set())
    unknown = sorted(set(body) - known)
    if unknown and switches["unknown_members"] == "refuse":
        raise _invalid(f"'{unknown[0]}' is not a member of this request", unknown[0])
    match_key = _match_key(body, schema, switches) if operation == "upsert" else None
    if payload not in body:
        raise _invalid(f"'{payload}' is required", payload)
    records = _records(body["records"], switches) if batch else [body["record"]]
    return WriteCall(operation, batch, records, match_key)


def _json_object(request: Request, switches: Switches) -> dict[str, Any]:
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json" and switches["content_type"] == "refuse":
        raise Refusal(415, INVALID, "the body must be declared as application/json")
    try:
        body = orjson.loads(_plain(request, switches))
    except orjson.JSONDecodeError:
        raise Refusal(400, INVALID, "the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, INVALID, "the body must be a JSON object")
    return body


def _plain(request: Request, switches: Switches) -> bytes:
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return request.body
    if coding != "gzip" or switches["gzip_requests"] == "refuse":
        raise Refusal(415, INVALID, f"the content encoding {coding} is not supported")
    try:
        return gzip.decompress(request.body)
    except (OSError, EOFError, zlib.error):
        raise Refusal(400, INVALID, "the body is not valid gzip") from None


def _records(records: Any, switches: Switches) -> list[Any]:
    if not isinstance(records, list):
        raise _invalid("'records' must be an array", "records")
    if not records and switches["empty_records"] == "refuse":
        raise _invalid("'records' must not be empty", "records")
    if len(records) > MOST_RECORDS:
        raise _invalid(f"'records' must not have more than {MOST_RECORDS} items", "records")
    return records


def _match_key(body: dict[str, Any], schema: ObjectSchema, switches: Switches) -> str:
    """The key to match on: the body's, else the object's primary key."""
    if "matchKey" not in body:
        return schema.primary_key
    key = body["matchKey"]
    if not isinstance(key, str) or not key:
        raise _invalid("'matchKey' must be the name of a field", "matchKey", key)
    status = switches["bad_match_key"]
    code = INVALID if status == 400 else switches["unknown_field_code"]
    details = {"path": "matchKey", "value": key}
    if key not in schema.fields:
        raise Refusal(status, code, f"'{key}' is not in the schema of {schema.name}", details)
    if key not in schema.identity_keys:
        raise Refusal(status, code, f"'{key}' is not an identity key of {schema.name}", details)
    return key


def _invalid(message: str, path: str, value: Any = None) -> Refusal:
    return Refusal(400, INVALID, message, {"path": path, "value": value})
