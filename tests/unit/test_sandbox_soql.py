"""The sandbox's SOQL: what it accepts, what it refuses and how, and what it finds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.soql import SoqlError, parse
from crmsync.sandbox.salesforce.soql_eval import run
from crmsync.sandbox.salesforce.switches import Switches
from crmsync.sandbox.salesforce.values import long_id
from crmsync.sandbox.web import Clock

BASE = "/services/data/v60.0"


@pytest.fixture
def org() -> Org:
    clock = Clock()
    clock.freeze(datetime(2026, 5, 1, 12, tzinfo=UTC))
    org = Org(clock, Switches(), seed=1)
    (user,) = org.insert(
        "User",
        [
            {
                "LastName": "Owner",
                "Username": "o@x.example",
                "Email": "o@x.example",
                "Alias": "o",
                "IsActive": True,
            }
        ],
    )
    account, bare = org.insert(
        "Account",
        [{"Name": "Acme", "OwnerId": user, "Rating": "Hot", "AnnualRevenue": 3.0}, {"Name": "Bare"}],
    )
    for second, row in enumerate(
        [
            {
                "LastName": "alpha",
                "FirstName": "A",
                "Email": "A@X.example",
                "AccountId": account,
                "DoNotCall": True,
            },
            {"LastName": "Beta", "Email": "b@x.example", "AccountId": bare, "Birthdate": "2000-01-02"},
            {"LastName": "Gamma_1", "Title": "50% off", "MailingCity": "Cork"},
            {"LastName": "it's", "Email": "d@x.example", "Description": "long"},
        ]
    ):
        org.insert("Contact", [row], stamp=f"2026-04-01T00:00:0{second}.000+0000")
    return org


def found(org: Org, query: str, *, include_deleted: bool = False) -> list[dict[str, Any]]:
    result = run(query, org, BASE, include_deleted=include_deleted)
    return [result.write(row, org.rows()) for row in result.rows]


def names(org: Org, where: str) -> list[str]:
    query = f"SELECT LastName FROM Contact WHERE {where} ORDER BY SystemModstamp, Id"
    return [row["LastName"] for row in found(org, query)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("LastName = 'ALPHA'", ["alpha"]),
        ("Email LIKE '%@X.EXAMPLE'", ["alpha", "Beta", "it's"]),
        (r"LastName LIKE 'gamma\_1'", ["Gamma_1"]),
        (r"LastName LIKE 'gamm\_\_1'", []),
        ("LastName LIKE 'gamm__1'", ["Gamma_1"]),
        (r"Title LIKE '50\%%'", ["Gamma_1"]),
        (r"LastName = 'it\'s'", ["it's"]),
        (r"LastName = '\u0062eta'", ["Beta"]),
        ("Email = null", ["Gamma_1"]),
        ("Email = ''", ["Gamma_1"]),
        ("Email != null", ["alpha", "Beta", "it's"]),
        ("Email != 'b@x.example'", ["alpha", "Gamma_1", "it's"]),
        ("DoNotCall = true", ["alpha"]),
        ("doNotCall = FALSE", ["Beta", "Gamma_1", "it's"]),
        ("Birthdate > 2000-01-01", ["Beta"]),
        ("Account.AnnualRevenue >= 3", ["alpha"]),
        ("Account.Owner.Email = 'o@x.example'", ["alpha", "Beta"]),
        ("Account.Name = null", ["Gamma_1", "it's"]),
        ("LastName IN ('beta', 'IT\\'S')", ["Beta", "it's"]),
        ("LastName NOT IN ('beta')", ["alpha", "Gamma_1", "it's"]),
        ("NOT LastName = 'beta'", ["alpha", "Gamma_1", "it's"]),
        ("(LastName = 'beta' OR Title != null) AND Email = null", ["Gamma_1"]),
        ("SystemModstamp >= 2026-04-01T00:00:01Z AND SystemModstamp < 2026-04-01T00:00:02Z", ["Beta"]),
        ("SystemModstamp >= 2026-04-01T00:00:01.999Z AND SystemModstamp <= 2026-04-01T00:00:01Z", ["Beta"]),
        ("SystemModstamp = 2026-04-01T02:00:01+02:00", ["Beta"]),
        ("SystemModstamp = 2026-03-31T18:00:01.299852-0600", ["Beta"]),
        ("SystemModstamp > 2026-04-01T00:00:02Z", ["it's"]),
        ("NOT SystemModstamp > 2026-04-01T00:00:00Z", ["alpha"]),
    ],
)
def test_conditions(org: Org, where: str, expected: list[str]) -> None:
    assert names(org, where) == expected


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("SELECT Id FORM Contact", "MALFORMED_QUERY", "unexpected token: 'FORM'"),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id, ID FROM Contact", "MALFORMED_QUERY", "duplicate field selected: Id"),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2026-01-01T00:00:00 00:00",
            "MALFORMED_QUERY",
            "ERROR at Row:1:Column:66\nline 1:66 no viable alternative at character ' '",
        ),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2026-01-01T00:00:00",
            "MALFORMED_QUERY",
            "line 1:66 no viable alternative at character '<EOF>'",
        ),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2026-01-01T00:00:00+0000Z",
            "MALFORMED_QUERY",
            "unexpected token: 'Z'",
        ),
        ("SELECT Id FROM Contact WHERE Id = '1' AND Id = '2' OR Id = '3'", "MALFORMED_QUERY", "'OR'"),
        ("SELECT Id FROM Contact OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
        (r"SELECT Id FROM Contact WHERE Email = '\q'", "MALFORMED_QUERY", "escape"),
        (
            "SELECT Id, Foo__c FROM Contact",
            "INVALID_FIELD",
            "\nSELECT Id, Foo__c FROM Contact\n           ^\nERROR at Row:1:Column:12\n"
            "No such column 'Foo__c' on entity 'Contact'. If you are attempting to use a custom field, "
            "be sure to append the '__c' after the custom "
            "field name. Please reference your WSDL or the describe call for the appropriate names.",
        ),
        ("SELECT Id FROM XYZZY", "INVALID_TYPE", "sObject type 'XYZZY' is not supported."),
        ("SELECT Nobody.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Nobody'"),
        (
            "SELECT Id FROM Contact WHERE LastModifiedDate > '2026-01-01T00:00:00Z'",
            "INVALID_FIELD",
            "value of filter criterion for field 'LastModifiedDate' must be of type dateTime and should not be "
            "enclosed in quotes",
        ),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2026-01-01",
            "INVALID_FIELD",
            "must be of type dateTime",
        ),
        (
            "SELECT Id FROM Contact WHERE Birthdate > 2026-01-01T00:00:00Z",
            "INVALID_FIELD",
            "must be of type date",
        ),
        ("SELECT Id FROM Contact WHERE Email = 3", "INVALID_FIELD", "should be enclosed in quotes"),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered"),
        ("SELECT Id FROM Contact ORDER BY MailingAddress", "INVALID_FIELD", "can not be sorted"),
        (
            "SELECT Id FROM Contact WHERE Id = 'short'",
            "INVALID_QUERY_FILTER_OPERATOR",
            "invalid ID field: short",
        ),
        ("SELECT Id FROM Contact WHERE Email > null", "INVALID_QUERY_FILTER_OPERATOR", "operator"),
        ("SELECT Id FROM Contact WHERE SystemModstamp LIKE 'x'", "INVALID_QUERY_FILTER_OPERATOR", "operator"),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp = 2026-13-01T00:00:00Z",
            "MALFORMED_QUERY",
            "Invalid date",
        ),
        (f"SELECT Id FROM Contact WHERE Email = '{'x' * 4001}'", "MALFORMED_QUERY", "4000"),
        (f"SELECT Id FROM Contact WHERE Email = '{'x' * 100_000}'", "QUERY_TOO_COMPLICATED", "100000"),
    ],
)
def test_refusals(org: Org, query: str, code: str, message: str) -> None:
    with pytest.raises(SoqlError) as refused:
        run(query, org, BASE, include_deleted=False)
    assert refused.value.code == code
    assert message in refused.value.message


def test_a_long_query_is_shown_in_part(org: Org) -> None:
    with pytest.raises(SoqlError) as refused:
        run(
            f"SELECT Id FROM Contact WHERE Email = '{'x' * 500}' AND Foo = 1",
            org,
            BASE,
            include_deleted=False,
        )
    _, excerpt, caret, position, _ = refused.value.message.split("\n")
    assert excerpt[len(caret) - 1 :].startswith("Foo = 1")
    assert position == "ERROR at Row:1:Column:545"


def test_rows_are_written_in_canonical_case_and_nested(org: Org) -> None:
    (row,) = found(
        org,
        "select account.owner.EMAIL, lastname, ACCOUNT.name, mailingaddress, title, account_rating__C from contact "
        "where lastname = 'alpha'",
    )
    account, owner = row["Account"], row["Account"]["Owner"]
    assert list(row) == ["attributes", "Account", "LastName", "MailingAddress", "Title", "Account_Rating__c"]
    assert owner == {"attributes": owner["attributes"], "Email": "o@x.example"}
    assert account["attributes"]["type"] == "Account"
    assert account["attributes"]["url"].startswith(f"{BASE}/sobjects/Account/001")
    assert (account["Name"], row["MailingAddress"], row["Title"], row["Account_Rating__c"]) == (
        "Acme",
        None,
        None,
        "Hot",
    )


def test_a_missing_parent_is_null(org: Org) -> None:
    (row,) = found(org, "SELECT Account.Name, MailingAddress FROM Contact WHERE LastName = 'Gamma_1'")
    assert row["Account"] is None
    assert row["MailingAddress"]["city"] == "Cork"
    assert row["MailingAddress"]["countryCode"] is None


def test_a_short_id_means_the_long_one(org: Org) -> None:
    (row,) = found(org, "SELECT Id FROM Contact WHERE LastName = 'Beta'")
    id_ = row["Id"]
    assert long_id(id_[:15]) == id_
    assert found(org, f"SELECT Id FROM Contact WHERE Id = '{id_[:15]}'") == [row]
    assert found(org, f"SELECT Id FROM Contact WHERE Id IN ('{id_}')") == [row]
    assert found(org, f"SELECT Id FROM Contact WHERE Id = '{id_[:15].swapcase()}'") == []


def test_counting(org: Org) -> None:
    assert run("SELECT COUNT() FROM Contact", org, BASE, include_deleted=False).total == 4
    result = run("SELECT COUNT(Id), COUNT(Email) mails FROM Contact", org, BASE, include_deleted=False)
    assert result.aggregate == {"attributes": {"type": "AggregateResult"}, "expr0": 4, "mails": 3}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("Email", ["Gamma_1", "alpha", "Beta", "it's"]),
        ("Email DESC", ["Gamma_1", "it's", "Beta", "alpha"]),
        ("Email NULLS LAST", ["alpha", "Beta", "it's", "Gamma_1"]),
        ("Email DESC NULLS LAST", ["it's", "Beta", "alpha", "Gamma_1"]),
        ("LastName", ["alpha", "Beta", "Gamma_1", "it's"]),
        ("Account.Name DESC NULLS LAST, LastName DESC", ["Beta", "alpha", "it's", "Gamma_1"]),
        ("SystemModstamp DESC LIMIT 2 OFFSET 1", ["Gamma_1", "Beta"]),
    ],
)
def test_order(org: Org, order: str, expected: list[str]) -> None:
    assert [
        row["LastName"] for row in found(org, f"SELECT LastName FROM Contact ORDER BY {order}")
    ] == expected


def test_ties_have_no_useful_order_unless_the_id_breaks_them(org: Org) -> None:
    ids = org.insert("Lead", [{"LastName": "x", "Company": "y"}] * 50)
    by_stamp = [row["Id"] for row in found(org, "SELECT Id FROM Lead ORDER BY SystemModstamp")]
    assert sorted(by_stamp) == sorted(ids)
    assert by_stamp != sorted(ids)
    assert [row["Id"] for row in found(org, "SELECT Id FROM Lead ORDER BY SystemModstamp, Id")] == sorted(ids)


def test_deleted_rows_show_only_when_asked_for(org: Org) -> None:
    (row,) = found(org, "SELECT Id FROM Contact WHERE LastName = 'Beta'")
    org.delete("Contact", row["Id"])
    assert names(org, "LastName = 'Beta'") == []
    (gone,) = found(org, "SELECT IsDeleted FROM Contact WHERE LastName = 'Beta'", include_deleted=True)
    assert gone["IsDeleted"] is True


def test_a_hidden_field_does_not_exist(org: Org) -> None:
    org.hide_field("Account", "Name")
    with pytest.raises(SoqlError, match="No such column 'Name' on entity 'Account'"):
        run("SELECT Account.Name FROM Contact", org, BASE, include_deleted=False)
    org.hide_field("Account", "Name", hidden=False)
    assert len(found(org, "SELECT Account.Name FROM Contact")) == 4


def test_a_user_has_no_deleted_flag(org: Org) -> None:
    with pytest.raises(SoqlError, match="No such column 'IsDeleted' on entity 'User'"):
        run("SELECT IsDeleted FROM User", org, BASE, include_deleted=True)


def test_words_of_the_language_may_be_field_names() -> None:
    query = parse("SELECT Asc, First FROM Order WHERE Last = 'x' ORDER BY Limit DESC LIMIT 3")
    assert [path.text for path in query.fields] == ["Asc", "First"]
    assert query.order[0].path.text == "Limit"
    assert query.limit == 3
