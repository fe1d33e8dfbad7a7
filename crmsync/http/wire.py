"""One exchange over the wire: sessions, timeouts, the reply read whole, and what its failure means."""

from __future__ import annotations

import contextlib
import email.utils
import io
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TextIO

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from crmsync import __version__
from crmsync.errors import ConfigError, CrmsyncError, Outage
from crmsync.http.origins import origin_of
from crmsync.http.watchdog import Watchdog
from crmsync.text import one_line

USER_AGENT = f"crmsync/{__version__}"
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 130.0
"""Salesforce gives a query 120 s (contract 1.6): ask a little longer than that."""
WHOLE_TIMEOUT = 300.0
"""Seconds a reply may take in all, however steadily its bytes drip."""
STREAM_CHUNK = 65_536
CHUNK = 262_144
"""Bytes read at once: ten thousand, as requests does it, cost a page of two megabytes four times the CPU."""


_WATCHDOG = Watchdog()


class NoAnswer(Outage):
    """The service could not be reached, or the reply broke off. Whether it acted is not known."""


def json_of(body: bytes) -> Any:
    """A body as JSON, None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _lenient_json(body)


def _lenient_json(body: bytes) -> Any:
    """JSON whose only fault is half a surrogate pair, which becomes a question mark; else None."""
    if b"\\u" not in body:
        return None
    try:
        parsed = json.loads(body)
        return orjson.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class Reply:
    """One HTTP reply. `headers` are looked up whatever their case.

    Its body has been read whole, but for a good one that was asked for as a `stream`: that is still to be read,
    as UTF-8 text whose line ends are as they came, and to be closed. Reading it may raise NoAnswer.
    `parse` is what makes JSON of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    stream: TextIO | None = None
    parse: Callable[[bytes], Any] = json_of

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON, None where it is none (an HTML page, an empty body, a truncated one)."""
        return self._parsed

    @cached_property
    def _parsed(self) -> Any:
        return self.parse(self.body)

    @property
    def date(self) -> datetime | None:
        """The server's clock (`Date`), in UTC."""
        return parse_http_date(self.headers.get("Date", ""))

    @property
    def correlation_id(self) -> str:
        """What the service calls this request in its own log, empty where it does not tell."""
        told = self.headers.get("x-correlation-id") or self.headers.get("X-Sfdc-Request-Id") or ""
        return one_line(told, 80)

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


def parse_http_date(value: str) -> datetime | None:
    try:
        parsed = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


class _Header(AuthBase):
    """Sets the header itself. Being an auth object, it also keeps requests from consulting ~/.netrc."""

    def __init__(self, value: str | None) -> None:
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.value:
            request.headers["Authorization"] = self.value
        return request


class Session(requests.Session):
    """Looks the environment's proxies and CA bundles up once for each origin, not for each request."""

    def __init__(self) -> None:
        super().__init__()
        self._of_origin: dict[str, Any] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        origin = origin_of(url)
        if origin not in self._of_origin:
            self._of_origin[origin] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return self._of_origin[origin]


def new_session(connections: int = 4) -> Session:
    """A session without retries of its own; `fetch` sends no cookies. Proxies and CA bundles as requests knows them."""
    session = Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"})
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def fetch(
    session: Session,
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    token: str | None,
    service: str,
    *,
    stream: bool = False,
    timeout: float | None = None,
    parse: Callable[[bytes], Any] = json_of,
) -> Reply:
    """One exchange, the reply read whole within WHOLE_TIMEOUT, or a good one left open as a `stream`.

    `timeout` is how many seconds the reply may keep silent (READ_TIMEOUT unless given); a reply read whole has
    three times as many. `parse` is the reply's. Raises NoAnswer, or ConfigError.
    """
    timeout = READ_TIMEOUT if timeout is None else timeout
    try:
        auth = _Header(f"Bearer {token}" if token else None)
        request = requests.Request(method, url, {**session.headers, **headers}, data=body, auth=auth)
        response = session.get_adapter(url).send(
            request.prepare(),
            timeout=(CONNECT_TIMEOUT, timeout),
            **session.merge_environment_settings(url, {}, True, None, None),
        )
        if stream and 200 <= response.status_code < 300:
            return Reply(response.status_code, response.headers, b"", _text_of(response, service))
        with _cut_after(min(WHOLE_TIMEOUT, 3 * timeout), response):
            content = b"".join(response.iter_content(CHUNK))
    except requests.exceptions.InvalidURL:
        raise ConfigError(f"{service}: {origin_of(url)} is not a usable URL") from None
    except OSError as error:
        raise failure(error, service, origin_of(url)) from None
    except ValueError:
        raise ConfigError(f"{service}: the token holds a character that no HTTP header can carry") from None
    return Reply(response.status_code, response.headers, content, parse=parse)


class _Body(io.RawIOBase):
    """A reply's body, decompressed while it is read. Raises NoAnswer where it breaks off."""

    def __init__(self, response: requests.Response, service: str) -> None:
        self._response = response
        self._service = service
        self._chunks = response.iter_content(STREAM_CHUNK)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._left:
                self._left = memoryview(next(self._chunks))
        except StopIteration:
            return 0
        except OSError as error:
            raise failure(error, self._service, origin_of(self._response.url)) from None
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def close(self) -> None:
        self._response.close()
        super().close()


def _text_of(response: requests.Response, service: str) -> TextIO:
    body = io.BufferedReader(_Body(response, service), STREAM_CHUNK)
    return io.TextIOWrapper(body, encoding="utf-8", errors="replace", newline="")


@contextlib.contextmanager
def _cut_after(seconds: float, response: requests.Response) -> Iterator[None]:
    """Break the connection off once a reply has taken so long. Raises requests' ReadTimeout."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(RuntimeError, ValueError, OSError):
            response.raw.shutdown()

    with _WATCHDOG.watching(seconds, cut):
        yield
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
    return NoAnswer(
        f"{service} at {origin} gave no answer ({_cause(error)})",
        hint="Check that address, the network and the proxy; where it is the service, the next run goes on.",
    )


_CAUSES: dict[type[BaseException], str] = {
    ConnectionRefusedError: "connection refused",
    ConnectionResetError: "connection reset",
    socket.gaierror: "its name is not known",
}


def _cause(error: BaseException) -> str:
    """The innermost cause: short, and free of URLs with their query strings."""
    inner = _innermost(error)
    for kind, words in _CAUSES.items():
        if isinstance(inner, kind):
            return words
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
