"""One query job of the Bulk API: its states over time, and what is told about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.bulk_csv import Form
from crmsync.sandbox.salesforce.sessions import USER_ID
from crmsync.sandbox.salesforce.soql import SoqlError
from crmsync.sandbox.salesforce.soql_eval import Result
from crmsync.sandbox.salesforce.tables import Row, Tables
from crmsync.sandbox.salesforce.values import stamp

OUTCOMES = ("finish", "failed", "aborted", "stuck")
RETRIED_TOO_OFTEN = "Retried more than 15 times"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a job: one of OUTCOMES. An administrator aborts; a stuck one stays in progress for ever.

    `message` is why it failed.
    """

    outcome: str = "finish"
    message: str = RETRIED_TOO_OFTEN


@dataclass(frozen=True, slots=True)
class Found:
    """What the query found: `rows` in the order in which they are handed out, with the tables of that time.

    `splits` says that the server may cut the query in pieces by primary key.
    """

    result: Result
    rows: list[Row]
    tables: Tables
    splits: bool


@dataclass(slots=True)
class Job:
    """A query job. It is done `seconds` after its creation and once `polls` looks at it are over.

    `find` carries the query out, where it was not at creation; `object` is None where it cannot be.
    """

    id: str
    operation: str
    object: str | None
    version: str
    form: Form
    splits: bool
    created: datetime
    seconds: int
    polls: int
    fate: Fate
    find: Callable[[], Found]
    state: str = "UploadComplete"
    modified: datetime | None = None
    found: Found | None = None
    error: str | None = None

    @property
    def terminal(self) -> bool:
        return self.state in ("JobComplete", "Failed", "Aborted")

    def look(self, now: datetime, *, poll: bool = False) -> None:
        """Bring the state up to date; a `poll` is one of those that a slow job wants to see."""
        if self.terminal:
            return
        spent = now - self.created
        waiting = spent < timedelta(seconds=self.seconds) or self.polls > 0
        begun = spent * 2 >= timedelta(seconds=self.seconds)
        if waiting or self.fate.outcome == "stuck":
            self._move("InProgress" if begun else self.state, now)
        else:
            self._end(now)
        if poll and self.polls:
            self.polls -= 1

    def abort(self, now: datetime) -> None:
        self._move("Aborted", now)

    def expired(self, now: datetime, retention: int) -> bool:
        """Whether the job ended more than `retention` seconds ago."""
        return self.terminal and now - (self.modified or self.created) > timedelta(seconds=retention)

    def created_document(self) -> dict[str, Any]:
        """What the creation answers with."""
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdById": USER_ID,
            "createdDate": stamp(self.created),
            "systemModstamp": stamp(self.modified or self.created),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            "lineEnding": self.form.line_ending,
            "columnDelimiter": self.form.delimiter,
        }

    def document(self, now: datetime) -> dict[str, Any]:
        """What a look at the job answers with."""
        ended = self.modified if self.terminal and self.modified else now
        processed = self.found if self.state == "JobComplete" else None
        failed = {"errorMessage": self.error} if self.error else {}
        return {
            **self.created_document(),
            "jobType": "V2Query",
            "retries": 15 if self.error == RETRIED_TOO_OFTEN else 0,
            "totalProcessingTime": int((ended - self.created) / timedelta(milliseconds=1)),
            "numberRecordsProcessed": len(processed.rows) if processed else 0,
            "isPkChunkingSupported": self.splits,
            **failed,
        }

    def _end(self, now: datetime) -> None:
        if self.fate.outcome == "aborted":
            self.abort(now)
        elif self.fate.outcome == "failed":
            self._fail(self.fate.message, now)
        else:
            try:
                self.found = self.found or self.find()
            except (SoqlError, ApiError) as error:
                self._fail(f"{error.code}: {error.message}", now)
            else:
                self._move("JobComplete", now)

    def _fail(self, message: str, now: datetime) -> None:
        self.error = message
        self._move("Failed", now)

    def _move(self, state: str, now: datetime) -> None:
        if state != self.state:
            self.state, self.modified = state, now
