"""The raw material of the sandbox's people: reserved domains, and numbers set aside for fiction."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_NAMES = (
    "Ada", "Bo", "Chiara", "Dmitri", "Efua", "Farid", "Gwen", "Hiro", "Ines", "Jamal", "Kaja", "Lior",
    "Mei", "Noor", "Ola", "Priya", "Quentin", "Rosa", "Sven", "Tomas", "Uma", "Viktor", "Wanda", "Xavi",
    "Yuki", "Zeno",
)  # fmt: skip
LAST_NAMES = (
    "Albrook", "Bellweather", "Castellane", "Dunmarrow", "Eriksholm", "Fennimore", "Grantley",
    "Hollowell", "Ibarrola", "Jessamy", "Kirkbride", "Lindqvarn", "Montaigue", "Norwick", "Oakhanger",
    "Pemberlane", "Quillfeather", "Ravensdale", "Sandoral", "Thistlewood", "Underhay", "Vanterpool",
    "Wetherlam", "Yarrowby",
)  # fmt: skip
COMPANIES = (
    "Norwick Test Works", "Example & Sons", "Ünïcode Industries", "Fictional Freight, Inc.", "Null GmbH",
    "  Padded Holdings ", "Tabula\tRasa", "株式会社サンプル", "O'Placeholder Ltd", "=SUM(Fakes) LLC",
)  # fmt: skip
DOMAINS = ("example.com", "example.org", "mail.example.net", "crm.test", "people.example")
TITLES = ("Engineer", "Head of Sales", "Buyer", "CTO", "Nurse", "Directrice générale", "部長", None)
LONG_TITLE = (
    "Senior Executive Vice President of Global Strategic Partnerships, Alliances and Everything " * 2
)[:128]

# First and last names that programs trip over.
NASTY_NAMES: tuple[tuple[str | None, str], ...] = (
    ("Zoe\u0308", "Mu\u0308ller"),  # decomposed
    ("Zo\u00eb", "M\u00fcller"),  # composed
    ("\U0001f469\u200d\U0001f680", "Star\U0001f31f"),
    ("\u05d3\u05e0\u05d4", "\u05dc\u05d5\u05d9"),  # right to left
    ("\u202eabc", "Override"),
    ("Z\u0335\u0321a\u0338\u0322l\u0337go", "Combining"),
    ("Se\u00e1n", "O'Brien-D\u2019Arcy"),
    ("  Leading", "Trailing  "),
    ("Line\nBreak", "Carriage\r\nReturn"),
    ("Tab\there", "Bell\x07Esc\x1b"),
    ("=HYPERLINK(\"http://x.example\")", "+1+1"),
    ("@SUM(A1)", "-2-3"),
    ("<script>alert(1)</script>", "<b>Bold</b> & \"Quoted\""),
    ("\x1b[31mRed\x1b[0m", "\x1b]0;title\x07"),
    ("Robert'); DROP TABLE profiles;--", "Tables"),
    ("{{7*7}}", "${jndi}"),
    (None, "Mononym"),
    ("NULL", "None"),
    ("NA", "null"),
    ("\u5c71\u7530", "\u592a\u90ce"),
    ("\uff21\uff22\uff23", "Fullwidth"),
    ("A\u00a0B", "Non\u2003Breaking"),
    ("Comma, Semi; Quote\"", "Back\\slash"),
    ("\u00df\u0130\u0131", "Casefold"),
    ("\ufeffBom", "Zero\u200bWidth"),
)  # fmt: skip

# What becomes of an ordinary address "local@domain": none at all, no address, or one that is valid but odd.
BLANK_EMAILS: tuple[str | None, ...] = (None, "   ", "\u00a0")
MALFORMED_EMAILS = (
    "not-an-address",
    "@{domain}",
    "{local}@",
    "{local}@@{domain}",
    "{local}@{domain}, second.{local}@{domain}",
    "{local} at {domain}",
    "{local}..dots@{domain}",
    "\u200b{local}@{domain}",
    "mailto:{local}@{domain}",
    "Someone <{local}@{domain}>",
    "n/a",
)
ODD_EMAILS = (
    "{local}@localhost",
    "{UPPER}@{DOMAIN}",
    "  {local}@{domain}  ",
    "\u00a0{local}@{domain}\u2003",
    "{local}+tag@{domain}",
    "{local}@b\u00fccher.example",
    "jos\u00e9.{local}@{domain}",
    "{local}@{domain}\n",
)

# Objects with the names of their record types.
RECORD_TYPES = (
    ("Account", "Business"),
    ("Account", "Household"),
    ("Contact", "Customer"),
    ("Contact", "Supplier Staff"),
)


@dataclass(frozen=True, slots=True)
class Country:
    """A country as Salesforce names it. `phone` is a national format with `#` for any digit.

    The numbers are from a range set aside for fiction where the country has one.
    """

    name: str
    code: str
    phone: str
    city: str


COUNTRIES = (
    Country("United States", "US", "(212) 555-01##", "New York"),
    Country("Canada", "CA", "416-555-01##", "Toronto"),
    Country("United Kingdom", "GB", "020 7946 0###", "London"),
    Country("United Kingdom", "GB", "0113 496 0###", "Leeds"),
    Country("Ireland", "IE", "(01) 555 01##", "Dublin"),
    Country("Australia", "AU", "02 5550 ####", "Sydney"),
    Country("France", "FR", "01 99 00 ## ##", "Paris"),
    Country("Germany", "DE", "030 23125-###", "Berlin"),
    Country("Sweden", "SE", "08-465 004 ##", "Stockholm"),
    Country("Italy", "IT", "06 5550 01##", "Roma"),
    Country("Spain", "ES", "915 550 1##", "Madrid"),
    Country("Japan", "JP", "03-5550-01##", "東京"),
    Country("Brazil", "BR", "(11) 5550-01##", "São Paulo"),
    Country("India", "IN", "022 5550 01##", "Mumbai"),
    Country("Mexico", "MX", "55 5550 01##", "Ciudad de México"),
    Country("Switzerland", "CH", "044 555 01 ##", "Zürich"),
)

NASTY_PHONES: tuple[str | None, ...] = (
    None,
    "   ",
    "12",
    "call the assistant",
    "+1 212 555 0142",
    "0044 20 7946 0018",
    "+44 (0)20 7946 0018",
    "(212) 555-0142 x204",
    "(212) 555-0143 ext. 17",
    "020 7946 0018 / 07700 900461",
    "212-555-0144; 212-555-0145",
    "\uff10\uff12\uff10 \uff17\uff19\uff14\uff16 \uff10\uff10\uff11\uff18",
    "\u0660\u0662\u0660 \u0667\u0669\u0664\u0666 \u0660\u0660\u0661\u0668",
    "212.555.0146",
    "1-800-555-TEST",
    "+999 1234 5678",
    "00000000000",
    "tel:+12125550147",
    "\u202a+12125550148\u202c",
    "212\u00a0555\u00a00149",
)
