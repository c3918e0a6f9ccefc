"""Read export files: choose each file's reader and pick the rows of wanted tables."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from targcc_gen.errors import ExportError, InputError, NoTableError
from targcc_gen.readers.dates import EVERY_ORDER, orders_of, usual_order
from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Routine, Row
from targcc_gen.readers.text import TextFile, open_text

# Survey a file: the order of its dates, and the columns that its format omits when NULL.

_NAMES = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}


class Survey:
    """Facts from all rows of a file: date orders and columns.

    Args:
        items: The file's items.
        tables: The wanted tables.

    Attributes:
        orders: The possible orders of the file's dates.
        remarks: Remarks about the choice of orders.
    """

    def __init__(self, items: Iterable[Item], tables: KnownTables) -> None:
        self.orders = EVERY_ORDER
        self.remarks: list[Remark] = []
        self._columns: dict[str, dict[str, None]] = defaultdict(dict)
        witnesses: dict[tuple[frozenset[str], str | None], tuple[Row, str]] = {}
        for item in items:
            if isinstance(item, Row):
                if item.table in tables:
                    self._columns[item.table].update(dict.fromkeys(item.values))
                for text, orders in _dates(item, tables):
                    witnesses.setdefault((orders, usual_order(text)), (item, text))
        if witnesses:
            self._settle(witnesses)

    def filled(self, row: Row) -> Row:
        """Return a sparse row with NULL in each column that another row of the table has."""
        missing = dict.fromkeys(self._columns[row.table].keys() - row.values.keys())
        return row._replace(values={**row.values, **missing}, is_sparse=True)

    def _settle(self, witnesses: dict[tuple[frozenset[str], str | None], tuple[Row, str]]) -> None:
        """Set the orders that all dates allow; if no order fits all, keep every order. Add a remark on the choice."""
        common = EVERY_ORDER.intersection(*(orders for orders, _ in witnesses))
        self.orders = common or EVERY_ORDER
        clearest = sorted(witnesses, key=lambda key: (len(key[0]), sorted(key[0]), key[1] or ""))
        row, text = witnesses[clearest[0]]
        if not common:
            apart = (key for key in clearest if not key[0] & clearest[0][0])
            other = next(apart, clearest[-1])
            against, different = witnesses[other]
            proof = f'"{text}" in line {row.line} and "{different}" in line {against.line}'
            self._warn(row, f"its dates have several orders: {proof}")
        elif len(common) == 1:
            (order,) = common
            self._warn(
                row, f'its dates are read as {_NAMES[order]}, as "{text}" in line {row.line} shows'
            )
        elif by_form := next(filter(lambda item: usual_order(item[1]), witnesses.values()), None):
            row, text = by_form
            names = _NAMES[usual_order(text) or ""]
            self._warn(
                row,
                f'"{text}" in line {row.line} is read as {names}, by its form; --dates overrules',
            )

    def _warn(self, row: Row, text: str) -> None:
        self.remarks.append(Remark(RemarkKind.WARNING, row.file, 0, text))


def surveyed(
    first: Callable[[], Iterable[Item]],
    again: Callable[[], Iterable[Item]],
    tables: KnownTables,
    *,
    sparse: bool,
    orders: frozenset[str] | None,
) -> Iterator[Item]:
    """Yield the items of a file; rows get the file's date orders and, for a sparse format, all columns.

    The file is read a second time only for a sparse format or an ambiguous date.

    Args:
        first: Reads the file.
        again: Reads the file a second time.
        tables: The wanted tables.
        sparse: Whether the format omits NULLs.
        orders: The date orders from the command line; ``None``: the file decides.
    """
    survey = Survey(again(), tables) if sparse else None
    if survey is not None and orders is None:
        yield from survey.remarks
    for item in first():
        if not isinstance(item, Row):
            yield item
            continue
        row = item if survey is None or not sparse else survey.filled(item)
        if orders is None and survey is None and any(len(o) > 1 for _, o in _dates(row, tables)):
            survey = Survey(again(), tables)
            yield from survey.remarks
        chosen = orders or (survey.orders if survey is not None else EVERY_ORDER)
        yield row if chosen == EVERY_ORDER else row._replace(orders=chosen)


def _dates(row: Row, tables: KnownTables) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each text of a row that depends on the date order, with the possible orders."""
    for name in tables.dates & row.values.keys():
        value = row.values[name]
        if isinstance(value, str) and (orders := orders_of(value)) is not None:
            yield value, orders


# Files.

_EXCEL = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}
_SUFFIXES = {".sql", ".csv", ".tsv", ".txt", ".dat", ".rpt", ".json", ".jsonl", ".xml", *_EXCEL}
_SQL = re.compile(
    r"^\s*(?:INSERT|USE|SET|GO|CREATE|ALTER|DECLARE|BEGIN|IF|PRINT|EXEC|MERGE|UPDATE|DELETE|TRUNCATE|:setvar|/\*|--)\b"
    r"|/\*|--",
    re.IGNORECASE,
)
_INSERT = re.compile(r"\bINSERT\s+(?:INTO\s+)?[\[\w]", re.IGNORECASE)
_HEAD = 1 << 16
_SPARSE = {"JSON", "XML"}
"""Formats that omit NULLs, as ``FOR JSON`` and ``FOR XML`` do."""

Progress = Callable[[int], None]
"""Called while reading with the number of bytes read since the last call."""

_Items = Callable[[Progress | None], Iterator[Item]]
"""Reads a file from its beginning."""


@dataclass(slots=True)
class ExportFile:
    """A file that was read.

    ``counts`` has the rows of each wanted table, readable or not; ``others`` has the rows of each other table.
    """

    name: str
    encoding: str
    kind: str
    size: int
    counts: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)


def read_exports(
    paths: Sequence[Path],
    tables: KnownTables,
    take: Callable[[Item], None],
    *,
    encoding: str | None = None,
    zone: str = "",
    dates: str | None = None,
    progress: Progress | None = None,
) -> list[ExportFile]:
    """Read files, and the files of folders, in order.

    Args:
        paths: The files and folders.
        tables: The wanted tables.
        take: Called with each row of a wanted table, and each remark about a wanted table or no table, in file order.
        encoding: The files' encoding; ``None`` to detect.
        zone: The old server's time zone; its region suggests a code page.
        dates: The order of ambiguous dates, ``dmy``, ``mdy`` or ``ymd``; ``None``: each file decides.
        progress: Called while reading.

    Raises:
        InputError: A file is empty, binary or cut off, or no file has a row of the main table.
    """
    files = []
    orders = frozenset({dates}) if dates else None
    for path in _paths(paths):
        file, items = _open(path, tables, encoding, zone)
        files.append(file)
        sparse = file.kind in _SPARSE
        first, again = partial(items, progress), partial(items, None)
        for item in surveyed(first, again, tables, sparse=sparse, orders=orders):
            if _counted(item, file, tables):
                take(item)
    if not sum(file.counts[tables.main] for file in files):
        raise _no_rows(files, tables)
    return files


def _paths(paths: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        inside = (
            sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
            if path.is_dir()
            else [path]
        )
        if not inside:
            raise ExportError(
                f"{path}: no export in this folder", hint="Expected .sql, .csv, .json, …"
            )
        for file in inside:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _no_rows(files: Sequence[ExportFile], tables: KnownTables) -> InputError:
    names = ", ".join(file.name for file in files)
    counts = sum((file.counts + file.others for file in files), Counter[str]())
    what = ", ".join(
        f"{count:,} of {tables.names.get(table, table)}" for table, count in counts.items()
    )
    return NoTableError(
        f"no row of {tables.main_shown} in {names}" + (f" (there are {what})" if what else ""),
        hint='In SSMS: Tasks, Generate Scripts, Advanced, "Types of data to script": Data only.',
    )


def _counted(item: Item, file: ExportFile, tables: KnownTables) -> bool:
    """Count a row, readable or not; return whether the caller wants the item."""
    if isinstance(item, Routine):
        return True
    known = item.table in tables
    if isinstance(item, Row):
        (file.counts if known else file.others)[item.table] += 1
        return known
    if known and item.kind is RemarkKind.UNREADABLE:
        file.counts[item.table] += 1
    return known or not item.table


def _open(
    path: Path, tables: KnownTables, encoding: str | None, zone: str
) -> tuple[ExportFile, _Items]:
    """Return a file, and a function that reads its items anew at each call."""
    if path.suffix.lower() in _EXCEL:
        from targcc_gen.readers.excel import read_excel

        rows = list(read_excel(path, tables))
        size = path.stat().st_size
        return ExportFile(str(path), "workbook", "Excel", size), lambda _: iter(rows)
    text = open_text(path, encoding=encoding, zone=zone)
    head = next(text.chunks(), "")[:_HEAD]
    kind = _kind(head, text.path.suffix.lower())
    file = ExportFile(text.name, text.label, kind, text.size)
    return file, lambda progress: _with_doubt(text, _items(kind, text, tables, progress))


def _with_doubt(text: TextFile, items: Iterator[Item]) -> Iterator[Item]:
    if text.guessed:
        doubt = f"read as {text.label}, the likeliest; --encoding says otherwise"
        yield Remark(RemarkKind.WARNING, text.name, 0, doubt)
    yield from items


def _items(
    kind: str, text: TextFile, tables: KnownTables, advance: Progress | None
) -> Iterator[Item]:
    if kind == "JSON":
        from targcc_gen.readers.json import read_json

        return read_json("".join(text.chunks(advance)), text.name, tables)
    if kind == "XML":
        from targcc_gen.readers.xml import read_xml

        return read_xml("".join(text.chunks(advance)), text.name, tables)
    if kind == "CSV":
        from targcc_gen.readers.csv import read_csv

        return read_csv(text.chunks(advance), text.name, tables)
    from targcc_gen.readers.tsql.script import read_tsql

    return read_tsql(text.chunks(advance), text.name, tables)


def _kind(head: str, suffix: str) -> str:
    """Return the kind of a file, for messages and to choose the reader, by its beginning and suffix."""
    start = head.lstrip()
    marked = start.startswith("{") or start.lstrip('"').startswith("JSON_F52E2B61")
    if suffix in {".json", ".jsonl"} or marked:
        return "JSON"
    if suffix == ".xml" or start.startswith(("<", "XML_F52E2B61")):
        return "XML"
    if suffix == ".sql" or (_INSERT.search(head) and _SQL.search(head)):
        return "SSMS script" if "Script Date:" in head or "INSERT [" in head else "SQL script"
    return "JSON" if start.startswith("[") else "CSV"
