"""The WHERE clause of a query, checked against the field types and compiled to a predicate."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from crmsync.sandbox.salesforce.schema import ID_TYPES, NUMBER_TYPES, TEXT_TYPES, Field
from crmsync.sandbox.salesforce.soql import (
    LONGEST_STRING,
    Both,
    Comparison,
    Condition,
    Either,
    Literal,
    Negation,
    Path,
    SoqlError,
    like_pattern,
    unescaped,
)
from crmsync.sandbox.salesforce.soql_fields import Reader, Resolver
from crmsync.sandbox.salesforce.tables import Row, Tables
from crmsync.sandbox.salesforce.values import instant, is_id, stamp

Predicate = Callable[[Row, Tables], bool]
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the outermost AND says about SystemModstamp: `start` ≤ stamp < `end`, as REST writes stamps."""

    start: str = ""
    end: str = "~"


def compile_where(condition: Condition | None, resolver: Resolver) -> Predicate | None:
    """The predicate, None where there is no condition. Raises SoqlError for what the field types forbid."""
    return None if condition is None else _compile(condition, resolver)


def stamp_bounds(condition: Condition | None, resolver: Resolver) -> Bounds:
    """A range of stamps outside of which the condition is never true."""
    terms = condition.terms if isinstance(condition, Both) else (condition,)
    bounds = Bounds()
    for term in terms:
        if isinstance(term, Comparison) and term.path.text.lower() == "systemmodstamp":
            bounds = _narrowed(bounds, term, resolver)
    return bounds


def _narrowed(bounds: Bounds, term: Comparison, resolver: Resolver) -> Bounds:
    value = _value(resolver.entity.fields["SystemModstamp"], term.path, term.values[0], resolver)
    if value is None:
        return bounds
    start = value if term.operator in ("=", ">", ">=") else bounds.start
    # "~" follows every character of a stamp: the end then includes the stamp itself.
    end = value if term.operator == "<" else f"{value}~" if term.operator in ("=", "<=") else bounds.end
    return Bounds(max(start, bounds.start), min(end, bounds.end))


def _compile(condition: Condition, resolver: Resolver) -> Predicate:
    if isinstance(condition, Both):
        terms = [_compile(term, resolver) for term in condition.terms]
        return lambda row, tables: all(term(row, tables) for term in terms)
    if isinstance(condition, Either):
        terms = [_compile(term, resolver) for term in condition.terms]
        return lambda row, tables: any(term(row, tables) for term in terms)
    if isinstance(condition, Negation):
        term = _compile(condition.term, resolver)
        return lambda row, tables: not term(row, tables)
    return _comparison(condition, resolver)


def _comparison(comparison: Comparison, resolver: Resolver) -> Predicate:
    path, written = comparison.path, comparison.operator
    column = resolver.column(path)
    field = column.field
    if not field.filterable:
        raise resolver.error(
            "INVALID_FIELD", path, f"field '{field.name}' can not be filtered in a query call"
        )
    if field.type == "address":
        raise _wrong_operator(path, resolver)
    read = _folded(field, column.read)
    if written == "like":
        return _like(comparison, field, column.read, resolver)
    values = [_value(field, path, literal, resolver) for literal in comparison.values]
    if written in ("in", "not in"):
        wanted, inside = frozenset(values), written == "in"
        return lambda row, tables: (read(row, tables) in wanted) is inside
    value = values[0]
    if written in ("=", "!="):
        equal = written == "="
        return lambda row, tables: (read(row, tables) == value) is equal
    if value is None or field.type == "boolean":
        raise _wrong_operator(path, resolver)
    return _ordered(read, _ORDERINGS[written], value)


def _ordered(read: Reader, compare: Callable[[Any, Any], bool], value: Any) -> Predicate:
    def predicate(row: Row, tables: Tables) -> bool:
        found = read(row, tables)
        return found is not None and compare(found, value)

    return predicate


def _like(comparison: Comparison, field: Field, read: Reader, resolver: Resolver) -> Predicate:
    literal = comparison.values[0]
    if field.type not in TEXT_TYPES or literal.kind != "string":
        raise _wrong_operator(comparison.path, resolver)
    pattern = like_pattern(literal.text)

    def predicate(row: Row, tables: Tables) -> bool:
        found = read(row, tables)
        return found is not None and pattern.fullmatch(found) is not None

    return predicate


def _folded(field: Field, read: Reader) -> Reader:
    """What a field is compared by: text regardless of case, empty text as null, an Id by its first 15."""
    if field.type in TEXT_TYPES:
        return lambda row, tables: (read(row, tables) or "").lower() or None
    if field.type in ID_TYPES:
        return lambda row, tables: (read(row, tables) or "")[:15] or None
    return read


def _value(field: Field, path: Path, literal: Literal, resolver: Resolver) -> Any:
    """A literal as the field's folded values are. Raises SoqlError where its kind does not fit the field."""
    if literal.kind == "null":
        return None
    wanted, quoted = _wanted(field)
    if literal.kind != wanted:
        raise resolver.error("INVALID_FIELD", path, _type_message(field, literal, wanted, quoted))
    if literal.kind == "string" and len(literal.text) - 2 > LONGEST_STRING:
        raise resolver.error(
            "MALFORMED_QUERY", path, f"string literals cannot be longer than {LONGEST_STRING} characters"
        )
    if field.type in ID_TYPES:
        return _id_value(literal, resolver)
    if wanted == "string":
        return re.sub(r"\\([_%])", r"\1", unescaped(literal.text)).lower() or None
    if wanted == "boolean":
        return literal.text.lower() == "true"
    if wanted == "number":
        return float(literal.text)
    try:
        return (
            stamp(instant(literal.text))
            if wanted == "datetime"
            else date.fromisoformat(literal.text).isoformat()
        )
    except ValueError:
        raise SoqlError("MALFORMED_QUERY", f"Invalid date: {literal.text}") from None


def _wanted(field: Field) -> tuple[str, bool]:
    """The kind of literal a field is compared with, and whether it is quoted."""
    if field.type in TEXT_TYPES or field.type in ID_TYPES:
        return "string", True
    return ("number" if field.type in NUMBER_TYPES else field.type), False


def _type_message(field: Field, literal: Literal, wanted: str, quoted: bool) -> str:
    shown = {"datetime": "dateTime", "number": field.type}.get(wanted, wanted)
    message = f"value of filter criterion for field '{field.name}' must be of type {shown}"
    if quoted:
        return f"{message} and should be enclosed in quotes"
    return f"{message} and should not be enclosed in quotes" if literal.kind == "string" else message


def _id_value(literal: Literal, resolver: Resolver) -> str | None:
    text = unescaped(literal.text)
    if text and not is_id(text):
        raise resolver.error(
            "INVALID_QUERY_FILTER_OPERATOR",
            Path((text,), literal.line, literal.column),
            f"invalid ID field: {text}",
        )
    return text[:15] or None


def _wrong_operator(path: Path, resolver: Resolver) -> SoqlError:
    return resolver.error(
        "INVALID_QUERY_FILTER_OPERATOR", path, f"invalid operator on field '{path.parts[-1]}'"
    )
