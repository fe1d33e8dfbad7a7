"""The sandbox's Salesforce over HTTP: what every resource answers, refuses and counts; and a foreign client."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import jwt
import pytest
import requests
import simple_salesforce
from requests.adapters import HTTPAdapter

from crmsync.sandbox.salesforce import SalesforceService
from crmsync.sandbox.server import SandboxServer
from crmsync.sandbox.web import Clock, Request, Response

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DATA = "/services/data/v60.0"
TOKEN = "/services/oauth2/token"
TOKEN_KEYS = {"access_token", "instance_url", "id", "token_type"}
ORDERED = "SELECT Id, SystemModstamp, Name FROM Contact ORDER BY SystemModstamp, Id"


class Caller:
    """Calls a service as an HTTP client would, with a session's token."""

    def __init__(self, service: SalesforceService) -> None:
        self.service = service
        self.token = service.credentials.access_token

    def send(self, method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("authorization", f"Bearer {self.token}")
        return self.service.handle(Request(method, path, query, named, body))

    def get(self, path: str, query: str = "", **headers: str) -> Any:
        response = self.send("GET", path, query, **headers)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def refused(
        self, path: str, query: str = "", method: str = "GET", **headers: str
    ) -> tuple[int, str, str]:
        response = self.send(method, path, query, **headers)
        (error,) = json.loads(response.body)
        return response.status, error["errorCode"], error["message"]

    def query(self, soql: str, *, deleted: bool = False, **headers: str) -> Any:
        return self.get(f"{DATA}/{'queryAll' if deleted else 'query'}/", urlencode({"q": soql}), **headers)

    def login(self, form: dict[str, str], **headers: str) -> Response:
        headers.setdefault("content_type", "application/x-www-form-urlencoded")
        return self.send("POST", TOKEN, body=urlencode(form).encode(), authorization="", **headers)

    def control(self, action: str, **arguments: Any) -> Any:
        return self.service.control(action, arguments)


@pytest.fixture
def org() -> Caller:
    clock = Clock()
    clock.freeze(NOON)
    return Caller(SalesforceService(450, 3, base_url="https://sandbox.my.salesforce.com", clock=clock))


def pages(org: Caller, first: dict[str, Any]) -> list[dict[str, Any]]:
    found = [first]
    while not found[-1]["done"]:
        assert len(found) < 50
        found.append(org.get(found[-1]["nextRecordsUrl"]))
    assert "nextRecordsUrl" not in found[-1]
    return found


# --- every response


def test_versions_need_no_session_and_cost_nothing(org: Caller) -> None:
    response = org.send("GET", "/services/data/", authorization="")
    versions = {each["version"]: each for each in json.loads(response.body)}
    assert versions["59.0"] == {"version": "59.0", "label": "Winter '24", "url": "/services/data/v59.0"}
    assert versions["68.0"]["label"] == "Winter '27"
    assert "Sforce-Limit-Info" not in response.headers
    assert org.control("quota")["used"] == 0


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "INVALID_AUTH_HEADER"),
        ("Basic abc", "INVALID_AUTH_HEADER"),
        ("Bearer", "INVALID_AUTH_HEADER"),
        ("Bearer 00Dx!wrong", "INVALID_SESSION_ID"),
        ("Bearer aaa.bbb.ccc", "INVALID_JWT_FORMAT"),
    ],
)
def test_a_wrong_bearer(org: Caller, authorization: str, code: str) -> None:
    response = org.send("GET", f"{DATA}/limits", authorization=authorization)
    assert (response.status, json.loads(response.body)[0]["errorCode"]) == (401, code)
    assert response.headers["WWW-Authenticate"] == "Token"


def test_pretty_printing(org: Caller) -> None:
    assert b"\n" not in org.send("GET", f"{DATA}/limits").body
    assert b"\n  " in org.send("GET", f"{DATA}/limits", x_prettyprint="1").body


def test_the_limit_header_in_all_its_forms(org: Caller) -> None:
    def used() -> str | None:
        return org.send("GET", f"{DATA}/sobjects").headers.get("Sforce-Limit-Info")

    assert [used(), used()] == ["api-usage=1/100000", "api-usage=2/100000"]
    org.control("switches", limit_header="per_app")
    assert used() == "api-usage=3/100000; per-app-api-usage=17/250(appName=sandbox)"
    org.control("switches", limit_header="absent")
    assert used() is None
    org.control("switches", limit_header="backwards")
    org.control("quota", used=100)
    assert [used(), used(), used()] == ["api-usage=98/100000", "api-usage=102/100000", "api-usage=100/100000"]


def test_the_daily_quota_ends(org: Caller) -> None:
    org.control("quota", used=9, max=10)
    org.get(f"{DATA}/sobjects")
    assert org.refused(f"{DATA}/sobjects") == (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{DATA}/nonsense", 404, "NOT_FOUND"),
        ("GET", f"{DATA}/sobjects/Nonsense/describe", 404, "NOT_FOUND"),
        ("GET", "/services/nonsense", 404, "NOT_FOUND"),
        ("GET", "/services/data/v20.0/sobjects", 404, "UNSUPPORTED_API_VERSION"),
        ("POST", f"{DATA}/query", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", f"{DATA}/sobjects/Contact", 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"{DATA}/composite", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_is_not_there(org: Caller, method: str, path: str, status: int, code: str) -> None:
    assert org.refused(path, method=method)[:2] == (status, code)


def test_a_retired_version_may_be_gone(org: Caller) -> None:
    org.control("switches", unsupported_version=410)
    assert org.refused("/services/data/v20.0/sobjects")[0] == 410


def test_long_requests_get_html(org: Caller) -> None:
    long = org.send("GET", f"{DATA}/query", "q=" + "x" * 16_384)
    assert (long.status, long.body[:4]) == (414, "<h1>")
    heavy = org.send("GET", f"{DATA}/query", "q=" + "x" * 8_000, x_other="y" * 8_500)
    assert (heavy.status, heavy.body[:24]) == (431, "<h1>Bad Message 431</h1>")


# --- metadata


def test_describe(org: Caller) -> None:
    listed = {each["name"]: each for each in org.get(f"{DATA}/sobjects")["sobjects"]}
    assert set(listed) == {"Account", "Contact", "Lead", "RecordType", "User"}
    document = org.get(f"{DATA}/sobjects/contact/describe")
    assert listed["Contact"].items() <= (document | {"urls": listed["Contact"]["urls"]}).items()
    fields = {field["name"]: field for field in document["fields"]}
    assert {len(field) for field in fields.values()} == {57}
    assert (fields["AccountId"]["relationshipName"], fields["AccountId"]["referenceTo"]) == (
        "Account",
        ["Account"],
    )
    assert (fields["SystemModstamp"]["soapType"], fields["SystemModstamp"]["nillable"]) == (
        "xsd:dateTime",
        False,
    )
    assert fields["MailingCity"]["compoundFieldName"] == "MailingAddress"
    assert fields["Account_Rating__c"]["calculated"] is True


def test_describe_knows_when_it_changed(org: Caller) -> None:
    path = f"{DATA}/sobjects/Contact/describe"
    seen = org.send("GET", path).headers["Last-Modified"]
    unchanged = org.send("GET", path, if_modified_since=seen)
    assert (unchanged.status, unchanged.body) == (304, None)
    org.control("hide_field", object="Contact", field="Title")
    names = [field["name"] for field in org.get(path, if_modified_since=seen)["fields"]]
    assert "Title" not in names
    org.control("show_field", object="Contact", field="Title")
    assert "Title" in [field["name"] for field in org.get(path)["fields"]]


def test_record_types_can_be_filtered_by(org: Caller) -> None:
    infos = org.get(f"{DATA}/sobjects/Contact/describe")["recordTypeInfos"]
    ids = {info["developerName"]: info["recordTypeId"] for info in infos}
    assert set(ids) == {"Customer", "Supplier_Staff", "Master"}
    customers = org.query(
        "SELECT Id, RecordType.Name FROM Contact WHERE RecordType.DeveloperName = 'Customer'"
    )
    dumped = [row for row in org.control("dump", object="Contact") if not row["IsDeleted"]]
    assert {row["Id"] for row in customers["records"]} == {
        row["Id"] for row in dumped if row["RecordTypeId"] == ids["Customer"]
    }
    assert 0 < customers["totalSize"] < len(dumped)
    assert {row["RecordType"]["Name"] for row in customers["records"]} == {"Customer"}
    assert any(row["RecordTypeId"] is None for row in dumped)


def test_a_renamed_field(org: Caller) -> None:
    path = f"{DATA}/sobjects/Contact/describe"
    seen = org.send("GET", path).headers["Last-Modified"]
    before = org.query("SELECT Id, Department, SystemModstamp FROM Contact ORDER BY Id")["records"]
    org.control("rename_field", object="Contact", field="Department", new="Division__c")
    names = [field["name"] for field in org.get(path, if_modified_since=seen)["fields"]]
    assert ("Department" in names, "Division__c" in names) == (False, True)
    assert org.refused(f"{DATA}/query", "q=SELECT+Department+FROM+Contact")[:2] == (400, "INVALID_FIELD")
    after = org.query("SELECT Id, Division__c, SystemModstamp FROM Contact ORDER BY Id")["records"]
    assert [list(row.values())[1:] for row in after] == [list(row.values())[1:] for row in before]
    assert any(row["Division__c"] for row in after)


def test_a_formula_follows_a_renamed_field_and_a_hidden_one_stays_hidden(org: Caller) -> None:
    soql = "SELECT Account_Rating__c FROM Contact WHERE Account_Rating__c != null ORDER BY Id"
    before = org.query(soql)["records"]
    org.control("rename_field", object="Account", field="Rating", new="Heat__c")
    assert before
    assert org.query(soql)["records"] == before
    org.control("hide_field", object="Contact", field="Title")
    org.control("rename_field", object="Contact", field="Title", new="Rank__c")
    assert org.refused(f"{DATA}/query", "q=SELECT+Rank__c+FROM+Contact")[:2] == (400, "INVALID_FIELD")
    org.control("show_field", object="Contact", field="Rank__c")
    assert org.query("SELECT Rank__c FROM Contact LIMIT 1")["totalSize"] == 1


def test_a_field_of_another_type(org: Caller) -> None:
    ids = org.control(
        "insert",
        object="Contact",
        rows=[{"LastName": "x", "Department": text} for text in ("7", "many", "2.50")],
    )["ids"]

    def shown() -> list[Any]:
        listed = ",".join(f"'{id_}'" for id_ in ids)
        rows = org.query(f"SELECT Id, Department FROM Contact WHERE Id IN ({listed})")["records"]
        found = {row["Id"]: row["Department"] for row in rows}
        return [found[id_] for id_ in ids]

    def field() -> tuple[str, str, int]:
        fields = org.get(f"{DATA}/sobjects/Contact/describe")["fields"]
        (known,) = [each for each in fields if each["name"] == "Department"]
        return known["type"], known["soapType"], known["length"]

    org.control("change_type", object="Contact", field="Department", type="double")
    assert (shown(), field()) == ([7.0, None, 2.5], ("double", "xsd:double", 0))
    assert org.query("SELECT COUNT() FROM Contact WHERE Department > 5")["totalSize"] == 1
    org.control("change_type", object="Contact", field="Department", type="string", length=2)
    assert (shown(), field()) == (["7.", None, "2."], ("string", "xsd:string", 2))
    org.control("change_type", object="Contact", field="DoNotCall", type="string")
    flags = org.query("SELECT DoNotCall FROM Contact")["records"]
    assert {row["DoNotCall"] for row in flags} >= {"true"}


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("rename_field", {"field": "Nope", "new": "X"}),
        ("rename_field", {"field": "SystemModstamp", "new": "X"}),
        ("rename_field", {"field": "AccountId", "new": "X"}),
        ("rename_field", {"field": "LastName", "new": "X"}),
        ("rename_field", {"field": "Title", "new": "phone"}),
        ("rename_field", {"field": "Title", "new": "a b"}),
        ("change_type", {"field": "Title", "type": "reference"}),
        ("change_type", {"field": "MailingCity", "type": "double"}),
        ("rename_picklist", {"field": "LeadSource", "old": "Nope", "new": "X"}),
    ],
)
def test_fields_that_cannot_be_changed(org: Caller, action: str, arguments: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=str(arguments["field"]) + "|" + arguments.get("type", "~") + "|phone|a b"
    ):
        org.control(action, object="Contact", **arguments)


def test_limits_and_the_stale_record_count(org: Caller) -> None:
    assert org.get(f"{DATA}/limits")["DailyApiRequests"] == {"Max": 100_000, "Remaining": 99_999}
    counted = org.get(f"{DATA}/limits/recordCount", "sObjects=contact,Nonsense")["sObjects"]
    org.control("insert", object="Contact", rows=[{"LastName": "x"}])
    assert org.get(f"{DATA}/limits/recordCount", "sObjects=Contact")["sObjects"] == counted
    org.control("switches", record_count="exact", limits="forbidden")
    (exact,) = org.get(f"{DATA}/limits/recordCount", "sObjects=Contact")["sObjects"]
    assert exact == {"name": "Contact", "count": counted[0]["count"] + 1}
    assert org.refused(f"{DATA}/limits")[0] == 403


def test_one_row(org: Caller) -> None:
    known = next(
        row for row in org.control("dump", object="Contact") if row["AccountId"] and not row["IsDeleted"]
    )
    path = f"{DATA}/sobjects/Contact/{known['Id'][:15]}"
    assert org.get(path, "fields=name,Account.Name")["Name"] == known["Name"]
    whole = org.get(path)
    assert {name: whole[name] for name in known} == known
    assert org.refused(path, "fields=Nope")[:2] == (400, "INVALID_FIELD")
    assert org.refused(f"{DATA}/sobjects/Contact/003Fk0000000000")[:2] == (404, "NOT_FOUND")
    org.control("delete", object="Contact", id=known["Id"])
    assert org.refused(path)[:2] == (404, "ENTITY_IS_DELETED")


# --- queries


def test_a_query_agrees_with_the_dump(org: Caller) -> None:
    dumped = [row for row in org.control("dump", object="Contact") if not row["IsDeleted"]]
    page = org.query(ORDERED)
    assert (page["totalSize"], page["done"]) == (len(dumped), True)
    plain = [{name: value for name, value in row.items() if name != "attributes"} for row in page["records"]]
    assert plain == [{name: row[name] for name in ("Id", "SystemModstamp", "Name")} for row in dumped]
    assert org.query("SELECT COUNT() FROM Contact") == {"totalSize": len(dumped), "done": True, "records": []}
    assert org.query("SELECT COUNT() FROM Contact", deleted=True)["totalSize"] == 450
    (aggregate,) = org.query("SELECT COUNT(Id) FROM Contact")["records"]
    assert aggregate == {"attributes": {"type": "AggregateResult"}, "expr0": len(dumped)}


def test_a_bare_plus_is_a_space(org: Caller) -> None:
    soql = "SELECT+Id+FROM+Contact+WHERE+SystemModstamp>2026-01-01T00:00:00"
    status, code, message = org.refused(f"{DATA}/query", f"q={soql}+00:00")
    assert (status, code) == (400, "MALFORMED_QUERY")
    assert message.endswith("no viable alternative at character ' '")
    assert org.get(f"{DATA}/query", f"q={soql}%2B00:00")["totalSize"] > 0


def test_a_query_must_be_there(org: Caller) -> None:
    assert org.refused(f"{DATA}/query")[:2] == (400, "MALFORMED_QUERY")


@pytest.mark.parametrize(
    ("asked", "given"), [("200", 200), ("300", 300), ("1", 200), ("9999", 450), ("x", 450)]
)
def test_batch_size_is_clamped(org: Caller, asked: str, given: int) -> None:
    page = org.query(ORDERED, deleted=True, sforce_query_options=f"batchSize={asked}")
    assert len(page["records"]) == given


def test_pages_of_all_sizes(org: Caller) -> None:
    whole = org.query(ORDERED, deleted=True)["records"]
    org.control("page_sizes", sizes=[100, 0, 37])
    found = pages(org, org.query(ORDERED, deleted=True))
    assert [len(page["records"]) for page in found] == [100, 0, 37, 100, 0, 37, 100, 0, 37, 39]
    assert {page["totalSize"] for page in found} == {450}
    assert [row for page in found for row in page["records"]] == whole
    assert found[0]["nextRecordsUrl"].startswith(f"{DATA}/query/0r8")
    org.control("page_sizes", sizes=[])
    org.control("switches", empty_last_page=True, locator_prefix="01g")
    found = pages(org, org.query(ORDERED, deleted=True))
    assert [len(page["records"]) for page in found] == [450, 0]
    assert "/query/01g" in found[0]["nextRecordsUrl"]


def test_a_locator_belongs_to_its_session_and_ages(org: Caller) -> None:
    org.control("page_sizes", sizes=[300])
    more = org.query(ORDERED)["nextRecordsUrl"]
    assert org.get(more) == org.get(more)
    mine, org.token = org.token, json.loads(org.login(client_credentials(org)).body)["access_token"]
    assert org.refused(more)[:2] == (401, "INVALID_SESSION_ID")
    org.token = mine
    assert org.refused(f"{DATA}/query/0r8Fk0000000000AAA-1")[1:] == (
        "INVALID_QUERY_LOCATOR",
        "invalid query locator",
    )
    org.control("clock", advance=172_801)
    assert org.refused(more)[:2] == (400, "INVALID_QUERY_LOCATOR")


@pytest.mark.parametrize(("values", "name"), [("fetch", "new"), ("query", None)])
def test_values_of_later_pages(org: Caller, values: str, name: str | None) -> None:
    org.control("switches", page_values=values)
    org.control("page_sizes", sizes=[300])
    before = org.query(ORDERED)
    last = org.control("dump", object="Contact")[-1]
    org.control("update", object="Contact", id=last["Id"], fields={"FirstName": None, "LastName": "new"})
    (seen,) = [row for row in org.get(before["nextRecordsUrl"])["records"] if row["Id"] == last["Id"]]
    assert seen["Name"] == (name or last["Name"])


@pytest.mark.parametrize(
    ("deleted", "switch", "hard", "there"),
    [
        (False, "vanish", False, False),
        (False, "appear", False, True),
        (True, "vanish", False, True),
        (True, "vanish", True, False),
    ],
)
def test_rows_deleted_between_pages(org: Caller, deleted: bool, switch: str, hard: bool, there: bool) -> None:
    org.control("switches", deleted_between_pages=switch)
    org.control("page_sizes", sizes=[300])
    before = org.query(ORDERED, deleted=deleted)
    last = org.control("dump", object="Contact")[-1]["Id"]
    org.control("delete", object="Contact", id=last, hard=hard)
    page = org.get(before["nextRecordsUrl"])
    assert (last in [row["Id"] for row in page["records"]]) is there
    assert page["totalSize"] == before["totalSize"]


def test_composite_carries_long_queries(org: Caller) -> None:
    ids = [row["Id"] for row in org.control("dump", object="Contact") if not row["IsDeleted"]] * 2
    soql = f"SELECT Id FROM Contact WHERE Id IN ({','.join(repr(id_) for id_ in ids)})"
    good: dict[str, Any] = {
        "method": "GET",
        "url": f"{DATA}/query/?{urlencode({'q': soql})}",
        "referenceId": "a",
        "httpHeaders": {"Sforce-Query-Options": "batchSize=200"},
    }
    bad = {"method": "GET", "url": f"{DATA}/query/?q=SELECT", "referenceId": "b"}
    assert len(good["url"]) > 16_384

    def composite(**extra: Any) -> list[dict[str, Any]]:
        body = json.dumps({"compositeRequest": [good, bad], **extra}).encode()
        response = org.send("POST", f"{DATA}/composite", body=body)
        assert response.status == 200
        return json.loads(response.body)["compositeResponse"]

    first, second = composite()
    assert (first["referenceId"], first["httpStatusCode"], len(first["body"]["records"])) == ("a", 200, 200)
    assert (second["httpStatusCode"], second["body"][0]["errorCode"]) == (400, "MALFORMED_QUERY")
    assert len(pages(org, first["body"])) > 1
    assert composite(allOrNone=True)[0]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert org.refused(f"{DATA}/composite", method="POST")[:2] == (400, "JSON_PARSER_ERROR")


def test_replication_resources(org: Caller) -> None:
    alive = next(row["Id"] for row in org.control("dump", object="Contact") if not row["IsDeleted"])
    org.control("delete", object="Contact", id=alive)
    bounds = urlencode({"start": "2026-05-01T11:50:00+00:00", "end": "2026-05-01T12:00:00+00:00"})
    assert org.get(f"{DATA}/sobjects/Contact/deleted/", bounds) == {
        "deletedRecords": [{"id": alive, "deletedDate": "2026-05-01T12:00:00.000+0000"}],
        "earliestDateAvailable": "2026-04-16T12:00:00.000+0000",
        "latestDateCovered": "2026-05-01T12:00:00.000+0000",
    }
    org.control("foreign_transaction", since="2026-05-01T11:55:30Z")
    updated = org.get(f"{DATA}/sobjects/Contact/updated", bounds)
    assert updated == {"ids": [], "latestDateCovered": "2026-05-01T11:55:00.000+0000"}
    org.control("switches", updated="forbidden", deleted="not_replicateable")
    assert org.refused(f"{DATA}/sobjects/Contact/updated", bounds)[0] == 403
    assert org.refused(f"{DATA}/sobjects/Contact/deleted", bounds)[0] == 400


# --- sessions


def test_sessions_expire_at_once_or_after_some_requests(org: Caller) -> None:
    org.control("expire_sessions", after=2)
    org.get(f"{DATA}/sobjects")
    org.get(f"{DATA}/sobjects")
    assert org.refused(f"{DATA}/sobjects") == (401, "INVALID_SESSION_ID", "Session expired or invalid")
    org.token = json.loads(org.login(client_credentials(org)).body)["access_token"]
    org.get(f"{DATA}/sobjects")
    org.control("expire_sessions")
    assert org.refused(f"{DATA}/sobjects")[0] == 401


def test_a_401_that_no_login_cures(org: Caller) -> None:
    org.control("revoke", message="Connected app is not attached to Agent")
    org.token = json.loads(org.login(client_credentials(org)).body)["access_token"]
    assert org.refused(f"{DATA}/sobjects") == (
        401,
        "INVALID_SESSION_ID",
        "Connected app is not attached to Agent",
    )
    org.control("revoke", message=None)
    org.get(f"{DATA}/sobjects")


# --- logins


def client_credentials(org: Caller) -> dict[str, str]:
    known = org.service.credentials
    return {
        "grant_type": "client_credentials",
        "client_id": known.client_id,
        "client_secret": known.client_secret,
    }


def refresh(org: Caller, token: str | None = None) -> dict[str, str]:
    known = org.service.credentials
    return client_credentials(org) | {
        "grant_type": "refresh_token",
        "refresh_token": token or known.refresh_token,
    }


def assertion(org: Caller, **claims: Any) -> dict[str, str]:
    known = org.service.credentials
    now = int(org.service.clock.now().timestamp())
    told = {
        "iss": known.client_id,
        "sub": known.username,
        "aud": "https://login.salesforce.com",
        "exp": now + 180,
    }
    signed = jwt.encode(told | claims, known.private_key_pem, algorithm="RS256")
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}


def oauth_error(response: Response) -> tuple[int, str, str]:
    body = json.loads(response.body)
    return response.status, body["error"], body["error_description"]


def test_client_credentials_in_the_body_or_as_basic(org: Caller) -> None:
    known = org.service.credentials
    body = json.loads(org.login(client_credentials(org)).body)
    assert set(body) == TOKEN_KEYS | {"issued_at", "signature", "api_instance_url"}
    assert body["instance_url"] == "https://sandbox.my.salesforce.com"
    pair = base64.b64encode(f"{known.client_id}:{known.client_secret}".encode()).decode()
    response = org.send(
        "POST",
        TOKEN,
        body=b"grant_type=client_credentials",
        authorization=f"Basic {pair}",
        content_type="application/x-www-form-urlencoded",
    )
    org.token = json.loads(response.body)["access_token"]
    org.get(f"{DATA}/sobjects")
    refused = org.login(client_credentials(org), host="login.salesforce.com")
    assert oauth_error(refused)[:2] == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "wrong"}, ("invalid_client_id", "client identifier invalid")),
        ({"client_secret": "wrong"}, ("invalid_grant", "invalid client credentials")),
        ({"grant_type": "nonsense"}, ("unsupported_grant_type", "grant type not supported")),
        ({"grant_type": ""}, ("invalid_request", "grant type is missing")),
    ],
)
def test_refused_logins(org: Caller, change: dict[str, str], error: tuple[str, str]) -> None:
    assert oauth_error(org.login(client_credentials(org) | change)) == (400, *error)
    org.control("switches", error_description=False)
    assert json.loads(org.login(client_credentials(org) | change).body) == {"error": error[0]}


def test_a_refresh_token_lasts_without_rotation(org: Caller) -> None:
    for _ in range(2):
        body = json.loads(org.login(refresh(org)).body)
        assert "refresh_token" not in body
        assert "expires_in" not in body


def test_a_rotated_refresh_token_works_once(org: Caller) -> None:
    org.control("switches", refresh_token_rotation=True, rotation_ends_session=True)
    body = json.loads(org.login(refresh(org)).body)
    assert org.refused(f"{DATA}/sobjects")[0] == 401
    org.token = body["access_token"]
    org.get(f"{DATA}/sobjects")
    replayed = org.login(refresh(org))
    assert oauth_error(replayed) == (400, "invalid_grant", "expired access/refresh token")
    assert org.login(refresh(org, body["refresh_token"])).status == 200
    assert org.login(refresh(org, body["refresh_token"])).status == 400


def test_jwt_bearer(org: Caller) -> None:
    now = int(org.service.clock.now().timestamp())
    assert set(json.loads(org.login(assertion(org)).body)) == TOKEN_KEYS | {"scope"}
    assert org.login(assertion(org, exp=str(now + 60))).status == 200
    for claims, error in (
        ({"exp": now + 181}, "invalid_grant"),
        ({"exp": now}, "invalid_grant"),
        ({"iss": "x"}, "invalid_client_id"),
        ({"sub": "x"}, "invalid_grant"),
        ({"aud": "https://sandbox.my.salesforce.com"}, "invalid_grant"),
    ):
        assert oauth_error(org.login(assertion(org, **claims)))[:2] == (400, error)
    org.control("clock", advance=0.6)
    assert org.login(assertion(org, exp=now + 181)).status == 200
    forged = assertion(org)
    forged["assertion"] = forged["assertion"][:-8] + "AAAAAAAA"
    assert oauth_error(org.login(forged)) == (400, "invalid_grant", "invalid assertion")
    assert oauth_error(org.login(forged | {"assertion": "x"}))[1] == "invalid_grant"
    org.control("switches", my_domain_audience=True)
    assert org.login(assertion(org, aud="https://sandbox.my.salesforce.com")).status == 200


def test_the_password_grant(org: Caller) -> None:
    known = org.service.credentials
    form = client_credentials(org) | {
        "grant_type": "password",
        "username": known.username,
        "password": known.password,
    }
    assert oauth_error(org.login(form))[2] == "authentication failure - Invalid Password"
    assert org.login(form | {"password": known.password + known.security_token}).status == 200
    org.control("switches", trusted_address=True)
    assert org.login(form).status == 200
    org.control("switches", password_grant=False)
    assert org.login(form).status == 400


@pytest.mark.parametrize(("value", "status"), [("invalid_grant", 400), ("forbidden", 403)])
def test_too_many_logins(org: Caller, value: str, status: int) -> None:
    org.control("switches", login_rate=value)
    assert org.login(client_credentials(org)).status == status


# --- control


def test_control_calls_that_make_no_sense(org: Caller) -> None:
    for action, arguments in (
        ("nonsense", {}),
        ("__init__", {}),
        ("insert", {"object": "Contact"}),
        ("insert", {"object": "Nonsense", "rows": []}),
        ("update", {"object": "Contact", "id": "003x", "fields": {}}),
        ("update_many", {"object": "Contact", "fields": {}}),
        ("touch", {"object": "Contact", "id": "x", "stamp": "yesterday"}),
        ("page_sizes", {"sizes": [0]}),
        ("switches", {"nonsense": 1}),
        ("clock", {"nonsense": 1}),
    ):
        with pytest.raises(ValueError):
            org.control(action, **arguments)


def test_many_rows_change_at_once_in_one_second(org: Caller) -> None:
    changed = org.control(
        "update_many", object="Contact", where="DoNotCall = true", limit=5, fields={"Title": "new"}
    )
    rows = {row["Id"]: row for row in org.control("dump", object="Contact")}
    assert {rows[id_]["SystemModstamp"] for id_ in changed["ids"]} == {"2026-05-01T12:00:00.000+0000"}
    assert len(changed["ids"]) == 5
    assert org.control(
        "touch", object="Contact", ids=changed["ids"], stamp="2026-05-01T13:00:00+02:00", system=True
    )
    (moved,) = {
        row["SystemModstamp"] for row in org.control("dump", object="Contact") if row["Title"] == "new"
    }
    assert moved == "2026-05-01T11:00:00.000+0000"


def test_the_clock_obeys(org: Caller) -> None:
    assert org.control("clock", freeze="2026-01-01T00:00:00Z", advance=5) == {
        "now": "2026-01-01T00:00:05+00:00"
    }
    assert org.control("clock", freeze=True)["now"] == "2026-01-01T00:00:05+00:00"
    org.control("clock", freeze=None, skew_seconds=-3600)
    assert 3_590 < (datetime.now(UTC) - org.service.clock.now()).total_seconds() < 3_610


def test_environments_name_complete_logins(org: Caller) -> None:
    assert sorted(org.service.environment()) == [
        "SALESFORCE_CLIENT_ID",
        "SALESFORCE_CLIENT_SECRET",
        "SALESFORCE_LOGIN_URL",
    ]
    for kind in ("jwt", "refresh_token", "password", "token"):
        assert all(org.service.environment(kind).values())
    with pytest.raises(ValueError):
        org.service.environment("nonsense")


# --- a foreign client over a socket


class _ToSandbox(HTTPAdapter):
    """Sends what is meant for any Salesforce host to the sandbox, with the Host it was meant for."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._target = urlsplit(base_url)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        meant = urlsplit(request.url or "")
        request.headers["Host"] = str(meant.hostname)
        request.url = urlunsplit((self._target.scheme, self._target.netloc, meant.path, meant.query, ""))
        return super().send(request, *args, **kwargs)


@pytest.fixture
def wire() -> Iterator[tuple[SalesforceService, requests.Session]]:
    with SandboxServer() as server:
        service = SalesforceService(450, 3, base_url="https://sandbox.my.salesforce.com")
        server.add(service)
        with requests.Session() as session:
            session.mount("https://", _ToSandbox(server.base_url))
            yield service, session


def test_simple_salesforce_reads_the_org(wire: tuple[SalesforceService, requests.Session]) -> None:
    service, session = wire
    known = service.credentials
    sf = simple_salesforce.Salesforce(
        username=known.username,
        password=known.password,
        security_token=known.security_token,
        session=session,
        domain="sandbox.my",
        version="60.0",
    )
    rows = list(sf.query_all_iter("SELECT Id, Name, Account.Owner.Email FROM Contact", include_deleted=True))
    assert {row["Id"] for row in rows} == {
        row["Id"] for row in service.control("dump", {"object": "Contact"})
    }
    service.control("page_sizes", {"sizes": [100, 0]})
    assert len(sf.query_all("SELECT Id FROM Contact", include_deleted=True)["records"]) == 450
    assert sf.Contact.describe()["name"] == "Contact"
    service.control("page_sizes", {"sizes": []})
    alive = sf.query("SELECT Id, Name FROM Contact LIMIT 1")["records"][0]
    assert sf.Contact.get(alive["Id"])["Name"] == alive["Name"]
    assert sf.limits()["DailyApiRequests"]["Max"] == 100_000
    assert sf.api_usage["api-usage"].total == 100_000
    with pytest.raises(simple_salesforce.SalesforceMalformedRequest, match="INVALID_FIELD"):
        sf.query("SELECT Nope FROM Contact")
    with pytest.raises(simple_salesforce.SalesforceResourceNotFound):
        sf.restful("sobjects/Nope/describe")


def test_simple_salesforce_logs_in_by_every_way(wire: tuple[SalesforceService, requests.Session]) -> None:
    service, session = wire
    known = service.credentials
    ways: list[dict[str, Any]] = [
        {"consumer_key": known.client_id, "consumer_secret": known.client_secret, "domain": "sandbox.my"},
        {"username": known.username, "consumer_key": known.client_id, "privatekey": known.private_key_pem},
        {
            "username": known.username,
            "password": known.password + known.security_token,
            "consumer_key": known.client_id,
            "consumer_secret": known.client_secret,
        },
        {"session_id": known.access_token, "instance": "sandbox.my.salesforce.com"},
    ]
    for way in ways:
        sf = simple_salesforce.Salesforce(session=session, version="60.0", **way)
        assert sf.query("SELECT COUNT() FROM Contact", include_deleted=True)["totalSize"] == 450


def test_simple_salesforce_understands_the_faults(wire: tuple[SalesforceService, requests.Session]) -> None:
    service, session = wire
    known = service.credentials
    login = {"username": known.username, "password": "wrong", "security_token": "x", "session": session}
    for prefix in ("sf:", ""):
        service.control("switches", {"soap_fault_prefix": prefix})
        with pytest.raises(simple_salesforce.SalesforceAuthenticationFailed) as refused:
            simple_salesforce.Salesforce(**login)
        assert refused.value.code == "INVALID_LOGIN"
    right = login | {"password": known.password, "security_token": known.security_token}
    with pytest.raises(simple_salesforce.SalesforceAuthenticationFailed):
        simple_salesforce.Salesforce(**right, version="65.0")
    service.control("switches", {"trusted_address": True})
    trusted = {"username": known.username, "password": known.password, "session": session}
    assert simple_salesforce.Salesforce(**trusted, organizationId="00DFk0000000001").session_id
    service.control("switches", {"password_expired": True})
    crippled = simple_salesforce.Salesforce(**right, version="60.0")
    with pytest.raises(simple_salesforce.SalesforceRefusedRequest, match="EXPIRED_PASSWORD"):
        crippled.query("SELECT Id FROM Contact")


def test_answers_over_the_wire_carry_the_orgs_clock_and_gzip(
    wire: tuple[SalesforceService, requests.Session],
) -> None:
    service, session = wire
    service.control("clock", {"freeze": "2026-05-01T12:00:00Z"})
    response = session.get(
        f"https://sandbox.my.salesforce.com{DATA}/sobjects",
        headers={"Authorization": f"Bearer {service.credentials.access_token}"},
        timeout=5,
    )
    assert response.headers["Date"] == "Fri, 01 May 2026 12:00:00 GMT"
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert len(response.json()["sobjects"]) == 5


def test_precomputed_queries_are_served_from_bytes_until_something_changes(org: Caller) -> None:
    org.control("page_sizes", sizes=[300])
    org.control("precompute")
    first = org.query(ORDERED)
    more = org.get(first["nextRecordsUrl"])
    org.service.org.insert("Contact", [{"LastName": "unseen"}], stamp="2030-01-01T00:00:00.000+0000")
    assert org.query(ORDERED) == first
    org.token = json.loads(org.login(client_credentials(org)).body)["access_token"]
    assert org.get(first["nextRecordsUrl"]) == more
    assert org.query(ORDERED, sforce_query_options="batchSize=200")["totalSize"] == first["totalSize"] + 1
    zipped = org.send("GET", f"{DATA}/query/", urlencode({"q": ORDERED}), accept_encoding="gzip")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(zipped.body))["totalSize"] == first["totalSize"] + 1
    org.control("counts")
    assert org.query(ORDERED) == first
    org.control("insert", object="Contact", rows=[{"LastName": "seen"}])
    assert org.query(ORDERED)["totalSize"] == first["totalSize"] + 2
    before = org.control("quota")["used"]
    org.query(ORDERED)
    assert org.control("quota")["used"] == before + 1
    org.control("precompute", on=False)
    assert org.refused(f"{DATA}/query")[:2] == (400, "MALFORMED_QUERY")
