"""SQL Server's literals as Python values: dates in their many spellings, and the binary forms of SSMS 2005 to 2014."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from targcc_gen.readers.rows import Unknown, Value

_EPOCH = datetime(1900, 1, 1)  # noqa: DTZ001 - the old server's wall clock has no zone
_FIRST_DAY = datetime(1, 1, 1)  # noqa: DTZ001 - as above
_TICKS_PER_SECOND = 300
_DATETIME_BYTES = 8
_SMALLDATETIME_BYTES = 4
_DATE_BYTES = (3, 4)
_MAX_PRECISION = 7
# Bytes of a datetime2 time, by its precision.
_TIME_BYTES = (3, 3, 3, 4, 4, 5, 5, 5)

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = r"(?:(\d{1,2}):(\d{2})(?::(\d{2})(?:[.:](\d{1,9}))?)?\s*(am|pm)?)?"
_ZONE = r"\s*(Z|[+-]\d{2}:?\d{2})?"
_YEAR_FIRST = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T\s]*" + _CLOCK + _ZONE, re.IGNORECASE
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})\s*" + _CLOCK + _ZONE, re.IGNORECASE)
_YEAR_LAST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})\s*" + _CLOCK, re.IGNORECASE)
_MONTH_FIRST = re.compile(r"([a-z]{3})[a-z]*\s+(\d{1,2}),?\s+(\d{4})\s*" + _CLOCK, re.IGNORECASE)
_DAY_MONTH = re.compile(r"(\d{1,2})[\s-]+([a-z]{3})[a-z]*[\s-]+(\d{4})\s*" + _CLOCK, re.IGNORECASE)

# CONVERT's styles whose day comes first; 1/101 and 10/110 put the month first, the others spell the month or start with the year.
_DAY_FIRST_STYLES = {3, 4, 5, 103, 104, 105, 130, 131}
_MONTH_FIRST_STYLES = {1, 10, 22, 101, 110}
_PIVOT = 50  # SQL Server's "two digit year cutoff": 50 is 1950, 49 is 2049
_LAST_MONTH = 12
_NOON = 12

_DATE_TYPES = {"datetime", "smalldatetime", "datetime2", "date", "datetimeoffset"}
_INT_TYPES = {"int", "bigint", "smallint", "tinyint", "bit"}
_REAL_TYPES = {"decimal", "numeric", "float", "real", "money", "smallmoney"}
_TEXT_TYPES = {"varchar", "nvarchar", "char", "nchar", "text", "ntext", "sysname", "xml"}


def convert(value: Value, type_: str, style: int | None = None, *, order: str = "mdy") -> Value:
    """What ``CAST(value AS type)`` or ``CONVERT(type, value, style)`` gives; ``Unknown`` if only the server could know.

    Args:
        value: The inner value.
        type_: The type's bare name, any case.
        style: CONVERT's third argument.
        order: The session's ``SET DATEFORMAT``, for dates without a style.
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


def _to_datetime(value: Value, kind: str, style: int | None, order: str) -> Value:
    try:
        if isinstance(value, datetime):
            return value
        if isinstance(value, bytes):
            return binary_datetime(value, kind)
        if isinstance(value, int | float):
            return _EPOCH + timedelta(days=value)
        found = parse_datetime(str(value), order=_order_of(style, order))
    except (ValueError, OverflowError):
        found = None
    return found if found is not None else Unknown(f"CAST('{value!r}' AS {kind})")


def _order_of(style: int | None, order: str) -> str:
    if style in _DAY_FIRST_STYLES:
        return "dmy"
    return "mdy" if style in _MONTH_FIRST_STYLES else order


def binary_datetime(data: bytes, kind: str = "datetime") -> datetime:
    """A date from the bytes SSMS 2005-2014 wrote.

    ``datetime``: signed 4-byte days since 1900, 4-byte ticks of 1/300 s. ``smalldatetime``: 2-byte days, 2-byte minutes.
    ``date``: little-endian days since year 1. ``datetime2``: precision, little-endian time, little-endian days.

    Raises:
        ValueError: The length fits no such type, or the date is out of range.
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


def parse_datetime(text: str, *, order: str | None = None) -> datetime | None:
    """A date from text, in the server's wall time; None if it is none or if day and month cannot be told apart.

    Args:
        text: Such as ``2024-01-31T02:00:00.000``, ``20240131 02:00``, ``31/01/2024 02:00:00``, ``Jan 31 2024  2:00AM``.
        order: ``mdy``, ``dmy`` or ``ymd`` for dates that end with the year; None: only if it can be read in one way.
    """
    text = text.strip()
    try:
        return datetime.fromisoformat(text[:26]).replace(tzinfo=None)
    except ValueError:
        pass
    try:
        return _spelled(text, order)
    except ValueError:
        return None


def _spelled(text: str, order: str | None) -> datetime | None:
    for pattern in (_YEAR_FIRST, _COMPACT):
        if found := pattern.fullmatch(text):
            year, month, day = (int(part) for part in found.groups()[:3])
            return _at(year, month, day, found.groups()[3:8])
    if found := _MONTH_FIRST.fullmatch(text):
        return _at(int(found[3]), _month(found[1]), int(found[2]), found.groups()[3:8])
    if found := _DAY_MONTH.fullmatch(text):
        return _at(int(found[3]), _month(found[2]), int(found[1]), found.groups()[3:8])
    if found := _YEAR_LAST.fullmatch(text):
        return _year_last(found, order)
    return None


def _month(name: str) -> int:
    return _MONTHS.index(name.lower()) + 1


def _year_last(found: re.Match[str], order: str | None) -> datetime | None:
    first, second, year = int(found[1]), int(found[2]), int(found[3])
    if len(found[3]) == len("yy"):
        year += 1900 if year >= _PIVOT else 2000
    if order is None:
        if first <= _LAST_MONTH and second <= _LAST_MONTH and first != second:
            return None
        order = "dmy" if first > _LAST_MONTH else "mdy"
    day, month = (first, second) if order.startswith("d") else (second, first)
    return _at(year, month, day, found.groups()[3:8])


def _at(year: int, month: int, day: int, clock: tuple[str | None, ...]) -> datetime:
    hour, minute, second = (int(part or 0) for part in clock[:3])
    if half := clock[4]:
        hour = hour % _NOON + (_NOON if half.lower() == "pm" else 0)
    micro = int((clock[3] or "0").ljust(6, "0")[:6])
    return datetime(year, month, day, hour, minute, second, micro)  # noqa: DTZ001 - wall time
