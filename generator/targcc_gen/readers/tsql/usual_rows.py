"""A row in the form in which SSMS writes millions: literals and ``CAST(literal AS type)`` alone, matched by one pattern."""

from __future__ import annotations

import re

from targcc_gen.readers.rows import Value
from targcc_gen.readers.tsql.expressions import binary, number
from targcc_gen.readers.tsql.literals import convert
from targcc_gen.readers.tsql.scanner import unquote

_VALUE = (
    r"(NULL|[Nn]?'(?:[^']++|'')*+'|-?\d++(?:\.\d++)?"
    r"|CAST\((?:[Nn]?'[^']*+'|0x[0-9A-Fa-f]++) AS \w++(?:\(\d++\))?\))"
)
_CAST = re.compile(r"CAST\((?:[Nn]?'([^']*+)'|(0x[0-9A-Fa-f]++)) AS (\w++)(?:\(\d++\))?\)")


def row_pattern(count: int) -> re.Pattern[str]:
    """What matches ``count`` values up to the closing parenthesis, each in a group; the opening one stands before."""
    return re.compile(r"\s*+" + r"\s*+,\s*+".join([_VALUE] * count) + r"\s*+\)", re.IGNORECASE)


def row_values(found: re.Match[str], order: str | None = None) -> list[Value]:
    """The values of a row that ``row_pattern`` has matched.

    Args:
        found: The match.
        order: The session's order of day, month and year; ``None``: the script does not say.
    """
    return [_literal(raw, order) for raw in found.groups()]


def _literal(raw: str, order: str | None) -> Value:
    """The value of a literal that ``_VALUE`` has matched."""
    first = raw[0]
    if first in "'Nn":
        return unquote(raw) if raw[-1] == "'" else None
    if first in "Cc":
        return _cast(raw, order)
    return number(raw)


def _cast(raw: str, order: str | None) -> Value:
    found = _CAST.fullmatch(raw) or re.fullmatch(_CAST.pattern, raw, re.IGNORECASE)
    assert found is not None
    inner: Value = found[1] if found[1] is not None else binary(found[2])
    return convert(inner, found[3], order=order)
