"""getDeleted and getUpdated: what changed between two minutes, and up to when the answer is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.schema import Entity
from crmsync.sandbox.salesforce.values import instant, stamp

DELETED_HORIZON = timedelta(days=15)
UPDATED_HORIZON = timedelta(days=30)
MINUTE = timedelta(minutes=1)


def deleted(org: Org, entity: Entity, arguments: Mapping[str, str]) -> dict[str, Any]:
    """`/sobjects/X/deleted/`. Raises ApiError."""
    _refuse_if_switched(org, entity, "deleted")
    start, end = _range(arguments, org.clock.now(), DELETED_HORIZON)
    covered = latest_date_covered(org, end)
    if org.switches["deleted_behind"] == "refuse" and covered < end:
        raise _refused("the end date is later than the latest date covered")
    purged = org.purged_until
    if purged and start < purged and org.switches["purged_delete_log"] == "refuse":
        raise _refused("the deletions of that time have been purged; a full pull is needed")
    entries = [
        {"id": entry.id, "deletedDate": entry.stamp}
        for entry in org.deletions
        if entry.entity == entity.name
        and _within(entry.stamp, start, end)
        and (org.switches["hard_deletes_in_log"] or not entry.hard)
        and (org.switches["undeleted_in_log"] or not entry.undeleted)
    ]
    _refuse_too_many(org, entries)
    earliest = max(filter(None, (purged, _minute(org.clock.now()) - DELETED_HORIZON)))
    return {
        "deletedRecords": entries,
        "earliestDateAvailable": stamp(_minute(earliest)),
        "latestDateCovered": stamp(covered),
    }


def updated(org: Org, entity: Entity, arguments: Mapping[str, str]) -> dict[str, Any]:
    """`/sobjects/X/updated/`: Ids by SystemModstamp. Raises ApiError."""
    _refuse_if_switched(org, entity, "updated")
    start, end = _range(arguments, org.clock.now(), UPDATED_HORIZON)
    ids = [
        row["Id"]
        for row in org.tables[entity.name].rows.values()
        if not row.get("IsDeleted") and _within(row["SystemModstamp"], start, end)
    ]
    _refuse_too_many(org, ids)
    return {"ids": ids, "latestDateCovered": stamp(latest_date_covered(org, end))}


def latest_date_covered(org: Org, end: datetime) -> datetime:
    """The minute before which the past is settled: not past `end`, now, or an open transaction's start."""
    starts = [transaction.started for transaction in org.transactions.values()]
    if org.foreign_transaction_since:
        starts.append(org.foreign_transaction_since)
    return _minute(min([end, org.clock.now(), *starts]))


def _range(arguments: Mapping[str, str], now: datetime, horizon: timedelta) -> tuple[datetime, datetime]:
    """The bounds, their seconds ignored."""
    bounds = []
    for name in ("start", "end"):
        try:
            bounds.append(_minute(instant(arguments.get(name, ""))))
        except ValueError:
            raise _refused(f"{name} is missing or not a date and time with a zone") from None
    start, end = bounds
    if end - start <= MINUTE:
        raise _refused("the start date must be more than one minute before the end date")
    if start < _minute(now) - horizon:
        raise _refused(f"the start date is more than {horizon.days} days ago")
    return start, end


def _within(written: str, start: datetime, end: datetime) -> bool:
    """Both minutes belong to the range, the last one to its end."""
    return stamp(start) <= written < stamp(end + MINUTE)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _refuse_if_switched(org: Org, entity: Entity, resource: str) -> None:
    if org.switches[resource] == "forbidden":
        raise ApiError(403, "INSUFFICIENT_ACCESS", "insufficient access rights on cross-reference id")
    if org.switches[resource] == "not_replicateable":
        raise ApiError(400, "INVALID_TYPE_FOR_OPERATION", f"sObject type {entity.name} is not replicable")


def _refuse_too_many(org: Org, found: Sequence[Any]) -> None:
    limit = org.switches["replication_id_limit"]
    if len(found) > limit:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", f"more than {limit} ids; ask for a shorter time")


def _refused(message: str) -> ApiError:
    return ApiError(400, "INVALID_REPLICATION_DATE", message)
