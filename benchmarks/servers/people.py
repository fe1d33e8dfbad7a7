"""The org's contacts: made up, the same for the same number, made block by block when they are asked for.

Row `i` is the `i`-th in the order of SystemModstamp and Id. Two fifths of the rows came by data loads, hundreds
of them in one second; the others have a second of their own, or share it with a few. LastModifiedDate is the
same instant. 3 % have no e-mail address, 0.2 % a malformed one; phones are of ten countries, nearly all unique,
in national or international form; 6 % are blank or no number.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from crmsync.sandbox.salesforce.values import make_id

Row = dict[str, Any]

BLOCK = 1000
POD = "Bm"
_DIGITS = {
    sign: at for at, sign in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
}
_OLDEST = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
_NEWEST = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())

_FIRST = (
    "Ada", "Bo", "Chiara", "Dmitri", "Efua", "Farid", "Gwen", "Hiro", "Inés", "Jamal", "Kaja", "Lior",
    "Mei", "Noor", "Ola", "Priya", "Quentin", "Rosa", "Sven", "Tomás", "Uma", "Viktor", "Wanda", "Xavi",
    "Yuki", "Zoë", "Anneke", "Björn", "Céline", "Dalia", "Emre", "Fiona", "Goran", "Hanna", "Ivo",
    "Jelena", "Kofi", "Leila", "Marek", "Nadia",
)  # fmt: skip
_LAST_HEADS = (
    "Al", "Bell", "Cast", "Dun", "Erik", "Fenn", "Grant", "Holl", "Ibar", "Jess", "Kirk", "Lind",
    "Mont", "Nor", "Oak", "Pember", "Quill", "Raven",
)  # fmt: skip
_LAST_TAILS = (
    "brook", "weather", "ellane", "marrow", "sholm", "imore", "ley", "owell", "rola", "amy", "bride",
    "qvarn", "aigue", "wick", "hanger", "lane",
)  # fmt: skip
_COMPANY_HEADS = (
    "North", "South", "Blue", "Green", "Iron", "Silver", "Lake", "Hill", "Stone", "River", "Bright",
    "Clear", "Open", "Prime", "Nova", "Delta",
)  # fmt: skip
_COMPANY_TAILS = (
    "works", "field", "bridge", "gate", "line", "point", "mark", "path", "craft", "ware", "yard",
    "house", "port", "view", "forge", "mill",
)  # fmt: skip
_COMPANY_ENDS = (
    "Ltd", "Inc.", "GmbH", "S.A.", "Group", "& Sons", "Holdings",
)  # fmt: skip
_TITLES = (
    "Engineer", "Head of Sales", "Buyer", "CTO", "Nurse", "Directrice générale", "Account Executive",
    "Office Manager", "Controller", "VP Operations", "Data Analyst", "Teacher", "Technician",
    "Procurement Lead", "Owner", "Assistant", "Consultant", "Plant Manager",
)  # fmt: skip
_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other", None)
_COUNTRIES = (
    ("United States", "US", "(212) 7##-####", "+1 212 7## ####"),
    ("United States", "US", "415-3##-####", "+1 (415) 3##-####"),
    ("Canada", "CA", "416-5##-####", "+1 416 5## ####"),
    ("United Kingdom", "GB", "020 7### ####", "+44 20 7### ####"),
    ("Germany", "DE", "030 2######", "+49 30 2######"),
    ("France", "FR", "01 4# ## ## ##", "+33 1 4# ## ## ##"),
    ("Australia", "AU", "02 9### ####", "+61 2 9### ####"),
    ("Spain", "ES", "91# ### ###", "+34 91# ### ###"),
    ("Italy", "IT", "06 5### ####", "+39 06 5### ####"),
    ("India", "IN", "022 2### ####", "+91 22 2### ####"),
    ("Sweden", "SE", "08-4## ### ##", "+46 8 4## ### ##"),
)
_NO_NUMBERS = (None, None, "  ", "n/a", "12", "ask assistant")


class People:
    """`number` contacts, rows 0 to `number` - 1."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seconds = _seconds(number)

    def first_at(self, instant: datetime) -> int:
        """The first row that is not older than an instant."""
        moment = instant.timestamp()
        return bisect_left(self.seconds, moment)

    def rows(self, start: int, stop: int) -> list[Row]:
        found: list[Row] = []
        for block in range(start // BLOCK, (stop + BLOCK - 1) // BLOCK):
            found += self._block(block)[max(0, start - block * BLOCK) : stop - block * BLOCK]
        return found

    @lru_cache(maxsize=16)  # noqa: B019 - one object, as long as its process
    def _block(self, block: int) -> list[Row]:
        dice = random.Random(block)
        first = block * BLOCK
        return [self._row(at, dice) for at in range(first, min(first + BLOCK, self.number))]

    def _row(self, at: int, dice: random.Random) -> Row:
        first = dice.choice(_FIRST)
        last = dice.choice(_LAST_HEADS) + dice.choice(_LAST_TAILS)
        country, code, national, international = dice.choice(_COUNTRIES)
        account = dice.randrange(self.number // 4 + 1)
        employed = dice.random() > 0.05
        stamp = _stamp(self.seconds[at])
        return {
            "Id": make_id("003", POD, at),
            "IsDeleted": False,
            "MasterRecordId": None,
            "AccountId": make_id("001", POD, account) if employed else None,
            "Account.Id": make_id("001", POD, account) if employed else None,
            "Account.Name": _company(account) if employed else None,
            "FirstName": first,
            "LastName": last,
            "Name": f"{first} {last}",
            "Email": _email(f"{first}.{last}{at}", dice),
            "Phone": _phone(national if dice.random() < 0.8 else international, dice),
            "Title": dice.choice(_TITLES),
            "LeadSource": dice.choice(_SOURCES),
            "MailingCountry": country,
            "MailingCountryCode": code,
            "CreatedDate": stamp,
            "LastModifiedDate": stamp,
            "SystemModstamp": stamp,
        }


def has_good_email(row: Row) -> bool:
    """Whether a contact is one that has to be delivered."""
    return row["Email"] is not None and "@" in row["Email"]


def row_of(salesforce_id: str) -> int:
    """The number of the row that has this Id."""
    number = 0
    for sign in salesforce_id[6:15]:
        number = number * 62 + _DIGITS[sign]
    return number


def _seconds(number: int) -> array[int]:
    """The second of every row, in order: alone, in small groups, or with hundreds in a load."""
    dice = random.Random(number)
    sizes: list[int] = []
    loaded = alone = 0
    while loaded + alone < number:
        size = dice.randrange(200, 900) if loaded <= 0.4 * (loaded + alone) else 1
        if size > 1:
            loaded += size
        else:
            size = dice.choice((1, 1, 1, 1, 2, 3))
            alone += size
        sizes.append(size)
    # Loads lie scattered among the others, not where the loop above happened to place them.
    dice.shuffle(sizes)
    step = (_NEWEST - _OLDEST) / (len(sizes) + 1)
    seconds = array("q")
    for at, size in enumerate(sizes):
        seconds.extend([int(_OLDEST + step * at)] * size)
    return seconds[:number]


def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _email(local: str, dice: random.Random) -> str | None:
    shape = dice.random()
    if shape < 0.03:
        return None
    local = local.translate(_ASCII)
    if shape < 0.032:
        return f"{local} at example.com"
    domain = f"{dice.choice(_COMPANY_HEADS)}{dice.choice(_COMPANY_TAILS)}.example"
    address = f"{local}@{domain}"
    return address if dice.random() < 0.3 else address.lower()


def _phone(pattern: str, dice: random.Random) -> str | None:
    if dice.random() < 0.06:
        return dice.choice(_NO_NUMBERS)
    digits = iter(f"{dice.randrange(10**12):012d}")
    return "".join([next(digits) if sign == "#" else sign for sign in pattern])


def _company(number: int) -> str:
    head, rest = _COMPANY_HEADS[number % 16], number // 16
    return f"{head}{_COMPANY_TAILS[rest % 16]} {_COMPANY_ENDS[rest // 16 % 7]} {rest // 112}"


_ASCII = str.maketrans("éáëö", "eaeo")
