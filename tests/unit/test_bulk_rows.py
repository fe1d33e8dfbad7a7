"""A bulk job's CSV becomes the rows that REST would have given."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.errors import Outage
from crmsync.paths import getter
from crmsync.sandbox.salesforce.bulk_csv import Form, encode
from crmsync.sandbox.salesforce.values import stamp
from crmsync.sources.salesforce.bulk_rows import RowReader

Row = dict[str, Any]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ODD = st.sampled_from(
    [
        "",
        "NA",
        "null",
        "NaN",
        "true",
        "007",
        '"',
        '""',
        ',"',
        "\r\n",
        "\r",
        "\n",
        "\x00",
        "é\u0301\u2028🦊",
        " x ",
    ]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT | ODD,
    "id": st.from_regex(r"[a-zA-Z0-9]{18}", fullmatch=True),
    "boolean": st.booleans(),
    "int": st.integers(-(10**9), 10**9),
    "long": st.integers(-(10**15), 10**15),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "currency": st.floats(-1e12, 1e12),
    "date": st.dates().map(str),
    "datetime": st.datetimes(datetime(1999, 1, 1), timezones=st.just(UTC)).map(stamp),  # noqa: DTZ001 - the zone comes beside it
}
COLUMNS = {
    "Id": "id",
    "Name": "string",
    "IsDeleted": "boolean",
    "Count__c": "int",
    "Long__c": "long",
    "Score__c": "double",
    "Amount": "currency",
    "Birthdate": "date",
    "SystemModstamp": "datetime",
    "Account.Name": "string",
    "Account.IsActive__c": "boolean",
    "Account.Owner.Name": "string",
    "Account.Owner.CreatedDate": "datetime",
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[Row]]:
    """The columns of a SELECT in some order, and rows of them as REST gives them."""
    columns = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        row: Row = {}
        for name in columns:
            *parents, last = name.split(".")
            holder = row
            for parent in parents:
                holder = holder.setdefault(parent, {})
            holder[last] = draw(st.none() | VALUES[COLUMNS[name]])
        rows.append(row)
    return columns, rows


def written(
    columns: Sequence[str], rows: list[Row], *, header: bool = True, line_ending: str = "LF"
) -> bytes:
    """The CSV as the sandbox writes it."""
    described = [
        SimpleNamespace(name=name, field=SimpleNamespace(type=COLUMNS[name]), read=reading(name))
        for name in columns
    ]
    form = Form(line_ending=line_ending)
    return encode(described, rows, None, form, header=header)  # type: ignore[arg-type]  # stand-ins


def reading(name: str) -> Callable[[Row, Any], Any]:
    get = getter(name)
    return lambda row, _tables: get(row)


def lines(body: bytes) -> io.TextIOWrapper:
    """As the HTTP client gives them."""
    return io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", errors="replace", newline="")


def without_empty_texts(row: Row) -> Row:
    """A bulk job tells an empty text from none no more than Salesforce itself does."""
    return {
        name: without_empty_texts(value) if isinstance(value, dict) else None if value == "" else value
        for name, value in row.items()
    }


def typed(row: Row) -> list[tuple[str, type, Any]]:
    """Values with their types, which `==` does not tell apart: 1, 1.0 and True."""
    found: list[tuple[str, type, Any]] = []
    for name, value in sorted(row.items()):
        found += [(f"{name}.{n}", t, v) for n, t, v in typed(value)] if isinstance(value, dict) else []
        found += [] if isinstance(value, dict) else [(name, type(value), value)]
    return found


@given(tables(), st.sampled_from(["LF", "CRLF"]))
def test_what_was_written_is_read_as_rest_gives_it(table: tuple[list[str], list[Row]], ending: str) -> None:
    columns, rows = table
    read = list(RowReader(columns, COLUMNS).rows(lines(written(columns, rows, line_ending=ending))))
    assert [typed(row) for row in read] == [typed(without_empty_texts(row)) for row in rows]


@given(tables(), st.data())
def test_the_order_of_the_columns_is_the_pages(
    table: tuple[list[str], list[Row]], data: st.DataObject
) -> None:
    """Versions before 50 order them by the alphabet; a page without their names has the order of the one before."""
    columns, rows = table
    order = data.draw(st.permutations(columns))
    reader = RowReader(columns, COLUMNS)
    expected = [typed(without_empty_texts(row)) for row in rows]
    for header in (True, False, False):
        assert [typed(row) for row in reader.rows(lines(written(order, rows, header=header)))] == expected


@given(tables())
def test_a_page_without_the_names_has_the_selects_order(table: tuple[list[str], list[Row]]) -> None:
    columns, rows = table
    read = RowReader(columns, COLUMNS).rows(lines(written(columns, rows, header=False)))
    assert [typed(row) for row in read] == [typed(without_empty_texts(row)) for row in rows]


@given(tables(), st.data())
def test_a_page_that_breaks_off_anywhere_gives_whole_rows_alone(
    table: tuple[list[str], list[Row]], data: st.DataObject
) -> None:
    """But for a cut between the two halves of a quote that is the last value's: nothing shows there."""
    columns = [*(name for name in table[0] if name != "Id"), "Id"]
    rows = [{**row, "Id": f"{number:018d}"} for number, row in enumerate(table[1])]
    whole = written(columns, rows)
    expected = [typed(without_empty_texts(row)) for row in rows]
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    read: list[Row] = []
    with contextlib.suppress(Outage):
        read.extend(RowReader(columns, COLUMNS).rows(lines(torn)))
    assert [typed(row) for row in read] == expected[: len(read)]


def test_names_come_in_any_case() -> None:
    body = b'"ID","account.name"\n"1","Acme"\n'
    (row,) = RowReader(["Id", "Account.Name"], COLUMNS).rows(lines(body))
    assert row == {"Id": "1", "Account": {"Name": "Acme"}}


@pytest.mark.parametrize(
    "body",
    [b'"Id"\n', b'"1","2","3"\n', b"<html>busy</html>\n", b'"Id","Name"\n"1"\n', b'"Id","Name"\n"1","a"b"\n'],
    ids=["one column", "three columns", "html", "a short row", "a quote within a value"],
)
def test_what_is_no_page_of_these_columns_is_an_outage(body: bytes) -> None:
    with pytest.raises(Outage):
        list(RowReader(["Id", "Name"], COLUMNS).rows(lines(body)))


def test_a_value_that_is_not_of_its_type_stays_as_it_is() -> None:
    body = b'"IsDeleted","Count__c","Amount"\n"perhaps","many","much"\n"TRUE","1.5","1E3"\n'
    first, second = RowReader(["IsDeleted", "Count__c", "Amount"], COLUMNS).rows(lines(body))
    assert first == {"IsDeleted": "perhaps", "Count__c": "many", "Amount": "much"}
    assert second == {"IsDeleted": True, "Count__c": 1.5, "Amount": 1000.0}


@pytest.mark.parametrize("body", [b"", b'"Id","Name"\n', b'"Id","Name"'])
def test_no_rows(body: bytes) -> None:
    assert list(RowReader(["Id", "Name"], COLUMNS).rows(lines(body))) == []


def test_a_last_line_that_is_not_ended_is_a_row_where_its_last_value_is() -> None:
    read = RowReader(["Id", "Name"], COLUMNS).rows(lines(b'"Id","Name"\n"1","a"'))
    assert list(read) == [{"Id": "1", "Name": "a"}]


def test_a_header_with_another_name_in_it_is_no_row() -> None:
    with pytest.raises(Outage, match="other columns"):
        list(RowReader(["Id", "Name", "X"], {}).rows(['"Id","Name","Y"\n', '"003","A","B"\n']))
