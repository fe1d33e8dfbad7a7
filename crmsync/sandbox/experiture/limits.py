"""Rate limits: so many requests per second, for each token and class of endpoints."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from email.utils import format_datetime

from crmsync.sandbox.experiture.replies import LIMITED, Refusal
from crmsync.sandbox.experiture.switches import Switches


class RateLimits:
    """Counts within the seconds of the service's clock."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._second = 0
        self._used: dict[tuple[str, str], int] = {}

    def use(self, caller: str, endpoint_class: str, now: datetime) -> None:
        """Count one request. Raises Refusal 429 beyond the limit."""
        limit = self._switches["rate_limit"]
        if limit is None:
            return
        second = math.floor(now.timestamp())
        if second != self._second:
            self._second, self._used = second, {}
        used = self._used.get((caller, endpoint_class), 0)
        if used >= limit:
            raise Refusal(429, LIMITED, "too many requests", headers=self._retry_after(now))
        self._used[caller, endpoint_class] = used + 1

    def _retry_after(self, now: datetime) -> dict[str, str]:
        seconds = math.ceil(self._switches["retry_after_seconds"])
        match self._switches["retry_after"]:
            case "absent":
                return {}
            case "http_date":
                return {"Retry-After": format_datetime(now + timedelta(seconds=seconds), usegmt=True)}
        return {"Retry-After": str(seconds)}
