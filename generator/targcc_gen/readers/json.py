"""Read rows of JSON: an array, tables by name, one row a line, or ``FOR JSON`` split into lines of 2,033 characters."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from pathlib import PurePath
from typing import Any

from targcc_gen.errors import ExportError, InputError
from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Row, Value

_FOR_JSON = re.compile(r"\s*\"?JSON_F52E2B61-[0-9A-Fa-f-]+\"?[ \t]*\r?\n(?:-+[ \t]*\r?\n)?")
_FOOTER = re.compile(r"\s*\(\d+ [^()]*\)\s*\Z")
_BLANK = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()


def read_json(text: str, file: str, tables: KnownTables) -> Iterator[Item]:
    """Yield every row of the text.

    Args:
        text: The whole file's text.
        file: The file's name, for places and to tell the table.
        tables: The wanted tables.

    Raises:
        InputError: The text is not JSON (with line and column), or is cut off.
    """
    chunked = _FOR_JSON.match(text)
    if chunked:
        text = _FOOTER.sub("", text[chunked.end() :]).replace("\r", "").replace("\n", "")
    return _Walk(text, file, tables, one_line=bool(chunked)).items()


class _Walk:
    """Decodes the text value by value, so that each row keeps its line."""

    def __init__(self, text: str, file: str, known: KnownTables, *, one_line: bool) -> None:
        self._text = text
        self._file = file
        self._known = known
        self._one_line = one_line
        self._line, self._counted = 1, 0

    def items(self) -> Iterator[Item]:
        at = self._skip(0)
        if self._text.startswith("[", at):
            yield from self._array(at, None)
        elif self._text.startswith("{", at):
            yield from self._objects(at)
        else:
            raise self._wrong(at, "neither an array nor an object")

    def _objects(self, at: int) -> Iterator[Item]:
        """Yield the rows of ``{"c_Job": […], …}``, or of consecutive objects."""
        value, end = self._decode(at)
        tables = {key: rows for key, rows in value.items() if isinstance(rows, list)}
        if tables and all(self._table_named(key) or len(value) == 1 for key in tables):
            yield from self._tables(at)
            return
        while True:
            yield from self._row(value, at, None)
            at = self._skip(end)
            if at >= len(self._text):
                return
            value, end = self._decode(at)

    def _tables(self, at: int) -> Iterator[Item]:
        at = self._skip(at + 1)
        while not self._text.startswith("}", at):
            key, at = self._decode(at)
            at = self._skip(at)
            at = self._skip(at + 1)  # the colon; present, since the object has been decoded before
            if self._text.startswith("[", at):
                at = yield from self._array(at, self._table_named(str(key)))
            else:
                _, at = self._decode(at)
            at = self._skip(at)

    def _array(self, at: int, table: str | None) -> Generator[Item, None, int]:
        """Yield the rows of an array; return the position after the array."""
        at = self._skip(at + 1)
        while not self._text.startswith("]", at):
            value, end = self._decode(at)
            yield from self._row(value, at, table)
            at = self._skip(end)
        return at + 1

    def _row(self, value: Any, at: int, table: str | None) -> Iterator[Item]:
        line = self._line_of(at)
        if not isinstance(value, dict):
            yield Remark(RemarkKind.UNREADABLE, self._file, line, "not an object", table or "")
            return
        columns = {str(key).lower(): cell for key, cell in value.items()}
        nested = {key: rows for key, rows in columns.items() if isinstance(rows, list)}
        values = {key: _value(cell) for key, cell in columns.items() if key not in nested}
        name = table or self._known.table_of(list(values), PurePath(self._file).name)
        if name is None:
            text = f"its columns ({', '.join(list(values)[:5])}) are of no table this import knows"
            yield Remark(RemarkKind.UNREADABLE, self._file, line, text)
            return
        yield Row(name, values, self._file, line)
        for key, rows in nested.items():
            yield from self._nested(key, rows, values, line)

    def _nested(
        self, key: str, rows: list[Any], parent: dict[str, Value], line: int
    ) -> Iterator[Item]:
        """Yield the rows of a joined table inside a row, as ``FOR JSON AUTO`` writes joins."""
        table = self._table_named(key) or self._known.nested
        if not table:
            text = f"its list {key} is of no table this import knows"
            yield Remark(RemarkKind.WARNING, self._file, line, text)
            return
        for row in rows:
            if isinstance(row, dict):
                values = {str(name).lower(): _value(cell) for name, cell in row.items()}
                yield Row(
                    table,
                    {self._known.link: parent.get(self._known.identity), **values},
                    self._file,
                    line,
                )

    def _table_named(self, key: str) -> str | None:
        name = key.lower().rpartition(".")[2].strip("[]")
        return name if name in self._known else None

    def _decode(self, at: int) -> tuple[Any, int]:
        try:
            return _DECODER.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            raise self._wrong(error.pos, error.msg) from None
        except ValueError:
            raise self._wrong(at, "a number of more digits than any database has") from None
        except RecursionError:
            raise self._wrong(at, "nested too deeply") from None

    def _skip(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        return match.end() if match else at

    def _line_of(self, at: int) -> int:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = max(at, self._counted)
        return self._line

    def _wrong(self, at: int, what: str) -> InputError:
        if at >= len(self._text.rstrip()) - 1:
            return ExportError(
                f"{self._file}: the JSON stops before its end",
                hint="The export is cut off: copy or export it again.",
            )
        line = 1 if self._one_line else self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return ExportError(f"{self._file}:{line}:{column}: not JSON: {what}")


def _value(cell: Any) -> Value:
    if isinstance(cell, bool):
        return int(cell)
    if cell is None or isinstance(cell, str | int | float):
        return cell
    return json.dumps(cell, ensure_ascii=False)
