"""Does the CDP hold what the org holds? Told by code that shares nothing with the sync itself.

It reads both sides' raw tables over the control API and works out each profile anew, plainly and slowly, from
the guide's rules.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import phonenumbers
from email_validator import EmailNotValidError, validate_email

RESERVED = ("test", "example", "invalid", "localhost", "local")
COPIED = {
    "external_id": "Id",
    "salesforce_id": "Id",
    "first_name": "FirstName",
    "last_name": "LastName",
    "job_title": "Title",
    "lead_source": "LeadSource",
}


@dataclass
class Comparison:
    """`alike` profiles are as they should be; `left_out` rows rightly have none; `wrong` names the others."""

    alike: int = 0
    left_out: int = 0
    wrong: list[str] = field(default_factory=list)


def control(base_url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """A call of the sandbox's control API."""
    data = json.dumps(body).encode() if body is not None else None
    request = Request(f"{base_url}/_sandbox/{path}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as reply:
        return json.load(reply)


def compare(base_url: str) -> Comparison:
    """Compare every contact of the org with the profile that carries its Id."""
    contacts = control(base_url, "salesforce/dump", {"object": "Contact"})
    accounts = {row["Id"]: row for row in control(base_url, "salesforce/dump", {"object": "Account"})}
    profiles: dict[str, list[dict[str, Any]]] = {}
    for profile in control(base_url, "experiture/dump", {"object": "profiles"}):
        profiles.setdefault(str(profile.get("salesforce_id")), []).append(profile)
    result = Comparison()
    for contact in contacts:
        found = profiles.pop(contact["Id"], [])
        due = expected(contact, accounts)
        if due is None:
            result.left_out += not found
            if found:
                result.wrong.append(f"{contact['Id']} should have no profile")
        elif len(found) != 1:
            result.wrong.append(f"{contact['Id']} has {len(found)} profiles")
        else:
            differing = [name for name in due if found[0].get(name) != due[name]]
            extra = [name for name in ALL_TARGETS if name not in due and found[0].get(name) is not None]
            result.alike += not (differing or extra)
            if differing or extra:
                result.wrong.append(f"{contact['Id']} differs in {', '.join(differing + extra)}")
    result.wrong += [f"{key} has a profile and no contact" for key in profiles]
    return result


ALL_TARGETS = (*COPIED, "email", "phone", "company_name", "crm_last_modified_at")


def expected(contact: dict[str, Any], accounts: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The profile a contact should have by the default sync, None where it should have none."""
    email = (contact.get("Email") or "").strip().lower()
    if contact.get("IsDeleted") or not email or not _is_email(email):
        return None
    account = accounts.get(contact.get("AccountId") or "", {})
    profile = {target: _text(contact.get(source)) for target, source in COPIED.items()}
    profile["email"] = email
    profile["phone"] = _phone(contact)
    profile["company_name"] = _text(account.get("Name"))
    profile["crm_last_modified_at"] = _instant(contact["LastModifiedDate"])
    return {name: value for name, value in profile.items() if value}


def _is_email(address: str) -> bool:
    """Reserved domains count as any other, so they are judged under a public one."""
    local, _, domain = address.rpartition("@")
    labels = domain.split(".")
    if labels[-1] in RESERVED and (len(labels) > 1 or labels == ["localhost"]):
        domain = ".".join([*labels[:-1], "com"]) if len(labels) > 1 else "host.com"
    try:
        validate_email(f"{local}@{domain}", check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _phone(contact: dict[str, Any]) -> str | None:
    raw = contact.get("Phone") or ""
    try:
        number = phonenumbers.parse(raw, contact.get("MailingCountryCode") or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kept = "".join(sign for sign in value if unicodedata.category(sign) not in ("Cc", "Cs"))
    return unicodedata.normalize("NFC", kept).strip()


def _instant(value: str) -> str:
    moment = datetime.strptime(value.replace("Z", "+0000"), "%Y-%m-%dT%H:%M:%S.%f%z")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
