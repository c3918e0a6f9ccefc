"""Read rows of ``FOR XML RAW`` or ``AUTO``, with attributes or ELEMENTS, with or without a root element."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from xml.parsers import expat

from targcc_gen.errors import ExportError
from targcc_gen.readers.rows import Item, KnownTables, Row, Value

_FOR_XML = re.compile(r"\s*XML_F52E2B61-[0-9A-Fa-f-]+[ \t]*\r?\n(?:-+[ \t]*\r?\n)?")
_FOOTER = re.compile(r"\s*\(\d+ [^()]*\)\s*\Z")
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_NIL = "xsi:nil"
"""The attribute by which ``ELEMENTS XSINIL`` marks NULL."""
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def read_xml(text: str, file: str, tables: KnownTables) -> Iterator[Item]:
    """Return an iterator of the text's rows.

    Args:
        text: The whole file's text.
        file: The file's name, for places and to tell the table.
        tables: The wanted tables; other elements are not rows.

    Raises:
        InputError: The text is not XML (with the line), is cut off, or has a DOCTYPE.
    """
    chunked = _FOR_XML.match(text)
    if chunked:
        text = _FOOTER.sub("", text[chunked.end() :])
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ExportError(f"{file}: a DOCTYPE has no place in an export")
    reader = _Reader(file, tables)
    body = _DECLARATION.sub("", text, count=1)
    try:
        reader.parser.Parse(f"<export>{body}</export>", True)  # noqa: FBT003 - expat's own
    except expat.ExpatError as error:
        raise ExportError(
            f"{file}:{error.lineno}: not XML: {expat.ErrorString(error.code)}",
            hint="If the export is cut off, copy or export it again.",
        ) from None
    return iter(reader.rows)


class _Reader:
    """Collects elements that have attributes, or that hold elements with text."""

    def __init__(self, file: str, tables: KnownTables) -> None:
        self.rows: list[Item] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self._file = file
        self._tables = tables
        self._open: list[tuple[str, dict[str, Value], int]] = []
        self._text: list[str] = []
        self._leaf = False
        self._nil = False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        values: dict[str, Value] = {
            _name(key): value
            for key, value in attributes.items()
            if key != _NIL and not key.startswith("xmlns")
        }
        self._nil = attributes.get(_NIL) in {"true", "1"}
        self._open.append((name, values, self.parser.CurrentLineNumber))
        self._text.clear()
        self._leaf = True

    def _data(self, data: str) -> None:
        self._text.append(data)

    def _end(self, name: str) -> None:
        _, values, line = self._open.pop()
        if self._leaf and not values and self._open:
            self._open[-1][1][_name(name)] = None if self._nil else "".join(self._text)
        elif values:
            self._row(name, values, line)
        self._leaf = False

    def _row(self, name: str, values: dict[str, Value], line: int) -> None:
        named = _name(name).rpartition(".")[2]
        known = named in self._tables
        table = named if known else self._tables.table_of([*values], PurePath(self._file).name)
        if table is not None:
            self.rows.append(Row(table, values, self._file, line))


def _name(name: str) -> str:
    """Return a column's name in lower case; XML escapes a blank as ``_x0020_``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name).lower()
