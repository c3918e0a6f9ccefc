"""Read the text of an export: detect the encoding, refuse binary files."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from targcc_gen.errors import ExportError, InputError

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_GUESS_BYTES = 1 << 18

_BOMS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 big-endian"),
)
_MAGIC = (
    (b"\xd0\xcf\x11\xe0", "an Excel 97-2003 workbook (.xls)", "save it as .xlsx or CSV"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"TAPE", "a SQL Server backup", "restore it and let SSMS write a data script"),
    (b"MSSQLBAK", "a SQL Server backup", "restore it and let SSMS write a data script"),
    (b"MZ", "a Windows program", "give the export of its tables, not the program"),
)
# The code pages that Windows calls ANSI: "Save results as" uses one when not writing Unicode.
_PAGES_OF_ZONES = {
    "cp874": "Asia/Bangkok",
    "cp932": "Asia/Tokyo",
    "cp936": "Asia/Shanghai Asia/Singapore Asia/Chongqing",
    "cp949": "Asia/Seoul",
    "cp950": "Asia/Taipei Asia/Hong_Kong",
    "cp1250": "Europe/Warsaw Europe/Prague Europe/Bratislava Europe/Budapest Europe/Bucharest Europe/Belgrade"
    " Europe/Zagreb Europe/Ljubljana Europe/Sarajevo Europe/Tirane",
    "cp1251": "Europe/Moscow Europe/Kiev Europe/Kyiv Europe/Minsk Europe/Sofia Europe/Kaliningrad Europe/Samara"
    " Asia/Yekaterinburg Asia/Omsk Asia/Novosibirsk Asia/Krasnoyarsk Asia/Irkutsk Asia/Vladivostok Asia/Almaty",
    "cp1253": "Europe/Athens Asia/Nicosia",
    "cp1254": "Europe/Istanbul Asia/Baku",
    "cp1255": "Asia/Jerusalem Asia/Tel_Aviv Israel",
    "cp1256": "Asia/Riyadh Asia/Dubai Asia/Baghdad Asia/Amman Asia/Beirut Asia/Damascus Asia/Tehran Africa/Cairo"
    " Africa/Algiers Africa/Casablanca Africa/Tripoli Asia/Kuwait Asia/Qatar",
    "cp1257": "Europe/Riga Europe/Tallinn Europe/Vilnius",
    "cp1258": "Asia/Ho_Chi_Minh Asia/Saigon",
}
_PAGE_OF_ZONE = {zone: page for page, zones in _PAGES_OF_ZONES.items() for zone in zones.split()}
_WEST = "cp1252"
_PLAUSIBLE = 0.9
# Bytes that no text export holds, without 0x00: bcp writes 0x00 for an empty string.
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0e-\x19\x1b-\x1f]")
_MAX_CONTROL_SHARE = 0.02
_FEW_CONTROL = 8
_ZERO_SHARE = 0.3


class Truncated(InputError):  # noqa: N818 - says what happened to the file
    """A script that ends inside a string, comment, row or statement, since the export is cut off."""

    code = "TG503"
    kind = "truncated"

    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(
            f"{file}:{line}: the script ends inside {what} that begins here",
            hint="The export is cut off: copy or export it again. Nothing was imported.",
        )


@dataclass(frozen=True, slots=True)
class TextFile:
    """A readable text file.

    Attributes:
        path: The file's path.
        name: The file's name as given, for errors.
        encoding: Python's name of the encoding.
        label: The encoding's name to show, such as ``UTF-16``.
        size: The size in bytes.
        skip: The length of the byte order mark in bytes.
        guessed: Whether the encoding is a guess by region or letter frequency.
    """

    path: Path
    name: str
    encoding: str
    label: str
    size: int
    skip: int = 0
    guessed: bool = False

    def chunks(self, progress: Callable[[int], None] | None = None) -> Iterator[str]:
        """Yield the text in pieces of about a megabyte, line ends unchanged.

        Args:
            progress: Called with the number of bytes read since the last call.

        Raises:
            InputError: The file ends inside a character, or has bytes outside the encoding.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        done = self.skip
        with self.path.open("rb") as stream:
            stream.seek(self.skip)
            while True:
                data = stream.read(_CHUNK)
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    raise self._undecodable(error, done, at_end=not data) from None
                if progress and data:
                    progress(len(data))
                done += len(data)
                if text:
                    yield text
                if not data:
                    return

    def _undecodable(self, error: UnicodeDecodeError, done: int, *, at_end: bool) -> InputError:
        if at_end:
            return ExportError(
                f"{self.name}: the file ends in the middle of a character",
                hint="The export is cut off: copy or export it again.",
            )
        return ExportError(
            f"{self.name}: not {self.label} near byte {done + error.start}",
            hint="Name the encoding with --encoding, for example --encoding cp1255.",
        )


def open_text(path: Path, *, encoding: str | None = None, zone: str = "") -> TextFile:
    """Open a text file and detect its encoding.

    The first match decides: a byte order mark; zero bytes at every other place (UTF-16 without a mark, as ``bcp -w`` writes); valid
    UTF-8; the ANSI code page of the server's region, if the text reads as letters; the code page that fits the letters best.

    Args:
        path: The file.
        encoding: The encoding, if known; ``None`` to detect.
        zone: The old server's time zone, for the region.

    Raises:
        InputError: The file is missing, empty, binary, or the encoding has no such name.
    """
    name = str(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_SAMPLE)
    except OSError as error:
        raise ExportError(f"{name}: {error.strerror or error}") from None
    if not head.strip(b"\x00 \t\r\n\xff\xfe\xef\xbb\xbf"):
        raise ExportError(f"{name}: the file is empty", hint="Export the table again.")
    if encoding is not None:
        return _named(path, name, size, head, encoding)
    for bom, codec, label in _BOMS:
        if head.startswith(bom):
            return TextFile(path, name, codec, label, size, skip=len(bom))
    _refuse_binary(name, head)
    wide = _wide(head)
    if wide:
        return TextFile(path, name, wide, "UTF-16 without a mark", size)
    _refuse_control(name, head)
    with path.open("rb") as stream:
        strange = _lines_beyond_utf8(stream)
    if strange is None:
        return TextFile(path, name, "utf-8", "UTF-8", size)
    page = _code_page(strange, _PAGE_OF_ZONE.get(zone, _WEST))
    return TextFile(path, name, page, page, size, guessed=True)


def _named(path: Path, name: str, size: int, head: bytes, encoding: str) -> TextFile:
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise ExportError(
            f'no encoding "{encoding}"', hint="Such as utf-8, utf-16-le, cp1252."
        ) from None
    if codec == "utf-16":
        codec = "utf-16-be" if head.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    marks = [bom for bom, bom_codec, _ in _BOMS if bom_codec == codec and head.startswith(bom)]
    return TextFile(path, name, codec, codec, size, skip=len(marks[0]) if marks else 0)


def _refuse_binary(name: str, head: bytes) -> None:
    for magic, what, instead in _MAGIC:
        if head.startswith(magic):
            raise ExportError(f"{name}: this is {what}, not an export", hint=instead.capitalize())


def _wide(head: bytes) -> str | None:
    """Return the codec of UTF-16 without a mark; ``None`` otherwise. Mostly ASCII text has zero in every other byte."""
    half = max(1, len(head) // 2)
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > half * _ZERO_SHARE and even < odd / 10:
        return "utf-16-le"
    if even > half * _ZERO_SHARE and odd < even / 10:
        return "utf-16-be"
    return None


def _refuse_control(name: str, head: bytes) -> None:
    zeros = head.count(0)
    odd = len(_CONTROL.findall(head)) + (zeros if zeros > head.count(b"\t") else 0)
    if odd > max(_FEW_CONTROL, len(head) * _MAX_CONTROL_SHARE):
        raise ExportError(
            f"{name}: this is a binary file, not an export",
            hint="Give a data script of SSMS, CSV or JSON.",
        )


def _lines_beyond_utf8(stream: BinaryIO) -> bytes | None:
    """Return ``None`` if the whole stream is UTF-8; else enough lines with non-ASCII bytes to guess the encoding."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while data := stream.read(_CHUNK):
            decoder.decode(data)
    except UnicodeDecodeError:
        stream.seek(0)
        return _strange_lines(stream)
    return None  # a character cut off at the end is reported by the reader


def _strange_lines(stream: BinaryIO) -> bytes:
    lines = io.BytesIO()
    while lines.tell() < _GUESS_BYTES and (line := stream.readline(_SAMPLE)):
        if not line.isascii():
            lines.write(line)
    return lines.getvalue()


def _code_page(sample: bytes, likely: str) -> str:
    if _reads_well(sample, likely):
        return likely
    from charset_normalizer import from_bytes

    pages = [*_PAGES_OF_ZONES, _WEST]
    best = from_bytes(sample, cp_isolation=pages, threshold=1.0).best()
    return best.encoding if best is not None else likely


def _reads_well(sample: bytes, page: str) -> bool:
    """Whether nearly all non-ASCII characters are letters when decoded with the code page."""
    try:
        strange = [letter for letter in sample.decode(page) if not letter.isascii()]
    except UnicodeDecodeError:
        return False
    return sum(letter.isalpha() for letter in strange) >= len(strange) * _PLAUSIBLE
