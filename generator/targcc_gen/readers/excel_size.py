"""How much a workbook asks for, found before anything of it is held in memory.

A workbook is a zip archive: a small file may hold hundreds of megabytes, one cell in the last row and column makes the sheet a table of
17 billion cells, and one long text may be meant by a million cells.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from targcc_gen.errors import InputError

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
        found = _REFERENCE.fullmatch(reference)
        if found:
            self._row, self._column = int(found[2]), _column_number(found[1])
        else:
            self._column += 1
        for bounds, place in ((self._rows, self._row), (self._columns, self._column)):
            bounds[0], bounds[1] = min(bounds[0], place), max(bounds[1], place)


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
