"""Rows as the Bulk API writes them: CSV in which every value is quoted and nothing is null."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crmsync.sandbox.salesforce.soql_fields import Column
from crmsync.sandbox.salesforce.tables import Row, Tables

DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
_QUOTE = '"'
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


@dataclass(frozen=True, slots=True)
class Form:
    """How a job wants its CSV, in the API's words: a key of DELIMITERS and one of LINE_ENDINGS."""

    delimiter: str = "COMMA"
    line_ending: str = "LF"


def encode(
    columns: Sequence[Column], rows: Iterable[Row], tables: Tables, form: Form, *, header: bool
) -> bytes:
    """The rows in UTF-8, each line ended, after a line with the columns' names if there is to be one.

    A line break or a NUL within a value stays as it is.
    """
    writers = [(column.read, _instant if column.field.type == "datetime" else _text) for column in columns]
    lines = [[column.name for column in columns]] if header else []
    lines += [[write(read(row, tables)) for read, write in writers] for row in rows]
    delimiter, end = DELIMITERS[form.delimiter], LINE_ENDINGS[form.line_ending]
    between = f'"{delimiter}"'
    return "".join(
        f'"{between.join([value.replace(_QUOTE, _QUOTE * 2) for value in line])}"{end}' for line in lines
    ).encode()


def _text(value: Any) -> str:
    """A value as text: nothing for null, booleans in lower case, numbers without exponent."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(Decimal(repr(value)), "f")


def _instant(stamp: str | None) -> str:
    """An instant ends in Z here, unlike in REST."""
    return "" if stamp is None else stamp.removesuffix("+0000").removesuffix("Z") + "Z"
