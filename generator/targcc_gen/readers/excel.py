"""Rows of an Excel workbook: one table a sheet, its header in the first row."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from targcc_gen.errors import InputError
from targcc_gen.readers.rows import Item, KnownTables, Row, Value

# Limit a workbook's size before it is held in memory.
# A workbook is a zip archive: a small file may hold hundreds of megabytes, one cell in the last row and column makes the sheet a table of
# 17 billion cells, and one long text may be meant by a million cells.

_CHUNK = 1 << 16
_MOST_PARTS = 10_000
_LEAST, _RATIO = 16 << 20, 30
"""Bytes that any workbook may unpack to, and as many times its size. Real ones take about ten times."""
_MOST_EMPTY, _EMPTY_RATIO = 1_000_000, 20
"""Empty cells that any sheet may have, and so many for each cell that is not."""
_LOCAL_HEADER = 30
_LONGEST_NUMBER = 10
_REFERENCE = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")


def refuse_bombs(path: Path) -> None:
    """Look through a workbook (.xlsx, .xlsm) piece by piece.

    Raises:
        InputError: It would take far more memory than a workbook of its size does, or it is none.
    """
    try:
        with ZipFile(path) as archive, path.open("rb") as stream:
            _Measure(path, stream).all(archive.infolist())
    except (
        BadZipFile,
        NotImplementedError,
        zlib.error,
        expat.ExpatError,
        OSError,
        ValueError,
    ) as error:
        raise InputError(f"{path}: not a workbook: {error}") from None


class _Measure:
    """What is counted of one workbook."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._left = _LEAST + _RATIO * path.stat().st_size
        self._texts: list[int] = []
        """The length of each shared text."""
        self._meant: Counter[int] = Counter()
        """How often each is meant."""

    def all(self, parts: list[ZipInfo]) -> None:
        if len(parts) > _MOST_PARTS:
            raise self._too_much("it has too many parts")
        for part in parts:
            self._measure(part)
        letters = sum(
            count * self._texts[place]
            for place, count in self._meant.items()
            if 0 <= place < len(self._texts)
        )
        if letters > self._left:
            raise self._too_much("its texts are repeated into far more than its size")

    def _measure(self, part: ZipInfo) -> None:
        """Measure a part by what is in it: a workbook may call its sheets as it likes."""
        pieces = self._inflated(part)
        first = next(pieces, b"")
        begins = first.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if not first or begins not in {b"<", b"\xff", b"\xfe", b""}:
            for _ in pieces:
                pass
            return
        sheet = _Sheet(self._texts, self._meant)
        parser = expat.ParserCreate()
        parser.StartElementHandler = sheet.start
        parser.CharacterDataHandler = sheet.data
        parser.EndElementHandler = sheet.end
        parser.StartDoctypeDeclHandler = self._doctype
        for piece in chain([first], pieces):
            parser.Parse(piece, False)  # noqa: FBT003 - expat's own
        parser.Parse(b"", True)  # noqa: FBT003 - expat's own
        if sheet.area > _MOST_EMPTY + _EMPTY_RATIO * sheet.cells:
            hint = "Delete the empty rows and columns below and beside the table, or save the sheet as CSV."
            raise self._too_much(
                f"a cell far from the others makes a table of {sheet.area:,} cells", hint
            )

    def _inflated(self, part: ZipInfo) -> Iterator[bytes]:
        """What a part holds, whatever its header says of its length."""
        if part.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise self._too_much(f"{part.filename} is packed in a way that no spreadsheet writes")
        self._stream.seek(part.header_offset)
        header = self._stream.read(_LOCAL_HEADER)
        names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        self._stream.seek(names, 1)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS) if part.compress_type else None
        packed = part.compress_size
        while packed > 0 and (data := self._stream.read(min(_CHUNK, packed))):
            packed -= len(data)
            while data:
                piece = data if inflate is None else inflate.decompress(data, _CHUNK)
                data = b"" if inflate is None else inflate.unconsumed_tail
                self._left -= len(piece)
                if self._left < 0:
                    raise self._too_much("it unpacks to far more than a workbook of its size")
                yield piece

    def _doctype(self, *_: object) -> None:
        raise self._too_much("a DOCTYPE has no place in a workbook")

    def _too_much(self, what: str, hint: str = "Save the sheet as CSV.") -> InputError:
        return InputError(f"{self._path}: {what}", hint=hint)


class _Sheet:
    """The corners of one sheet and its cells; the lengths of shared texts, and how often each is meant."""

    def __init__(self, texts: list[int], meant: Counter[int]) -> None:
        self.cells = 0
        self._texts = texts
        self._meant = meant
        self._row = self._column = self._length = 0
        self._rows, self._columns = [1 << 30, 0], [1 << 30, 0]
        self._shared = self._reads = False
        self._value = ""

    @property
    def area(self) -> int:
        """How many cells a table has that holds all of them."""
        height, width = (high - low + 1 for low, high in (self._rows, self._columns))
        return height * width if self.cells else 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        local = name.rpartition(":")[2]
        if local == "c":
            self._place(attributes.get("r", ""))
            self._shared = attributes.get("t") == "s"
        elif local == "v":
            self._reads, self._value = self._shared, ""
        elif local == "row":
            number = attributes.get("r", "")
            self._row = int(number) if number.isdecimal() else self._row + 1
            self._column = 0
        elif local == "si":
            self._length = 0

    def data(self, text: str) -> None:
        """Letters of a shared text, or its number."""
        self._length += len(text)
        if self._reads:
            self._value += text[:20]

    def end(self, name: str) -> None:
        """An element ends."""
        local = name.rpartition(":")[2]
        if local == "si":
            self._texts.append(self._length)
        elif self._reads and local == "v":
            self._reads = False
            value = self._value.strip()
            if value.isdecimal() and len(value) < _LONGEST_NUMBER:
                self._meant[int(value)] += 1

    def _place(self, reference: str) -> None:
        self.cells += 1
        match = _REFERENCE.fullmatch(reference)
        if match:
            self._row, self._column = int(match[2]), _column_number(match[1])
        else:
            self._column += 1
        for bounds, place in ((self._rows, self._row), (self._columns, self._column)):
            bounds[0], bounds[1] = min(bounds[0], place), max(bounds[1], place)


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


# Sheets as rows.

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
