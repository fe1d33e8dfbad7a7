"""Idempotency keys: the first answer to a key is given again for 24 hours."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from crmsync.sandbox.experiture.replies import CONFLICT, INVALID, Refusal
from crmsync.sandbox.experiture.switches import Switches
from crmsync.sandbox.web import Request, Response

KEPT = timedelta(hours=24)
LONGEST_WAIT = 60.0
_UUID_V4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(slots=True)
class _Known:
    body: str
    first_at: datetime
    response: Response | None = None


class IdempotencyCache:
    """Keyed answers of the whole workspace. The caller holds `changed`'s lock in every call."""

    def __init__(self, switches: Switches, changed: threading.Condition) -> None:
        self._switches = switches
        self._changed = changed
        self._known: dict[str, _Known] = {}

    def key_of(self, request: Request) -> str | None:
        """The request's key, None where it has none or an ignored one. Raises Refusal for a refused one."""
        key = request.headers.get("idempotency-key")
        if key is None or _UUID_V4.fullmatch(key) or self._switches["non_v4_key"] == "accept":
            return key
        if self._switches["non_v4_key"] == "ignore":
            return None
        raise Refusal(400, INVALID, "Idempotency-Key must be a UUID v4", {"path": "Idempotency-Key"})

    def claim(self, key: str, request: Request, now: datetime) -> Response | None:
        """The answer to give again, None where the request is the key's first and is now in flight.

        Raises Refusal for a key in flight or one that belongs to another body.
        """
        body = self._digest(request)
        known = self._known.get(key)
        if known is not None and now - known.first_at > KEPT:
            known = None
        if known is None:
            self._known[key] = _Known(body, now)
            return None
        if known.body != body and self._switches["key_mismatch"] != "replay":
            status = int(self._switches["key_mismatch"])
            code = CONFLICT if status == 409 else INVALID
            raise Refusal(status, code, "this Idempotency-Key was used for another request")
        if known.response is None:
            return self._in_flight(key, request, now)
        response = replace(
            known.response,
            headers=dict(known.response.headers),
            notes={**known.response.notes, "replayed": True},
        )
        if self._switches["replay_marked"]:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    def settle(self, key: str, response: Response) -> None:
        """The key's first request was answered; an answer that is not kept frees the key."""
        kept = self._switches["cache_errors"]
        if response.status < 400 or kept == "all" or (kept == "4xx" and response.status < 500):
            self._known[key].response = response
        else:
            self._known.pop(key, None)
        self._changed.notify_all()

    def keys(self) -> list[str]:
        return list(self._known)

    def _in_flight(self, key: str, request: Request, now: datetime) -> Response | None:
        if self._switches["key_in_flight"] == "wait":
            self._changed.wait_for(lambda: not self._is_in_flight(key), LONGEST_WAIT)
            if not self._is_in_flight(key):
                return self.claim(key, request, now)
        raise Refusal(409, CONFLICT, "a request with this Idempotency-Key is still being processed")

    def _is_in_flight(self, key: str) -> bool:
        return key in self._known and self._known[key].response is None

    def _digest(self, request: Request) -> str:
        body: Any = request.body
        if self._switches["same_body"] == "json":
            try:
                body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
            except orjson.JSONDecodeError:
                body = request.body
        return hashlib.sha256(request.path.encode() + b"\0" + body).hexdigest()
