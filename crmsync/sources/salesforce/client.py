"""Calls to one Salesforce org: versions, describe, queries, paging, limits. JSON in, typed errors out."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from crmsync.errors import ConfigError, Outage, QuotaExhausted
from crmsync.http import Auth, Budget, Client, Reply, Retry, Stopper
from crmsync.sources.salesforce.errors import (
    LocatorLost,
    UriTooLong,
    error_for,
    may_pass,
    refusal_of,
    session_expired,
)
from crmsync.sources.salesforce.rows import parsed

NEWEST_KNOWN = 67.0
OLDEST_KNOWN = 41.0
"""API versions up to 40 retire in Summer '28 (contract 1.2)."""
LONGEST_URI = 8000
"""Encoded characters; Salesforce takes 16,384 bytes for URI and headers together (contract 1.6)."""

_USAGE = re.compile(r"(?:^|[;,\s])api-usage=(\d+)/(\d+)")


class SalesforceClient:
    """One org's REST API, at `instance_url`. Safe to use from several threads."""

    def __init__(
        self,
        instance_url: str,
        auth: Auth,
        *,
        version: str | None = None,
        clock_hint: tuple[datetime, float] | None = None,
        budget: Budget | None = None,
        retry: Retry | None = None,
        stopper: Stopper | None = None,
        max_quota: float = 1.0,
    ) -> None:
        self.http = Client(
            "Salesforce",
            instance_url,
            auth=auth,
            may_pass=may_pass,
            token_expired=session_expired,
            budget=budget,
            retry=retry,
            stopper=stopper,
            parse=parsed,
        )
        self._open = Client("Salesforce", instance_url, budget=budget, retry=retry, stopper=stopper)
        self._version = version
        self._clock = clock_hint
        self.usage: tuple[int, int] | None = None
        self._max_quota = max_quota

    @property
    def version(self) -> str:
        """The API version in use, e.g. `65.0`: as configured, else the newest both sides know."""
        if self._version is None:
            self._version = newest_known(self.versions())
        return self._version

    def use_version(self, version: str) -> None:
        self._version = version

    def versions(self) -> list[str]:
        reply = self._open.request("GET", "/services/data/", what="versions")
        self._notice(reply)
        self.http.requests["versions"] += 1
        body = reply.json()
        if not reply.ok or not isinstance(body, list):
            raise error_for(reply, "list of API versions")
        return [str(entry.get("version", "")) for entry in body if isinstance(entry, dict)]

    def now(self) -> datetime:
        """The org's clock: its last `Date` header plus the time since, by the monotonic clock. UTC."""
        if self._clock is None:
            self.versions()
        if self._clock is None:
            raise Outage("Salesforce sends no Date header, so its clock is not known")
        at, seen = self._clock
        return at + timedelta(seconds=time.monotonic() - seen)

    def get(self, path: str, what: str, headers: dict[str, str] | None = None) -> Any:
        """A JSON resource, its path as Salesforce gave it or below `/services/data/vNN.0`.

        Raises the errors of errors.py.
        """
        return self._json(self._send("GET", self._absolute(path), what, headers=headers), what)

    def ask(self, method: str, path: str, what: str, body: Any = None, *, repeatable: bool = True) -> Reply:
        """The reply to one request, whatever it says, and however much of the quota it uses up."""
        return self._send(method, self._absolute(path), what, body=body, repeatable=repeatable)

    def open_csv(self, path: str, what: str) -> Reply:
        """A CSV resource, its `stream` to be read and closed. Raises the errors of errors.py."""
        headers = {"Accept": "text/csv"}
        reply = self.http.request("GET", self._absolute(path), what=what, headers=headers, stream=True)
        self._notice(reply)
        if reply.stream is None:
            raise error_for(reply, what)
        return reply

    def query(self, soql: str, *, everything: bool = True, what: str = "query") -> Any:
        """The first page of a query; `everything` includes deleted and archived rows (`queryAll`).

        Its `records`, and those of the pages after it, are Rows where there are many.
        """
        resource = "queryAll" if everything else "query"
        url = f"{self._base}/{resource}/?q={quote(soql, safe='')}"
        if len(url) <= LONGEST_URI:
            try:
                return self._json(self._send("GET", url, what), what)
            except UriTooLong:
                pass
        return self._composite(url, what)

    def next_page(self, locator: str) -> Any:
        """The page behind a `nextRecordsUrl`. Raises LocatorLost when the link no longer works.

        A locator dies with its session (contract 1.5): a 401 on it renews the session for what comes next,
        but the link itself is given up.
        """
        parts = urlsplit(locator)
        path = parts.path if not parts.netloc else locator
        reply = self._send("GET", path, "query page")
        if reply.status == 401 and refusal_of(reply).session_expired:
            raise LocatorLost(refusal_of(reply), "query page")
        if reply.status == 404:
            raise LocatorLost(refusal_of(reply), "query page")
        return self._json(reply, "query page")

    def close(self) -> None:
        self.http.close()
        self._open.close()

    @property
    def _base(self) -> str:
        return f"/services/data/v{self.version}"

    def _absolute(self, path: str) -> str:
        return path if path.startswith(("/services/", "https://", "http://")) else f"{self._base}{path}"

    def _send(
        self,
        method: str,
        url: str,
        what: str,
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        repeatable: bool = True,
    ) -> Reply:
        content = None if body is None else orjson.dumps(body)
        sent = {"Accept": "application/json", **(headers or {})}
        if content is not None:
            sent["Content-Type"] = "application/json"
        reply = self.http.request(method, url, what=what, body=content, headers=sent, repeatable=repeatable)
        self._notice(reply)
        return reply

    def _guard_quota(self) -> None:
        """Leave the rest of the day's requests to the org's other users."""
        if self.usage and self.usage[0] > self._max_quota * self.usage[1]:
            raise QuotaExhausted(
                f"{self.usage[0]:,} of the org's {self.usage[1]:,} requests of the day are used, more than "
                f"the {self._max_quota:.0%} that crmsync goes up to",
                hint="CRMSYNC_MAX_QUOTA sets the share; the next run goes on from here.",
            )

    def _json(self, reply: Reply, what: str) -> Any:
        self._guard_quota()
        body = reply.json()
        if not reply.ok or body is None:
            raise error_for(reply, what)
        return body

    def _composite(self, url: str, what: str) -> Any:
        """Send a query that does not fit a URL as a sub-request (contract 1.6)."""
        request = {"compositeRequest": [{"method": "GET", "url": url, "referenceId": "query"}]}
        reply = self._send("POST", f"{self._base}/composite", what, body=request)
        answer = self._json(reply, what)["compositeResponse"][0]
        inner = Reply(int(answer["httpStatusCode"]), reply.headers, orjson.dumps(answer.get("body")))
        return self._json(inner, what)

    def _notice(self, reply: Reply) -> None:
        date = reply.date
        if date is not None:
            self._clock = (date, time.monotonic())
        found = _USAGE.search(reply.headers.get("Sforce-Limit-Info", ""))
        if found:
            used, most = int(found[1]), int(found[2])
            self.usage = (max(used, self.usage[0] if self.usage else 0), most)


def is_last(body: Any) -> bool:
    """Whether this is the last page of a query. Raises Outage for what is no page at all."""
    done = body.get("done") if isinstance(body, dict) else None
    if not isinstance(done, bool):
        raise Outage("Salesforce answered a query with something that is no page of its result")
    return done


def next_locator(body: dict[str, Any]) -> str:
    """The link to the next page of an unfinished answer. Raises Outage where it is missing."""
    locator = body.get("nextRecordsUrl")
    if not locator:
        raise Outage("Salesforce said a query goes on but gave no link to its next page")
    return str(locator)


def newest_known(offered: list[str]) -> str:
    """The newest version both sides know. Raises ConfigError where there is none."""
    known = [v for v in offered if re.fullmatch(r"\d+\.\d", v) and OLDEST_KNOWN <= float(v) <= NEWEST_KNOWN]
    if not known:
        raise ConfigError(
            f"the org offers no API version between {OLDEST_KNOWN} and {NEWEST_KNOWN}",
            hint="Set SALESFORCE_API_VERSION to one it offers, or update crmsync.",
        )
    return max(known, key=float)
