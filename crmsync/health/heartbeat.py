"""A dead-man check, by the convention of healthchecks.io: it raises the alarm where a run does not report.

A run says `/start`, and at its end success, `/fail` or, where neither can be said yet, `/log`. All of one run's
pings carry the same `rid`. The body tells what became of each sync, and the end of the log.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from crmsync.errors import CrmsyncError
from crmsync.health.ending import Ending
from crmsync.health.observer import Observer
from crmsync.health.tail import MOST_BYTES, Tail
from crmsync.http import Client, Reply, Retry, Stopper, origin_of, passing

log = logging.getLogger(__name__)

TIMEOUT = 10.0
ATTEMPTS = 3
MOST_SAID = 20_000
TEMPORARY = (75, 130, 143)
"""Exit codes of runs that another one is to finish: the check raises the alarm by itself if none does."""


class Heartbeat(Observer):
    """Pings the check's URL, which is a secret: it stands in no message."""

    name = "CRMSYNC_HEARTBEAT_URL"

    def __init__(self, url: str, tail: Tail, stopper: Stopper) -> None:
        """`stopper` ends the retries of a run that is asked to stop."""
        self._url = urlsplit(url)
        self._tail = tail
        self._rid = str(uuid.uuid4())
        self._client = Client(
            "the heartbeat",
            origin_of(url),
            may_pass=_worth_another_try,
            retry=Retry(attempts=ATTEMPTS, longest=2.0),
            stopper=stopper,
            timeout=TIMEOUT,
        )

    def begin(self) -> None:
        self._ping("/start", b"", attempts=1)

    def end(self, code: int, endings: Sequence[Ending], said: str) -> None:
        head = said.encode()[:MOST_SAID].decode(errors="ignore").encode()
        body = head + b"\n\n" + self._tail.last(MOST_BYTES - len(head) - 2)
        try:
            self._ping(_verdict(code, endings), body, attempts=ATTEMPTS)
        finally:
            self._client.close()

    def _ping(self, verdict: str, body: bytes, attempts: int) -> None:
        """Raises CrmsyncError where the ping did not arrive."""
        query = "&".join(filter(None, (self._url.query, f"rid={self._rid}")))
        url = urlunsplit(self._url._replace(path=self._url.path.rstrip("/") + verdict, query=query))
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        reply = self._client.request("POST", url, what="ping", body=body, headers=headers, attempts=attempts)
        if not reply.ok:
            raise CrmsyncError(f"the heartbeat was answered with {reply.status}")
        if reply.body.startswith(b"OK ("):
            raise CrmsyncError(f"the heartbeat was answered {reply.body[:40].decode(errors='replace')}")


def _verdict(code: int, endings: Sequence[Ending]) -> str:
    """What is added to the URL. A good end that left a watermark where it is, as a trial does, proves nothing."""
    if code in TEMPORARY:
        return "/log"
    if code:
        return "/fail"
    return "" if endings and all(ending.in_step for ending in endings) else "/log"


def _worth_another_try(reply: Reply) -> bool:
    """One that asks for a pause is left alone: a run does not wait for its heartbeat."""
    return passing(reply) and not reply.retry_after
