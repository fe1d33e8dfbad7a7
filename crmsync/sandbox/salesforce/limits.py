"""How much of the org's day is used up, and how many rows it believes it has."""

from __future__ import annotations

from typing import Any

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.org import Org

DAILY_REQUESTS = 100_000
DAILY_BULK_JOBS = 10_000
DAILY_BULK_KILOBYTES = 1_000_000_000
BYTES_PER_BULK_VALUE = 16
BACKWARDS_STEP = 3


class Quota:
    """Counts API requests, bulk query jobs and (roughly) what their results take. The day never ends by itself.

    Logins and the list of versions are free.
    """

    def __init__(self, org: Org) -> None:
        self._org = org
        self._counted_at_start = self._counts()
        self.used = 0
        self.max = DAILY_REQUESTS
        self.bulk_jobs = 0
        self.bulk_jobs_max = DAILY_BULK_JOBS
        self.bulk_kilobytes = 0
        self.bulk_kilobytes_max = DAILY_BULK_KILOBYTES

    def count(self) -> None:
        """Take one request off the day. Raises ApiError when there is none left."""
        if self.used >= self.max:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.used += 1

    def check_bulk(self) -> None:
        """Raises ApiError where the day allows no further bulk query job."""
        if self.bulk_kilobytes >= self.bulk_kilobytes_max:
            problem = f"Max bulk v2 query result size stored ({self.bulk_kilobytes_max}) kb"
        elif self.bulk_jobs >= self.bulk_jobs_max:
            problem = f"Max bulk v2 query jobs ({self.bulk_jobs_max})"
        else:
            return
        raise ApiError(400, "LIMIT_EXCEEDED", f"{problem} per 24 hrs has been exceeded")

    def count_bulk(self, values: int) -> None:
        """Take a bulk query job off the day, with a result of so many values."""
        self.bulk_jobs += 1
        self.bulk_kilobytes += values * BYTES_PER_BULK_VALUE // 1000

    def header(self) -> str | None:
        """Sforce-Limit-Info, in the form that the switch asks for."""
        form = self._org.switches["limit_header"]
        if form == "absent":
            return None
        # Asynchronous counting: every other answer is a few requests behind.
        behind = BACKWARDS_STEP if form == "backwards" and self.used % 2 else 0
        usage = f"api-usage={max(0, self.used - behind)}/{self.max}"
        return f"{usage}; per-app-api-usage=17/250(appName=sandbox)" if form == "per_app" else usage

    def limits(self) -> dict[str, Any]:
        """`/limits`. Raises ApiError where the user may not see it."""
        if self._org.switches["limits"] == "forbidden":
            raise ApiError(
                403, "INSUFFICIENT_ACCESS", "the View Setup and Configuration permission is needed"
            )
        used = {
            "DailyApiRequests": (self.max, self.used),
            "DailyAsyncApexExecutions": (250_000, 0),
            "DailyBulkApiBatches": (15_000, 0),
            "DailyBulkV2QueryFileStorageMB": (self.bulk_kilobytes_max // 1024, self.bulk_kilobytes // 1024),
            "DailyBulkV2QueryJobs": (self.bulk_jobs_max, self.bulk_jobs),
        }
        return {name: {"Max": most, "Remaining": max(0, most - gone)} for name, (most, gone) in used.items()}

    def record_count(self, names: str | None) -> dict[str, Any]:
        """`/limits/recordCount`: unknown objects are left out, and the numbers are old unless switched."""
        counts = self._counts() if self._org.switches["record_count"] == "exact" else self._counted_at_start
        wanted = {name.strip().lower() for name in names.split(",")} if names else None
        return {
            "sObjects": [
                {"count": number, "name": name}
                for name, number in counts.items()
                if wanted is None or name.lower() in wanted
            ]
        }

    def _counts(self) -> dict[str, int]:
        return {
            name: sum(not row.get("IsDeleted") for row in table.rows.values())
            for name, table in self._org.tables.items()
        }
