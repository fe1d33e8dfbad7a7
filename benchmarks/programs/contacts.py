"""A contact as the vendor's guide maps it."""

from __future__ import annotations

from typing import Any


def mapped(contact: dict[str, Any]) -> dict[str, Any]:
    account = contact.get("Account") or {}
    record = {
        "email": contact["Email"].strip().lower(),
        "external_id": contact["Id"],
        "salesforce_id": contact["Id"],
        "first_name": contact.get("FirstName"),
        "last_name": contact.get("LastName"),
        "phone": contact.get("Phone"),
        "job_title": contact.get("Title"),
        "company_name": account.get("Name"),
        "lead_source": contact.get("LeadSource"),
        "crm_last_modified_at": contact["LastModifiedDate"],
    }
    return {name: value for name, value in record.items() if value is not None}
