"""All that the given files hold: rows by table, what was read from where, and what could not be read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Row
from targcc_gen.readers.text import Source, open_source
from targcc_gen.sources.c_job.history import History
from targcc_gen.sources.c_job.model import Warnings
from targcc_gen.sources.c_job.tables import JOB, LOGGED_JOB, RECIPIENT, TABLES, USER

_EXCEL = {".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"}
_SUFFIXES = {".sql", ".csv", ".tsv", ".txt", ".dat", ".rpt", ".json", ".jsonl", ".xml", *_EXCEL}
_SQL = re.compile(
    r"^\s*(?:INSERT|USE|SET|GO|CREATE|ALTER|DECLARE|BEGIN|IF|PRINT|EXEC|MERGE|UPDATE|DELETE|TRUNCATE|:setvar|/\*|--)\b"
    r"|/\*|--",
    re.IGNORECASE,
)
_INSERT = re.compile(r"\bINSERT\s+(?:INTO\s+)?[\[\w]", re.IGNORECASE)
_HEAD = 1 << 16

Progress = Callable[[int], None]
"""Called while reading with the number of bytes read since the last call."""


@dataclass(slots=True)
class ExportFile:
    """A file that was read.

    ``counts`` has the rows of each table that is imported, readable or not; ``others`` those of tables that are not.
    """

    name: str
    encoding: str
    kind: str
    size: int
    counts: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Inventory:
    """Everything the files hold; the history only as counts and a spool."""

    history: History
    files: list[ExportFile] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    recipients: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)
    unreadable: list[Remark] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)

    @property
    def job_rows(self) -> int:
        """Rows of ``c_Job``, readable or not."""
        return sum(file.counts[JOB] for file in self.files)


def read_exports(
    paths: Sequence[Path],
    *,
    encoding: str | None = None,
    zone: str = "",
    spool: Path | None = None,
    progress: Progress | None = None,
) -> Inventory:
    """Read files (and the files of folders) one after another.

    Args:
        paths: What was given.
        encoding: What the person says the files are encoded in.
        zone: The old server's time zone: its region tells which code page is likely.
        spool: Where the history may be kept; None: it is only counted.
        progress: Called while reading.

    Raises:
        InputError: A file is empty, binary or cut off, or none holds a row of ``c_Job``.
    """
    inventory = Inventory(History(spool))
    for path in _files(paths):
        _read_file(path, inventory, encoding=encoding, zone=zone, progress=progress)
    inventory.history.close()
    if not inventory.job_rows:
        raise _no_jobs(inventory)
    return inventory


def _files(paths: Sequence[Path]) -> Iterator[Path]:
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


def _no_jobs(inventory: Inventory) -> InputError:
    names = ", ".join(file.name for file in inventory.files)
    found = sum((file.counts + file.others for file in inventory.files), Counter[str]())
    what = ", ".join(f"{count:,} of {TABLES.get(table, table)}" for table, count in found.items())
    return InputError(
        f"no row of c_Job in {names}" + (f" (there are {what})" if what else ""),
        hint='In SSMS: Tasks, Generate Scripts, Advanced, "Types of data to script": Data only.',
    )


def _read_file(
    path: Path, inventory: Inventory, *, encoding: str | None, zone: str, progress: Progress | None
) -> None:
    file, items = _open(path, encoding, zone, progress)
    if file.encoding.startswith("?"):
        file.encoding = file.encoding[1:]
        text = f"read as {file.encoding}, the likeliest; --encoding says otherwise"
        inventory.warnings.add(file.name, text)
    inventory.files.append(file)
    for item in items:
        if isinstance(item, Row):
            _take_row(item, file, inventory)
        else:
            _take_remark(item, file, inventory)


def _take_row(row: Row, file: ExportFile, inventory: Inventory) -> None:
    if row.table not in TABLES:
        file.others[row.table] += 1
        return
    file.counts[row.table] += 1
    if row.table == LOGGED_JOB:
        inventory.history.add(row)
    else:
        {JOB: inventory.jobs, RECIPIENT: inventory.recipients, USER: inventory.users}[
            row.table
        ].append(row)


def _take_remark(remark: Remark, file: ExportFile, inventory: Inventory) -> None:
    if remark.kind is RemarkKind.UNREADABLE and remark.table == JOB:
        file.counts[JOB] += 1
        inventory.unreadable.append(remark)
        return
    if remark.kind is RemarkKind.UNREADABLE and remark.table in TABLES:
        file.counts[remark.table] += 1
        inventory.warnings.add(
            remark.place, f"a row of {TABLES[remark.table]} was left out: {remark.text}"
        )
    elif not remark.table or remark.table in TABLES:
        inventory.warnings.add(remark.place, remark.text)


def _open(
    path: Path, encoding: str | None, zone: str, progress: Progress | None
) -> tuple[ExportFile, Iterator[Item]]:
    if path.suffix.lower() in _EXCEL:
        from targcc_gen.readers.excel import read_excel

        items = read_excel(path)
        return ExportFile(str(path), "workbook", "Excel", path.stat().st_size), items
    source = open_source(path, encoding=encoding, zone=zone)

    kind, items = _reader(source, progress)
    label = ("?" if source.guessed else "") + source.label
    return ExportFile(source.name, label, kind, source.size), items


def _reader(source: Source, advance: Progress | None) -> tuple[str, Iterator[Item]]:
    head = next(source.chunks(), "")[:_HEAD]
    suffix = source.path.suffix.lower()
    start = head.lstrip()[:40]
    if (
        suffix in {".json", ".jsonl"}
        or start.startswith("{")
        or start.lstrip('"').startswith("JSON_F52E2B61")
    ):
        from targcc_gen.readers.json import read_json

        return "JSON", read_json("".join(source.chunks(advance)), source.name)
    if suffix == ".xml" or start.startswith(("<", "XML_F52E2B61")):
        from targcc_gen.readers.xml import read_xml

        return "XML", read_xml("".join(source.chunks(advance)), source.name)
    if suffix == ".sql" or (_INSERT.search(head) and _SQL.search(head)):
        from targcc_gen.readers.tsql.script import read_tsql

        kind = "SSMS script" if "Script Date:" in head or "INSERT [" in head else "SQL script"
        return kind, read_tsql(source.chunks(advance), source.name)
    if start.startswith("["):
        from targcc_gen.readers.json import read_json

        return "JSON", read_json("".join(source.chunks(advance)), source.name)
    from targcc_gen.readers.csv import read_csv

    return "CSV", read_csv(source.chunks(advance), source.name)
