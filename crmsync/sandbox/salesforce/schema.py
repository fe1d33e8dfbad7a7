"""The objects of the sandbox's org and their fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

TEXT_TYPES = frozenset({"string", "picklist", "multipicklist", "textarea", "phone", "email", "url"})
ID_TYPES = frozenset({"id", "reference"})
NUMBER_TYPES = frozenset({"int", "double", "currency", "percent"})

# A line is: name, type, flags (- for none), label. Types: `string(80)`; `->Account` a reference to it.
# Flags: w writable, r required (not nillable), d defaulted on create, t too long to filter or sort by,
# n the name field, p part of a person's name, s settable only by the system (though nillable).
# A line `@Mailing MailingAddress` stands for the whole compound address.
_AUDIT = """
CreatedDate           datetime      rd  Created Date
CreatedById           ->User        rd  Created By ID
LastModifiedDate      datetime      rd  Last Modified Date
LastModifiedById      ->User        rd  Last Modified By ID
SystemModstamp        datetime      rd  System Modstamp
"""
_ACTIVITY = """
LastActivityDate      date          s   Last Activity
LastViewedDate        datetime      s   Last Viewed Date
LastReferencedDate    datetime      s   Last Referenced Date
"""
_CONTACT = f"""
Id                    id            rd  Contact ID
IsDeleted             boolean       rd  Deleted
MasterRecordId        ->Contact     s   Master Record ID
AccountId             ->Account     w   Account ID
LastName              string(80)    wrp Last Name
FirstName             string(40)    wp  First Name
Salutation            picklist(40)  wp  Salutation
Name                  string(121)   rn  Full Name
@Other OtherAddress
@Mailing MailingAddress
Phone                 phone(40)     w   Business Phone
Fax                   phone(40)     w   Business Fax
MobilePhone           phone(40)     w   Mobile Phone
HomePhone             phone(40)     w   Home Phone
OtherPhone            phone(40)     w   Other Phone
AssistantPhone        phone(40)     w   Asst. Phone
ReportsToId           ->Contact     w   Reports To ID
Email                 email(80)     w   Email
Title                 string(128)   w   Title
Department            string(80)    w   Department
AssistantName         string(40)    w   Assistant's Name
LeadSource            picklist(255) w   Lead Source
Birthdate             date          w   Birthdate
Description           textarea(32000) wt Contact Description
OwnerId               ->User        wrd Owner ID
HasOptedOutOfEmail    boolean       wrd Email Opt Out
DoNotCall             boolean       wrd Do Not Call
{_AUDIT}
{_ACTIVITY}
EmailBouncedReason    string(255)   w   Email Bounced Reason
EmailBouncedDate      datetime      w   Email Bounced Date
IsEmailBounced        boolean       r   Is Email Bounced
PhotoUrl              url(255)      s   Photo URL
RecordTypeId          ->RecordType  w   Record Type ID
Account_Rating__c     string(1300)  =Account.Rating Account Rating
"""
_ACCOUNT = f"""
Id                    id            rd  Account ID
IsDeleted             boolean       rd  Deleted
MasterRecordId        ->Account     s   Master Record ID
Name                  string(255)   wrn Account Name
Type                  picklist(40)  w   Account Type
ParentId              ->Account     w   Parent Account ID
@Billing BillingAddress
@Shipping ShippingAddress
Phone                 phone(40)     w   Account Phone
Fax                   phone(40)     w   Account Fax
AccountNumber         string(40)    w   Account Number
Website               url(255)      w   Website
PhotoUrl              url(255)      s   Photo URL
Sic                   string(20)    w   SIC Code
Industry              picklist(40)  w   Industry
AnnualRevenue         currency      w   Annual Revenue
NumberOfEmployees     int           w   Employees
Ownership             picklist(40)  w   Ownership
TickerSymbol          string(20)    w   Ticker Symbol
Description           textarea(32000) wt Account Description
Rating                picklist(40)  w   Account Rating
Site                  string(80)    w   Account Site
OwnerId               ->User        wrd Owner ID
{_AUDIT}
{_ACTIVITY}
AccountSource         picklist(255) w   Account Source
RecordTypeId          ->RecordType  w   Record Type ID
"""
_LEAD = f"""
Id                    id            rd  Lead ID
IsDeleted             boolean       rd  Deleted
MasterRecordId        ->Lead        s   Master Record ID
LastName              string(80)    wrp Last Name
FirstName             string(40)    wp  First Name
Salutation            picklist(40)  wp  Salutation
Name                  string(121)   rn  Full Name
Title                 string(128)   w   Title
Company               string(255)   wr  Company
@ Address
Phone                 phone(40)     w   Phone
MobilePhone           phone(40)     w   Mobile Phone
Fax                   phone(40)     w   Fax
Email                 email(80)     w   Email
Website               url(255)      w   Website
PhotoUrl              url(255)      s   Photo URL
Description           textarea(32000) wt Description
LeadSource            picklist(255) w   Lead Source
Status                picklist(255) wrd Status
Industry              picklist(255) w   Industry
Rating                picklist(255) w   Rating
AnnualRevenue         currency      w   Annual Revenue
NumberOfEmployees     int           w   Employees
OwnerId               ->User        wrd Owner ID
HasOptedOutOfEmail    boolean       wrd Email Opt Out
DoNotCall             boolean       wrd Do Not Call
IsConverted           boolean       rd  Converted
ConvertedDate         date          s   Converted Date
ConvertedAccountId    ->Account     s   Converted Account ID
ConvertedContactId    ->Contact     s   Converted Contact ID
IsUnreadByOwner       boolean       wrd Unread By Owner
{_AUDIT}
{_ACTIVITY}
EmailBouncedReason    string(255)   w   Email Bounced Reason
EmailBouncedDate      datetime      w   Email Bounced Date
"""
_USER = f"""
Id                    id            rd  User ID
Username              string(80)    wr  Username
LastName              string(80)    wrp Last Name
FirstName             string(40)    wp  First Name
Name                  string(121)   rn  Full Name
CompanyName           string(80)    w   Company Name
Department            string(80)    w   Department
Title                 string(80)    w   Title
Email                 email(128)    wr  Email
Phone                 phone(40)     w   Phone
Alias                 string(8)     wr  Alias
IsActive              boolean       wrd Active
TimeZoneSidKey        picklist(40)  wr  Time Zone
LocaleSidKey          picklist(40)  wr  Locale
ManagerId             ->User        w   Manager ID
{_AUDIT}
"""
_RECORD_TYPE = f"""
Id                    id            rd  Record Type ID
Name                  string(80)    wrn Name
DeveloperName         string(80)    wr  Record Type Name
Description           string(255)   w   Description
SobjectType           picklist(40)  wr  SObject Type Name
IsActive              boolean       wrd Active
{_AUDIT}
"""
_PICKLISTS = {
    "Salutation": ("Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Mx."),
    "LeadSource": ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"),
    "AccountSource": ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"),
    "Type": ("Prospect", "Customer - Direct", "Customer - Channel", "Other"),
    "Industry": ("Agriculture", "Banking", "Consulting", "Education", "Retail", "Technology"),
    "Ownership": ("Public", "Private", "Subsidiary", "Other"),
    "Rating": ("Hot", "Warm", "Cold"),
    "Status": ("Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"),
    "SobjectType": ("Account", "Contact"),
    "TimeZoneSidKey": ("America/Los_Angeles", "Europe/Paris", "Asia/Tokyo"),
    "LocaleSidKey": ("en_US", "fr_FR", "ja_JP"),
}
_ADDRESS = """
Street                textarea(255) w   Street
City                  string(40)    w   City
State                 string(80)    w   State/Province
PostalCode            string(20)    w   Zip/Postal Code
Country               string(80)    w   Country
StateCode             picklist(10)  w   State/Province Code
CountryCode           picklist(10)  w   Country Code
Latitude              double        w   Latitude
Longitude             double        w   Longitude
GeocodeAccuracy       picklist(40)  w   Geocode Accuracy
"""
_LINE = re.compile(r"(\w+) +(->)?(\w+)(?:\((\d+)\))? +(\S+) +(.+)")


@dataclass(frozen=True, slots=True)
class Field:
    """One field, named and typed as describe does. `reference` is the parent object, `formula` a field path.

    `compound` names the address or name the field is a part of.
    """

    name: str
    type: str
    label: str
    length: int = 0
    writable: bool = False
    nillable: bool = True
    defaulted: bool = False
    filterable: bool = True
    reference: str | None = None
    compound: str | None = None
    formula: str | None = None
    name_field: bool = False
    picklist: tuple[str, ...] = ()

    @property
    def relationship(self) -> str | None:
        return self.name.removesuffix("Id") if self.reference else None

    @property
    def sortable(self) -> bool:
        return self.filterable and self.type != "address"

    @property
    def country_picklist(self) -> bool:
        """Whether the field exists only with state and country picklists."""
        return self.type == "picklist" and self.name.endswith(("StateCode", "CountryCode"))


@dataclass(frozen=True, slots=True)
class Entity:
    """One object: `fields` by name, in describe's order."""

    name: str
    plural: str
    prefix: str
    fields: Mapping[str, Field]
    deletable: bool = True


def _fields(table: str) -> Iterator[Field]:
    for line in table.strip().splitlines():
        if line.startswith("@"):
            prefix, compound = line[1:].split(" ")
            yield from _address(prefix, compound)
        elif line:
            yield _field(line)


def _field(line: str) -> Field:
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError(f"not a field: {line}")
    name, arrow, kind, length, flags, label = match.groups()
    formula = flags[1:] if flags.startswith("=") else None
    flags = "" if formula else flags
    return Field(
        name=name,
        type="reference" if arrow else kind,
        label=label,
        length=int(length) if length else 18 if arrow or kind == "id" else 0,
        writable="w" in flags,
        nillable="r" not in flags,
        defaulted="d" in flags,
        filterable="t" not in flags,
        reference=kind if arrow else None,
        compound="Name" if "p" in flags else None,
        formula=formula,
        name_field="n" in flags,
        picklist=_PICKLISTS.get(name, ()),
    )


def _address(prefix: str, compound: str) -> Iterator[Field]:
    for part in _fields(_ADDRESS):
        yield replace(
            part, name=prefix + part.name, label=f"{prefix} {part.label}".strip(), compound=compound
        )
    yield Field(name=compound, type="address", label=f"{prefix} Address".strip())


def _entity(name: str, plural: str, prefix: str, table: str, *, deletable: bool = True) -> Entity:
    return Entity(name, plural, prefix, {field.name: field for field in _fields(table)}, deletable)


ENTITIES: Mapping[str, Entity] = {
    "Account": _entity("Account", "Accounts", "001", _ACCOUNT),
    "Contact": _entity("Contact", "Contacts", "003", _CONTACT),
    "Lead": _entity("Lead", "Leads", "00Q", _LEAD),
    "RecordType": _entity("RecordType", "Record Types", "012", _RECORD_TYPE, deletable=False),
    "User": _entity("User", "Users", "005", _USER, deletable=False),
}
