"""The control actions of the sandbox's CDP: look inside, prepare data, turn switches, break things."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crmsync.sandbox.experiture.batches import Poison
from crmsync.sandbox.experiture.tables import Field, Flaw, Rules, Table, cleaned

if TYPE_CHECKING:
    from crmsync.sandbox.experiture.service import ExperitureService

ACTIONS = (
    "dump",
    "counts",
    "writes",
    "seed_rows",
    "add_field",
    "remove_field",
    "switches",
    "clock",
    "expire_tokens",
    "jobs",
    "job",
    "poison",
    "clear_poison",
    "reset",
)


def act(service: ExperitureService, action: str, arguments: dict[str, Any]) -> Any:
    """Carry out one action; the caller holds the service's lock. Raises ValueError for a wrong call."""
    match action:
        case "dump":
            return [row.dumped() for row in _table(service, arguments).rows]
        case "counts":
            return _counts(service)
        case "writes":
            return _writes(service, **arguments)
        case "seed_rows":
            return _seed_rows(service, arguments)
        case "add_field":
            return _add_field(_table(service, arguments), **_without_object(arguments))
        case "remove_field":
            return _remove_field(_table(service, arguments), **_without_object(arguments))
        case "switches":
            service.switches.set(arguments)
            return service.switches.described()
        case "clock":
            return _set_clock(service, **arguments)
        case "expire_tokens":
            return service.tokens.expire()
        case "jobs":
            return _jobs(service)
        case "job":
            service.jobs.act(str(arguments.get("id")), str(arguments.get("action")), service.clock.now())
            return next(job for job in _jobs(service) if job["id"] == arguments["id"])
        case "poison":
            service.poisons.append(Poison(**arguments))
            return {"poisons": len(service.poisons)}
        case "clear_poison":
            return service.poisons.clear()
        case "reset":
            service.switches.reset()
            return service.clear()
    raise ValueError(f"the CDP has no action {action!r}; it knows {', '.join(ACTIONS)}")


def _table(service: ExperitureService, arguments: dict[str, Any]) -> Table:
    name = arguments.get("object", "profiles")
    if name not in service.tables:
        raise ValueError(f"there is no object {name!r}; there are {', '.join(service.tables)}")
    return service.tables[name]


def _without_object(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name != "object"}


def _counts(service: ExperitureService) -> dict[str, Any]:
    """Requests by endpoint, framed writes with their sizes, keys seen, rows, and duplicate rows per key."""
    return {
        "requests": dict(service.requests),
        "batches": list(service.batches),
        "idempotency_keys": service.cache.keys(),
        "writes": len(service.writes),
        "rows": {name: len(table.rows) for name, table in service.tables.items()},
        "duplicates": {
            name: {key: table.duplicates(key) for key in table.schema.identity_keys}
            for name, table in service.tables.items()
        },
    }


def _writes(service: ExperitureService, since: int = 0, records: bool = False) -> list[dict[str, Any]]:
    """The records that reached a table after the `since`-th, in the order in which they did."""
    return [
        {
            "n": number,
            "object": write.object,
            "row": write.row,
            "status": write.status,
            "match_key": write.match_key,
            "key": write.record.get(write.match_key) if write.match_key else None,
            "idempotency_key": write.idempotency_key,
            "batch": write.batch,
            **({"record": write.record} if records else {}),
        }
        for number, write in enumerate(service.writes[since:], since + 1)
    ]


def _seed_rows(service: ExperitureService, arguments: dict[str, Any]) -> dict[str, int]:
    """Put rows into a table as if they had been there before; they are in no log."""
    table, now = _table(service, arguments), service.clock.now()
    try:
        rows = [cleaned(row, table.schema, Rules(), None) for row in arguments["rows"]]
    except Flaw as flaw:
        raise ValueError(flaw.message) from None
    for row in rows:
        table.append(row, now)
    return {"rows": len(table.rows)}


def _add_field(table: Table, *, identity: bool = False, **column: Any) -> dict[str, int]:
    if "enum" in column:
        column["enum"] = tuple(column["enum"])
    table.schema.add(Field(**column), identity=identity)
    return {"active_version": table.schema.active_version}


def _remove_field(table: Table, *, name: str) -> dict[str, int]:
    table.schema.remove(name)
    table.drop_column(name)
    return {"active_version": table.schema.active_version}


def _set_clock(service: ExperitureService, **changes: Any) -> dict[str, str]:
    for name, value in changes.items():
        match name:
            case "skew_seconds":
                service.clock.set_skew(float(value))
            case "advance":
                service.clock.advance(float(value))
            case "freeze":
                service.clock.freeze(_instant(value) if value else None)
            case _:
                raise ValueError("a clock knows skew_seconds, advance and freeze")
    return {"now": service.clock.now().isoformat()}


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("freeze needs an instant with its offset")
    return at.astimezone(UTC)


def _jobs(service: ExperitureService) -> list[dict[str, Any]]:
    now = service.clock.now()
    return [
        {
            "id": job.id,
            "object": job.object,
            "records": job.size,
            "phase": job.phase(now, service.switches),
            "shown": job.word,
            "lost": job.lost,
            "accepted_at": job.accepted_at.isoformat(),
            "finished_at": job.finished_at.isoformat() if job.finished_at else None,
            "idempotency_key": job.idempotency_key,
        }
        for job in service.jobs.jobs.values()
    ]
