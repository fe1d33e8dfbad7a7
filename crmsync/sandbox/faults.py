"""Fault rules: which requests go wrong, and how. Matching and counting only; `wire.py` carries them out."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any, get_args
from typing import Literal as Word
from urllib.parse import unquote_plus

from crmsync.sandbox.web import Request, Response

Kind = Word[
    "delay",
    "status",
    "lose_answer",
    "cut",
    "truncate",
    "slow_body",
    "hang",
    "replace_status_after_processing",
]
CutAt = Word["accept", "headers", "body"]
LONGEST_WAIT = 600.0
BODY_SEARCHED = 1_000_000


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a request that a rule hits.

    - `delay` waits `seconds`, then goes on as usual.
    - `status` answers `status`, `headers`, `body` in the service's stead: the request is not processed.
    - `replace_status_after_processing` answers so after the request was processed.
    - `lose_answer` processes the request and closes the connection without an answer.
    - `hang` gives no answer for `seconds`, then closes; processed only with `processed`.
    - `cut` resets the connection: at "accept" before anything is processed, else after processing, when so
      many `bytes` of the "headers" or of the "body" were sent.
    - `truncate` sends `bytes` of the body (half of it by default) under the full Content-Length, then closes.
    - `slow_body` sends the body at `bytes_per_second`.
    """

    kind: Kind
    seconds: float = 0.0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    at: CutAt = "accept"
    bytes: int | None = None
    bytes_per_second: float = 1024.0
    processed: bool = False

    @property
    def processes(self) -> bool:
        """Whether the service gets to see the request."""
        if self.kind == "hang":
            return self.processed
        return self.kind != "status" and not (self.kind == "cut" and self.at == "accept")

    def response(self) -> Response:
        """The answer of the two kinds that bring their own."""
        return Response(self.status, self.body, dict(self.headers))


@dataclass(slots=True)
class Rule:
    """A fault for the requests that match every given pattern; `query` is searched in the decoded query.

    The first `after` matching requests pass; from then on every `every`-th is hit, at most `times` in all.
    """

    id: str
    action: Action
    service: str | None = None
    method: str | None = None
    path: re.Pattern[str] | None = None
    query: re.Pattern[str] | None = None
    body: re.Pattern[str] | None = None
    after: int = 0
    times: int | None = None
    every: int = 1
    seen: int = 0
    hits: int = 0

    def matches(self, service: str, request: Request) -> bool:
        return (
            (self.service is None or self.service == service)
            and (self.method is None or self.method == request.method)
            and (self.path is None or bool(self.path.search(request.path)))
            and (self.query is None or bool(self.query.search(unquote_plus(request.raw_query))))
            and (self.body is None or bool(self.body.search(_text(request.body))))
        )

    def due(self) -> bool:
        """Count one matching request and say whether it is hit."""
        self.seen += 1
        position = self.seen - self.after - 1
        if position < 0 or position % self.every or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    def summary(self) -> dict[str, Any]:
        patterns = {name: getattr(self, name) for name in ("path", "query", "body")}
        return {
            "id": self.id,
            "service": self.service,
            "method": self.method,
            **{name: pattern.pattern if pattern else None for name, pattern in patterns.items()},
            "after": self.after,
            "times": self.times,
            "every": self.every,
            "action": self.action.kind,
            "seen": self.seen,
            "hits": self.hits,
        }


class Faults:
    """The rules in the order they were added; the first one that is due hits."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._rules: list[Rule] = []
        self._added = 0

    def add(self, described: dict[str, Any]) -> str:
        """Add a rule given as JSON and return its id. Raises ValueError where the description is wrong."""
        rule = _rule(described)
        with self._guard:
            self._added += 1
            rule.id = f"fault-{self._added}"
            self._rules.append(rule)
        return rule.id

    def clear(self) -> None:
        with self._guard:
            self._rules.clear()

    def summaries(self) -> list[dict[str, Any]]:
        with self._guard:
            return [rule.summary() for rule in self._rules]

    def pick(self, service: str, request: Request) -> Rule | None:
        """The rule that hits this request. Rules behind the one that hits do not count the request."""
        with self._guard:
            return next((rule for rule in self._rules if rule.matches(service, request) and rule.due()), None)


def _text(body: bytes) -> str:
    return body[:BODY_SEARCHED].decode("utf-8", "replace")


def _rule(described: dict[str, Any]) -> Rule:
    known = {"service", "method", "path", "query", "body", "after", "times", "every", "action"}
    _only(described, known, "a fault rule")
    if not isinstance(described.get("action"), dict):
        raise ValueError("a fault rule needs an action, such as {'kind': 'delay', 'seconds': 1}")
    method = described.get("method")
    return Rule(
        id="",
        action=_action(described["action"]),
        service=described.get("service"),
        method=str(method).upper() if method else None,
        path=_pattern(described, "path"),
        query=_pattern(described, "query"),
        body=_pattern(described, "body"),
        after=_number(described, "after", 0, least=0),
        times=None if described.get("times") is None else _number(described, "times", 1, least=0),
        every=_number(described, "every", 1, least=1),
    )


def _action(described: dict[str, Any]) -> Action:
    _only(described, set(Action.__dataclass_fields__), "a fault action")
    kind = described.get("kind")
    if kind not in get_args(Kind):
        raise ValueError(f"the action's kind must be one of {', '.join(get_args(Kind))}")
    if described.get("at", "accept") not in get_args(CutAt):
        raise ValueError(f"at must be one of {', '.join(get_args(CutAt))}")
    if not isinstance(described.get("headers", {}), dict):
        raise ValueError("headers must be an object")
    if described.get("bytes") is not None:
        _number(described, "bytes", 0, least=0)
    seconds = _real(described, "seconds", 0.0)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError(f"seconds must lie between 0 and {LONGEST_WAIT:.0f}")
    if _real(described, "bytes_per_second", 1.0) <= 0:
        raise ValueError("bytes_per_second must be positive")
    if not 100 <= _number(described, "status", 503, least=100) <= 599:
        raise ValueError("status must be an HTTP status")
    headers = {str(name): str(value) for name, value in described.get("headers", {}).items()}
    return Action(**{**described, "seconds": seconds, "headers": headers})


def _only(described: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(described) - known)
    if unknown:
        raise ValueError(f"{what} has no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")


def _pattern(described: dict[str, Any], name: str) -> re.Pattern[str] | None:
    value = described.get(name)
    if value is None:
        return None
    try:
        return re.compile(value)
    except (re.error, TypeError) as error:
        raise ValueError(f"{name} is not a regular expression: {error}") from None


def _real(described: dict[str, Any], name: str, default: float) -> float:
    value = described.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number")
    return float(value)


def _number(described: dict[str, Any], name: str, default: int, *, least: int) -> int:
    value = described.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}")
    return value
