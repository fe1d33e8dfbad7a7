"""SOQL: its grammar, its tree, and the errors Salesforce answers with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

LONGEST_QUERY = 100_000
LONGEST_STRING = 4_000
HIGHEST_OFFSET = 2_000

_GRAMMAR = r"""
start: "SELECT"i selection "FROM"i PATH where? order? limit? offset?

selection: COUNT "(" ")"                       -> count_rows
         | count ("," count)*                  -> counts
         | PATH ("," PATH)*                    -> fields
count: COUNT "(" PATH ")" PATH?

where: "WHERE"i condition
?condition: term
          | term ("AND"i term)+                -> both
          | term ("OR"i term)+                 -> either
?term: "(" condition ")"
     | "NOT"i term                             -> negation
     | PATH OPERATOR literal                   -> comparison
     | PATH LIKE literal                       -> comparison
     | PATH IN literals                        -> comparison
     | PATH "NOT"i IN literals                 -> exclusion
literals: "(" literal ("," literal)* ")"
literal: STRING | DATETIME | ZONELESS | DATE | NUMBER | TRUE | FALSE | NULL

order: "ORDER"i "BY"i key ("," key)*
key: PATH (ASC | DESC)? nulls?
nulls: "NULLS"i (FIRST | LAST)
limit: "LIMIT"i WHOLE
offset: "OFFSET"i WHOLE

COUNT: "COUNT"i
LIKE: "LIKE"i
IN: "IN"i
ASC: "ASC"i
DESC: "DESC"i
FIRST: "FIRST"i
LAST: "LAST"i
TRUE: "TRUE"i
FALSE: "FALSE"i
NULL: "NULL"i
OPERATOR: "=" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
PATH: /[A-Za-z]\w*(\.[A-Za-z]\w*)*/
STRING: /'(\\.|[^'\\])*'/s
DATETIME.4: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)/
ZONELESS.3: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?/
DATE.2: /\d{4}-\d\d-\d\d/
NUMBER.1: /[+-]?\d+(\.\d+)?/
WHOLE: /\d+/
%ignore /\s+/
"""
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)


class SoqlError(Exception):
    """A refused query: Salesforce's error code and message (HTTP 400)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Path:
    """A field, perhaps of a parent: `Account.Owner.Email`. `line` and `column` count from 1."""

    parts: tuple[str, ...]
    line: int
    column: int

    @property
    def text(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it was written: `kind` is string, datetime, date, number, boolean or null."""

    kind: str
    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator` is one of = != < > <= >= like in not in; only the last two have several values."""

    path: Path
    operator: str
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Both:
    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    term: Condition


Condition = Comparison | Both | Either | Negation


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ORDER BY."""

    path: Path
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Count:
    """`COUNT(field)`, with its column's name in the answer."""

    path: Path
    name: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. `fields` and `counts` are both empty for `COUNT()`."""

    text: str
    entity: Path
    fields: tuple[Path, ...]
    counts: tuple[Count, ...]
    where: Condition | None
    order: tuple[Key, ...]
    limit: int | None
    offset: int


def parse(text: str) -> Query:
    """Read a SELECT statement. Raises SoqlError with MALFORMED_QUERY (or the code of the limit it breaks)."""
    if len(text) > LONGEST_QUERY:
        raise SoqlError(
            "QUERY_TOO_COMPLICATED", f"SOQL statements cannot be longer than {LONGEST_QUERY} characters."
        )
    return _tree(text, _parser())


def parse_condition(text: str) -> Condition | None:
    """Read what may follow WHERE. Raises SoqlError."""
    return parse(f"SELECT Id FROM X WHERE {text}").where


def located(text: str, line: int, column: int, message: str) -> str:
    """The message with the lines Salesforce puts before it: the query, a caret, the row and the column."""
    shown = text.split("\n")[line - 1]
    start = max(0, column - 61) if len(shown) > 120 else 0
    excerpt = shown[start : start + 120]
    return f"\n{excerpt}\n{' ' * (column - 1 - start)}^\nERROR at Row:{line}:Column:{column}\n{message}"


def unescaped(quoted: str) -> str:
    """A quoted string's characters. Raises SoqlError for an escape that SOQL does not know."""
    return _ESCAPE.sub(_character, quoted[1:-1])


def like_pattern(quoted: str) -> re.Pattern[str]:
    """What LIKE compares with: `%` is any text, `_` any character, both literal after a backslash."""
    pattern = ""
    for match in re.finditer(r"\\(?:u[0-9A-Fa-f]{4}|.)|.", quoted[1:-1], re.DOTALL):
        piece = match.group()
        if piece in ("%", "_"):
            pattern += ".*" if piece == "%" else "."
        elif piece in (r"\%", r"\_"):
            pattern += re.escape(piece[1])
        else:
            pattern += re.escape(_ESCAPE.sub(_character, piece))
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _character(match: re.Match[str]) -> str:
    escape = match.group(1)
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape in "_%":
        return f"\\{escape}"
    raise SoqlError("MALFORMED_QUERY", f"Invalid string literal: illegal escape sequence '\\{escape}'")


@cache
def _parser() -> Lark:
    return Lark(
        _GRAMMAR,
        parser="lalr",
        lexer="contextual",
        maybe_placeholders=False,
        lexer_callbacks={"ZONELESS": _refuse_zoneless},
    )


class _Zoneless(Exception):
    """A date and time without a zone was read; the argument is its token."""


def _refuse_zoneless(token: Token) -> Token:
    raise _Zoneless(token)


def _tree(text: str, parser: Lark) -> Query:
    try:
        tree = parser.parse(text)
    except UnexpectedCharacters as error:
        raise _no_alternative(text, error.line, error.column) from None
    except UnexpectedToken as error:
        found = "<EOF>" if error.token.type == "$END" else str(error.token)
        raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{found}'") from None
    except _Zoneless as error:
        token = error.args[0]
        raise _no_alternative(text, token.end_line, token.end_column) from None
    parts: dict[str, Any] = _Builder().transform(tree)
    if parts["offset"] > HIGHEST_OFFSET:
        raise SoqlError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {HIGHEST_OFFSET}")
    return Query(text=text, **parts)


def _no_alternative(text: str, line: int, column: int) -> SoqlError:
    rest = text.split("\n")[line - 1][column - 1 :]
    found = rest[0] if rest else "<EOF>"
    message = f"line {line}:{column} no viable alternative at character '{found}'"
    return SoqlError("MALFORMED_QUERY", f"ERROR at Row:{line}:Column:{column}\n{message}")


@v_args(inline=True)
class _Builder(Transformer[Token, dict[str, Any]]):
    """Turns lark's tree into ours, bottom up."""

    def PATH(self, token: Token) -> Path:  # lark calls a terminal by its name
        return Path(tuple(token.split(".")), token.line or 1, token.column or 1)

    def start(self, selection: dict[str, Any], entity: Path, *clauses: tuple[str, Any]) -> dict[str, Any]:
        nothing = {"fields": (), "counts": (), "where": None, "order": (), "limit": None, "offset": 0}
        return nothing | selection | {"entity": entity} | dict(clauses)

    def count_rows(self, _: Token) -> dict[str, Any]:
        return {}

    def counts(self, *counts: Count) -> dict[str, Any]:
        return {"counts": counts}

    def fields(self, *paths: Path) -> dict[str, Any]:
        return {"fields": paths}

    def count(self, _: Token, path: Path, alias: Path | None = None) -> Count:
        return Count(path, alias.text if alias else None)

    def where(self, condition: Condition) -> tuple[str, Condition]:
        return "where", condition

    def both(self, *terms: Condition) -> Both:
        return Both(terms)

    def either(self, *terms: Condition) -> Either:
        return Either(terms)

    def negation(self, term: Condition) -> Negation:
        return Negation(term)

    def comparison(self, path: Path, operator: Token, values: Literal | tuple[Literal, ...]) -> Comparison:
        listed = values if isinstance(values, tuple) else (values,)
        written = operator.lower()
        return Comparison(path, "!=" if written == "<>" else written, listed)

    def exclusion(self, path: Path, _: Token, values: tuple[Literal, ...]) -> Comparison:
        return Comparison(path, "not in", values)

    def literals(self, *values: Literal) -> tuple[Literal, ...]:
        return values

    def literal(self, token: Token) -> Literal:
        kind = "boolean" if token.type in ("TRUE", "FALSE") else token.type.lower()
        return Literal(kind, str(token), token.line or 1, token.column or 1)

    def order(self, *keys: Key) -> tuple[str, tuple[Key, ...]]:
        return "order", keys

    def key(self, path: Path, *words: Token) -> Key:
        kinds = {word.type for word in words}
        return Key(path, "DESC" in kinds, "LAST" in kinds)

    def nulls(self, word: Token) -> Token:
        return word

    def limit(self, number: Token) -> tuple[str, int]:
        return "limit", int(number)

    def offset(self, number: Token) -> tuple[str, int]:
        return "offset", int(number)
