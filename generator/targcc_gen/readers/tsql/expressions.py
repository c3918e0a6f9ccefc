"""Evaluate T-SQL value expressions between ``VALUES (`` and ``)``.

Literals, CAST and CONVERT, concatenation, CHAR, declared variables and a few pure functions are evaluated. A value that only the
server can compute becomes ``Unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from targcc_gen.readers.dates import AmbiguousDateError, read_date
from targcc_gen.readers.rows import Unknown, Value
from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token, unquote

# Literals as Python values: dates in their many spellings, and the binary forms of SSMS 2005 to 2014.

_EPOCH = datetime(1900, 1, 1)  # noqa: DTZ001 - the old server's wall clock has no zone
_FIRST_DAY = datetime(1, 1, 1)  # noqa: DTZ001 - as above
_TICKS_PER_SECOND = 300
_DATETIME_BYTES = 8
_SMALLDATETIME_BYTES = 4
_DATE_BYTES = (3, 4)
_MAX_PRECISION = 7
# Bytes of a datetime2 time, by its precision.
_TIME_BYTES = (3, 3, 3, 4, 4, 5, 5, 5)

# CONVERT's styles with the day first; 1/101 and 10/110 put the month first, other styles spell the month or start with the year.
_DAY_FIRST_STYLES = {3, 4, 5, 103, 104, 105, 130, 131}
_MONTH_FIRST_STYLES = {1, 10, 22, 101, 110}
# CONVERT's styles with a two-digit year first.
_YEAR_FIRST_STYLES = {2, 11}

_DATE_TYPES = {"datetime", "smalldatetime", "datetime2", "date", "datetimeoffset"}
_INT_TYPES = {"int", "bigint", "smallint", "tinyint", "bit"}
_REAL_TYPES = {"decimal", "numeric", "float", "real", "money", "smallmoney"}
_TEXT_TYPES = {"varchar", "nvarchar", "char", "nchar", "text", "ntext", "sysname", "xml"}


def convert(
    value: Value, type_: str, style: int | None = None, *, order: str | None = None
) -> Value:
    """Return the value of ``CAST(value AS type)`` or ``CONVERT(type, value, style)``; ``Unknown`` if only the server can compute it.

    A date stays text if neither a style nor the session tells the order.

    Args:
        value: The inner value.
        type_: The type's bare name, any case.
        style: CONVERT's third argument.
        order: The session's date order, for dates without a style; ``None``: the script does not tell.
    """
    kind = type_.lower()
    if value is None or isinstance(value, Unknown):
        return value
    if kind in _DATE_TYPES:
        return _to_datetime(value, kind, style, order)
    if kind in _INT_TYPES | _REAL_TYPES:
        return _to_number(value, kind)
    if kind in _TEXT_TYPES:
        return _to_text(value)
    return value


def _to_text(value: Value) -> Value:
    if isinstance(value, bytes):
        return value.decode("cp1252", errors="replace")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return str(value)


def _to_number(value: Value, kind: str) -> Value:
    if isinstance(value, bytes):
        return int.from_bytes(value, "big", signed=True)
    try:
        number = float(str(value).strip() or 0)
        if kind == "bit":
            return int(number != 0)
        return int(number) if kind in _INT_TYPES else number
    except (ValueError, OverflowError):
        words = {"true": 1, "false": 0} if kind == "bit" else {}
        return words.get(str(value).strip().lower(), Unknown(f"CAST('{value}' AS {kind})"))


def _to_datetime(value: Value, kind: str, style: int | None, order: str | None) -> Value:
    try:
        if isinstance(value, datetime):
            return value
        if isinstance(value, bytes):
            return binary_datetime(value, kind)
        if isinstance(value, int | float):
            return _EPOCH + timedelta(days=value)
        return session_date(str(value), kind, _order_of(style, order))
    except AmbiguousDateError:
        return str(value)
    except (ValueError, OverflowError):
        return Unknown(f"CAST('{value!r}' AS {kind})")


def session_date(text: str, kind: str, order: str | None) -> datetime:
    """Return a date as a session reads the text; with day before month, ``datetime`` reads ``2016-11-07`` as 11 July.

    Raises:
        AmbiguousDateError: The text depends on the session's order, and the order is not known.
        ValueError: The text is not a date.
    """
    if order is None:
        return read_date(text)
    if order.index("d") < order.index("m") and kind in _OLD_TYPES:
        text = _DASHED.sub(r"\1-\3-\2", text.strip())
    return read_date(text, {order})


_OLD_TYPES = {"datetime", "smalldatetime"}
_DASHED = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?![\dT])")


def _order_of(style: int | None, order: str | None) -> str | None:
    if style in _DAY_FIRST_STYLES:
        return "dmy"
    if style in _YEAR_FIRST_STYLES:
        return "ymd"
    return "mdy" if style in _MONTH_FIRST_STYLES else order


def binary_datetime(data: bytes, kind: str = "datetime") -> datetime:
    """Return a date from the bytes that SSMS 2005-2014 wrote.

    ``datetime``: signed 4-byte days since 1900, 4-byte ticks of 1/300 s. ``smalldatetime``: 2-byte days, 2-byte minutes.
    ``date``: little-endian days since year 1. ``datetime2``: precision, little-endian time, little-endian days.

    Raises:
        ValueError: The length does not fit the type, or the date is out of range.
    """
    if kind == "date" and len(data) in _DATE_BYTES:
        return _FIRST_DAY + timedelta(days=int.from_bytes(data[:3], "little"))
    if kind in {"datetime2", "datetimeoffset"}:
        return _binary_datetime2(data)
    if len(data) == _SMALLDATETIME_BYTES:
        days, minutes = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
        return _EPOCH + timedelta(days=days, minutes=minutes)
    if len(data) == _DATETIME_BYTES:
        days = int.from_bytes(data[:4], "big", signed=True)
        ticks = int.from_bytes(data[4:], "big")
        return _EPOCH + timedelta(days=days, milliseconds=round(ticks * 1000 / _TICKS_PER_SECOND))
    raise ValueError(f"{len(data)} bytes are no {kind}")


def _binary_datetime2(data: bytes) -> datetime:
    precision = data[0] if data else _MAX_PRECISION + 1
    if precision > _MAX_PRECISION or len(data) < _TIME_BYTES[precision] + 4:
        raise ValueError(f"{len(data)} bytes are no datetime2")
    end = 1 + _TIME_BYTES[precision]
    units = int.from_bytes(data[1:end], "little")
    days = int.from_bytes(data[end : end + 3], "little")
    return _FIRST_DAY + timedelta(days=days, microseconds=units * 10**6 // 10**precision)


# Expressions.

_CASTS = {"CAST", "TRY_CAST"}
_CONVERTS = {"CONVERT", "TRY_CONVERT"}
_BARE_FUNCTIONS = {"CURRENT_TIMESTAMP", "CURRENT_USER", "SESSION_USER", "SYSTEM_USER", "USER"}
_ADDITIVE = {"+", "-", "*", "/", "%", "&", "|", "^"}
_MAX_DEPTH = 60
_MAX_CHAR = 0x10FFFF
_SAID = 80
"""Characters of skipped text to show in messages."""
# Words that begin the next clause or statement, and so end an expression.
_CLAUSES = {
    "UNION", "FROM", "WHERE", "AS", "GO", "INSERT", "SELECT", "SET", "DECLARE", "UPDATE", "DELETE", "MERGE", "IF", "BEGIN",
    "END", "COMMIT", "PRINT", "EXEC", "EXECUTE", "USE", "CREATE", "ALTER", "ORDER", "OPTION", "EXCEPT", "INTERSECT",
}  # fmt: skip


class NotAnExpression(Exception):  # noqa: N818 - control flow inside the reader, not shown
    """Raised for a token that does not begin a value."""

    def __init__(self, token: Token) -> None:
        super().__init__(token.text)
        self.token = token


class Expressions:
    """Reads expressions from a scanner.

    Args:
        scanner: The source of tokens.
        dates: The columns that hold a date.

    Attributes:
        variables: The values from DECLARE and SET, by name in lower case.
        order: The date order from ``SET DATEFORMAT`` or ``SET LANGUAGE``; ``None``: the script does not tell.
    """

    def __init__(self, scanner: Scanner, dates: Collection[str] = ()) -> None:
        self._scanner = scanner
        self._dates = dates
        self._depth = 0
        self.variables: dict[str, Value] = {}
        self.order: str | None = None

    def read(self) -> Value:
        """Read the expression that begins here and return its value; the next token stays in the scanner.

        Raises:
            NotAnExpression: No value begins here.
        """
        value = self._operand()
        while True:
            token = self._scanner.next()
            if token.kind is Kind.OPERATOR and token.text in _ADDITIVE:
                value = _combine(value, token.text, self._operand())
            elif token.upper in {"COLLATE", "AT"}:
                self._skip_suffix(token.upper)
            else:
                self._scanner.push(token)
                return value

    def dated(self, columns: Sequence[str], values: Sequence[Value]) -> Sequence[Value]:
        """Return the values of a row; texts and numbers in date columns become dates as the session reads them."""
        pairs = zip(columns, values, strict=True)
        return [
            (
                _dated(value, self.order)
                if isinstance(value, str | int | float) and name in self._dates
                else value
            )
            for name, value in pairs
        ]

    def _skip_suffix(self, word: str) -> None:
        """Skip ``COLLATE name`` or ``AT TIME ZONE 'name'``; neither changes the written wall time."""
        for _ in range(1 if word == "COLLATE" else 3):
            self._scanner.next()

    def _operand(self) -> Value:
        self._depth += 1
        try:
            if self._depth > _MAX_DEPTH:
                raise NotAnExpression(self._scanner.next())
            return self._operand_here()
        finally:
            self._depth -= 1

    def _operand_here(self) -> Value:
        token = self._scanner.next()
        if token.kind in _LITERALS:
            return _LITERALS[token.kind](token.text)
        if token.kind is Kind.VARIABLE:
            return self._variable(token)
        if token.kind is Kind.WORD and token.upper not in _CLAUSES:
            return self._word(token)
        if token.kind is Kind.NAME:
            return self._name(token)
        if token.kind is Kind.OPERATOR:
            return self._operator(token)
        self._scanner.push(token)
        raise NotAnExpression(token)

    def _variable(self, token: Token) -> Value:
        return self.variables.get(token.text.lower(), Unknown(token.text))

    def _operator(self, token: Token) -> Value:
        if token.text == "-":
            return _negative(self._operand())
        if token.text in {"+", "$"}:
            return self._operand()
        if token.text == "(":
            return self._parenthesis()
        if token.text == "{":
            return self._odbc_escape()
        self._scanner.push(token)
        raise NotAnExpression(token)

    def _parenthesis(self) -> Value:
        if self._scanner.peek().upper == "SELECT":
            return Unknown("(" + self.balanced() + ")")
        value = self.read()
        if self._scanner.peek().text != ")":
            return Unknown("(…" + self.balanced() + ")")
        self._scanner.next()
        return value

    def _odbc_escape(self) -> Value:
        """Read an ODBC date such as ``{ts '2024-01-31 02:00:00'}``."""
        self._scanner.next()
        text = self._scanner.next().text
        if self._scanner.peek().text == "}":
            self._scanner.next()
        try:
            return read_date(text, {"ymd"})
        except ValueError:
            return Unknown("{" + text + "}")

    def _name(self, token: Token) -> Value:
        """Read a column or a call of a database function; the value is ``Unknown``."""
        text = token.text
        while self._scanner.peek().text == ".":
            self._scanner.next()
            text += "." + self._scanner.next().text
        if self._scanner.peek().text == "(":
            self._scanner.next()
            return Unknown(f"{text}({self.balanced()})")
        return Unknown(text)

    def _word(self, token: Token) -> Value:
        if token.upper == "NULL":
            return None
        if token.upper == "CASE":
            return self._case()
        if token.upper in _BARE_FUNCTIONS | {"DEFAULT"}:
            return Unknown(token.upper)
        if self._scanner.peek().text != "(":
            return self._name(token)
        self._scanner.next()
        return self._function(token)

    def _function(self, token: Token) -> Value:
        """Evaluate a call; the opening parenthesis has been read."""
        if token.upper in _CASTS:
            return self._cast(token)
        if token.upper in _CONVERTS:
            return self._convert(token)
        if token.upper in _FUNCTIONS:
            return self._call(token)
        return Unknown(f"{token.text}({self.balanced()})")

    def _case(self) -> Value:
        depth = 1
        while depth:
            token = self._scanner.next()
            if token.kind in {Kind.END, Kind.GO}:
                raise NotAnExpression(token)
            depth += {"CASE": 1, "END": -1}.get(token.upper, 0)
        return Unknown("CASE … END")

    def _cast(self, token: Token) -> Value:
        value = self.read()
        if self._scanner.next().upper != "AS":
            return Unknown(f"{token.text}(…{self.balanced()})")
        type_ = self._type()
        return self._closed(convert(value, type_, order=self.order), token)

    def _convert(self, token: Token) -> Value:
        type_ = self._type()
        if self._scanner.next().text != ",":
            return Unknown(f"{token.text}({type_}…{self.balanced()})")
        value, style = self.read(), None
        if self._scanner.peek().text == ",":
            self._scanner.next()
            given = self.read()
            style = given if isinstance(given, int) else None
        return self._closed(convert(value, type_, style, order=self.order), token)

    def _closed(self, value: Value, token: Token) -> Value:
        if self._scanner.peek().text == ")":
            self._scanner.next()
            return value
        return Unknown(f"{token.text}(…{self.balanced()})")

    def _type(self) -> str:
        """Read a type and return its bare name, without schema, ``[brackets]`` and length."""
        name = self._scanner.next().text
        while self._scanner.peek().text == ".":
            self._scanner.next()
            name = self._scanner.next().text
        if self._scanner.peek().text == "(":
            self._scanner.next()
            self.balanced()
        return name

    def _call(self, token: Token) -> Value:
        arguments: list[Value] = []
        while True:
            if self._scanner.peek().text != ")":
                arguments.append(self.read())
            end = self._scanner.next()
            if end.text == ")" and end.kind is Kind.OPERATOR:
                break
            if end.text != ",":
                return Unknown(f"{token.text}(…{self.balanced()})")
        if any(isinstance(argument, Unknown) for argument in arguments):
            return Unknown(f"{token.text}(…)")
        try:
            return _FUNCTIONS[token.upper](*arguments)
        except (TypeError, ValueError, AttributeError, OverflowError):
            return Unknown(f"{token.text}(…)")

    def balanced(self) -> str:
        """Skip to the closing parenthesis of an opening parenthesis already read; return the skipped text, for messages.

        Raises:
            NotAnExpression: The batch or the script ends first.
        """
        depth, shown_text = 1, ""
        while True:
            token = self._scanner.next()
            kind, text = token.kind, token.text
            if kind is Kind.OPERATOR:
                if text == "(":
                    depth += 1
                elif text == ")":
                    depth -= 1
                    if depth == 0:
                        return shown_text[:_SAID]
            elif kind is Kind.END or kind is Kind.GO:
                self._scanner.push(token)
                raise NotAnExpression(token)
            if len(shown_text) < _SAID:
                shown = f"'{text}'" if kind is Kind.STRING else text
                shown_text = f"{shown_text} {shown}" if shown_text else shown


def _dated(value: str | float, order: str | None) -> Value:
    if isinstance(value, str) and (order is None or not value.strip()):
        return value
    return convert(value, "datetime", order=order)


def number(text: str) -> int | float:
    """Return the value of a numeric literal."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def binary(text: str) -> bytes:
    """Return the bytes of a binary literal, ``0x0AFF``; an odd number of digits gets a zero in front, as in SQL Server."""
    digits = re.sub("^0[xX]", "", text)
    return bytes.fromhex("0" * (len(digits) % 2) + digits)


def _negative(value: Value) -> Value:
    if isinstance(value, int | float):
        return -value
    return value if value is None else Unknown("-…")


def _combine(left: Value, operator: str, right: Value) -> Value:
    if left is None or right is None:
        return None
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        known = left.text if isinstance(left, Unknown) else repr(left)
        return Unknown(f"{known} {operator} …")
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _arithmetic(left, operator, right)
    return Unknown(f"{left!r} {operator} {right!r}")


def _arithmetic(left: float, operator: str, right: float) -> Value:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return Unknown(f"{left} {operator} {right}")


def _char(code: int) -> str:
    if not 0 <= code <= _MAX_CHAR:
        raise ValueError(f"no character {code}")
    return chr(code)


def _first_not_null(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


def _concat(*values: Value) -> str:
    return "".join("" if value is None else str(value) for value in values)


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "CHAR": _char,
    "NCHAR": _char,
    "ISNULL": _first_not_null,
    "COALESCE": _first_not_null,
    "CONCAT": _concat,
    "REPLACE": lambda text, old, new: text.replace(old, new) if old else text,
    "LTRIM": lambda text: text.lstrip(" "),
    "RTRIM": lambda text: text.rstrip(" "),
    "UPPER": lambda text: text.upper(),
    "LOWER": lambda text: text.lower(),
    "DATEFROMPARTS": datetime,
}

_LITERALS: dict[Kind, Callable[[str], Value]] = {
    Kind.STRING: str,
    Kind.QUOTED: str,
    Kind.NUMBER: number,
    Kind.BINARY: binary,
}


# Match a row of literals and ``CAST(literal AS type)`` by one pattern; SSMS writes millions of such rows.

_VALUE = (
    r"(NULL|[Nn]?'(?:[^']++|'')*+'|-?\d++(?:\.\d++)?"
    r"|CAST\((?:[Nn]?'[^']*+'|0x[0-9A-Fa-f]++) AS \w++(?:\(\d++\))?\))"
)
_CAST = re.compile(r"CAST\((?:[Nn]?'([^']*+)'|(0x[0-9A-Fa-f]++)) AS (\w++)(?:\(\d++\))?\)")


def row_pattern(count: int) -> re.Pattern[str]:
    """Return the pattern of ``count`` values and the closing parenthesis, a group for each value; the opening one is not included."""
    return re.compile(r"\s*+" + r"\s*+,\s*+".join([_VALUE] * count) + r"\s*+\)", re.IGNORECASE)


def row_values(match: re.Match[str], order: str | None = None) -> list[Value]:
    """Return the values of a row that ``row_pattern`` has matched.

    Args:
        match: The match.
        order: The session's date order; ``None``: the script does not tell.
    """
    return [_literal(raw, order) for raw in match.groups()]


def _literal(raw: str, order: str | None) -> Value:
    """Return the value of a literal that ``_VALUE`` has matched."""
    first = raw[0]
    if first in "'Nn":
        return unquote(raw) if raw[-1] == "'" else None
    if first in "Cc":
        return _cast(raw, order)
    return number(raw)


def _cast(raw: str, order: str | None) -> Value:
    match = _CAST.fullmatch(raw) or re.fullmatch(_CAST.pattern, raw, re.IGNORECASE)
    assert match is not None
    inner: Value = match[1] if match[1] is not None else binary(match[2])
    return convert(inner, match[3], order=order)
