"""The sandbox's Bulk API 2.0 queries over real sockets: jobs, their states, their CSV; and a foreign client."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import simple_salesforce
from simple_salesforce.bulk2 import ColumnDelimiter, LineEnding, Operation
from simple_salesforce.exceptions import SalesforceExpiredSession, SalesforceOperationError

from crmsync.sandbox.salesforce import SalesforceService, bulk
from crmsync.sandbox.server import SandboxServer
from crmsync.sandbox.tls import make_identity

VERSION = "60.0"
JOBS = "jobs/query"
UNORDERED = "SELECT Id, Name, Account.Name, SystemModstamp FROM Contact"
ORDERED = UNORDERED + " ORDER BY SystemModstamp, Id"


class Bulk:
    """An HTTP client of one org."""

    def __init__(self, service: SalesforceService, root: str) -> None:
        self.service, self.root = service, root
        self.http = requests.Session()
        self.login()

    def login(self) -> None:
        known = self.service.credentials
        form = {"grant_type": "client_credentials", "client_id": known.client_id}
        answer = self.http.post(
            f"{self.root}/services/oauth2/token", {**form, "client_secret": known.client_secret}, timeout=10
        )
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def send(self, method: str, path: str, version: str = VERSION, **more: Any) -> requests.Response:
        url = path if path.startswith("/") else f"/services/data/v{version}/{path}"
        return self.http.request(method, self.root + url, timeout=10, **more)

    def create(
        self, query: str = UNORDERED, operation: str = "query", version: str = VERSION, **more: str
    ) -> Any:
        answer = self.send("POST", JOBS, version, json={"operation": operation, "query": query, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, id_: str) -> str:
        return str(self.send("GET", f"{JOBS}/{id_}").json()["state"])

    def results(self, id_: str, **parameters: object) -> requests.Response:
        answer = self.send("GET", f"{JOBS}/{id_}/results", params=parameters, headers={"Accept": "text/csv"})
        assert answer.status_code == 200, answer.text
        return answer

    def rows(self, query: str, **options: str) -> list[dict[str, str]]:
        """What a query finds, in one page."""
        job = self.create(query, **options)
        assert self.state(job["id"]) == "JobComplete"
        return parsed(self.results(job["id"]))

    def refused(self, method: str, path: str, version: str = VERSION, **more: Any) -> tuple[int, str]:
        answer = self.send(method, path, version, **more)
        (error,) = answer.json()
        return answer.status_code, error["errorCode"]

    def control(self, action: str, **arguments: Any) -> Any:
        answer = requests.post(f"{self.root}/_sandbox/salesforce/{action}", json=arguments, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()


def parsed(answer: requests.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


@pytest.fixture
def org() -> Iterator[Bulk]:
    with SandboxServer() as server:
        service = SalesforceService(450, 3, base_url=server.base_url)
        server.add(service)
        client = Bulk(service, server.base_url)
        yield client
        client.http.close()


# --- jobs


def test_a_job_from_creation_to_deletion(org: Bulk) -> None:
    made = org.create(operation="queryAll", lineEnding="CRLF", columnDelimiter="PIPE")
    id_ = made["id"]
    assert id_.startswith("750")
    created = made["createdDate"]
    assert created.endswith(".000+0000")
    assert made == {
        "id": id_,
        "operation": "queryAll",
        "object": "Contact",
        "createdById": made["createdById"],
        "createdDate": created,
        "systemModstamp": created,
        "state": "UploadComplete",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 60.0,
        "lineEnding": "CRLF",
        "columnDelimiter": "PIPE",
    }
    seen = org.send("GET", f"{JOBS}/{id_}").json()
    assert (seen["state"], seen["numberRecordsProcessed"]) == ("JobComplete", 450)
    assert (seen["jobType"], seen["retries"], seen["isPkChunkingSupported"]) == ("V2Query", 0, True)
    assert isinstance(seen["totalProcessingTime"], int)
    assert "errorMessage" not in seen
    assert org.send("GET", f"{JOBS}/{id_[:15]}").json()["id"] == id_
    gone = org.send("DELETE", f"{JOBS}/{id_}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert org.refused("GET", f"{JOBS}/{id_}") == (404, "NOT_FOUND")
    assert org.refused("GET", f"{JOBS}/nonsense") == (404, "NOT_FOUND")


def test_states_take_their_time(org: Bulk) -> None:
    org.control("clock", freeze="2026-05-01T12:00:00Z")
    org.control("switches", bulk_seconds=60)
    id_ = org.create()["id"]
    seen = []
    for seconds in (29, 1, 29, 1):
        org.control("clock", advance=seconds)
        seen.append(org.state(id_))
    assert seen == ["UploadComplete", "InProgress", "InProgress", "JobComplete"]
    assert org.send("GET", f"{JOBS}/{id_}").json()["totalProcessingTime"] == 60_000


def test_states_take_their_looks(org: Bulk) -> None:
    org.control("switches", bulk_polls=2)
    id_ = org.create()["id"]
    assert org.refused("GET", f"{JOBS}/{id_}/results")[0] == 400
    assert [org.state(id_) for _ in range(3)] == ["InProgress", "InProgress", "JobComplete"]


def test_only_running_jobs_are_aborted_and_only_ended_ones_deleted(org: Bulk) -> None:
    org.control("switches", bulk_polls=100)
    id_ = org.create()["id"]
    assert org.refused("DELETE", f"{JOBS}/{id_}") == (400, "INVALIDJOBSTATE")
    assert org.refused("PATCH", f"{JOBS}/{id_}", json={"state": "JobComplete"}) == (400, "JSON_PARSER_ERROR")
    assert org.send("PATCH", f"{JOBS}/{id_}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert org.state(id_) == "Aborted"
    assert org.refused("PATCH", f"{JOBS}/{id_}", json={"state": "Aborted"}) == (400, "INVALIDJOBSTATE")
    assert org.refused("GET", f"{JOBS}/{id_}/results") == (400, "INVALIDJOBSTATE")
    assert org.send("DELETE", f"{JOBS}/{id_}").status_code == 204


@pytest.mark.parametrize(
    ("outcome", "state", "error"),
    [("failed", "Failed", "no luck"), ("aborted", "Aborted", None), ("stuck", "InProgress", None)],
)
def test_jobs_that_do_not_finish(org: Bulk, outcome: str, state: str, error: str | None) -> None:
    org.control("bulk_fate", outcome=outcome, message="no luck")
    id_ = org.create()["id"]
    org.control("bulk_fate", outcome="finish")
    seen = org.send("GET", f"{JOBS}/{id_}").json()
    assert (seen["state"], seen.get("errorMessage"), seen["numberRecordsProcessed"]) == (state, error, 0)
    assert org.refused("GET", f"{JOBS}/{id_}/results")[0] == 400
    assert [job["state"] for job in org.control("bulk_jobs")] == [state]
    assert org.state(org.create()["id"]) == "JobComplete"


def test_a_stuck_job_may_come_loose_and_a_running_one_fail(org: Bulk) -> None:
    org.control("switches", bulk_polls=1)
    org.control("bulk_fate", outcome="stuck")
    loose, fails = org.create()["id"], org.create()["id"]
    assert {org.state(id_) for id_ in (loose, fails) for _ in range(3)} == {"InProgress"}
    org.control("bulk_fate", outcome="finish", id=loose)
    org.control("bulk_fate", outcome="failed", id=fails)
    assert org.state(loose) == "JobComplete"
    seen = org.send("GET", f"{JOBS}/{fails}").json()
    assert (seen["errorMessage"], seen["retries"]) == ("Retried more than 15 times", 15)


def test_the_list_of_jobs_has_pages(org: Bulk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "JOBS_PER_LIST", 2)
    ids = [org.create()["id"] for _ in range(5)]
    pages = [org.send("GET", JOBS).json()]
    while not pages[-1]["done"]:
        pages.append(org.send("GET", pages[-1]["nextRecordsUrl"]).json())
    assert [len(page["records"]) for page in pages] == [2, 2, 1]
    assert pages[-1]["nextRecordsUrl"] is None
    assert [job["id"] for page in pages for job in page["records"]] == ids
    assert org.send("GET", f"{JOBS}?jobType=Classic").json()["records"] == []


def test_jobs_are_kept_for_seven_days(org: Bulk) -> None:
    id_ = org.create()["id"]
    assert org.state(id_) == "JobComplete"
    org.control("clock", advance=604_000)
    assert org.state(id_) == "JobComplete"
    org.control("clock", advance=1_000)
    assert org.refused("GET", f"{JOBS}/{id_}/results") == (404, "NOT_FOUND")
    assert org.control("bulk_jobs") == []


def test_a_job_outlives_its_session(org: Bulk) -> None:
    org.control("switches", bulk_polls=3)
    id_ = org.create()["id"]
    org.control("expire_sessions", after=1)
    assert org.state(id_) == "InProgress"
    assert org.refused("GET", f"{JOBS}/{id_}") == (401, "INVALID_SESSION_ID")
    org.login()
    assert [org.state(id_) for _ in range(3)] == ["InProgress", "InProgress", "JobComplete"]
    org.control("expire_sessions")
    assert org.refused("GET", f"{JOBS}/{id_}/results") == (401, "INVALID_SESSION_ID")
    org.login()
    assert len(parsed(org.results(id_))) > 400


def test_bulk_requests_count_as_any_other(org: Bulk) -> None:
    answer = org.send("POST", JOBS, json={"operation": "query", "query": UNORDERED})
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    org.state(answer.json()["id"])
    assert org.results(answer.json()["id"]).headers["Sforce-Limit-Info"] == "api-usage=3/100000"


# --- what cannot be created


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id, MailingAddress FROM Contact", "FUNCTIONALITY_NOT_ENABLED"),
        ("SELECT LeadSource, COUNT(Id) FROM Contact GROUP BY LeadSource", "API_ERROR"),
        ("SELECT COUNT() FROM Contact", "API_ERROR"),
        ("SELECT Id FROM Contact LIMIT 5 OFFSET 5", "API_ERROR"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "API_ERROR"),
        ("SELECT FIELDS(ALL) FROM Contact LIMIT 200", "API_ERROR"),
        ("SELECT TYPEOF Owner WHEN User THEN Name END FROM Contact", "API_ERROR"),
        ("SELECT Id FROM Lead", "INVALIDENTITY"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FORM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
    ],
)
def test_queries_that_are_refused(org: Bulk, query: str, code: str) -> None:
    org.control("bulk_unsupported", objects=["Lead"])
    assert org.refused("POST", JOBS, json={"operation": "query", "query": query}) == (400, code)
    assert org.control("bulk_jobs") == []


def test_words_within_strings_are_no_reason_to_refuse(org: Bulk) -> None:
    query = "SELECT Id FROM Contact WHERE LastName = 'GROUP BY OFFSET 3, (SELECT' LIMIT 5"
    assert org.create(query)["object"] == "Contact"


def test_a_wrong_query_may_fail_later(org: Bulk) -> None:
    org.control("switches", bulk_bad_query="fail", bulk_compound_code="API_ERROR")
    made = org.create("SELECT Nope FROM Contact")
    assert (made["object"], made["state"]) == (None, "UploadComplete")
    seen = org.send("GET", f"{JOBS}/{made['id']}").json()
    assert seen["state"] == "Failed"
    assert seen["errorMessage"].startswith("INVALID_FIELD: ")
    compound = {"operation": "query", "query": "SELECT MailingAddress FROM Contact"}
    assert org.refused("POST", JOBS, json=compound) == (400, "API_ERROR")


@pytest.mark.parametrize(
    "changed",
    [
        {"operation": "insert"},
        {"query": None},
        {"contentType": "JSON"},
        {"columnDelimiter": "COLON"},
        {"lineEnding": ["LF"]},
    ],
)
def test_bodies_that_are_refused(org: Bulk, changed: dict[str, Any]) -> None:
    body = {"operation": "query", "query": UNORDERED, **changed}
    assert org.refused("POST", JOBS, json=body) == (400, "JSON_PARSER_ERROR")


def test_other_things_that_are_refused(org: Bulk) -> None:
    body = json.dumps({"operation": "query", "query": UNORDERED})
    assert org.refused("POST", JOBS, data=body) == (415, "UNSUPPORTED_MEDIA_TYPE")
    typed = {"Content-Type": "application/json"}
    assert org.refused("POST", JOBS, data="[1]", headers=typed) == (400, "JSON_PARSER_ERROR")
    assert org.refused("PUT", JOBS, data=body, headers=typed) == (405, "METHOD_NOT_ALLOWED")
    assert org.refused("GET", "jobs/ingest") == (404, "NOT_FOUND")
    assert org.refused("GET", JOBS, "46.0") == (404, "NOT_FOUND")
    composite = {
        "compositeRequest": [{"method": "GET", "url": f"/services/data/v60.0/{JOBS}", "referenceId": "a"}]
    }
    (part,) = org.send("POST", "composite", json=composite).json()["compositeResponse"]
    assert part["httpStatusCode"] == 404


def test_the_day_allows_so_many_jobs_and_so_much_data(org: Bulk) -> None:
    org.control("quota", bulk_jobs=9_999)
    body = {"operation": "query", "query": UNORDERED}
    org.create()
    assert org.refused("POST", JOBS, json=body) == (400, "LIMIT_EXCEEDED")
    limits = org.send("GET", "limits").json()
    assert limits["DailyBulkV2QueryJobs"] == {"Max": 10_000, "Remaining": 0}
    assert org.control("quota", bulk_jobs=0)["bulk_kilobytes"] > 10
    org.control("quota", bulk_kilobytes=1_000_000_000)
    (error,) = org.send("POST", JOBS, json=body).json()
    assert error["message"] == (
        "Max bulk v2 query result size stored (1000000000) kb per 24 hrs has been exceeded"
    )
    assert org.send("GET", "limits").json()["DailyBulkV2QueryFileStorageMB"]["Remaining"] == 0


# --- results


def test_rows_agree_with_the_org(org: Bulk) -> None:
    dumped = {row["Id"]: row for row in org.control("dump", object="Contact")}
    accounts = {row["Id"]: row["Name"] for row in org.control("dump", object="Account")}
    found = org.rows(
        "SELECT Id, LastName, Email, Account.Name, IsDeleted, DoNotCall, SystemModstamp, Birthdate FROM Contact",
        operation="queryAll",
    )
    assert {row["Id"] for row in found} == set(dumped)
    for row in found:
        known = dumped[row["Id"]]
        assert row == {
            "Id": known["Id"],
            "LastName": known["LastName"],
            "Email": known["Email"] or "",
            "Account.Name": accounts.get(known["AccountId"], ""),
            "IsDeleted": str(known["IsDeleted"]).lower(),
            "DoNotCall": str(known["DoNotCall"]).lower(),
            "SystemModstamp": known["SystemModstamp"].replace("+0000", "Z"),
            "Birthdate": known["Birthdate"] or "",
        }
    alive = org.rows("SELECT Id FROM Contact")
    assert {row["Id"] for row in alive} == {id_ for id_, row in dumped.items() if not row["IsDeleted"]}


def test_the_exact_bytes(org: Bulk) -> None:
    org.control(
        "insert",
        object="Account",
        rows=[
            {
                "Name": 'Say "hi"',
                "Description": "one\ntwo\r\nthree, NA\x00",
                "AnnualRevenue": 1.5e21,
                "NumberOfEmployees": 7,
            },
            {"Name": "É|NA", "Description": "", "AnnualRevenue": 3.0},
        ],
        stamp="2026-05-01T10:11:12Z",
    )
    query = (
        "SELECT name, Description, AnnualRevenue, NumberOfEmployees, SystemModstamp, Parent.Name FROM Account "
        "WHERE SystemModstamp = 2026-05-01T10:11:12Z ORDER BY NumberOfEmployees NULLS LAST"
    )
    id_ = org.create(query)["id"]
    assert org.results(id_).content.decode() == (
        '"Name","Description","AnnualRevenue","NumberOfEmployees","SystemModstamp","Parent.Name"\n'
        '"Say ""hi""","one\ntwo\r\nthree, NA\x00","1500000000000000000000","7","2026-05-01T10:11:12.000Z",""\n'
        '"É|NA","","3.0","","2026-05-01T10:11:12.000Z",""\n'
    )
    other = org.create(
        query.replace("Description, AnnualRevenue, ", ""), columnDelimiter="PIPE", lineEnding="CRLF"
    )
    assert org.results(other["id"]).content.decode() == (
        '"Name"|"NumberOfEmployees"|"SystemModstamp"|"Parent.Name"\r\n'
        '"Say ""hi"""|"7"|"2026-05-01T10:11:12.000Z"|""\r\n'
        '"É|NA"|""|"2026-05-01T10:11:12.000Z"|""\r\n'
    )


@pytest.mark.parametrize(
    ("word", "sign"),
    [("BACKQUOTE", "`"), ("CARET", "^"), ("COMMA", ","), ("SEMICOLON", ";"), ("TAB", "\t")],
)
def test_delimiters(org: Bulk, word: str, sign: str) -> None:
    id_ = org.create(columnDelimiter=word)["id"]
    head = org.results(id_).text.split("\n", 1)[0]
    assert head == sign.join(['"Id"', '"Name"', '"Account.Name"', '"SystemModstamp"'])


def test_results_come_compressed_to_who_can_read_it(org: Bulk) -> None:
    id_ = org.create("SELECT Id FROM Contact LIMIT 1")["id"]
    url = f"{org.root}/services/data/v{VERSION}/{JOBS}/{id_}/results"
    plain = org.http.get(url, headers={"Accept-Encoding": "identity"}, timeout=10)
    assert "Content-Encoding" not in plain.headers
    with org.http.get(url, stream=True, timeout=10) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.raw.read()) == plain.content
    assert plain.headers["Content-Type"] == "text/csv"


def test_pages_by_locator(org: Bulk) -> None:
    id_ = org.create(operation="queryAll")["id"]
    whole = parsed(org.results(id_))
    pages = [org.results(id_, maxRecords=100)]
    while (locator := pages[-1].headers["Sforce-Locator"]) != "null":
        pages.append(org.results(id_, maxRecords=100, locator=locator))
    assert [page.headers["Sforce-NumberOfRecords"] for page in pages] == ["100", "100", "100", "100", "50"]
    assert [row for page in pages for row in parsed(page)] == whole
    again = org.results(id_, maxRecords=100, locator=pages[0].headers["Sforce-Locator"])
    assert again.content == pages[1].content
    org.control("switches", bulk_page_rows=300)
    assert org.results(id_).headers["Sforce-NumberOfRecords"] == "300"
    assert org.results(id_, maxRecords=400).headers["Sforce-NumberOfRecords"] == "300"
    for wrong in ("locator=xyz", "locator=OTk5OTk5", "maxRecords=0", "maxRecords=x"):
        assert org.refused("GET", f"{JOBS}/{id_}/results?{wrong}")[0] == 400


def test_the_order_is_open_without_order_by_yet_stable_within_a_job(org: Bulk) -> None:
    first, second, ordered = org.create()["id"], org.create()["id"], org.create(ORDERED)["id"]
    rows = {id_: parsed(org.results(id_)) for id_ in (first, second, ordered)}
    by_id = {id_: sorted(each, key=lambda row: row["Id"]) for id_, each in rows.items()}
    assert by_id[first] == by_id[second] == by_id[ordered]
    assert rows[first] != rows[second]
    assert rows[first] == parsed(org.results(first))
    assert rows[ordered] == sorted(rows[ordered], key=lambda row: (row["SystemModstamp"], row["Id"]))
    assert rows[first] != rows[ordered]
    assert org.send("GET", f"{JOBS}/{ordered}").json()["isPkChunkingSupported"] is False


def test_results_are_of_the_version_that_made_the_job(org: Bulk) -> None:
    id_ = org.create()["id"]
    for resource in ("results", "resultPages"):
        assert org.refused("GET", f"{JOBS}/{id_}/{resource}", "61.0")[0] == 409
    assert org.send("GET", f"{JOBS}/{id_}", "61.0").json()["apiVersion"] == 60.0


def test_old_versions_sort_the_columns(org: Bulk) -> None:
    id_ = org.create(version="49.0")["id"]
    answer = org.send("GET", f"{JOBS}/{id_}/results", "49.0")
    assert answer.text.split("\n", 1)[0] == '"Account.Name","Id","Name","SystemModstamp"'
    assert {len(row["Id"]) for row in parsed(answer)} == {18}


@pytest.mark.parametrize("status", [400, 204, 404])
def test_results_of_an_unfinished_job(org: Bulk, status: int) -> None:
    org.control("switches", bulk_polls=9, bulk_unfinished_results=status)
    id_ = org.create()["id"]
    for resource in ("results", "resultPages"):
        answer = org.send("GET", f"{JOBS}/{id_}/{resource}")
        assert (answer.status_code, bool(answer.content)) == (status, status != 204)


@pytest.mark.parametrize(
    ("shape", "body", "number"),
    [
        ("header", '"Id"\n', "0"),
        ("header_uncounted", '"Id"\n', None),
        ("nothing", "", "0"),
        ("nothing_uncounted", "", None),
    ],
)
def test_no_rows(org: Bulk, shape: str, body: str, number: str | None) -> None:
    org.control("switches", bulk_empty_result=shape)
    answer = org.results(org.create("SELECT Id FROM Contact WHERE LastName = 'nobody'")["id"])
    assert (answer.text, answer.headers.get("Sforce-NumberOfRecords")) == (body, number)
    assert answer.headers["Sforce-Locator"] == "null"
    filled = org.results(org.create("SELECT Id FROM Contact LIMIT 1")["id"])
    assert filled.headers["Sforce-NumberOfRecords"] == "1"


def test_headers_that_are_missing(org: Bulk) -> None:
    id_ = org.create()["id"]
    first = {"maxRecords": 100}
    more = org.results(id_, **first).headers["Sforce-Locator"]
    last = {"locator": more}
    org.control("switches", bulk_number_header=False, bulk_locator_header="not_on_last")
    assert "Sforce-NumberOfRecords" not in org.results(id_).headers
    assert org.results(id_, **first).headers["Sforce-Locator"] == more
    assert "Sforce-Locator" not in org.results(id_, **last).headers
    org.control("switches", bulk_locator_header="never")
    assert "Sforce-Locator" not in org.results(id_, **first).headers


def test_pages_with_a_row_too_few_or_no_names(org: Bulk) -> None:
    id_ = org.create()["id"]
    more = org.results(id_, maxRecords=100).headers["Sforce-Locator"]
    whole = org.results(id_, locator=more, maxRecords=100)
    org.control("switches", bulk_short_page=True)
    short = org.results(id_, locator=more, maxRecords=100)
    assert short.headers["Sforce-NumberOfRecords"] == "100"
    assert parsed(short) == parsed(whole)[:-1]
    org.control("switches", bulk_short_page=False, bulk_header_row="first_page")
    assert whole.content.endswith(org.results(id_, locator=more, maxRecords=100).content)
    assert not org.results(id_, locator=more).text.startswith('"Id"')
    assert org.results(id_).text.startswith('"Id"')


@pytest.mark.parametrize("reads", ["start", "end"])
def test_when_a_job_sees_the_data(org: Bulk, reads: str) -> None:
    org.control("switches", bulk_reads=reads, bulk_polls=1)
    (account,) = org.control("insert", object="Account", rows=[{"Name": "old"}])["ids"]
    (gone,) = org.control("insert", object="Contact", rows=[{"LastName": "x", "AccountId": account}])["ids"]
    query = f"SELECT Id, Account.Name FROM Contact WHERE AccountId = '{account}'"
    id_ = org.create(query)["id"]
    org.control("update", object="Account", id=account, fields={"Name": "new"})
    (late,) = org.control("insert", object="Contact", rows=[{"LastName": "y", "AccountId": account}])["ids"]
    org.control("delete", object="Contact", id=gone)
    while org.state(id_) != "JobComplete":
        pass
    org.control("update", object="Account", id=account, fields={"Name": "newest"})
    expected = {"start": (gone, "old"), "end": (late, "new")}[reads]
    assert [(row["Id"], row["Account.Name"]) for row in parsed(org.results(id_))] == [expected]


def test_a_field_that_vanishes_while_the_job_waits_makes_it_fail(org: Bulk) -> None:
    org.control("switches", bulk_reads="end", bulk_polls=1)
    id_ = org.create("SELECT Id, Title FROM Contact")["id"]
    org.control("hide_field", object="Contact", field="Title")
    assert [org.state(id_), org.state(id_)] == ["InProgress", "Failed"]
    assert org.send("GET", f"{JOBS}/{id_}").json()["errorMessage"].startswith("INVALID_FIELD: ")


def test_pages_for_parallel_downloads(org: Bulk) -> None:
    org.control("switches", bulk_page_rows=60)
    id_ = org.create(operation="queryAll")["id"]
    lists = [org.send("GET", f"{JOBS}/{id_}/resultPages").json()]
    while not lists[-1]["done"]:
        lists.append(org.send("GET", lists[-1]["nextRecordsUrl"]).json())
    assert "nextRecordsUrl" not in lists[-1]
    urls = [page["resultUrl"] for each in lists for page in each["resultPages"]]
    assert [len(each["resultPages"]) for each in lists] == [5, 3]
    rows = [row for url in urls for row in parsed(org.send("GET", url))]
    assert len(rows) == 450
    org.control("switches", bulk_page_rows=50_000)
    assert rows == parsed(org.results(id_))
    org.control("switches", bulk_page_rows=60, bulk_pages_next="nextRecordUrl", bulk_page_link="resultLink")
    other = org.send("GET", f"{JOBS}/{id_}/resultPages").json()
    assert "nextRecordUrl" in other
    assert other["resultPages"][0] == {"resultLink": urls[0]}
    empty = org.create("SELECT Id FROM Contact WHERE LastName = 'nobody'")["id"]
    (page,) = org.send("GET", f"{JOBS}/{empty}/resultPages").json()["resultPages"]
    assert org.send("GET", page["resultLink"]).text == '"Id"\n'
    old = org.create(version="57.0")["id"]
    assert org.refused("GET", f"{JOBS}/{old}/resultPages", "57.0") == (404, "NOT_FOUND")


def test_every_doubt_is_told_with_its_assumed_default(org: Bulk) -> None:
    doubts = org.control("doubts")
    assert doubts["bulk_unfinished_results"] == {
        "value": 400,
        "values": [400, 204, 404],
        "assumed_default": 400,
        "unknown": "old documents say 204, practice 400",
    }
    org.control("switches", bulk_polls=4)
    assert (org.control("doubts")["bulk_polls"]["value"], doubts["bulk_polls"]["assumed_default"]) == (4, 0)


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("bulk_fate", {"outcome": "explode"}),
        ("bulk_fate", {"outcome": "stuck", "id": "750"}),
        ("bulk_unsupported", {"objects": ["Nope"]}),
        ("quota", {"bulk_jobs": -1}),
        ("quota", {"bulk": 1}),
        ("switches", {"bulk_unfinished_results": 500}),
    ],
)
def test_wrong_control_calls(org: Bulk, action: str, arguments: dict[str, Any]) -> None:
    answer = requests.post(f"{org.root}/_sandbox/salesforce/{action}", json=arguments, timeout=10)
    assert answer.status_code == 400


# --- a foreign client


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[tuple[SalesforceService, Any]]:
    """simple-salesforce, which speaks https only."""
    identity = make_identity()
    with SandboxServer(tls=identity) as server, requests.Session() as session:
        service = SalesforceService(450, 3, base_url=server.base_url)
        server.add(service)
        session.trust_env = False
        session.verify = str(identity.write_ca(tmp_path / "ca.pem"))
        yield (
            service,
            simple_salesforce.Salesforce(
                instance_url=server.base_url,
                session_id=service.credentials.access_token,
                session=session,
                version=VERSION,
            ),
        )


def test_simple_salesforce_queries_in_bulk(foreign: tuple[SalesforceService, Any], tmp_path: Path) -> None:
    service, sf = foreign
    service.control("switches", {"bulk_polls": 1})
    dumped = service.control("dump", {"object": "Contact"})
    alive = {row["Id"]: row for row in dumped if not row["IsDeleted"]}
    pages = list(
        sf.bulk2.Contact.query(
            "SELECT Id, LastName, Account.Name FROM Contact",
            max_records=200,
            column_delimiter=ColumnDelimiter.TAB,
            line_ending=LineEnding.CRLF,
            wait=0.01,
        )
    )
    rows = [row for page in pages for row in csv.DictReader(io.StringIO(page, newline=""), delimiter="\t")]
    assert len(pages) == 3
    assert {row["Id"]: row["LastName"] for row in rows} == {
        id_: row["LastName"] for id_, row in alive.items()
    }
    files = sf.bulk2.Contact.download(
        "SELECT Id FROM Contact", path=str(tmp_path), max_records=500, wait=0.01
    )
    assert [each["number_of_records"] for each in files] == [len(alive)]
    (error,) = _refusal(sf, "SELECT Id, MailingAddress FROM Contact")
    assert error["errorCode"] == "FUNCTIONALITY_NOT_ENABLED"


def _refusal(sf: Any, query: str) -> Any:
    with pytest.raises(simple_salesforce.SalesforceMalformedRequest) as refused:
        list(sf.bulk2.Contact.query(query))
    return refused.value.content


def test_simple_salesforce_meets_jobs_that_do_not_finish(foreign: tuple[SalesforceService, Any]) -> None:
    service, sf = foreign
    client = sf.bulk2.Contact._client
    service.control("bulk_fate", {"outcome": "failed", "message": "no luck"})
    with pytest.raises(SalesforceOperationError, match="no luck"):
        list(sf.bulk2.Contact.query("SELECT Id FROM Contact", wait=0.01))
    service.control("bulk_fate", {"outcome": "stuck"})
    made = client.create_job(Operation.query_all, "SELECT Id FROM Contact")
    assert client.get_job(made["id"], True)["state"] == "InProgress"
    assert client.abort_job(made["id"], True)["state"] == "Aborted"
    with pytest.raises(simple_salesforce.SalesforceMalformedRequest, match="INVALIDJOBSTATE"):
        client.get_query_results(made["id"])
    service.control("expire_sessions", {})
    with pytest.raises(SalesforceExpiredSession):
        client.get_job(made["id"], True)
