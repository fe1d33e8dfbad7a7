"""A long page's rows are parsed a few at a time, and are the rows that parsing all of it gives."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import Outage
from crmsync.sources.salesforce.rows import AT_ONCE, Rows, parsed

AWKWARD = st.sampled_from(
    ['},{"attributes":', '"records":[{"attributes":', "]}", "\\", '"', "é", "\u2028", ""]
)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), AWKWARD, st.text(max_size=4))


def attributes(kind: str = "Contact") -> dict[str, str]:
    return {"type": kind, "url": f"/services/data/v62.0/sobjects/{kind}/003"}


def rows_of(values: list[Any]) -> list[dict[str, Any]]:
    return [
        {"attributes": attributes(), "Id": str(number), "Name": value, "Account": account(value)}
        for number, value in enumerate(values)
    ]


def account(value: Any) -> dict[str, Any] | None:
    return None if value is None else {"attributes": attributes("Account"), "Name": value}


def page_of(rows: list[Any]) -> dict[str, Any]:
    return {"totalSize": len(rows), "done": False, "nextRecordsUrl": "/next", "records": rows}


def read(page: Any) -> dict[str, Any]:
    return {**page, "records": list(page["records"])}


@given(
    st.lists(VALUES, max_size=5), st.sampled_from([0, 1, 2, AT_ONCE, AT_ONCE + 1, AT_ONCE + 2, 3 * AT_ONCE])
)
def test_every_row_arrives_whatever_is_in_it(values: list[Any], more: int) -> None:
    page = page_of(rows_of(values * (more // max(1, len(values)) + 1)))
    found = parsed(orjson.dumps(page))
    assert len(found["records"]) == len(page["records"])
    assert list(reversed(found["records"])) == page["records"][::-1]
    assert read(found) == read(found) == page


def test_a_long_page_is_not_parsed_at_once() -> None:
    assert isinstance(parsed(orjson.dumps(page_of(rows_of([1] * 500))))["records"], Rows)


def test_a_page_that_broke_off_is_none_wherever_it_did() -> None:
    body = orjson.dumps(page_of(rows_of(list(range(AT_ONCE + 40)))))
    assert [at for at in range(0, len(body), 7) if parsed(body[:at]) is not None] == []


def test_rows_that_are_no_json_are_an_outage_and_those_before_arrive() -> None:
    body = orjson.dumps(page_of(rows_of([*range(250), "here", *range(250)])))
    rows = iter(parsed(body.replace(b'"here"', b'"here'))["records"])
    assert [next(rows)["Name"] for _ in range(200)] == list(range(200))
    with pytest.raises(Outage, match="no JSON"):
        list(rows)


def test_half_a_surrogate_pair_costs_a_character_and_not_the_page() -> None:
    body = orjson.dumps(page_of(rows_of(["x", *range(250), "y", *range(250)])))
    names = [
        row["Name"]
        for row in parsed(body.replace(b'"y"', b'"\\ud83d"').replace(b'"x"', b'"\\ud83d"'))["records"]
    ]
    assert (names[0], names[251], len(names)) == ("?", "?", 502)


@pytest.mark.parametrize("holder", [0, 1, 99, 100, 101, 150, 249])
def test_rows_within_a_row_stay_there(holder: int) -> None:
    page = page_of(rows_of(list(range(250))))
    page["records"][holder]["Cases"] = page_of(rows_of(list(range(150))))
    assert read(parsed(orjson.dumps(page))) == page


@pytest.mark.parametrize(
    "body",
    [
        {"compositeResponse": [{"body": page_of(rows_of([1] * 500)), "httpStatusCode": 200}]},
        rows_of([1] * 500),
        {"others": rows_of([1] * 500), "records": rows_of([1] * 2)},
        {"records": page_of(rows_of([1] * 500))},
    ],
    ids=["composite", "list", "two lists", "nested"],
)
def test_what_is_no_page_of_rows_is_json_like_any_other(body: Any) -> None:
    assert parsed(orjson.dumps(body)) == body


def test_a_page_written_in_another_way_is_parsed_at_once() -> None:
    page = page_of(rows_of([1] * 500))
    assert parsed(json.dumps(page, indent=1).encode()) == page
