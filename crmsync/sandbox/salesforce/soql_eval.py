"""A query over the org: which rows it finds, in which order, and how each is written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.schema import ID_TYPES, TEXT_TYPES, Entity, Field
from crmsync.sandbox.salesforce.soql import Key, Query, SoqlError, parse
from crmsync.sandbox.salesforce.soql_fields import Column, Reader, Resolver, parent_row
from crmsync.sandbox.salesforce.soql_filter import compile_where, stamp_bounds
from crmsync.sandbox.salesforce.tables import Row, Tables

Written = dict[str, Any]
_STAMP_ORDER = [("SystemModstamp", False), ("Id", False)]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found. `rows` are to be written by `write`; aggregates have `aggregate` instead.

    `total` is what COUNT() answers with, else the number of rows.
    """

    entity: Entity
    columns: Sequence[Column]
    rows: Sequence[Row]
    total: int
    write: Callable[[Row, Tables], Written]
    aggregate: Written | None = None


def run(text: str, org: Org, base: str, *, include_deleted: bool) -> Result:
    """Parse and carry out a query; `base` is the path of the API version. Raises SoqlError."""
    return execute(parse(text), org, base, include_deleted=include_deleted)


def execute(query: Query, org: Org, base: str, *, include_deleted: bool) -> Result:
    """Carry out a query. Raises SoqlError for what the org does not have or does not allow."""
    resolver = Resolver(org, query.text, query.entity)
    columns = [resolver.column(path) for path in query.fields]
    _refuse_duplicates(columns)
    rows = _rows(query, resolver, org, include_deleted=include_deleted)
    write = writer(resolver.entity, columns, base)
    if query.counts:
        return Result(resolver.entity, (), (), 1, write, _aggregate(query, resolver, rows, org.rows()))
    if not query.fields:
        return Result(resolver.entity, (), (), len(rows), write)
    return Result(resolver.entity, columns, rows, len(rows), write)


def writer(entity: Entity, columns: Sequence[Column], base: str) -> Callable[[Row, Tables], Written]:
    """How a row is written: its attributes, then the columns in their order, parents nested."""
    prefix = f"{base}/sobjects/{entity.name}/"
    parts = _parts(columns, base)

    def write(row: Row, tables: Tables) -> Written:
        written: Written = {"attributes": {"type": entity.name, "url": prefix + row["Id"]}}
        for name, read in parts:
            written[name] = read(row, tables)
        return written

    return write


def _parts(columns: Sequence[Column], base: str) -> list[tuple[str, Reader]]:
    """What stands in a written row, by name: plain fields, and for each parent its own written row."""
    parts: list[tuple[str, Reader]] = []
    seen: set[str] = set()
    for column in columns:
        if not column.parents:
            parts.append((column.field.name, column.value))
            continue
        link = column.parents[0]
        if link.name not in seen:
            seen.add(link.name)
            below = [each for each in columns if each.parents and each.parents[0] == link]
            parts.append((link.relationship or "", _parent(link, below, base)))
    return parts


def _parent(link: Field, below: Sequence[Column], base: str) -> Reader:
    write = writer(below[0].entities[1], [column.from_parent() for column in below], base)

    def read(row: Row, tables: Tables) -> Written | None:
        parent = parent_row(row, link, tables)
        return None if parent is None else write(parent, tables)

    return read


def _rows(query: Query, resolver: Resolver, org: Org, *, include_deleted: bool) -> Sequence[Row]:
    where = compile_where(query.where, resolver)
    bounds = stamp_bounds(query.where, resolver)
    tables = org.rows()
    ordered = org.tables[resolver.entity.name].ordered()
    first = bisect_left(ordered, bounds.start, key=_stamp)
    last = bisect_left(ordered, bounds.end, key=_stamp)
    found: Iterable[Row] = ordered[first:last]
    if not include_deleted:
        found = (row for row in found if not row.get("IsDeleted"))
    if where is not None:
        found = (row for row in found if where(row, tables))
    rows = _sorted(list(found), query.order, resolver, tables)
    start = query.offset
    return rows[start : None if query.limit is None else start + query.limit]


def _stamp(row: Row) -> str:
    stamp: str = row["SystemModstamp"]
    return stamp


def _sorted(rows: list[Row], keys: Sequence[Key], resolver: Resolver, tables: Tables) -> list[Row]:
    """Rows in the order asked for. Where that leaves a choice, the order is arbitrary, though repeatable."""
    columns = [_sortable(key, resolver) for key in keys]
    asked = [(column.name, key.descending) for key, column in zip(keys, columns, strict=True)]
    if asked[:2] == _STAMP_ORDER:
        return rows
    if not any(column.name == "Id" for column in columns):
        rows.sort(key=lambda row: crc32(row["Id"].encode()))
    for key, column in reversed(list(zip(keys, columns, strict=True))):
        rows.sort(key=_sort_key(key, column, tables), reverse=key.descending)
    return rows


def _sortable(key: Key, resolver: Resolver) -> Column:
    column = resolver.column(key.path)
    if not column.field.sortable:
        raise resolver.error(
            "INVALID_FIELD", key.path, f"field '{column.field.name}' can not be sorted in a query call"
        )
    return column


def _sort_key(key: Key, column: Column, tables: Tables) -> Callable[[Row], tuple[bool, Any]]:
    """Nulls first, unless asked for last, whichever way the values go."""
    null_rank = key.nulls_last is not key.descending
    read, fold = column.read, column.field.type in TEXT_TYPES

    def rank(row: Row) -> tuple[bool, Any]:
        value = read(row, tables)
        if value is None:
            return null_rank, ""
        return not null_rank, value.lower() if fold else value

    return rank


def _aggregate(query: Query, resolver: Resolver, rows: Sequence[Row], tables: Tables) -> Written:
    written: Written = {"attributes": {"type": "AggregateResult"}}
    for number, count in enumerate(query.counts):
        column = resolver.column(count.path)
        read = column.read
        if column.field.type not in ID_TYPES | TEXT_TYPES | {"date", "datetime", "int", "double", "currency"}:
            raise resolver.error(
                "MALFORMED_QUERY",
                count.path,
                f"field {column.field.name} does not support aggregate operator COUNT",
            )
        written[count.name or f"expr{number}"] = sum(read(row, tables) is not None for row in rows)
    return written


def _refuse_duplicates(columns: Sequence[Column]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise SoqlError("MALFORMED_QUERY", f"duplicate field selected: {column.name}")
        seen.add(column.name)
