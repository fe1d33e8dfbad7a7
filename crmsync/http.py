"""The one place that opens connections: sessions, timeouts, retries, token binding.

A `Client` speaks to one service at one origin. It hands back a `Reply` whatever the status was; what a
status means is the service's own business, told here by two small functions: which replies may pass if asked
again, and which say that the token has run out.
"""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from crmsync import __version__
from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage

T = TypeVar("T")
USER_AGENT = f"crmsync/{__version__}"
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 130.0
"""Salesforce gives a query 120 s (contract 1.6): ask a little longer than that."""
WHOLE_TIMEOUT = 300.0
"""Seconds a reply may take in all, however steadily its bytes drip."""
LONGEST_WAIT = 300.0
"""A service that asks for a longer pause than this is left to the next run."""
PASSING_STATUSES = frozenset({406, 408, 420, 425, 429, 500, 502, 503, 504})


class NoAnswer(Outage):
    """The service could not be reached, or the reply broke off. Whether it acted is not known."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply, its body read whole. `headers` are looked up whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON, None where it is none (an HTML page, an empty body, a truncated one)."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return _lenient_json(self.body)

    @property
    def date(self) -> datetime | None:
        """The server's clock (`Date`), in UTC."""
        return parse_http_date(self.headers.get("Date", ""))

    @property
    def retry_after(self) -> float | None:
        """Seconds asked for by `Retry-After`, given there as seconds or as a date."""
        value = self.headers.get("Retry-After", "").strip()
        if not value:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            until = parse_http_date(value)
        return max(0.0, (until - (self.date or datetime.now(UTC))).total_seconds()) if until else None


def _lenient_json(body: bytes) -> Any:
    """JSON whose only fault is half a surrogate pair, which becomes a question mark; else None."""
    if b"\\u" not in body:
        return None
    try:
        parsed = json.loads(body)
        return orjson.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def parse_http_date(value: str) -> datetime | None:
    try:
        parsed = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


class Auth(Protocol):
    """Whatever holds a service's token."""

    def token(self) -> str:
        """The token to send, logging in first where there is none yet."""
        ...

    def renew(self, stale: str) -> bool:
        """Get another token than `stale`, once for all threads. False where that cannot be done."""
        ...


class _Header(AuthBase):
    """Sets the header itself. Being an auth object, it also keeps requests from consulting ~/.netrc."""

    def __init__(self, value: str | None) -> None:
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.value:
            request.headers["Authorization"] = self.value
        return request


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
        connections: int = 10,
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
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._session = new_session(connections)

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
    ) -> Reply:
        """Send and return the last reply. `what` is the kind of request, for counting and for messages.

        Only a `repeatable` request (idempotent, or carrying its own idempotency key) is sent again: after
        no answer, a reply that may pass, or a 2xx whose JSON broke off. Raises NoAnswer when the last try
        brought no reply, Outage when the service wants to be left alone for longer than LONGEST_WAIT,
        ConfigError on a redirect to another origin.
        """
        url = urljoin(self.origin + "/", url)
        most = (attempts or self._retry.attempts) if repeatable else 1
        for attempt in range(1, most + 1):
            self._wait_turn()
            try:
                reply: Reply | None = self._once(method, url, what, body, headers or {})
            except NoAnswer:
                reply = None
                if attempt == most or not self._go_on():
                    raise
            if reply is not None:
                if not self._may_pass(reply) and not _broke_off(reply):
                    self._budget.earn()
                    return reply
                self._hold_back(reply)
                if attempt == most or (reply.retry_after or 0) > LONGEST_WAIT or not self._go_on():
                    return reply
            self._stopper.sleep(self._retry.pause(attempt, reply.retry_after if reply else None))
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._session.close()

    def _go_on(self) -> bool:
        return not self._stopper.event.is_set() and self._budget.take()

    def _wait_turn(self) -> None:
        while (pause := self._not_before - time.monotonic()) > 0:
            if pause > LONGEST_WAIT or self._stopper.event.is_set():
                raise Outage(f"{self.service} asked to be left alone for another {pause:.0f} s")
            self._stopper.sleep(pause)

    def _hold_back(self, reply: Reply) -> None:
        """Make every thread wait as long as the service asked of one."""
        if reply.retry_after:
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + reply.retry_after)

    def _once(
        self, method: str, url: str, what: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        """One try, with one renewal of the token where it has run out."""
        auth = self._auth
        if auth is None:
            return self._exchange(method, url, what, body, headers, None)
        token = _logged_in(auth.token)
        reply = self._exchange(method, url, what, body, headers, token)
        if self._token_expired(reply) and _logged_in(lambda: auth.renew(token)):
            reply = self._exchange(method, url, what, body, headers, _logged_in(auth.token))
        return reply

    def _exchange(
        self,
        method: str,
        url: str,
        what: str,
        body: bytes | None,
        headers: Mapping[str, str],
        token: str | None,
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
            reply = fetch(self._session, method, url, body, headers, token, self.service)
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


def new_session(connections: int = 4) -> requests.Session:
    """A session without cookies or retries of its own. Proxies and CA bundles as requests knows them."""
    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def fetch(
    session: requests.Session,
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    token: str | None,
    service: str,
) -> Reply:
    """One exchange, the reply read whole within WHOLE_TIMEOUT. Raises NoAnswer, or ConfigError."""
    try:
        response = session.request(
            method,
            url,
            data=body,
            headers=dict(headers),
            auth=_Header(f"Bearer {token}" if token else None),
            timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
            allow_redirects=False,
            stream=True,
        )
        with _cut_after(WHOLE_TIMEOUT, response):
            content = response.content
    except requests.exceptions.InvalidURL:
        raise ConfigError(f"{service}: {origin_of(url)} is not a usable URL") from None
    except OSError as error:
        raise failure(error, service, origin_of(url)) from None
    except ValueError:
        raise ConfigError(f"{service}: the token holds a character that no HTTP header can carry") from None
    return Reply(response.status_code, response.headers, content)


@contextlib.contextmanager
def _cut_after(seconds: float, response: requests.Response) -> Iterator[None]:
    """Break the connection off once a reply has taken so long. Raises requests' ReadTimeout."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(RuntimeError, ValueError, OSError):
            response.raw.shutdown()

    watchdog = threading.Timer(seconds, cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
    if late.is_set():
        raise requests.exceptions.ReadTimeout


def failure(error: OSError, service: str, origin: str) -> CrmsyncError:
    """What a failed exchange means: a certificate to be put right, else no answer."""
    if isinstance(_innermost(error), ssl.SSLCertVerificationError):
        return ConfigError(
            f"{service}: the TLS certificate of {origin} was not accepted",
            hint="Point REQUESTS_CA_BUNDLE at the certificate authority, or correct the URL.",
        )
    if type(error) is OSError:
        return ConfigError(f"{service}: {error}", hint="Correct REQUESTS_CA_BUNDLE.")
    return NoAnswer(f"{service} at {origin} gave no answer ({_cause(error)})")


def _cause(error: BaseException) -> str:
    """The innermost cause: short, and free of URLs with their query strings."""
    inner = _innermost(error)
    reason = getattr(inner, "reason", None)
    return f"{type(inner).__name__}{f' {reason}' if isinstance(reason, str) else ''}"


def _innermost(error: BaseException) -> BaseException:
    """Where an error began: its cause, its context, or what libraries keep of it in `reason` and `args`."""
    while True:
        kept = (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args)
        inner = next((each for each in kept if isinstance(each, BaseException)), None)
        if inner is None:
            return error
        error = inner


def origin_of(url: str) -> str:
    """`https://host:port`, lower-cased, default ports left out. Raises ConfigError for what is no URL."""
    try:
        parts = urlsplit(url)
        number = parts.port
    except ValueError:
        raise ConfigError("a URL with an unusable host or port") from None
    port = f":{number}" if number and number != {"https": 443, "http": 80}.get(parts.scheme) else ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_safe(url: str, allowed_http_hosts: tuple[str, ...] = ()) -> str:
    """Give the URL back if a token may travel to it: https, or http to loopback or an allowed host.

    Raises AuthError otherwise.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and (is_loopback(host) or host in allowed_http_hosts):
        return url
    raise AuthError(
        f"a token may not travel to {origin_of(url)}",
        hint="Use https, or list the host in allow_http_hosts in crmsync.toml.",
    )
