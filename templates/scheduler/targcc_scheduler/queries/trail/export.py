"""The audit as a file: CSV for a spreadsheet, JSON for programs; newest first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from typing import Literal

from pydantic_core import to_jsonable_python

from ...core.masking.structures import masked
from ...core.secrets import mask
from ..models import AuditEntry
from .entries import Filter, audit
from .verify import Read

Format = Literal["csv", "json"]

_PAGE = 1_000
_COLUMNS = (
    *("id", "at", "actor", "action", "job", "run_id", "detail", "remote"),
    *("seq", "hash"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes a cell for that begins so; in wide letters, too."""


async def export(read: Read, which: Filter, kind: Format) -> AsyncIterator[str]:
    """The rows as text, in pieces of a thousand rows.

    A cell of CSV that a spreadsheet would calculate begins with an apostrophe. Secrets that this process knows are masked.
    """
    yield "[" if kind == "json" else _line(_COLUMNS)
    before: int | None = None
    while True:
        entries = await _page(read, which, before)
        if kind == "csv":
            yield "".join(_csv_line(entry) for entry in entries)
        elif entries:
            yield ("\n" if before is None else ",\n") + ",\n".join(map(_json_line, entries))
        if len(entries) < _PAGE:
            break
        before = entries[-1].id
    yield "\n]\n" if kind == "json" else ""


async def _page(read: Read, which: Filter, before: int | None) -> tuple[AuditEntry, ...]:
    return await read(lambda db: audit(db, which, before=before, limit=_PAGE))


def _json_line(entry: AuditEntry) -> str:
    return json.dumps(masked(to_jsonable_python(entry)), ensure_ascii=False)


def _csv_line(entry: AuditEntry) -> str:
    plain = to_jsonable_python(entry)
    values = [plain[name] for name in _COLUMNS]
    return _line(_cell(value) for value in values)


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = mask(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
