"""What the vendor's guide shows, as a program: its query, its mapping, its batches, one after the other.

Pages are cut by LIMIT 2000 and go on strictly after the newest LastModifiedDate seen, until that stands still.
Phone numbers go as they are: the guide calls a normalizer of which it says nothing. What a batch became is not
looked at, as in the guide.

Environment: BASE_URL, TOKEN, API_KEY.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import requests
from contacts import mapped

BASE = os.environ["BASE_URL"]
COLUMNS = "Id, Email, FirstName, LastName, Phone, Title, Account.Name, LeadSource, LastModifiedDate"


def modified_since(since: datetime) -> list[dict[str, Any]]:
    condition = f"LastModifiedDate > {since.strftime('%Y-%m-%dT%H:%M:%S+00:00')}"
    reply = requests.get(
        f"{BASE}/services/data/v59.0/query",
        params={
            "q": f"SELECT {COLUMNS} FROM Contact WHERE {condition} ORDER BY LastModifiedDate ASC LIMIT 2000"
        },
        headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},
        timeout=120,
    )
    reply.raise_for_status()
    found: list[dict[str, Any]] = reply.json()["records"]
    return found


def pull(since: datetime) -> datetime:
    contacts = modified_since(since)
    if not contacts:
        return since
    records = [mapped(contact) for contact in contacts if contact.get("Email")]
    for start in range(0, len(records), 500):
        requests.post(
            f"{BASE}/public/v1/records/profiles/upsert-batch",
            headers={"Authorization": f"Bearer {os.environ['API_KEY']}", "Content-Type": "application/json"},
            json={"records": records[start : start + 500], "matchKey": "salesforce_id"},
            timeout=120,
        ).raise_for_status()
    newest = max(contact["LastModifiedDate"] for contact in contacts)
    return datetime.fromisoformat(newest.replace("Z", "+00:00"))


def main() -> None:
    before, since = None, datetime(2000, 1, 1, tzinfo=UTC)
    while since != before:
        before, since = since, pull(since)


main()
