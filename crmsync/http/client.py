"""Requests to one service: retries, pauses, token renewal, and the binding of the token to its origin.

A `Client` speaks to one service at one origin. It hands back a `Reply` whatever the status was; what a
status means is the service's own business, told here by two small functions: which replies may pass if asked
again, and which say that the token has run out.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin

from crmsync.errors import ConfigError, CrmsyncError, Outage
from crmsync.http.congestion import Gate
from crmsync.http.origins import origin_of
from crmsync.http.wire import NoAnswer, Reply, fetch, json_of, new_session

log = logging.getLogger(__name__)

T = TypeVar("T")
LONGEST_WAIT = 300.0
"""A service that asks for a longer pause than this is left to the next run."""
PASSING_STATUSES = frozenset({406, 408, 420, 425, 429, 500, 502, 503, 504})


class Auth(Protocol):
    """Whatever holds a service's token."""

    def token(self) -> str:
        """The token to send, logging in first where there is none yet."""
        ...

    def renew(self, stale: str) -> bool:
        """Get another token than `stale`, once for all threads. False where that cannot be done."""
        ...


class Budget:
    """How many retries a whole run may spend. Answers that went well slowly earn them back."""

    def __init__(self, retries: int = 60) -> None:
        self._most = float(retries)
        self._left = float(retries)
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def earn(self) -> None:
        with self._lock:
            self._left = min(self._most, self._left + 0.2)


@dataclass(frozen=True, slots=True)
class Retry:
    """Pauses between tries: exponential from `first` seconds to `longest`, with jitter."""

    attempts: int = 5
    first: float = 0.5
    longest: float = 30.0

    def pause(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after try number `attempt` (from 1). What the service asked for is a floor."""
        step = min(self.longest, self.first * 2.0 ** (attempt - 1))
        jittered = step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        return max(step, asked) + jittered / 2 if asked is not None else jittered


@dataclass
class Stopper:
    """Lets a pause end early when the run is asked to stop."""

    event: threading.Event = field(default_factory=threading.Event)
    reason: CrmsyncError | None = None

    def stop(self, reason: CrmsyncError) -> None:
        """Ask the run to end with this error. The first reason counts."""
        self.reason = self.reason or reason
        self.event.set()

    def check(self) -> None:
        """Raises the reason to stop, if there is one."""
        if self.reason is not None:
            raise self.reason

    def sleep(self, seconds: float) -> None:
        self.event.wait(seconds)


def _never(_: Reply) -> bool:
    return False


def passing(reply: Reply) -> bool:
    """Whether asking again later may bring another answer, going by the status alone."""
    return reply.status in PASSING_STATUSES


class Client:
    """Requests to one service. Safe to use from several threads.

    `origin` binds the token: a request to any other scheme, host or port is refused, redirects included.
    `timeout` is how many seconds a reply may keep one waiting, READ_TIMEOUT unless given. `at_once` is how many
    requests may be at work at one time while the service is not overloaded. `parse` makes JSON of a reply's body.
    """

    def __init__(
        self,
        service: str,
        origin: str,
        *,
        auth: Auth | None = None,
        may_pass: Callable[[Reply], bool] = passing,
        token_expired: Callable[[Reply], bool] = _never,
        budget: Budget | None = None,
        retry: Retry | None = None,
        stopper: Stopper | None = None,
        at_once: int = 10,
        timeout: float | None = None,
        parse: Callable[[bytes], Any] = json_of,
    ) -> None:
        self.service = service
        self.origin = origin_of(origin)
        self.requests: Counter[str] = Counter()
        self._auth = auth
        self._may_pass = may_pass
        self._token_expired = token_expired
        self._budget = budget or Budget()
        self._retry = retry or Retry()
        self._stopper = stopper or Stopper()
        self._timeout = timeout
        self._parse = parse
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._gate = Gate(at_once)
        self._session = new_session(at_once)

    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        attempts: int | None = None,
        before_each: Callable[[], None] | None = None,
        stream: bool = False,
    ) -> Reply:
        """Send and return the last reply. `what` is the kind of request, for counting and for messages.

        Only a `repeatable` request (idempotent, or carrying its own idempotency key) is sent again: after
        no answer, a reply that may pass, or a 2xx whose JSON broke off. Raises NoAnswer when the last try
        brought no reply, Outage when the service wants to be left alone for longer than LONGEST_WAIT,
        ConfigError on a redirect to another origin. `before_each` is called before every try and may raise.
        A good reply to a `stream` request is left to be read.
        """
        url = urljoin(self.origin + "/", url)
        most = (attempts or self._retry.attempts) if repeatable else 1
        for attempt in range(1, most + 1):
            try:
                with self._gate.turn() as turn:
                    if turn.waited and self._stopper.event.is_set():
                        raise Outage(f"the run is stopping; the {what} was not sent")
                    self._pause()
                    if before_each is not None:
                        before_each()
                    reply: Reply | None = self._once(method, url, what, body, headers or {}, stream)
                    if reply is not None:
                        turn.status = reply.status
                        self._hold_back(reply)
            except NoAnswer as error:
                reply = None
                if attempt == most or not self._go_on():
                    raise
                log.info("%s; the %s is tried again", error.message, what)
            if reply is not None:
                if not self._may_pass(reply) and not _broke_off(reply):
                    self._budget.earn()
                    return reply
                if attempt == most or (reply.retry_after or 0) > LONGEST_WAIT or not self._go_on():
                    return reply
                log.info(
                    "%s answered the %s with HTTP %d; it is tried again",
                    self.service,
                    what,
                    reply.status,
                    extra={"correlation_id": reply.correlation_id},
                )
            self._stopper.sleep(self._retry.pause(attempt, reply.retry_after if reply else None))
        raise AssertionError("unreachable")

    def may_ask_again(self, attempt: int) -> bool:
        """Whether a stream that broke off may be asked for anew after so many tries; if so, after a pause."""
        if not self._go_on():
            return False
        self._stopper.sleep(self._retry.pause(attempt, None))
        return True

    def close(self) -> None:
        self._session.close()

    def _go_on(self) -> bool:
        return not self._stopper.event.is_set() and self._budget.take()

    def _pause(self) -> None:
        """Wait as long as the service has asked for. Raises Outage where that is too long, or the run stops."""
        while (pause := self._not_before - time.monotonic()) > 0:
            if pause > LONGEST_WAIT or self._stopper.event.is_set():
                raise Outage(f"{self.service} asked to be left alone for another {pause:.0f} s")
            self._stopper.sleep(pause)

    def _hold_back(self, reply: Reply) -> None:
        """Make every thread wait as long as the service asked of one: before another gets its turn."""
        if reply.retry_after and self._may_pass(reply):
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + reply.retry_after)

    def _once(
        self, method: str, url: str, what: str, body: bytes | None, headers: Mapping[str, str], stream: bool
    ) -> Reply:
        """One try, with one renewal of the token where it has run out."""
        auth = self._auth
        if auth is None:
            return self._exchange(method, url, what, body, headers, None, stream)
        token = _logged_in(auth.token)
        reply = self._exchange(method, url, what, body, headers, token, stream)
        if self._token_expired(reply) and _logged_in(lambda: auth.renew(token)):
            reply = self._exchange(method, url, what, body, headers, _logged_in(auth.token), stream)
        return reply

    def _exchange(
        self,
        method: str,
        url: str,
        what: str,
        body: bytes | None,
        headers: Mapping[str, str],
        token: str | None,
        stream: bool,
    ) -> Reply:
        for _ in range(3):
            if origin_of(url) != self.origin:
                raise ConfigError(
                    f"{self.service} pointed crmsync at another host ({origin_of(url)}) than the configured "
                    f"{self.origin}; the token stays where it belongs",
                    hint="Set the service's URL to the address it redirects to.",
                )
            with self._lock:
                self.requests[what] += 1
            reply = fetch(
                self._session,
                method,
                url,
                body,
                headers,
                token,
                self.service,
                stream=stream,
                timeout=self._timeout,
                parse=self._parse,
            )
            if reply.status not in (301, 302, 307, 308) or (reply.status < 307 and method != "GET"):
                return reply
            url = urljoin(url, reply.headers.get("Location", ""))
        return reply


def _logged_in(ask: Callable[[], T]) -> T:
    """What a login gives. It has had its own retries: without an answer, it is not asked once more here."""
    try:
        return ask()
    except NoAnswer as error:
        raise Outage(error.message) from None


def _broke_off(reply: Reply) -> bool:
    """A good status whose JSON is cut short: a truncated compressed stream shows only here."""
    if not reply.ok or not reply.body or "json" not in reply.headers.get("Content-Type", ""):
        return False
    return reply.json() is None and reply.body.strip() != b"null"
