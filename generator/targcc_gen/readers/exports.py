"""The files that were given, one after another: which reader each takes, what it holds of the tables that are looked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Routine, Row
from targcc_gen.readers.survey import surveyed
from targcc_gen.readers.tables import KnownTables
from targcc_gen.readers.text import TextFile, open_text

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
"""Formats that leave NULLs out, as ``FOR JSON`` and ``FOR XML`` do."""

Progress = Callable[[int], None]
"""Called while reading with the number of bytes read since the last call."""

_Items = Callable[[Progress | None], Iterator[Item]]
"""Reads a file from its beginning."""


@dataclass(slots=True)
class ExportFile:
    """A file that was read.

    ``counts`` has the rows of each table that is looked for, readable or not; ``others`` those of tables that are not.
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
    """Read files (and the files of folders) one after another.

    Args:
        paths: What was given.
        tables: What is looked for.
        take: Called with each row of these tables, and each remark about them or about none, in the order of the files.
        encoding: What the person says the files are encoded in.
        zone: The old server's time zone: its region tells which code page is likely.
        dates: The order of dates that can be read in several ways, ``dmy``, ``mdy`` or ``ymd``; ``None``: each file has to tell.
        progress: Called while reading.

    Raises:
        InputError: A file is empty, binary or cut off, or none holds a row of the main table.
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
            raise InputError(
                f"{path}: no export in this folder", hint="Expected .sql, .csv, .json, …"
            )
        for file in inside:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _no_rows(files: Sequence[ExportFile], tables: KnownTables) -> InputError:
    names = ", ".join(file.name for file in files)
    found = sum((file.counts + file.others for file in files), Counter[str]())
    what = ", ".join(
        f"{count:,} of {tables.names.get(table, table)}" for table, count in found.items()
    )
    return InputError(
        f"no row of {tables.main_shown} in {names}" + (f" (there are {what})" if what else ""),
        hint='In SSMS: Tasks, Generate Scripts, Advanced, "Types of data to script": Data only.',
    )


def _counted(item: Item, file: ExportFile, tables: KnownTables) -> bool:
    """Count a row, readable or not; whether it concerns the caller."""
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
    """A file, and what gives its items as often as it is called."""
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
    """What a file is, for people, by its beginning and its name's ending."""
    start = head.lstrip()[:40]
    marked = start.startswith("{") or start.lstrip('"').startswith("JSON_F52E2B61")
    if suffix in {".json", ".jsonl"} or marked:
        return "JSON"
    if suffix == ".xml" or start.startswith(("<", "XML_F52E2B61")):
        return "XML"
    if suffix == ".sql" or (_INSERT.search(head) and _SQL.search(head)):
        return "SSMS script" if "Script Date:" in head or "INSERT [" in head else "SQL script"
    return "JSON" if start.startswith("[") else "CSV"
