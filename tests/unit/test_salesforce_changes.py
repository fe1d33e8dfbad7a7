"""The changes stream: every row of the window once and in order, whatever becomes of the paging."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import AuthError, ConfigError, Outage, QuotaExhausted
from crmsync.http import Stopper
from crmsync.sources.base import Page, Window
from crmsync.sources.salesforce import soql
from crmsync.sources.salesforce.changes import EMPTY_PAGES, FRUITLESS_RESTARTS, Changes
from crmsync.sources.salesforce.client import LONGEST_URI, SalesforceClient, newest_known
from crmsync.sources.salesforce.errors import LocatorLost, QueryRefused, QueryTimeout, Refusal, UriTooLong

Row = dict[str, Any]
START = datetime(2026, 5, 1, 10, 0, tzinfo=UTC)
END = START + timedelta(hours=1)
WINDOW = Window(START, END)
CURSOR = "SystemModstamp"


def row(number: int, second: int, **more: Any) -> Row:
    """A row stamped so many seconds into the window, as Salesforce writes it."""
    stamp = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {"Id": f"003{number:012d}AAA", CURSOR: stamp, **more}


def lost() -> LocatorLost:
    return LocatorLost(Refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator"), "query page")


class Org:
    """An org in memory that answers the queries of one object, and plays the tricks it is told to.

    `sizes` are the pages' sizes, over and over (0: an empty page). `dies` says whether a page's link still
    works, asked once for each. `shown` is how a row looks when its page is fetched. `late_end`: an empty page
    follows the last row.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        sizes: Sequence[int] = (2000,),
        *,
        dies: Callable[[], bool] = lambda: False,
        shown: Callable[[Row], Row] = lambda row: row,
        total: int | None = None,
        slow: Callable[[list[Row]], bool] = lambda rows: False,
        late_end: bool = False,
    ) -> None:
        self.rows = sorted(rows, key=lambda row: (row[CURSOR], row["Id"]))
        self.queries: list[str] = []
        self._sizes = itertools.cycle(sizes)
        self._dies = dies
        self._shown = shown
        self._total = total
        self._slow = slow
        self._late_end = late_end
        self._results: dict[str, list[Row]] = {}

    def query(self, text: str, *, everything: bool = True, what: str = "query") -> Any:
        assert everything
        self.queries.append(text)
        found = self._select(text)
        if self._slow(found):
            raise QueryTimeout(Refusal(400, "QUERY_TIMEOUT", "too long"), what)
        result = f"result{len(self.queries)}"
        self._results[result] = found
        return self._page(result, 0)

    def next_page(self, locator: str) -> Any:
        if self._dies():
            raise lost()
        result, _, offset = locator.rpartition("-")
        return self._page(result, int(offset))

    def _select(self, text: str) -> list[Row]:
        assert re.fullmatch(
            r"SELECT [\w, .]+ FROM Contact WHERE .+? ORDER BY (SystemModstamp, Id|Id)( LIMIT \d+)?", text
        )
        found = self.rows
        literal = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
        for lower in re.findall(rf"{CURSOR} >= {literal}", text):
            found = [row for row in found if f"{row[CURSOR][:19]}Z" >= lower]
        for upper in re.findall(rf"{CURSOR} < {literal}", text):
            found = [row for row in found if f"{row[CURSOR][:19]}Z" < upper]
        for after in re.findall(r"Id > '(\w+)'", text):
            found = [row for row in found if row["Id"] > after]
        if "ORDER BY Id" in text:
            found = sorted(found, key=lambda row: row["Id"])
        limit = re.search(r"LIMIT (\d+)", text)
        return found[: int(limit[1])] if limit else found

    def _page(self, result: str, offset: int) -> Any:
        rows = self._results[result]
        end = min(offset + next(self._sizes), len(rows))
        page: dict[str, Any] = {
            "totalSize": len(rows) if self._total is None else self._total,
            "done": end == len(rows) and not (self._late_end and offset < end),
            "records": [self._shown(row) for row in rows[offset:end]],
        }
        if not page["done"]:
            page["nextRecordsUrl"] = f"{result}-{end}"
        return page


def stream(org: Any, window: Window = WINDOW, **options: Any) -> Changes:
    return Changes(org, "Contact", ["Id", CURSOR], window, cursor=CURSOR, **options)


def read(org: Any, start: datetime | None = None, **options: Any) -> list[str]:
    return [row["Id"] for page in stream(org, **options).pages(start) for row in page.rows]


def ids(rows: Sequence[Row]) -> list[str]:
    return [row["Id"] for row in sorted(rows, key=lambda row: (row[CURSOR], row["Id"]))]


# --- paging -------------------------------------------------------------------------------------------------


def test_paging_ends_on_done() -> None:
    rows = [row(n, n) for n in range(10)]
    pages = list(stream(Org(rows, [3])).pages(None))
    assert [len(page.rows) for page in pages] == [3, 3, 3, 1]
    assert [page.position for page in pages] == [f"2026-05-01T10:00:0{second}Z" for second in (2, 5, 8, 9)]


@pytest.mark.parametrize("sizes", [[1], [7], [2000], [1, 5, 2], [0, 3], [3, 0, 0], [0, 0, 1]])
def test_pages_of_any_size_even_empty_ones_lose_nothing(sizes: list[int]) -> None:
    rows = [row(n, n // 3) for n in range(40)]
    assert read(Org(rows, sizes)) == ids(rows)


def test_a_window_without_changes_is_one_empty_page() -> None:
    org = Org([])
    assert list(stream(org).pages(None)) == [Page([], None, total=0)]
    assert len(org.queries) == 1


def test_every_page_says_how_many_rows_there_are_in_all_also_behind_a_lost_link() -> None:
    deaths = itertools.cycle([False, True])
    org = Org([row(n, n) for n in range(10)], [3], dies=lambda: next(deaths))
    assert {page.total for page in stream(org).pages(None)} == {10}


def test_of_a_window_read_in_parts_nobody_knows_how_many_rows_it_has() -> None:
    org = Org([row(n, n * 300) for n in range(10)], [3], slow=lambda rows: len(rows) > 6)
    assert {page.total for page in stream(org).pages(None)} == {None}


def test_the_window_is_half_open() -> None:
    rows = [row(1, -1), row(2, 0), row(3, 3599), row(4, 3600)]
    assert read(Org(rows)) == ids(rows[1:3])


def test_a_window_without_a_start_reaches_back_to_the_first_row() -> None:
    rows = [row(1, -(10**8)), row(2, 0)]
    org = Org(rows)
    assert read(org, window=Window(None, END)) == ids(rows)
    assert ">=" not in org.queries[0]


def test_reading_resumes_at_a_position() -> None:
    rows = [row(n, n) for n in range(10)]
    assert read(Org(rows), START + timedelta(seconds=6)) == ids(rows[6:])


def test_queries_hold_utc_literals_that_need_no_escaping() -> None:
    from datetime import timezone

    elsewhere = timezone(timedelta(hours=2))
    org = Org([row(1, 0)])
    read(org, window=Window(START.astimezone(elsewhere), END.astimezone(elsewhere)), where="Email != null")
    assert org.queries == [
        "SELECT Id, SystemModstamp FROM Contact WHERE SystemModstamp >= 2026-05-01T10:00:00Z AND "
        "SystemModstamp < 2026-05-01T11:00:00Z AND (Email != null) ORDER BY SystemModstamp, Id"
    ]


def test_the_operators_condition_stays_in_every_query() -> None:
    rows = [row(n, 0) for n in range(6)]
    org = Org(rows, [2], dies=lambda: True)
    assert read(org, where="A = 1 OR B = 2") == ids(rows)
    assert len(org.queries) > 2
    assert all(" AND (A = 1 OR B = 2) ORDER BY" in query for query in org.queries)


def test_an_answer_that_is_no_page_is_no_end() -> None:
    class Odd:
        def __init__(self, body: Any) -> None:
            self.body = body

        def query(self, text: str) -> Any:
            return self.body

    for body in ({}, [], {"records": []}, {"done": "yes"}, {"done": None, "totalSize": 0}):
        with pytest.raises(Outage, match="no page"):
            read(Odd(body))
    with pytest.raises(Outage, match="no link"):
        read(Odd({"done": False, "records": [], "totalSize": 3}))


# --- lost locators ------------------------------------------------------------------------------------------


def test_a_lost_locator_is_read_on_behind_the_last_row() -> None:
    rows = [row(n, n // 4) for n in range(20)]
    deaths = iter([False, True])
    org = Org(rows, [5], dies=lambda: next(deaths, False))
    assert read(org) == ids(rows)
    assert len(org.queries) == 3
    assert (
        "SystemModstamp >= 2026-05-01T10:00:02Z AND SystemModstamp < 2026-05-01T10:00:03Z AND Id > "
        in (org.queries[1])
    )
    assert "SystemModstamp >= 2026-05-01T10:00:03Z" in org.queries[2]


def test_9000_rows_of_one_second_survive_a_locator_that_dies_after_every_page() -> None:
    rows = [row(n, 100) for n in range(9000)]
    org = Org(rows, [2000], dies=lambda: True)
    pages = list(stream(org).pages(None))
    assert [row["Id"] for page in pages for row in page.rows] == ids(rows)
    assert {page.position for page in pages} == {"2026-05-01T10:01:40Z"}
    assert len(org.queries) == 6


def test_a_second_at_the_windows_edge_is_read_whole() -> None:
    rows = [row(n, 3599) for n in range(10)]
    assert read(Org(rows, [3], dies=lambda: True)) == ids(rows)


def test_losing_the_place_without_progress_ends_in_an_outage() -> None:
    org = Org([row(n, n) for n in range(10)], [0], dies=lambda: True)
    with pytest.raises(Outage) as raised:
        read(org)
    assert raised.value.exit_code == 75
    assert len(org.queries) == FRUITLESS_RESTARTS + 1


def test_losing_the_place_now_and_then_is_no_outage() -> None:
    rows = [row(n, n) for n in range(50)]
    assert read(Org(rows, [0, 0, 1], dies=itertools.cycle([False, True]).__next__)) == ids(rows)


def test_rows_that_always_show_later_stamps_are_no_progress() -> None:
    later = row(0, 7200)[CURSOR]
    org = Org([row(n, n) for n in range(10)], [3], dies=lambda: True, shown=lambda r: {**r, CURSOR: later})
    with pytest.raises(Outage):
        read(org)
    assert len(org.queries) == FRUITLESS_RESTARTS + 1


def test_pages_that_lead_to_themselves_are_given_up() -> None:
    class Circle:
        def query(self, text: str) -> Any:
            return {"totalSize": 2, "done": False, "nextRecordsUrl": "here", "records": [row(1, 1)]}

        def next_page(self, locator: str) -> Any:
            return self.query("")

    with pytest.raises(Outage, match="nowhere"):
        read(Circle())


def test_empty_pages_without_end_are_given_up() -> None:
    asked = itertools.count(1)

    class Desert:
        def query(self, text: str) -> Any:
            return {"totalSize": 2, "done": False, "nextRecordsUrl": f"page{next(asked)}", "records": []}

        def next_page(self, locator: str) -> Any:
            return self.query("")

    with pytest.raises(Outage, match="nowhere"):
        read(Desert())
    assert next(asked) < EMPTY_PAGES + 5


def test_other_errors_are_not_taken_for_a_lost_place() -> None:
    class Refusing(Org):
        def next_page(self, locator: str) -> Any:
            raise QueryRefused(Refusal(400, "MALFORMED_QUERY", "no"), "query page")

    org = Refusing([row(n, n) for n in range(4)], [2])
    with pytest.raises(QueryRefused):
        read(org)
    assert len(org.queries) == 1


# --- rows that change while they are read -------------------------------------------------------------------


def test_rows_changed_while_they_are_read_never_move_the_position_out_of_the_window() -> None:
    rows = [row(n, n) for n in range(10)]
    changed = {rows[n]["Id"]: row(n, 7200 + n) for n in (2, 4, 5)}
    org = Org(rows, [3], shown=lambda r: changed.get(r["Id"], r))
    pages = list(stream(org).pages(None))
    assert [row["Id"] for page in pages for row in page.rows] == ids(rows)
    assert [page.position for page in pages] == [
        "2026-05-01T10:00:01Z",
        "2026-05-01T10:00:03Z",
        "2026-05-01T10:00:08Z",
        "2026-05-01T10:00:09Z",
    ]


def test_a_page_of_changed_rows_alone_keeps_the_position() -> None:
    rows = [row(n, n) for n in range(4)]
    changed = {rows[n]["Id"]: row(n, 3600) for n in (2, 3)}
    org = Org(rows, [2], shown=lambda r: changed.get(r["Id"], r))
    assert [page.position for page in stream(org).pages(None)] == ["2026-05-01T10:00:01Z"] * 2


def test_a_place_lost_behind_changed_rows_loses_no_other_row() -> None:
    rows = [row(n, n) for n in range(12)]
    moved = {rows[n]["Id"]: row(n, 7200) for n in (4, 5)}

    class Moving(Org):
        """Rows 4 and 5 are changed once the window's query has run: later queries no longer find them."""

        def next_page(self, locator: str) -> Any:
            self.rows = [row for row in self.rows if row["Id"] not in moved]
            return super().next_page(locator)

    deaths = iter([False, True])
    org = Moving(rows, [3], dies=lambda: next(deaths, False), shown=lambda r: moved.get(r["Id"], r))
    assert read(org) == ids(rows)


def test_fewer_rows_than_counted_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(Org([row(n, n) for n in range(5)], [2], total=7))
    assert "5 of 7 rows" in caplog.text


def test_as_many_rows_as_counted_are_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(Org([row(n, n) for n in range(5)], [2]))
        read(Org([row(n, n) for n in range(5)], [2], dies=lambda: True))
    assert caplog.text == ""


# --- limits and timeouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 11, 100])
@pytest.mark.parametrize("dying", [False, True])
def test_a_trial_reads_no_more_than_its_limit(limit: int, dying: bool) -> None:
    rows = [row(n, n // 3) for n in range(30)]
    org = Org(rows, [5], dies=lambda: dying)
    assert read(org, limit=limit) == ids(rows)[:limit]
    assert org.queries[0].endswith(f" LIMIT {limit}")


def test_a_trial_that_has_its_rows_asks_no_more() -> None:
    org = Org([row(n, n) for n in range(9)], [5], dies=lambda: True, late_end=True)
    assert len(read(org, limit=5)) == 5
    assert len(org.queries) == 1


def test_a_query_that_runs_too_long_is_read_in_parts() -> None:
    rows = [row(n, n * 100) for n in range(36)]
    org = Org(rows, [4], slow=lambda found: len(found) > 10)
    assert read(org) == ids(rows)
    assert len(org.queries) > 3


def test_a_query_that_always_runs_too_long_is_given_up() -> None:
    org = Org([row(n, 0) for n in range(36)], slow=lambda found: True)
    with pytest.raises(QueryTimeout) as raised:
        read(org)
    assert raised.value.exit_code == 75


# --- the property -------------------------------------------------------------------------------------------

STAMPS = st.lists(st.integers(0, 12), min_size=0, max_size=80)


@given(
    seconds=STAMPS,
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=6).filter(any),
    deaths=st.lists(st.booleans(), max_size=60),
    limit=st.none() | st.integers(1, 90),
    numbers=st.randoms(use_true_random=False),
)
def test_every_row_comes_once_and_in_order(
    seconds: list[int], sizes: list[int], deaths: list[bool], limit: int | None, numbers: Any
) -> None:
    order = list(range(len(seconds)))
    numbers.shuffle(order)
    rows = [row(number, second) for number, second in zip(order, seconds, strict=True)]
    left = iter(deaths)
    fruitless = 0

    def dies() -> bool:
        """At most FRUITLESS_RESTARTS times in a row, so that the stream has to come to its end."""
        nonlocal fruitless
        dead = next(left, False) and fruitless < FRUITLESS_RESTARTS
        fruitless = fruitless + 1 if dead else 0
        return dead

    org = Org(rows, sizes, dies=dies)
    pages = list(stream(org, limit=limit).pages(None))
    got = [row for page in pages for row in page.rows]
    assert [row["Id"] for row in got] == ids(rows)[:limit]
    seen: list[str] = []
    for page in pages:
        seen += [f"{row[CURSOR][:19]}Z" for row in page.rows]
        assert page.position == (seen[-1] if seen else None)


# --- over HTTP ----------------------------------------------------------------------------------------------

INSTANCE = "https://acme.my.salesforce.com"
BASE = f"{INSTANCE}/services/data/v62.0"


class Given:
    def __init__(self) -> None:
        self.renewals = 0

    def token(self) -> str:
        return f"00D!{self.renewals}"

    def renew(self, stale: str) -> bool:
        self.renewals += 1
        return True


class Instantly(Stopper):
    def sleep(self, seconds: float) -> None:
        pass


@pytest.fixture
def org() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def client() -> SalesforceClient:
    return SalesforceClient(INSTANCE, Given(), version="62.0", stopper=Instantly())


def page(*rows: Row, next_url: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"totalSize": 2, "done": next_url is None, "records": list(rows)}
    return body if next_url is None else {**body, "nextRecordsUrl": next_url}


def test_queries_go_to_query_all_and_follow_their_links(
    org: responses.RequestsMock, client: SalesforceClient
) -> None:
    org.get(f"{BASE}/queryAll/", json=page(row(1, 1), next_url="/services/data/v62.0/query/01gX-1"))
    org.get(f"{BASE}/query/01gX-1", json=page(row(2, 2)))
    assert read(client) == [row(1, 1)["Id"], row(2, 2)["Id"]]
    query = urlsplit(str(org.calls[0].request.url)).query
    assert "+" not in query
    assert parse_qs(query)["q"] == [
        "SELECT Id, SystemModstamp FROM Contact WHERE SystemModstamp >= 2026-05-01T10:00:00Z AND "
        "SystemModstamp < 2026-05-01T11:00:00Z ORDER BY SystemModstamp, Id"
    ]
    assert client.http.requests == {"query": 1, "query page": 1}


def test_a_plus_in_a_condition_reaches_salesforce(
    org: responses.RequestsMock, client: SalesforceClient
) -> None:
    org.get(f"{BASE}/queryAll/", json=page())
    client.query("SELECT Id FROM Contact WHERE Phone = '+1 & 2%'")
    assert "q=SELECT%20Id%20FROM%20Contact%20WHERE%20Phone%20%3D%20%27%2B1%20%26%202%25%27" in str(
        org.calls[0].request.url
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]),
        (401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]),
        (404, [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]),
    ],
)
def test_a_link_that_no_longer_works_is_a_lost_locator(
    status: int, body: Any, org: responses.RequestsMock, client: SalesforceClient
) -> None:
    org.get(f"{BASE}/query/01gX-1", status=status, json=body)
    with pytest.raises(LocatorLost) as raised:
        client.next_page("/services/data/v62.0/query/01gX-1")
    assert raised.value.exit_code == 75


def test_a_session_that_ends_between_pages_costs_one_login_and_no_row(
    org: responses.RequestsMock,
) -> None:
    """The link belongs to the session that asked the query: it stays dead under the new one."""
    auth = Given()
    client = SalesforceClient(INSTANCE, auth, version="62.0", stopper=Instantly())
    asked: list[str] = []

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        query = parse_qs(urlsplit(str(request.url)).query)["q"][0]
        asked.append(query)
        if len(asked) == 1:
            body = page(row(1, 1), next_url="/services/data/v62.0/query/01gX-1")
        else:
            body = page(*([row(2, 1)] if "Id >" in query else [row(3, 2)]))
        return 200, {"Content-Type": "application/json"}, json.dumps(body)

    org.add_callback("GET", f"{BASE}/queryAll/", callback=answer)
    expired = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    org.get(f"{BASE}/query/01gX-1", status=401, json=expired)
    assert read(client) == [row(n, s)["Id"] for n, s in ((1, 1), (2, 1), (3, 2))]
    assert auth.renewals == 1
    assert len(asked) == 3


def test_a_link_to_another_host_is_refused(org: responses.RequestsMock, client: SalesforceClient) -> None:
    with pytest.raises(ConfigError, match="another host"):
        client.next_page("https://evil.test/services/data/v62.0/query/01gX-1")
    assert len(org.calls) == 0


LONG = "SELECT Id FROM Contact WHERE " + " OR ".join(f"Email = 'person{n}@example.com'" for n in range(400))


def composite(org: responses.RequestsMock, status: int, body: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        sent.append(json.loads(request.body or b""))
        inner = {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": "query"}
        return 200, {"Content-Type": "application/json"}, json.dumps({"compositeResponse": [inner]})

    org.add_callback("POST", f"{BASE}/composite", callback=answer)
    return sent


def test_a_long_query_goes_through_composite(org: responses.RequestsMock, client: SalesforceClient) -> None:
    sent = composite(org, 200, page(row(1, 1)))
    assert len(LONG) > LONGEST_URI
    assert client.query(LONG)["records"] == [row(1, 1)]
    (request,) = sent[0]["compositeRequest"]
    assert request["method"] == "GET"
    path, _, query = request["url"].partition("?")
    assert path == "/services/data/v62.0/queryAll/"
    assert parse_qs(query)["q"] == [LONG]
    assert [call.request.method for call in org.calls] == ["POST"]


def test_a_short_query_does_not(org: responses.RequestsMock, client: SalesforceClient) -> None:
    org.get(f"{BASE}/queryAll/", json=page())
    client.query("SELECT Id FROM Contact")
    assert [call.request.method for call in org.calls] == ["GET"]


@pytest.mark.parametrize("status", [414, 431])
def test_a_uri_that_is_too_long_after_all_goes_through_composite(
    status: int, org: responses.RequestsMock, client: SalesforceClient
) -> None:
    org.get(f"{BASE}/queryAll/", status=status, body="<h1>Bad Message</h1>", content_type="text/html")
    composite(org, 200, page(row(1, 1)))
    assert client.query("SELECT Id FROM Contact")["records"] == [row(1, 1)]
    assert [call.request.method for call in org.calls] == ["GET", "POST"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "MALFORMED_QUERY", QueryRefused),
        (400, "QUERY_TIMEOUT", QueryTimeout),
        (403, "REQUEST_LIMIT_EXCEEDED", QuotaExhausted),
        (403, "INSUFFICIENT_ACCESS", AuthError),
        (503, "SERVER_UNAVAILABLE", Outage),
        (414, "", UriTooLong),
    ],
)
def test_a_refusal_within_composite_is_the_same_refusal(
    status: int, code: str, kind: type[Exception], org: responses.RequestsMock, client: SalesforceClient
) -> None:
    composite(org, status, [{"message": "no", "errorCode": code}])
    with pytest.raises(kind):
        client.query(LONG)


# --- what else the client keeps -----------------------------------------------------------------------------


def test_the_clock_is_the_orgs(
    org: responses.RequestsMock, client: SalesforceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.get(f"{INSTANCE}/services/data/", json=[], headers={"Date": "Fri, 01 May 2026 12:00:00 GMT"})
    first = client.now()
    assert timedelta() <= first - datetime(2026, 5, 1, 12, tzinfo=UTC) < timedelta(seconds=30)
    client.now()
    assert len(org.calls) == 1


def test_an_org_without_a_clock_is_not_read(org: responses.RequestsMock, client: SalesforceClient) -> None:
    org.get(f"{INSTANCE}/services/data/", json=[])
    with pytest.raises(Outage, match="Date"):
        client.now()


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=18/15000", (18, 15000)),
        ("api-usage=25/15000; per-app-api-usage=17/250(appName=crm)", (25, 15000)),
        ("per-app-api-usage=17/250(appName=crm); api-usage=25/15000", (25, 15000)),
        ("per-app-api-usage=17/250(appName=crm)", None),
        ("", None),
    ],
)
def test_the_used_quota_is_read(
    header: str, usage: tuple[int, int] | None, org: responses.RequestsMock, client: SalesforceClient
) -> None:
    org.get(f"{BASE}/limits", json={}, headers={"Sforce-Limit-Info": header} if header else {})
    client.get("/limits", "limits")
    assert client.usage == usage


def test_the_used_quota_never_shrinks(org: responses.RequestsMock, client: SalesforceClient) -> None:
    for used in (30, 28):
        org.get(f"{BASE}/limits", json={}, headers={"Sforce-Limit-Info": f"api-usage={used}/100"})
        client.get("/limits", "limits")
    assert client.usage == (30, 100)


@pytest.mark.parametrize(
    ("offered", "newest"),
    [
        (["20.0", "58.0", "60.0", "59.0"], "60.0"),
        (["66.0", "67.0", "68.0", "100"], "67.0"),
        (["41.0", "9.0"], "41.0"),
    ],
)
def test_the_newest_version_both_sides_know_is_used(offered: list[str], newest: str) -> None:
    assert newest_known(offered) == newest


@pytest.mark.parametrize("offered", [[], ["20.0", "100"], ["", "x"]])
def test_an_org_without_a_known_version_is_refused(offered: list[str]) -> None:
    with pytest.raises(ConfigError, match="version"):
        newest_known(offered)


# --- SOQL text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["003", "' OR Id != '", "003000000000001AAAA", "0030000000000é1", ""])
def test_what_is_no_id_never_reaches_a_query(value: str) -> None:
    with pytest.raises(ConfigError):
        soql.id_list([value])


@pytest.mark.parametrize("name", ["Email, Phone", "Id FROM User", "Account.", "", "1st", "a.b.c.d.e.f.g"])
def test_what_is_no_name_never_reaches_a_query(name: str) -> None:
    with pytest.raises(ConfigError):
        soql.select([name], "Contact", [])


def test_a_query_longer_than_salesforce_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer"):
        soql.select(["Id"], "Contact", ["x" * soql.LONGEST_QUERY])
