"""What the world has been through, and what the workspace and the state may say about it.

It knows every version that every contact ever had, mapped by code that shares nothing with crmsync, and holds
the CDP's write log, its rows, the rejects and each saved state against that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from crmsync.sandbox.compare import ALL_TARGETS, expected

Row = dict[str, Any]
OVERLAP = timedelta(minutes=10)
FLAGS = ("crm_deleted_at", "crm_merged_into")
DELETED = {"deleted": True}
"""The version of a contact that is gone."""


class World(Protocol):
    """Both sides' control APIs, and the Ids of the rejects that the state holds open."""

    def crm(self, action: str, /, **arguments: Any) -> Any: ...

    def cdp(self, action: str, /, **arguments: Any) -> Any: ...

    def open_rejects(self) -> set[str]: ...


@dataclass
class Past:
    """The versions of one contact in order, and how far the writes to its profile have come in them."""

    versions: list[Row] = field(default_factory=list)
    written: int = 0
    last: Row | None = None
    was_malformed: bool = False


class Model:
    """`may_repeat`: something happened after which a record may be sent again without having changed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pasts: defaultdict[str, Past] = defaultdict(Past)
        self._read = 0
        self._saved: Row | None = None
        self.may_repeat = False
        self.wrong: list[str] = []
        self.observe()

    def observe(self) -> None:
        """Take note of every contact's present version; call it after every change."""
        accounts = self.accounts()
        present = self.contacts()
        for contact in present.values():
            past = self._pasts[contact["Id"]]
            past.was_malformed |= is_malformed(contact, accounts)
            version = DELETED if contact["IsDeleted"] else expected(contact, accounts)
            self._append(past, version)
        for row_id in self._pasts.keys() - present.keys():
            self._append(self._pasts[row_id], DELETED)

    def contacts(self) -> dict[str, Row]:
        return {row["Id"]: row for row in self._world.crm("dump", object="Contact")}

    def accounts(self) -> dict[str, Row]:
        return {row["Id"]: row for row in self._world.crm("dump", object="Account")}

    def check_writes(self) -> None:
        """No write may bring back an older version, and none repeat the last without need (laws 3 and 4)."""
        for write in self._world.cdp("writes", since=self._read, records=True):
            self._read = write["n"]
            past, record = self._pasts[write["key"]], write["record"]
            version = DELETED if record.get("crm_deleted_at") else without_flags(record)
            later = past.versions[past.written :]
            if version in later:
                past.written += later.index(version)
            else:
                known = "an older" if version in past.versions else "an unknown"
                self.wrong.append(f"{write['key']}: {known} version landed: {record}, of {past.versions}")
            if record == past.last and not self.may_repeat:
                self.wrong.append(f"{write['key']}: written twice without a change: {record}")
            past.last = record

    def check_state(self, document: Row) -> None:
        """Everything from before where the next run begins to read is settled, and nothing has moved back (law 1)."""
        self.wrong += moved_back(self._saved, document) if self._saved else []
        self._saved = document
        limit = begins_again_at(document)
        if limit is None:
            return
        accounts, profiles, rejects = self.accounts(), self.profiles(), self._world.open_rejects()
        for contact in self.contacts().values():
            if moment(contact["SystemModstamp"]) >= limit or contact["IsDeleted"]:
                continue
            due = expected(contact, accounts)
            if due is None:
                settled = contact["Id"] in rejects or not is_malformed(contact, accounts)
            else:
                found = profiles.get(contact["Id"], [{}])[0]
                settled = contact["Id"] in rejects or all(
                    found.get(name) == due[name] for name in due if name != "company_name"
                )
            if not settled:
                self.wrong.append(
                    f"{contact['Id']} of {contact['SystemModstamp']} is not settled, yet the state passes it: "
                    f"{document}"
                )

    def check_end(self, *, flags: bool) -> None:
        """Nothing is missing, stale or doubled, and the rejects are complete. Call it when all is quiet."""
        accounts, profiles, rejects = self.accounts(), self.profiles(), self._world.open_rejects()
        contacts = self.contacts()
        for row_id, past in self._pasts.items():
            found = profiles.pop(row_id, [])
            if len(found) > 1:
                self.wrong.append(f"{row_id} has {len(found)} profiles")
            contact = contacts.get(row_id)
            profile = found[0] if found else None
            if contact is None or contact["IsDeleted"]:
                if flags and profile and not profile.get("crm_deleted_at"):
                    self.wrong.append(f"{row_id} is gone and not flagged")
                continue
            if profile and any(profile.get(flag) for flag in FLAGS):
                self.wrong.append(f"{row_id} is alive and still flagged as deleted")
            due = expected(contact, accounts)
            if due is None:
                continue
            if profile is None:
                self.wrong.append(f"{row_id} is missing")
                continue
            self.wrong += [
                f"{row_id}: {name} is {profile.get(name)!r}, not {due[name]!r}"
                for name in due
                if profile.get(name) != due[name]
            ]
            self.wrong += [
                f"{row_id}: {name} is {profile[name]!r}, which it never was"
                for name in ALL_TARGETS
                if name not in due
                and profile.get(name) is not None
                and not past_had(past, name, profile[name])
            ]
        self.wrong += [f"{key} has a profile and no contact" for key in profiles]
        bad = {row["Id"] for row in contacts.values() if is_malformed(row, accounts)}
        gone = {i for i, past in self._pasts.items() if i not in contacts and past.was_malformed}
        self.wrong += [f"{row_id} is malformed and no reject" for row_id in bad - rejects]
        self.wrong += [
            f"{row_id} is a reject and nothing is wrong with it" for row_id in rejects - bad - gone
        ]

    def profiles(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for profile in self._world.cdp("dump", object="profiles"):
            found.setdefault(profile["salesforce_id"], []).append(profile)
        return found

    @staticmethod
    def _append(past: Past, version: Row | None) -> None:
        if version is not None and (not past.versions or past.versions[-1] != version):
            past.versions.append(version)


def is_malformed(contact: Row, accounts: dict[str, Row]) -> bool:
    """Whether the contact is alive and has an address that is none."""
    has_address = not contact["IsDeleted"] and bool((contact.get("Email") or "").strip())
    return has_address and expected(contact, accounts) is None


def without_flags(record: Row) -> Row:
    return {name: value for name, value in record.items() if name not in FLAGS}


def past_had(past: Past, name: str, value: Any) -> bool:
    return any(version.get(name) == value for version in past.versions)


def moved_back(before: Row, now: Row) -> Iterator[str]:
    """The watermark, or a position within one window, that is less than it was."""
    if (now["watermark"] or "") < (before["watermark"] or ""):
        yield f"the watermark has moved from {before['watermark']} back to {now['watermark']}"
    former, present = before["progress"] or {}, now["progress"] or {}
    if former and present and all(former[name] == present[name] for name in ("start", "end", "write_all")):
        for stream, position in former["positions"].items():
            if present["positions"].get(stream, "") < position:
                yield f"{stream} has moved from {position} back to {present['positions'].get(stream)}"


def begins_again_at(document: Row) -> datetime | None:
    """From which stamp on the changes will be read again, whatever happens next.

    Rows of a bulk job come in no order: its window is read again from its start, or from where REST had come to.
    """
    progress = document["progress"]
    if progress is None:
        reached = document["covered"] or document["watermark"]
        return moment(reached) - OVERLAP if reached else None
    start = moment(progress["start"]) if progress["start"] else None
    position = progress["positions"].get("changes")
    if position is None:
        return start
    if position == "done":
        position = min(progress["end"], progress.get("covered") or progress["end"])
    again = moment(position) - OVERLAP
    return again if start is None else max(start, again)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:19] + "+00:00")


def lines(wrong: list[str]) -> Iterator[str]:
    yield f"{len(wrong)} violations"
    yield from wrong[:10]
