"""SQL Server's literals as Python values: dates in their many spellings, and the binary forms of SSMS 2005 to 2014."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from targcc_gen.readers.dates import AmbiguousDateError, read_date
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

# CONVERT's styles whose day comes first; 1/101 and 10/110 put the month first, the others spell the month or start with the year.
_DAY_FIRST_STYLES = {3, 4, 5, 103, 104, 105, 130, 131}
_MONTH_FIRST_STYLES = {1, 10, 22, 101, 110}
# CONVERT's styles whose year comes first, of two digits.
_YEAR_FIRST_STYLES = {2, 11}

_DATE_TYPES = {"datetime", "smalldatetime", "datetime2", "date", "datetimeoffset"}
_INT_TYPES = {"int", "bigint", "smallint", "tinyint", "bit"}
_REAL_TYPES = {"decimal", "numeric", "float", "real", "money", "smallmoney"}
_TEXT_TYPES = {"varchar", "nvarchar", "char", "nchar", "text", "ntext", "sysname", "xml"}


def convert(
    value: Value, type_: str, style: int | None = None, *, order: str | None = None
) -> Value:
    """What ``CAST(value AS type)`` or ``CONVERT(type, value, style)`` gives; ``Unknown`` if only the server could know.

    A date that neither a style nor the session tells how to read stays the text that it is.

    Args:
        value: The inner value.
        type_: The type's bare name, any case.
        style: CONVERT's third argument.
        order: The session's ``SET DATEFORMAT``, for dates without a style; ``None``: the script does not say.
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
    """A date as a session reads it; ``2016-11-07`` is 11 July to ``datetime`` where days come before months.

    Raises:
        AmbiguousDateError: The session's order is not known, and the text needs it.
        ValueError: It is no date.
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
