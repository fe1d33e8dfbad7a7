"""Bulk query jobs: waited for, read page by page, and cleared away, whatever Salesforce answers."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import AuthError, Interrupted, Outage, QuotaExhausted
from crmsync.http import NoAnswer, Retry, Stopper
from crmsync.http.wire import Reply
from crmsync.sources.salesforce import bulk
from crmsync.sources.salesforce.bulk import FIRST_POLL, LONGEST_POLL, PAGE_TRIES, BulkQuery, BulkRefused
from crmsync.sources.salesforce.bulk_rows import RowReader
from crmsync.sources.salesforce.client import SalesforceClient
from crmsync.sources.salesforce.errors import FieldGone

ORG = "https://acme.my.salesforce.com"
QUERY = "SELECT Id, Name FROM Contact"
COLUMNS = ["Id", "Name"]
HEADER = '"Id","Name"\n'
ID = "750000000000001AAA"


class Clock(Stopper):
    """A stopper whose pauses take no time, and the clock that they move."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Token:
    """A login: what Salesforce takes is the last token."""

    def __init__(self) -> None:
        self.number = 1

    def token(self) -> str:
        return f"token{self.number}"

    def renew(self, stale: str) -> bool:
        self.number += 1
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bulk, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def org() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def make(clock: Clock) -> Iterator[Callable[..., BulkQuery]]:
    """Makes a query of an org that speaks a version."""
    clients = []

    def make(version: str = "67.0", deadline: float = 600, **options: Any) -> BulkQuery:
        quick = Retry(attempts=3, first=0.001, longest=0.001)
        client = SalesforceClient(ORG, Token(), version=version, retry=quick, stopper=clock)
        clients.append(client)
        reader = RowReader(COLUMNS, options.pop("types", {}))
        span = timedelta(seconds=deadline)
        return BulkQuery(client, QUERY, reader, stopper=clock, deadline=span, **options)

    yield make
    for client in clients:
        client.close()


def url(path: str = "", version: str = "67.0") -> str:
    return f"{ORG}/services/data/v{version}/jobs/query{path}"


def makes(org: responses.RequestsMock, version: str = "67.0") -> None:
    org.post(url(version=version), json={"id": ID, "state": "UploadComplete"})


def tells(org: responses.RequestsMock, *states: str, version: str = "67.0", **more: Any) -> None:
    """The job's states, look by look; the last one stays."""
    for state in states:
        org.get(url(f"/{ID}", version), json={"id": ID, "state": state, **more})


def lists(org: responses.RequestsMock, *locators: str) -> None:
    """The list of the pages, whole."""
    found = [
        {"resultUrl": f"/services/data/v67.0/jobs/query/{ID}/results?locator={each}"} for each in locators
    ]
    org.get(url(f"/{ID}/resultPages"), json={"resultPages": found, "done": True})


def page(org: responses.RequestsMock, rows: list[str], version: str = "67.0", **headers: str) -> None:
    body = HEADER + "".join(f'"{each}","name of {each}"\n' for each in rows)
    sent = {"Content-Type": "text/csv", **{f"Sforce-{name}": value for name, value in headers.items()}}
    org.get(url(f"/{ID}/results", version), body=body, headers=sent)


def sent(org: responses.RequestsMock, method: str) -> list[str]:
    """What was asked for with this method, below the jobs."""
    calls = [call.request for call in org.calls if call.request.method == method]
    return [str(request.url).partition("/jobs/query")[2] for request in calls]


def read(query: BulkQuery) -> list[str]:
    return [row["Id"] for rows in query.rows() for row in rows]


# --- making a job


def test_what_a_job_is_asked_for(org: responses.RequestsMock, make: Callable[..., BulkQuery]) -> None:
    makes(org)
    make().create()
    make(everything=False).create()
    asked = [json.loads(call.request.body) for call in org.calls]
    form = {"query": QUERY, "contentType": "CSV", "lineEnding": "LF"}
    assert asked == [{"operation": "queryAll", **form}, {"operation": "query", **form}]


REFUSALS = [
    (400, "INVALIDENTITY"),
    (400, "API_ERROR"),
    (400, "FUNCTIONALITY_NOT_ENABLED"),
    (400, "LIMIT_EXCEEDED"),
    (403, "API_DISABLED_FOR_ORG"),
    (404, "NOT_FOUND"),
    (404, ""),
]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_what_only_rest_can_do(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], status: int, code: str
) -> None:
    org.post(url(), status=status, json=[{"errorCode": code, "message": "not by this way"}])
    with pytest.raises(BulkRefused, match="not by this way"):
        make().create()


def test_a_field_that_no_job_may_select_is_not_even_asked_for(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    with pytest.raises(BulkRefused, match="Name"):
        make(types={"Name": "address"}).create()
    assert not org.calls


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, [{"errorCode": "INVALID_FIELD", "message": "No such column"}], FieldGone),
        (403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}], AuthError),
        (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests"}], QuotaExhausted),
        (503, [{"errorCode": "SERVER_UNAVAILABLE", "message": "busy"}], BulkRefused),
        (200, {"state": "UploadComplete"}, Outage),
        (200, [], Outage),
    ],
)
def test_other_refusals_are_errors_of_the_run(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], status: int, body: Any, error: type
) -> None:
    org.post(url(), status=status, json=body)
    with pytest.raises(error):
        make().create()


def test_a_job_that_may_no_longer_be_looked_at_is_not_gone_on_with(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    org.get(url(f"/{ID}"), status=403, json=[{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}])
    assert not make().adopt(f"{ID}@67.0/0")


def test_a_job_is_known_although_its_creation_used_up_the_quota(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    used_up = {"Sforce-Limit-Info": "api-usage=101/100"}
    org.post(url(), json={"id": ID, "state": "UploadComplete"}, headers=used_up)
    org.patch(url(f"/{ID}"), json={"id": ID}, headers=used_up)
    org.delete(url(f"/{ID}"), status=204, headers=used_up)
    query = make()
    query.create()
    query.close()
    assert [call.request.method for call in org.calls] == ["POST", "PATCH", "DELETE"]


# --- waiting for it


def test_it_is_asked_for_less_and_less_often(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], clock: Clock
) -> None:
    makes(org)
    tells(org, "UploadComplete", *["InProgress"] * 20, "JobComplete", numberRecordsProcessed=1)
    lists(org, "a")
    page(org, ["1"])
    assert read(make().started()) == ["1"]
    assert clock.pauses[0] == FIRST_POLL
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == LONGEST_POLL
    assert len(clock.pauses) == 21


def test_it_is_given_up_at_its_deadline(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], clock: Clock
) -> None:
    makes(org)
    tells(org, "InProgress")
    org.patch(url(f"/{ID}"), json={"state": "Aborted"})
    org.delete(url(f"/{ID}"), status=204)
    query = make(deadline=120).started()
    with pytest.raises(Outage, match="still InProgress after 2 minutes"):
        read(query)
    assert 120 < sum(clock.pauses) <= 120 + LONGEST_POLL
    query.close()
    assert (sent(org, "PATCH"), sent(org, "DELETE")) == ([f"/{ID}"], [f"/{ID}"])


def test_a_stop_is_heeded_while_it_is_waited_for(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], clock: Clock
) -> None:
    makes(org)
    tells(org, "InProgress")
    query = make().started()
    clock.stop(Interrupted(15))
    with pytest.raises(Interrupted):
        read(query)
    assert len(clock.pauses) == 1


ENDS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"state": "Aborted"}, Outage, "aborted by somebody"),
    ({"state": "Failed", "errorMessage": "Retried more than 15 times"}, BulkRefused, "Retried more than 15"),
    ({"state": "Failed"}, BulkRefused, "no reason given"),
    ({"state": "Failed", "errorMessage": "INVALID_FIELD: No such column"}, FieldGone, "No such column"),
]


@pytest.mark.parametrize(("document", "error", "words"), ENDS)
def test_other_ends_than_completion(
    org: responses.RequestsMock,
    make: Callable[..., BulkQuery],
    document: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    """What has ended is deleted, and not aborted before."""
    makes(org)
    org.get(url(f"/{ID}"), json=document)
    org.delete(url(f"/{ID}"), status=204)
    query = make().started()
    with pytest.raises(error, match=words):
        read(query)
    query.close()
    assert (sent(org, "PATCH"), sent(org, "DELETE")) == ([], [f"/{ID}"])


def test_a_session_that_ends_meanwhile_is_renewed_and_the_job_is_the_same(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    tells(org, "InProgress")
    expired = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
    org.get(url(f"/{ID}"), status=401, json=expired)
    tells(org, "JobComplete", numberRecordsProcessed=1)
    lists(org, "a")
    org.get(url(f"/{ID}/results"), status=401, json=expired)
    page(org, ["1"])
    assert read(make().started()) == ["1"]
    tokens = [call.request.headers["Authorization"] for call in org.calls]
    assert (tokens[0], tokens[-1]) == ("Bearer token1", "Bearer token3")
    assert len(sent(org, "POST")) == 1


# --- its pages


def test_pages_are_found_list_by_list_whatever_the_links_are_called(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    tells(org, "JobComplete", numberRecordsProcessed=3)
    base = f"/services/data/v67.0/jobs/query/{ID}"
    for key, more, link, number in (
        ("resultUrl", "nextRecordsUrl", "a", 1),
        ("resultLink", "nextRecordUrl", "b", 2),
    ):
        body = {
            "resultPages": [{key: f"{base}/results?locator={link}"}],
            more: f"{base}/resultPages?n={number}",
            "done": False,
        }
        org.get(url(f"/{ID}/resultPages"), json=body)
    org.get(
        url(f"/{ID}/resultPages"),
        json={"resultPages": [{"resultUrl": f"{base}/results?locator=c"}], "done": True},
    )
    for each in ("1", "2", "3"):
        page(org, [each], NumberOfRecords="1")
    assert sorted(read(make().started())) == ["1", "2", "3"]
    assert {path for path in sent(org, "GET") if "locator" in path} == {
        f"/{ID}/results?locator={each}" for each in "abc"
    }


@pytest.mark.parametrize("body", [{}, [], {"resultPages": None}, {"resultPages": [{}]}, {"resultPages": [7]}])
def test_a_list_of_pages_that_is_none_is_an_outage(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], body: Any
) -> None:
    makes(org)
    tells(org, "JobComplete")
    org.get(url(f"/{ID}/resultPages"), json=body)
    with pytest.raises(Outage, match="does not tell where"):
        read(make().started())


@pytest.mark.parametrize("status", [400, 404, 409])
@pytest.mark.parametrize("where", ["resultPages", "results"])
def test_results_that_are_refused_are_an_outage(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], status: int, where: str
) -> None:
    makes(org)
    tells(org, "JobComplete")
    if where == "results":
        lists(org, "a")
    refusal = [{"errorCode": "API_ERROR", "message": "not from here"}]
    org.get(url(f"/{ID}/{where}"), status=status, json=refusal)
    with pytest.raises(Outage, match="not from here"):
        read(make().started())


def test_an_answer_without_content_is_no_empty_result(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    tells(org, "JobComplete")
    lists(org, "a")
    org.get(url(f"/{ID}/results"), status=204)
    with pytest.raises(Outage, match="gives no results"):
        read(make().started())


@pytest.mark.parametrize("last", ["null", None])
def test_before_version_58_each_page_names_the_next(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], last: str | None
) -> None:
    makes(org, "57.0")
    tells(org, "JobComplete", version="57.0", numberRecordsProcessed=3)
    page(org, ["1", "2"], "57.0", Locator="MTAw")
    page(org, ["3"], "57.0", **({"Locator": last} if last else {}))
    assert read(make("57.0").started()) == ["1", "2", "3"]
    first, second = [path for path in sent(org, "GET") if "results" in path]
    assert "locator" not in first
    assert second.endswith("&locator=MTAw")


def test_a_page_that_is_shorter_than_it_says_is_read_again(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    tells(org, "JobComplete", numberRecordsProcessed=3)
    lists(org, "a")
    page(org, ["1", "2"], NumberOfRecords="3")
    page(org, ["1", "2", "3"], NumberOfRecords="3")
    assert read(make().started()) == ["1", "2", "3"]


def test_one_that_stays_short_is_an_outage(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], clock: Clock
) -> None:
    """After a bounded number of tries, with a pause before each."""
    makes(org)
    tells(org, "JobComplete", numberRecordsProcessed=3)
    lists(org, "a")
    page(org, ["1", "2"], NumberOfRecords="3")
    with pytest.raises(Outage, match="2 of its 3 rows arrived"):
        read(make().started())
    assert len([path for path in sent(org, "GET") if "locator" in path]) == PAGE_TRIES
    assert len(clock.pauses) == PAGE_TRIES - 1


def test_fewer_rows_than_the_job_has_are_an_outage(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    tells(org, "JobComplete", numberRecordsProcessed=1200)
    lists(org, "a")
    page(org, ["1"])
    query = make().started()
    with pytest.raises(Outage, match="only 1 of the 1,200 rows"):
        read(query)
    assert query.total == 1200


# --- a page that breaks off


class Breaking(io.TextIOBase):
    """A page whose reading breaks off behind so many lines."""

    def __init__(self, lines: list[str], behind: int) -> None:
        self._lines = iter([*lines[:behind], None] if behind < len(lines) else lines)

    def __iter__(self) -> Breaking:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line is None:
            raise NoAnswer("broke off")
        return line


class Pages:
    """Stands in for the client: one page, each reading of which breaks off behind so many lines."""

    version = "67.0"

    def __init__(self, lines: list[str], breaks: list[int], budget: int = 99) -> None:
        self.lines, self.breaks, self.opened = lines, breaks, []
        self.http = SimpleNamespace(may_ask_again=lambda attempt: attempt < budget)

    def get(self, path: str, what: str) -> Any:
        if path.endswith("resultPages"):
            return {"resultPages": [{"resultUrl": "x"}], "done": True}
        return {"state": "JobComplete", "numberRecordsProcessed": len(self.lines) - 1}

    def ask(self, method: str, path: str, what: str, body: Any = None, *, repeatable: bool = True) -> Reply:
        return Reply(200, {}, json.dumps({"id": ID}).encode())

    def open_csv(self, path: str, what: str) -> Reply:
        behind = self.breaks.pop(0) if self.breaks else len(self.lines)
        stream = Breaking(self.lines, behind)
        self.opened.append(stream)
        return Reply(200, {}, b"", stream)  # type: ignore[arg-type]  # all of TextIO that is used


@given(st.integers(0, 30), st.lists(st.integers(0, 31), max_size=PAGE_TRIES - 1), st.integers(1, 4))
def test_wherever_a_page_breaks_off_each_row_comes_once_and_in_order(
    rows: int, breaks: list[int], at_once: int
) -> None:
    lines = [HEADER, *(f'"{number}","x"\n' for number in range(rows))]
    pages = Pages(lines, list(breaks))
    reader = RowReader(COLUMNS, {})
    query = BulkQuery(pages, QUERY, reader, stopper=Stopper(), deadline=timedelta(1))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(bulk, "ROWS_AT_ONCE", at_once)
        assert read(query.started()) == [str(number) for number in range(rows)]
    assert all(stream.closed for stream in pages.opened)


@pytest.mark.parametrize(("budget", "tries"), [(99, PAGE_TRIES), (2, 2), (0, 1)])
def test_one_that_keeps_breaking_off_is_an_outage_after_as_many_tries_as_there_are(
    budget: int, tries: int
) -> None:
    pages = Pages([HEADER, '"1","x"\n'], [1] * 99, budget)
    query = BulkQuery(
        pages,  # type: ignore[arg-type]
        QUERY,
        RowReader(COLUMNS, {}),
        stopper=Stopper(),
        deadline=timedelta(1),
    )
    with pytest.raises(Outage, match="cannot be read to its end: broke off"):
        read(query.started())
    assert len(pages.opened) == tries
    assert all(stream.closed for stream in pages.opened)


# --- going on with a job, and clearing it away


@pytest.mark.parametrize(
    ("state", "may"),
    [
        ("UploadComplete", True),
        ("InProgress", True),
        ("JobComplete", True),
        ("Failed", False),
        ("Aborted", False),
        ("Simmering", False),
    ],
)
def test_a_job_is_gone_on_with_where_something_may_come_of_it(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], state: str, may: bool
) -> None:
    makes(org)
    tells(org, state)
    name = make().create()
    assert make().adopt(name) is may


def test_it_is_not_where_it_is_of_another_version_or_query(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    for version in ("67.0", "60.0"):
        tells(org, "JobComplete", version=version)
    query = make()
    name = query.create()
    assert not make("60.0").adopt(name)
    query._query += " WHERE Name != null"
    assert not query.adopt(name)


@pytest.mark.parametrize("status", [400, 404])
def test_it_is_not_where_it_is_gone(
    org: responses.RequestsMock, make: Callable[..., BulkQuery], status: int
) -> None:
    makes(org)
    org.get(url(f"/{ID}"), status=status, json=[{"errorCode": "NOT_FOUND", "message": "gone"}])
    query = make()
    assert not query.adopt(make().create())
    query.close()
    assert not sent(org, "DELETE")


def test_a_job_is_cleared_away_once(org: responses.RequestsMock, make: Callable[..., BulkQuery]) -> None:
    makes(org)
    org.patch(url(f"/{ID}"), status=400, json=[{"errorCode": "INVALIDJOBSTATE", "message": "complete"}])
    org.delete(url(f"/{ID}"), status=204)
    query = make().started()
    query.close()
    query.close()
    assert len(sent(org, "DELETE")) == 1


def test_that_it_cannot_be_cleared_away_is_no_error(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    org.patch(url(f"/{ID}"), status=503)
    org.delete(url(f"/{ID}"), body=ConnectionError())
    make().started().close()


def test_one_that_is_made_while_its_run_ends_is_cleared_away(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    """A thread of its own makes it; the run that is stopped does not wait for that."""
    asked, ended = threading.Event(), threading.Event()

    def slowly(_request: Any) -> tuple[int, dict[str, str], str]:
        asked.set()
        assert ended.wait(5)
        return 200, {}, json.dumps({"id": ID})

    org.add_callback("POST", url(), slowly)
    org.patch(url(f"/{ID}"), json={})
    org.delete(url(f"/{ID}"), status=204)
    query, met = make(), []

    def making() -> None:
        try:
            query.create()
        except Outage as error:
            met.append(error)

    thread = threading.Thread(target=making)
    thread.start()
    assert asked.wait(5)
    query.close()
    ended.set()
    thread.join(5)
    assert len(met) == 1
    assert sent(org, "DELETE") == [f"/{ID}"]


def test_a_job_that_vanishes_is_an_outage(
    org: responses.RequestsMock, make: Callable[..., BulkQuery]
) -> None:
    makes(org)
    tells(org, "InProgress")
    org.get(url(f"/{ID}"), status=404, json=[{"errorCode": "NOT_FOUND", "message": "gone"}])
    with pytest.raises(Outage, match="vanished"):
        read(make().started())
