"""One object of an Experiture workspace: batches out, proof back (contract experiture 4 to 7)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote, urlsplit

import orjson

from crmsync.config import Config, Sync
from crmsync.destinations.base import Lost, Outcome, Refused, TargetField
from crmsync.destinations.experiture import metadata
from crmsync.destinations.experiture.auth import ClientCredentials, GivenToken
from crmsync.destinations.experiture.replies import (
    acceptance,
    correlation_id,
    index_of,
    job_progress,
    reason_of,
)
from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage
from crmsync.http import PASSING_STATUSES, Budget, Client, Reply, Retry, Stopper, require_safe
from crmsync.mapping import encode

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Tries of one batch before it is narrowed or given up for this run."""
LARGEST_BODY = 9_500_000
"""Bytes: the documents say 10 MB and not which kind, so the smaller kind less a margin (contract 16.5)."""


def may_pass(reply: Reply) -> bool:
    """A 409 of this API is a race, to be tried again (contract experiture 4)."""
    return reply.status in PASSING_STATUSES or reply.status == 409


def token_expired(reply: Reply) -> bool:
    """Any 401: an expired token comes under more than one code (contract experiture 4)."""
    return reply.status == 401


class ExperitureDestination:
    """Upserts into one object by one match key. Safe to use from several threads."""

    largest_body = LARGEST_BODY

    def __init__(
        self,
        config: Config,
        sync: Sync,
        *,
        stopper: Stopper | None = None,
        retry: Retry | None = None,
    ) -> None:
        settings = config.experiture
        budget, retry, stopper = Budget(), retry or Retry(), stopper or Stopper()
        require_safe(settings.base_url, config.allow_http_hosts)
        self._auth: GivenToken | ClientCredentials
        if settings.api_key:
            self._auth = GivenToken(settings.api_key)
        else:
            self._auth = ClientCredentials(settings, budget=budget, retry=retry, stopper=stopper)
        self._client = Client(
            "Experiture",
            settings.base_url,
            auth=self._auth,
            may_pass=may_pass,
            token_expired=token_expired,
            budget=budget,
            retry=retry,
            stopper=stopper,
            at_once=config.in_flight,
        )
        self._path = urlsplit(settings.base_url).path.rstrip("/")
        self._confirm: Callable[[], None] | None = None
        self._object = sync.into
        self._match_key = sync.match_key
        self._records = f"{self._path}/records/{quote(sync.into, safe='')}"
        self._tail = b'],"matchKey":' + orjson.dumps(sync.match_key) + b"}"

    def guard(self, confirm: Callable[[], None]) -> None:
        self._confirm = confirm

    def requests(self) -> dict[str, int]:
        logins = self._auth.requests if isinstance(self._auth, ClientCredentials) else 0
        return {**({"login": logins} if logins else {}), **self._client.requests}

    def preflight(self, targets: Iterable[str]) -> list[str]:
        """Read the object's metadata. What is not readable is a warning, what is not listed an error."""
        reply = self._metadata()
        if not reply.ok:
            return [
                f"the schema of {self._object} could not be read (HTTP {reply.status} "
                f"[correlation {correlation_id(reply) or 'none'}]); it is used unchecked. If pulls fail as well, "
                "check `into` of the sync and EXPERITURE_BASE_URL"
            ]
        wrong, unclear = metadata.problems(
            metadata.parse(reply.json()), self._object, self._match_key, targets
        )
        if wrong:
            raise ConfigError(wrong, hint="Add it in the Experiture console, or change the mapping.")
        return unclear

    def fields(self) -> list[TargetField] | None:
        reply = self._metadata()
        found = metadata.parse(reply.json()).fields if reply.ok else None
        return None if found is None else list(found.values())

    def _metadata(self) -> Reply:
        reply = self._client.request(
            "GET", f"{self._path}/metadata/objects/{quote(self._object, safe='')}", what="metadata"
        )
        if reply.status == 401:
            raise self._error(reply)
        return reply

    def frame(self, records: Sequence[bytes]) -> bytes:
        return b'{"records":[' + b",".join(records) + self._tail

    def unframe(self, body: bytes) -> list[bytes]:
        return [encode(record) for record in orjson.loads(body)["records"]]

    def submit(self, body: bytes, key: str, size: int, *, patient: bool = True) -> Outcome:
        """POST one batch. The same key goes with every retry of these bytes."""
        reply = self._client.request(
            "POST",
            f"{self._records}/upsert-batch",
            what="upsert-batch",
            body=body,
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Accept": "application/json",
                "Idempotency-Key": key,
            },
            attempts=ATTEMPTS if patient else 1,
            before_each=self._confirm,
        )
        if reply.ok:
            return acceptance(reply, size)
        reason = reason_of(reply, reply.json())
        log.info(
            "a batch of %d was answered HTTP %d %s",
            size,
            reply.status,
            reason.code,
            extra={"correlation_id": reason.correlation_id},
        )
        if reply.status in (400, 422):
            return Refused("content", reason, index_of(reply.json()))
        if reply.status == 413:
            return Refused("size", reason)
        if may_pass(reply):
            return Refused("passing", reason)
        raise self._error(reply)

    def poll(self, job_id: str, size: int) -> Outcome:
        url = f"{self._records}/jobs/{quote(job_id, safe='')}"
        reply = self._client.request("GET", url, what="job")
        if reply.status in (401, 403):
            raise self._error(reply)
        if reply.status == 410:
            return Lost(job_id)
        return job_progress(reply, job_id, size)

    def close(self) -> None:
        self._client.close()

    def _error(self, reply: Reply) -> CrmsyncError:
        error = self._unidentified_error(reply)
        error.correlation_id = correlation_id(reply)
        return error

    def _unidentified_error(self, reply: Reply) -> CrmsyncError:
        reason = reason_of(reply, reply.json())
        said = f"HTTP {reply.status} {reason.code} [correlation {reason.correlation_id or 'none'}]"
        if reply.status == 401:
            return AuthError(
                f"Experiture does not accept the token ({said})",
                hint="Check EXPERITURE_API_KEY, or the client id and secret; then run `crmsync check`.",
            )
        if reply.status == 403:
            return AuthError(
                f"Experiture forbids writing {self._object} ({said})",
                hint="Grant the client the scope it lacks; EXPERITURE_SCOPE asks for particular ones.",
            )
        if reply.status == 404:
            return ConfigError(
                f"Experiture has no object {self._object} at {self._client.origin} ({said})",
                hint="Check `into` of the sync and EXPERITURE_BASE_URL.",
            )
        if may_pass(reply):
            return Outage(f"Experiture is not available now ({said})")
        return ConfigError(f"Experiture refuses the request ({said})", hint="Check EXPERITURE_BASE_URL.")
