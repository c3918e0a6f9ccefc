"""Rows of an Excel workbook: one table a sheet, with its header in the first row."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.readers.excel_size import refuse_bombs
from targcc_gen.readers.rows import Item, Row, Value
from targcc_gen.readers.tables import KnownTables

_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - wall time


def read_excel(path: Path, tables: KnownTables) -> Iterator[Item]:
    """Every row of every sheet that holds a known table; ids come as floats, which ``cells`` undoes.

    Raises:
        InputError: It is no workbook, or no sheet holds a known table.
    """
    name = str(path)
    if path.suffix.lower() in {".xlsx", ".xlsm"}:
        refuse_bombs(path)
        sheets = read_sheets(path)
    else:
        sheets = _read_apart(path)
    rows = [row for sheet, cells in sheets for row in _sheet_rows(name, sheet, cells, tables)]
    if not rows:
        raise InputError(f"{name}: no sheet has a header with the columns of {tables.shown}")
    return iter(rows)


def read_sheets(path: Path) -> list[tuple[str, list[list[Any]]]]:
    """Every sheet's name and cells.

    Raises:
        InputError: It is no workbook.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_path(path)
        return [
            (sheet, workbook.get_sheet_by_name(sheet).to_python()) for sheet in workbook.sheet_names
        ]
    except (CalamineError, OSError) as error:
        raise InputError(f"{path}: not a workbook: {error}") from None


def _read_apart(path: Path) -> list[tuple[str, list[list[Any]]]]:
    """The sheets of a format that cannot be looked through beforehand, read by a process of its own with a limit to its memory.

    Raises:
        InputError: It is no workbook, or asks for more.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    # -P and absolute folders: no module of the current folder is imported in place of another.
    folders = [folder for folder in sys.path if Path(folder).is_absolute()]
    limits = [str(_MOST_MEMORY), json.dumps(folders)]
    command = [sys.executable, "-P", "-c", _APART, str(path), *limits]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: it takes too long", hint=_INSTEAD) from None
    if done.returncode == _IS_NONE:
        raise InputError(done.stdout.decode("utf-8", "replace"))
    if done.returncode:
        raise InputError(f"{path}: it asks for more memory than an export needs", hint=_INSTEAD)
    sheets: list[tuple[str, list[list[Any]]]]
    sheets = pickle.loads(done.stdout)  # noqa: S301 - the process has just written it
    return sheets


_MOST_MEMORY = 1 << 30
_MOST_SECONDS = 120
_IS_NONE = 3
_INSTEAD = "Save the sheet as .xlsx or CSV."
_APART = f"""
import json, pickle, sys
from pathlib import Path
sys.path[:] = json.loads(sys.argv[3])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, OSError, ValueError):
    pass
from targcc_gen.errors import InputError
from targcc_gen.readers.excel import read_sheets
try:
    sheets = pickle.dumps(read_sheets(Path(sys.argv[1])))
except InputError as error:
    sys.stdout.buffer.write(error.message.encode())
    sys.exit({_IS_NONE})
sys.stdout.buffer.write(sheets)
"""


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
        values = {
            name: _date(cell) if name in tables.dates else _value(cell)
            for name, cell in zip(columns, record, strict=False)
            if name
        }
        if any(value is not None for value in values.values()):
            yield Row(table, values, f"{file}[{sheet}]", line)


def _date(cell: Any) -> Value:
    """A cell of a column of dates, in which a number counts days."""
    value = _value(cell)
    try:
        if isinstance(value, int | float):
            return _EPOCH + timedelta(seconds=round(value * 86400))
    except OverflowError:
        pass
    return value


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
