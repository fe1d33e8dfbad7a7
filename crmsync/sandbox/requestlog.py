"""What the sandbox was asked, in order of arrival, for tests and for people."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from crmsync.sandbox.web import Request

KEPT_HEADERS = (
    "Idempotency-Key",
    "Content-Type",
    "Accept-Encoding",
    "Content-Encoding",
    "X-PrettyPrint",
    "Sforce-Query-Options",
)
KEPT_ENTRIES = 200_000


def fingerprint(secret: str) -> str:
    """A short SHA-256 prefix: tells two credentials apart, gives none away."""
    return "sha256:" + hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()[:12]


class RequestLog:
    """Entries are JSON objects. An entry is there as soon as its request arrived; `status` stays null until
    an answer was sent, and for good where the answer was withheld by a fault."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._entries: list[dict[str, Any]] = []
        self._number = 0

    def begin(self, service: str, request: Request, fault: str | None) -> dict[str, Any]:
        """Open the entry of a request, hit by the rule `fault` or by none; `finish` completes it."""
        headers = {
            name: request.headers[name.lower()] for name in KEPT_HEADERS if name.lower() in request.headers
        }
        if "authorization" in request.headers:
            headers["Authorization"] = fingerprint(request.headers["authorization"])
        entry: dict[str, Any] = {
            "n": 0,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service": service,
            "method": request.method,
            "path": request.path,
            "query": unquote_plus(request.raw_query),
            "raw_query": request.raw_query,
            "status": None,
            "headers": headers,
            "request_bytes": len(request.body),
            "response_bytes": 0,
            "fault": fault,
        }
        with self._guard:
            self._number += 1
            entry["n"] = self._number
            self._entries.append(entry)
            if len(self._entries) > KEPT_ENTRIES:
                del self._entries[: KEPT_ENTRIES // 10]
        return entry

    def finish(self, entry: dict[str, Any], **facts: Any) -> None:
        with self._guard:
            entry.update(facts)

    def since(self, number: int) -> list[dict[str, Any]]:
        """Copies of the entries whose `n` is greater than `number`, in order."""
        with self._guard:
            return [dict(entry) for entry in self._entries if entry["n"] > number]

    def clear(self) -> None:
        """Forget the entries; the numbering goes on."""
        with self._guard:
            self._entries.clear()
