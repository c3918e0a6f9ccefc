"""Read rows of an Excel workbook: each sheet is a table with a header in the first row."""

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

from targcc_gen.errors import ExportError, InputError, NoTableError
from targcc_gen.readers.rows import Item, KnownTables, Row, Value

# Refuse an oversized workbook before loading.
# A workbook is a zip archive: a small file may hold hundreds of megabytes, one cell in the last row and column makes the sheet a table of
# 17 billion cells, and a million cells may refer to one long text.

_CHUNK = 1 << 16
_MOST_PARTS = 10_000
_LEAST, _RATIO = 16 << 20, 30
"""Unpacked bytes allowed for any workbook, plus this many times the file's size. Real workbooks unpack to about ten times."""
_MOST_EMPTY, _EMPTY_RATIO = 1_000_000, 20
"""Empty cells allowed for any sheet, plus this many for each filled cell."""
_LOCAL_HEADER = 30
_LONGEST_NUMBER = 10
_REFERENCE = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")


def refuse_bombs(path: Path) -> None:
    """Check the size of a workbook (.xlsx, .xlsm) piece by piece.

    Raises:
        InputError: The workbook would need far more memory than its file size suggests, or the file is not a workbook.
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
        raise ExportError(f"{path}: not a workbook: {error}") from None


class _Measure:
    """Counts the unpacked bytes, cells and shared texts of a workbook."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._left = _LEAST + _RATIO * path.stat().st_size
        self._texts: list[int] = []
        """The length of each shared text."""
        self._meant: Counter[int] = Counter()
        """The number of cells that refer to each shared text, by index."""

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
        """Measure a part by its content, since sheets may have any file name."""
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
        """Yield a part's unpacked bytes and ignore the length in the header."""
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
        return ExportError(f"{self._path}: {what}", hint=hint)


class _Sheet:
    """Collects the bounds and cells of a sheet, the lengths of shared texts, and the references to shared texts."""

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
        """The number of cells in the smallest rectangle with all cells."""
        height, width = (high - low + 1 for low, high in (self._rows, self._columns))
        return height * width if self.cells else 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
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
        """Handle characters of a shared text, or of a reference to a shared text."""
        self._length += len(text)
        if self._reads:
            self._value += text[:20]

    def end(self, name: str) -> None:
        """Handle the end of an element."""
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
    """Return the rows of every sheet with a wanted table; ids are floats, which ``rows.key`` undoes.

    Raises:
        InputError: The file is not a workbook, or no sheet has a wanted table.
    """
    name = str(path)
    if path.suffix.lower() in {".xlsx", ".xlsm"}:
        refuse_bombs(path)
        sheets = read_sheets(path)
    else:
        sheets = _read_apart(path)
    rows = [row for sheet, cells in sheets for row in _sheet_rows(name, sheet, cells, tables)]
    if not rows:
        raise NoTableError(f"{name}: no sheet has a header with the columns of {tables.shown}")
    return iter(rows)


def read_sheets(path: Path) -> list[tuple[str, list[list[Any]]]]:
    """Return each sheet's name and cells.

    Raises:
        InputError: The file is not a workbook.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_path(path)
        return [
            (sheet, workbook.get_sheet_by_name(sheet).to_python()) for sheet in workbook.sheet_names
        ]
    except (CalamineError, OSError) as error:
        raise ExportError(f"{path}: not a workbook: {error}") from None


def _read_apart(path: Path) -> list[tuple[str, list[list[Any]]]]:
    """Return each sheet's name and cells, read in a separate process with limited memory; for formats that cannot be checked before.

    Raises:
        InputError: The file is not a workbook, or exceeds the limits of memory or time.
    """
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file")
    # -P and absolute folders: no module of the current folder replaces an installed module.
    folders = [folder for folder in sys.path if Path(folder).is_absolute()]
    limits = [str(_MOST_MEMORY), json.dumps(folders)]
    command = [sys.executable, "-P", "-c", _APART, str(path), *limits]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ExportError(f"{path}: it takes too long", hint=_INSTEAD) from None
    if done.returncode == _IS_NONE:
        raise ExportError(done.stdout.decode("utf-8", "replace"))
    if done.returncode:
        raise ExportError(f"{path}: it asks for more memory than an export needs", hint=_INSTEAD)
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
    """Return a cell of a date column; a number is Excel's count of days."""
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
