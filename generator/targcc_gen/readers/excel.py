"""Rows of an Excel workbook: one table a sheet, with its header in the first row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.readers.rows import Item, Row, Value
from targcc_gen.readers.tables import KnownTables


def read_excel(path: Path, tables: KnownTables) -> Iterator[Item]:
    """Every row of every sheet that holds a known table; ids come as floats, which ``cells`` undoes.

    Raises:
        InputError: It is no workbook, or no sheet holds a known table.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    name = str(path)
    try:
        workbook = CalamineWorkbook.from_path(path)
        sheets = [
            (sheet, workbook.get_sheet_by_name(sheet).to_python()) for sheet in workbook.sheet_names
        ]
    except (CalamineError, OSError) as error:
        raise InputError(f"{name}: not a workbook: {error}") from None
    rows = [row for sheet, cells in sheets for row in _sheet_rows(name, sheet, cells, tables)]
    if not rows:
        raise InputError(f"{name}: no sheet has a header with the columns of {tables.shown}")
    return iter(rows)


def _sheet_rows(
    file: str, sheet: str, cells: list[list[Any]], tables: KnownTables
) -> Iterator[Item]:
    if not cells:
        return
    columns = [str(cell).strip().lower() for cell in cells[0]]
    table = tables.table_of(columns, sheet)
    if table is None:
        return
    for line, record in enumerate(cells[1:], start=2):
        values = {name: _value(cell) for name, cell in zip(columns, record, strict=False) if name}
        if any(value is not None for value in values.values()):
            yield Row(table, values, f"{file}[{sheet}]", line)


def _value(cell: Any) -> Value:
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - wall time
    if isinstance(cell, int | float):
        return cell
    text = str(cell)
    return None if text in {"", "NULL"} else text
