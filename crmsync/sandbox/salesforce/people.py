"""A seeded org full of people who are hard on programs: the rows the sandbox starts with.

Everything is invented. Stamps lie in the past of the clock at construction, none in its last 15 minutes.
About 40 % of the rows share a handful of seconds, as after data loads, the others are spread over 400 days.
About 2 % of the contacts have a malformed e-mail address, 5 % none, 10 % an odd one that is valid; the first
300 have every kind, and so twice as many malformed ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.people_words import (
    BLANK_EMAILS,
    COMPANIES,
    COUNTRIES,
    DOMAINS,
    FIRST_NAMES,
    LAST_NAMES,
    LONG_TITLE,
    MALFORMED_EMAILS,
    NASTY_NAMES,
    NASTY_PHONES,
    ODD_EMAILS,
    RECORD_TYPES,
    TITLES,
    Country,
)
from crmsync.sandbox.salesforce.tables import Deletion, Row
from crmsync.sandbox.salesforce.values import stamp

LOADS = 4
LOADED_SHARE = 0.4
NASTY_SHARE = 0.25
NASTY_PHONE_SHARE = 0.08
YOUNGEST = timedelta(minutes=20)
OLDEST = timedelta(days=400)
USERS = 5

_Fields = dict[str, Any]


def populate(org: Org, contacts: int, seed: int, marker: str = "") -> None:
    """Fill an empty org with `contacts` contacts and users, accounts and leads in proportion.

    `marker` is woven into every name and, in lower case, every e-mail address that is one.
    """
    maker = _Maker(org, random.Random(seed), marker)
    users = maker.users()
    accounts = maker.accounts(contacts // 4 + 1, users) if contacts else []
    record_types = maker.record_types(users)
    made = maker.contacts(contacts, users, accounts, record_types)
    leads = maker.leads(contacts // 10, users, accounts, made)
    loaded = {
        "User": users,
        "RecordType": record_types,
        "Account": accounts,
        "Contact": made,
        "Lead": leads,
    }
    for object_, rows in loaded.items():
        org.load(object_, rows)
        org.deletions += [
            Deletion(object_, row["Id"], row["SystemModstamp"], hard=False)
            for row in rows
            if row.get("IsDeleted")
        ]


class _Maker:
    """Makes rows of one org. Values that are None are left out of them, as tables want it."""

    def __init__(self, org: Org, dice: random.Random, marker: str) -> None:
        self._org = org
        self._dice = dice
        self._marker = marker
        self._now: datetime = org.clock.now().replace(microsecond=0)
        self._loads = [
            self._now - timedelta(days=days, seconds=dice.randrange(86_400)) for days in (2, 25, 90, 200)
        ]

    def users(self) -> list[Row]:
        rows = []
        for number in range(USERS):
            first, last = FIRST_NAMES[number], LAST_NAMES[-1 - number]
            rows.append(
                self._row(
                    "User",
                    None,
                    FirstName=first,
                    LastName=self._named(last),
                    Name=f"{first} {self._named(last)}",
                    Username=f"user{number}@sandbox.example",
                    Email=f"user{number}{self._marker.lower()}@sandbox.example",
                    Alias=f"user{number}",
                    IsActive=number < USERS - 1,
                    TimeZoneSidKey="America/Los_Angeles",
                    LocaleSidKey="en_US",
                )
            )
        return rows

    def accounts(self, number: int, users: list[Row]) -> list[Row]:
        rows: list[Row] = []
        for index in range(number):
            country = self._dice.choice(COUNTRIES)
            rows.append(
                self._row(
                    "Account",
                    users,
                    Name=_company(index),
                    ParentId=self._dice.choice(rows)["Id"] if rows and index % 9 == 0 else None,
                    Type=self._dice.choice(("Prospect", "Customer - Direct", None)),
                    Industry=self._dice.choice(("Banking", "Retail", "Technology", None)),
                    Rating=self._dice.choice(("Hot", "Warm", "Cold", None)),
                    AnnualRevenue=self._dice.choice((3.0, 1_250_000.5, None)),
                    NumberOfEmployees=self._dice.choice((1, 250, None)),
                    Phone=self._national(country),
                    BillingCity=country.city,
                    BillingCountry=country.name,
                    BillingCountryCode=country.code,
                )
            )
        return rows

    def record_types(self, users: list[Row]) -> list[Row]:
        return [
            self._row(
                "RecordType",
                users,
                Name=name,
                DeveloperName=name.replace(" ", "_"),
                SobjectType=object_,
                IsActive=True,
            )
            for object_, name in RECORD_TYPES
        ]

    def contacts(
        self, number: int, users: list[Row], accounts: list[Row], record_types: list[Row]
    ) -> list[Row]:
        kinds = [row["Id"] for row in record_types if row["SobjectType"] == "Contact"]
        rows: list[Row] = []
        for index, person in zip(range(number), self._people("Mailing"), strict=False):
            account = None if index % 11 == 5 else self._dice.choice(accounts)["Id"]
            shared = self._shared_email(rows, index)
            if index % 40 == 17:
                rows.append(self._row("Contact", users, **_bare(person)))
                continue
            fields = {**person, "AccountId": account, **({"Email": shared} if shared else {})}
            rows.append(
                self._row(
                    "Contact",
                    users,
                    **fields,
                    ReportsToId=self._dice.choice(rows)["Id"] if rows and index % 13 == 0 else None,
                    Department=self._dice.choice(("Sales", "R&D", None)),
                    Birthdate=self._dice.choice(("1971-02-28", "1999-12-31", None, None)),
                    EmailBouncedDate=stamp(self._now - OLDEST) if index % 50 == 9 else None,
                    IsEmailBounced=index % 50 == 9,
                    HasOptedOutOfEmail=index % 12 == 3,
                    DoNotCall=index % 15 == 4,
                    IsDeleted=index % 33 == 30,
                    RecordTypeId=None if index % 19 == 2 else kinds[1 if index % 7 == 1 else 0],
                )
            )
        return rows

    def leads(self, number: int, users: list[Row], accounts: list[Row], contacts: list[Row]) -> list[Row]:
        rows = []
        for index, person in zip(range(number), self._people(""), strict=False):
            converted: _Fields = {"IsConverted": False, "Status": "Open - Not Contacted"}
            if index % 6 == 2:
                converted = {
                    "IsConverted": True,
                    "Status": "Closed - Converted",
                    "ConvertedDate": (self._now - timedelta(days=index % 300)).date().isoformat(),
                    "ConvertedAccountId": self._dice.choice(accounts)["Id"],
                    "ConvertedContactId": self._dice.choice(contacts)["Id"],
                }
            company = self._dice.choice(COMPANIES)
            rows.append(
                self._row("Lead", users, Company=company, IsDeleted=index % 25 == 20, **person, **converted)
            )
        return rows

    def _people(self, address: str) -> Iterator[_Fields]:
        """Ordinary persons and, from the first on, every nasty thing at least once. Endless."""
        for index, _ in enumerate(iter(int, 1)):
            country = COUNTRIES[index % len(COUNTRIES)]
            first, last = self._pick(index, NASTY_NAMES) or (
                self._dice.choice(FIRST_NAMES),
                self._dice.choice(LAST_NAMES),
            )
            last = self._named(last)
            yield {
                "FirstName": first,
                "LastName": last,
                "Name": f"{first} {last}" if first else last,
                "Salutation": self._dice.choice(("Mr.", "Ms.", "Dr.", None)),
                "Email": self._email(index),
                "Phone": self._phone(index, country),
                "MobilePhone": self._national(country) if index % 5 == 0 else None,
                "Title": LONG_TITLE if index % 20 == 7 else self._dice.choice(TITLES),
                "LeadSource": self._dice.choice(("Web", "Phone Inquiry", "Partner Referral", "Other", None)),
                f"{address}Street": "1 Test Way\nFloor 2" if index % 3 else None,
                f"{address}City": country.city,
                f"{address}Country": country.name if index % 7 else None,
                f"{address}CountryCode": country.code if index % 7 else None,
            }

    def _pick(self, index: int, choices: tuple[Any, ...]) -> Any:
        """The nasty choices one after the other, then a random one for a share of the rest, else None."""
        if index < len(choices):
            return choices[index]
        return self._dice.choice(choices) if self._dice.random() < NASTY_SHARE else None

    def _email(self, index: int) -> str | None:
        local, domain = f"p{index}{self._marker.lower()}", self._dice.choice(DOMAINS)
        shape = _email_shape(index)
        return shape and shape.format(local=local, domain=domain, UPPER=local.upper(), DOMAIN=domain.upper())

    def _shared_email(self, rows: list[Row], index: int) -> str | None:
        """For some rows the address of an earlier one, as it is or in another case."""
        if index % 30 != 29:
            return None
        other: str | None = self._dice.choice(rows).get("Email")
        return other and (other.upper() if index % 60 == 29 else other)

    def _phone(self, index: int, country: Country) -> str | None:
        if index < len(NASTY_PHONES):
            return NASTY_PHONES[index]
        nasty = self._dice.random() < NASTY_PHONE_SHARE
        return self._dice.choice(NASTY_PHONES) if nasty else self._national(country)

    def _national(self, country: Country) -> str:
        return "".join(str(self._dice.randrange(10)) if sign == "#" else sign for sign in country.phone)

    def _named(self, name: str) -> str:
        return f"{name} {self._marker}" if self._marker else name

    def _row(self, object_: str, users: list[Row] | None, **fields: Any) -> Row:
        id_ = self._org.new_id(object_)
        owner = self._dice.choice(users)["Id"] if users else None
        by = owner or id_
        found = {
            "Id": id_,
            "OwnerId": owner,
            "CreatedById": by,
            "LastModifiedById": by,
            **self._stamps(),
            **fields,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _stamps(self) -> dict[str, str]:
        if self._dice.random() < LOADED_SHARE:
            moved = self._dice.choice(self._loads)
        else:
            # Cubed, so that recent days have more changes than old ones.
            moved = self._now - YOUNGEST - (OLDEST - YOUNGEST) * self._dice.random() ** 3
        modified = (
            moved - timedelta(days=self._dice.randrange(1, 900)) if self._dice.random() < 0.15 else moved
        )
        created = modified - timedelta(seconds=self._dice.randrange(30_000_000))
        return {
            "CreatedDate": stamp(created),
            "LastModifiedDate": stamp(modified),
            "SystemModstamp": stamp(moved),
        }


def _email_shape(index: int) -> str | None:
    """What becomes of the address of the person at `index`: each kind in its turn, at steps that never meet."""
    malformed_step = 25 if index < 300 else 50
    if index % malformed_step == 6:
        return MALFORMED_EMAILS[index // malformed_step % len(MALFORMED_EMAILS)]
    if index % 40 == 3:
        return BLANK_EMAILS[index // 40 % len(BLANK_EMAILS)]
    if index % 10 == 8:
        return ODD_EMAILS[index // 10 % len(ODD_EMAILS)]
    return "{local}@{domain}"


def _company(index: int) -> str:
    """A company's name, with a number from the second round on."""
    name = COMPANIES[index % len(COMPANIES)]
    return name if index < len(COMPANIES) else f"{name} {index}"


def _bare(person: _Fields) -> _Fields:
    """A person of whom nothing but the name is known."""
    return {name: person[name] for name in ("FirstName", "LastName", "Name")}
