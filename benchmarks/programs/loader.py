"""A loader for a Singer tap: reads its messages from stdin and posts the contacts in batches of 500.

Environment: BASE_URL, API_KEY.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import requests

URL = f"{os.environ['BASE_URL']}/public/v1/records/profiles/upsert-batch"
FIELDS = {
    "FirstName": "first_name",
    "LastName": "last_name",
    "Phone": "phone",
    "Title": "job_title",
    "LeadSource": "lead_source",
    "LastModifiedDate": "crm_last_modified_at",
}


def mapped(contact: dict[str, Any]) -> dict[str, Any]:
    record = {
        "external_id": contact["Id"],
        "salesforce_id": contact["Id"],
        "email": contact["Email"].strip().lower(),
    }
    return record | {
        ours: contact[theirs] for theirs, ours in FIELDS.items() if contact.get(theirs) is not None
    }


def main() -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {os.environ['API_KEY']}"
    waiting: list[dict[str, Any]] = []
    state: Any = None

    def send() -> None:
        body = {"records": waiting, "matchKey": "salesforce_id"}
        session.post(URL, json=body, timeout=120).raise_for_status()
        waiting.clear()

    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "RECORD" and message["record"].get("Email"):
            waiting.append(mapped(message["record"]))
            if len(waiting) == 500:
                send()
        elif message["type"] == "STATE":
            state = message["value"]
    if waiting:
        send()
    print(json.dumps(state))


main()
