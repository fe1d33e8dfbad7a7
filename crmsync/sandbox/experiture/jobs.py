"""Record jobs: accepted batches that are carried out later, in the order in which they end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crmsync.sandbox.experiture.batches import Examined
from crmsync.sandbox.experiture.replies import Outcome, Phase, Refusal, results, stamp, state_word
from crmsync.sandbox.experiture.switches import Switches

QUEUED_SHARE = 0.25


@dataclass(slots=True)
class Job:
    """One accepted batch. `due` is None for a job that never ends by itself; `word` overrides its state.

    `examined` is dropped once the job was carried out; then either `outcome` or `failure` is set.
    """

    id: str
    object: str
    operation: str
    match_key: str | None
    size: int
    idempotency_key: str | None
    accepted_at: datetime
    due: datetime | None
    examined: Examined | None
    outcome: Outcome | None = None
    failure: Refusal | None = None
    finished_at: datetime | None = None
    lost: bool = False
    lost_when_finished: bool = False
    word: str | None = None

    def phase(self, now: datetime, switches: Switches) -> Phase:
        if self.failure is not None:
            return "failed"
        if self.outcome is not None:
            if self.outcome.errors and len(self.outcome.errors) == self.size:
                return "failed" if switches["all_rejected"] == "failed" else "partial"
            return "partial" if self.outcome.errors else "done"
        begins = self.accepted_at + ((self.due or self.accepted_at) - self.accepted_at) * QUEUED_SHARE
        return "running" if now >= begins else "queued"

    def described(self, now: datetime, switches: Switches) -> dict[str, Any]:
        """The data of a status read."""
        data: dict[str, Any] = {
            switches["job_id_field"]: self.id,
            switches["state_field"]: self.word or state_word(self.phase(now, switches), switches),
            "objectName": self.object,
            "operation": self.operation,
            "createdAt": stamp(self.accepted_at),
        }
        if self.finished_at is not None and self.word is None:
            data["finishedAt"] = stamp(self.finished_at)
            if self.outcome is not None:
                data |= results(self.outcome, switches)
            if self.failure is not None:
                data["error"] = self.failure.body()
        return data


@dataclass(slots=True)
class JobBook:
    """All jobs, by id, and the `unfinished` ones among them. `run` carries one out and gives its outcome."""

    run: Callable[[Job, Examined], Outcome]
    chance: random.Random
    jobs: dict[str, Job] = field(default_factory=dict)
    unfinished: dict[str, Job] = field(default_factory=dict)

    def accept(
        self,
        object_name: str,
        operation: str,
        match_key: str | None,
        examined: Examined,
        idempotency_key: str | None,
        now: datetime,
        switches: Switches,
    ) -> Job:
        fate = switches["job_fate"]
        job = Job(
            id=f"job_{self.chance.getrandbits(80):020x}",
            object=object_name,
            operation=operation,
            match_key=match_key,
            size=len(examined.records),
            idempotency_key=idempotency_key,
            accepted_at=now,
            due=None if fate in ("stick", "lose") else self._due(now, switches),
            examined=examined,
            lost=fate == "lose",
            lost_when_finished=fate == "finish_then_lose",
        )
        self.jobs[job.id] = self.unfinished[job.id] = job
        return job

    def _due(self, now: datetime, switches: Switches) -> datetime:
        seconds = float(switches["job_seconds"])
        if switches["job_order"] == "random":
            return now + timedelta(seconds=seconds * self.chance.uniform(0.1, 1.9))
        ahead = [job.due for job in self.unfinished.values() if job.due]
        return max([now + timedelta(seconds=seconds), *ahead])

    def settle(self, now: datetime) -> None:
        """Carry out every job that is due, in the order of their ends."""
        due = [job for job in self.unfinished.values() if job.due and job.due <= now]
        for job in sorted(due, key=lambda job: (job.due, job.accepted_at)):
            self.finish(job, job.due or now)

    def finish(self, job: Job, at: datetime) -> None:
        if job.finished_at is not None or job.examined is None:
            return
        job.finished_at = at
        if job.examined.refusal is not None:
            job.failure = job.examined.refusal
        else:
            job.outcome = self.run(job, job.examined)
        job.examined = None
        del self.unfinished[job.id]
        job.lost = job.lost or job.lost_when_finished

    def readable(self, object_name: str, job_id: str, now: datetime, switches: Switches) -> Job | None:
        """The job that a status read of this object finds; None where it is unknown, lost or expired."""
        job = self.jobs.get(job_id)
        if job is None or job.object != object_name or job.lost:
            return None
        kept = switches["job_retention_seconds"]
        if kept is not None and job.finished_at and now > job.finished_at + timedelta(seconds=kept):
            return None
        return job

    def act(self, job_id: str, action: str, now: datetime) -> Job:
        """`finish` now, `stick` for good, `lose` it (404) or show `state:<word>`. Raises ValueError."""
        job = self.jobs.get(job_id)
        if job is None:
            raise ValueError(f"there is no job {job_id}")
        match action.partition(":"):
            case "finish", _, "":
                job.word = None
                self.finish(job, now)
            case "stick", _, "":
                job.due = None
            case "lose", _, "":
                job.lost = True
                job.due = None
            case "state", _, word if word:
                job.word = word
                job.due = None
            case _:
                raise ValueError("a job's action is finish, stick, lose or state:<word>")
        return job
