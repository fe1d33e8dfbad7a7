"""Rows out of a bulk job's CSV, as the REST API would have given them. Pure.

There every value is text and nothing is null (contract 1.9): what a value is, the type of its column tells.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from crmsync.errors import Outage
from crmsync.sources.base import Row

UNREADABLE_TYPES = frozenset({"address", "location", "base64", "complexvalue"})
"""Types of columns that no bulk query may select."""

csv.field_size_limit(sys.maxsize)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return _number(text)


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _instant(text: str) -> str:
    """REST ends an instant in `+0000`, a bulk job in `Z`."""
    return f"{text[:-1]}+0000" if text.endswith("Z") else text


_BY_TYPE: dict[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "int": _whole,
    "long": _whole,
    "double": _number,
    "currency": _number,
    "percent": _number,
    "datetime": _instant,
}


class RowReader:
    """Reads the pages of one job. `columns` are those of its SELECT, `types` what describe says of each."""

    def __init__(self, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self._columns = list(columns)
        self._types = types

    @property
    def unreadable(self) -> list[str]:
        """The columns that no bulk query may select."""
        return [name for name in self._columns if self._types.get(name) in UNREADABLE_TYPES]

    def rows(self, lines: Iterable[str]) -> Iterator[Row]:
        """The rows of one page, whether or not the names of the columns stand above them.

        Where they do not, the order is that of the pages before. Raises Outage for a line that has not as many
        values as there are columns, or that does not end: the page broke off in it.
        """
        parsed = csv.reader(_ended(lines), strict=True)
        try:
            first = next(parsed, None)
            if first is None:
                return
            has_header = self._take_header(first)
            build = _builder(self._columns, self._types)
            if not has_header:
                yield build(first)
            width = len(self._columns)
            for values in parsed:
                if len(values) != width:
                    raise Outage("a page of a bulk job broke off within a row")
                yield build(values)
        except csv.Error:
            raise Outage("a page of a bulk job broke off within a value") from None

    def _take_header(self, values: list[str]) -> bool:
        """Whether a page's first line names the columns. Their order there is kept, in the SELECT's spelling.

        Versions before 50 order the columns by the alphabet.
        """
        if len(values) != len(self._columns):
            raise Outage("a page of a bulk job has other columns than were asked for")
        spelled = {name.lower(): name for name in self._columns}
        names = [spelled[value.lower()] for value in values if value.lower() in spelled]
        if len(set(names)) != len(values):
            if "Id" in self._columns and values[self._columns.index("Id")].lower() == "id":
                raise Outage("a page of a bulk job has other columns than were asked for")
            return False
        self._columns = names
        return True


def _ended(lines: Iterable[str]) -> Iterator[str]:
    """The same lines. Raises Outage in the place of a last one that ends behind neither a value nor a line."""
    held = ""
    for line in lines:
        if held:
            yield held
        held = line
    if held and held[-1] not in '"\n\r':
        raise Outage("a page of a bulk job broke off within a row")
    if held:
        yield held


def _builder(names: Sequence[str], types: Mapping[str, str]) -> Callable[[Sequence[str]], Row]:
    """Makes a row of a line's values: `Account.Name` becomes a value within `Account`."""
    flat: list[tuple[int, str, Callable[[str], Any] | None]] = []
    nested: list[tuple[int, list[str], str, Callable[[str], Any] | None]] = []
    for place, name in enumerate(names):
        *parents, last = name.split(".")
        convert = _BY_TYPE.get(types.get(name, ""))
        if parents:
            nested.append((place, parents, last, convert))
        else:
            flat.append((place, last, convert))

    def value(text: str, convert: Callable[[str], Any] | None) -> Any:
        return None if not text else convert(text) if convert else text

    def build(values: Sequence[str]) -> Row:
        row: Row = {name: value(values[place], convert) for place, name, convert in flat}
        for place, parents, name, convert in nested:
            holder = row
            for parent in parents:
                holder = holder.setdefault(parent, {})
            holder[name] = value(values[place], convert)
        return row

    return build
