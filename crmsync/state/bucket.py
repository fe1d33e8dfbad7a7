"""One S3 bucket as the state needs it: conditional puts, bounded waits, errors that name bucket and key.

boto3 finds the credentials, the region and the endpoint. It never retries here: every try of ours asks first
whether it is still allowed, so that nothing is written by a run that lost its lease between two tries.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own name for it
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    SSLError,
)

from crmsync import __version__
from crmsync.config.values import plain_http
from crmsync.errors import AuthError, ConfigError, CrmsyncError, StateConflict, StateError, TryAgain
from crmsync.http import Budget, Retry, parse_http_date

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
ATTEMPTS = 5
CONNECTIONS = 16
FETCHERS = 8

ABSENT = "absent"
"""Given as the version that a put expects: there must be no such object yet."""

Allowed = Callable[[], None]
T = TypeVar("T")

_BROKEN = (HTTPClientError, ConnectionError, IncompleteReadError, ResponseStreamingError)
_LOST = frozenset({404, 409, 412})
_PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling", "InternalError"})
_NO_ACCESS_CODES = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


def anyone() -> None:
    """The permission of a write that stands under no lease."""


@dataclass(frozen=True, slots=True)
class Blob:
    """An object's bytes and ETag. `age`: seconds since it was written, by the server's own clock."""

    data: bytes
    etag: str
    age: float


class Bucket:
    """Safe to use from several threads. Every call may raise StateError, AuthError or TryAgain."""

    def __init__(self, name: str, endpoint: str | None = None, allow_http_hosts: Sequence[str] = ()) -> None:
        self.name = name
        self._budget = Budget()
        self._retry = Retry(ATTEMPTS, first=0.2, longest=5.0)
        self._client = _client(endpoint, allow_http_hosts)

    def get(self, key: str) -> Blob | None:
        def ask() -> Blob:
            reply = self._client.get_object(Bucket=self.name, Key=key)
            now = parse_http_date(reply["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
            age = (now - reply["LastModified"]).total_seconds() if now else 0.0
            return Blob(reply["Body"].read(), reply["ETag"], age)

        try:
            return self._asked(key, "read", ask)
        except _Absent:
            return None

    def get_all(self, keys: Sequence[str]) -> list[Blob | None]:
        """The objects under these keys, in their order, several at once."""
        with ThreadPoolExecutor(FETCHERS, thread_name_prefix="s3-get") as pool:
            return list(pool.map(self.get, keys))

    def put(
        self,
        key: str,
        data: bytes,
        expected: str | None = None,
        *,
        allowed: Allowed = anyone,
        attempts: int = ATTEMPTS,
    ) -> str:
        """Write an object and give its ETag.

        `expected` is the ETag to replace, ABSENT, or None for whatever is there. Raises StateConflict where
        another version is there: a refusal after a try without an answer is looked into, for it may have been
        that try which wrote.
        """
        condition = {} if expected is None else _condition(expected)
        tries = 0

        def ask() -> str:
            nonlocal tries
            tries += 1
            reply = self._client.put_object(
                Bucket=self.name, Key=key, Body=data, ContentType=_content_type(key), **condition
            )
            return str(reply["ETag"])

        try:
            return self._asked(
                key, "write", ask, conditional=bool(condition), allowed=allowed, attempts=attempts
            )
        except StateConflict:
            present = self.get(key) if tries > 1 else None
            if present and present.data == data:
                return present.etag
            raise

    def delete(self, key: str, *, allowed: Allowed = anyone) -> None:
        self._asked(
            key, "delete", lambda: self._client.delete_object(Bucket=self.name, Key=key), allowed=allowed
        )

    def delete_all(self, keys: Iterable[str], *, allowed: Allowed = anyone) -> None:
        with ThreadPoolExecutor(FETCHERS, thread_name_prefix="s3-delete") as pool:
            list(pool.map(lambda key: self.delete(key, allowed=allowed), keys))

    def keys(self, prefix: str, *, deep: bool = True) -> list[str]:
        """The keys that begin with `prefix`, sorted; without `deep` only those with no further `/`.

        What some servers and consoles keep as a folder (a key with a slash at its end) is left out.
        """
        found: list[str] = []
        more: dict[str, str] = {} if deep else {"Delimiter": "/"}
        while True:
            page = self._asked(
                prefix, "list", lambda: self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, **more)
            )
            keys = (str(entry["Key"]) for entry in page.get("Contents", ()))
            found += [key for key in keys if not key.endswith("/")]
            if not page.get("IsTruncated"):
                return sorted(found)
            more["ContinuationToken"] = page["NextContinuationToken"]

    def upload(self, key: str, path: Path, *, allowed: Allowed = anyone) -> None:
        """Store a file, without reading it whole into memory (S3 takes up to 5 GB at once)."""

        def ask() -> None:
            with path.open("rb") as file:
                self._client.put_object(Bucket=self.name, Key=key, Body=file)

        self._asked(key, "write", ask, allowed=allowed)

    def download(self, key: str, path: Path) -> bool:
        """Fetch an object into a file; False where there is none."""

        def ask() -> None:
            reply = self._client.get_object(Bucket=self.name, Key=key)
            with path.open("wb") as file:
                shutil.copyfileobj(reply["Body"], file, 1 << 20)

        try:
            self._asked(key, "read", ask)
        except _Absent:
            return False
        return True

    def where(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def _asked(
        self,
        key: str,
        verb: str,
        ask: Callable[[], T],
        *,
        conditional: bool = False,
        allowed: Allowed = anyone,
        attempts: int = ATTEMPTS,
    ) -> T:
        """Ask until there is an answer that lasts. Raises _Absent for an object that is not there."""
        attempt = 0
        while True:
            attempt += 1
            allowed()
            asked_pause: float | None = None
            try:
                answer = ask()
            except ClientError as error:
                refusal = _refusal(error, self.where(key), verb, conditional)
                if not isinstance(refusal, TryAgain) or isinstance(refusal, StateConflict):
                    raise refusal from None
                asked_pause = _retry_after(error)
                trouble: CrmsyncError = refusal
            except SSLError:
                raise ConfigError(
                    f"{self._client.meta.endpoint_url} does not show a certificate that can be trusted",
                    hint="Set AWS_CA_BUNDLE where the server has a certificate authority of its own.",
                ) from None
            except _BROKEN as error:
                trouble = TryAgain(
                    f"cannot {verb} {self.where(key)}: no answer ({type(error).__name__})",
                    hint="Nothing is lost: the next run goes on from the last checkpoint.",
                )
            except BotoCoreError as error:
                raise _cannot_ask(error, self.where(key), verb) from None
            else:
                if attempt == 1:
                    self._budget.earn()
                return answer
            if attempt >= attempts or not self._budget.take():
                raise trouble from None
            time.sleep(self._retry.pause(attempt, asked_pause))


class _Absent(StateError):
    """There is no such object."""


def _client(endpoint: str | None, allow_http_hosts: Sequence[str]) -> Any:
    """An S3 client with bounded waits. Raises ConfigError for plain http to another machine (law 10).

    A server named here or in the environment is asked with the bucket in the path: few but Amazon's answer
    to a host name for each bucket.
    """
    named = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    settings = ClientConfig(
        s3={"addressing_style": "path"} if named else None,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra=f"crmsync/{__version__}",
    )
    try:
        client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=settings)
    except (BotoCoreError, ValueError) as error:
        raise _cannot_ask(error, "S3", "reach") from None
    url = client.meta.endpoint_url
    if plain_http(url) and urlsplit(url).hostname not in allow_http_hosts:
        raise ConfigError(
            f"AWS_ENDPOINT_URL_S3: plain http to {urlsplit(url).hostname} would show the state on the way",
            hint=f"Use https, or list {urlsplit(url).hostname} in CRMSYNC_ALLOW_HTTP_HOSTS.",
        )
    return client


def _condition(expected: str) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if expected == ABSENT else {"IfMatch": expected}


def _content_type(key: str) -> str:
    return "application/json" if key.endswith(".json") else "application/octet-stream"


def _refusal(error: ClientError, where: str, verb: str, conditional: bool) -> CrmsyncError:
    """What an answer of the server means: an error that passes is TryAgain, a lost race StateConflict."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"cannot {verb} {where}: HTTP {status} {code}"
    if code == "NoSuchBucket":
        return StateError(f"{said}: there is no such bucket", hint="Create it, or correct CRMSYNC_STATE.")
    if conditional and status in _LOST:
        return StateConflict(f"{where} has been written by somebody else meanwhile")
    if status == 404:
        return _Absent(said)
    if status in (401, 403) or code in _NO_ACCESS_CODES:
        return AuthError(
            said,
            hint="The credentials that boto3 finds need s3:GetObject, s3:PutObject and s3:DeleteObject below "
            "the prefix and s3:ListBucket on the bucket; `aws sts get-caller-identity` shows whose they are.",
        )
    if status in _PASSING or code in _PASSING_CODES:
        return TryAgain(said, hint="Nothing is lost: the next run goes on from the last checkpoint.")
    if conditional and status in (400, 501):
        return StateError(
            f"{said}: the server does not take conditional writes",
            hint="Use a server that honours If-Match and If-None-Match, or keep the state in a directory.",
        )
    return StateError(said, hint="Check AWS_REGION and AWS_ENDPOINT_URL_S3 for this bucket.")


def _cannot_ask(error: Exception, where: str, verb: str) -> CrmsyncError:
    """boto3 could not even make a request: its own settings or credentials are not complete."""
    kind = type(error).__name__
    if any(word in kind for word in ("Credential", "Token", "SSO", "Login")):
        return AuthError(
            f"cannot {verb} {where}: boto3 finds no usable credentials ({kind})",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role.",
        )
    return ConfigError(
        f"cannot {verb} {where}: boto3 refuses its settings ({kind})",
        hint="Check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL_S3.",
    )


def _retry_after(error: ClientError) -> float | None:
    value = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return min(30.0, float(value)) if value.isdigit() else None
