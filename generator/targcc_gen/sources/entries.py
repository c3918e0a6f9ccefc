"""A source whose files have entries instead of rows: crontabs, task files, unit files, manifests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from targcc_gen.readers.database import is_address
from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, KnownTables, Remark, Row
from targcc_gen.sources.drafts import Draft, Naming, Refused
from targcc_gen.sources.model import (
    SECOND,
    Import,
    ImportedJob,
    NoRuns,
    Options,
    ReadingOptions,
    Rejection,
    Switch,
    Warnings,
)
from targcc_gen.sources.reading import Document, read_documents, read_rows, without_entries
from targcc_gen.spec import Param, Spec


class Entry(Protocol):
    """An entry of a file."""

    @property
    def row(self) -> Row:
        """The entry as a row, with its file and line."""

    @property
    def name(self) -> str:
        """The name of the job."""


E = TypeVar("E", bound=Entry)


class EntrySource(ABC, Generic[E]):
    """Convert the entries of files to jobs.

    Attributes:
        tables: A table for the entries, for counts and reports.
        suffixes: The suffixes of files that count inside a folder; empty for all files.
        entry: The name of an entry, for the error about files without one; default: the usual spelling of the main table.
        hint: How to get such files, for the error about files without an entry.
        questions: Questions to the owner.
        advice: Settings that were kept from the old server.
        model: The rules of the old scheduler by which ``starts`` simulates it, and their source.
    """

    tables: KnownTables
    suffixes: tuple[str, ...] = ()
    entry: str = ""
    hint: str
    questions: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    model: str

    def __init__(self, _spool: Path | None = None) -> None:
        self._entries: list[E | Rejection] = []
        self.warnings = Warnings()

    @abstractmethod
    def entries(self, documents: Sequence[Document]) -> Iterable[E | Rejection]:
        """Return the entries of all files, and a rejection for each part that cannot be read."""

    @abstractmethod
    def drafts(self, entry: E, options: Options) -> Iterable[Draft]:
        """Return the jobs of an entry.

        Raises:
            Refused: The entry can be no job.
        """

    @abstractmethod
    def starts(
        self, entry: E, zone: ZoneInfo, start: datetime, end: datetime
    ) -> Iterable[datetime] | None:
        """Return the aware instants in ``[start, end)`` at which the old scheduler starts an entry; None if they depend on other runs.

        Args:
            entry: The entry.
            zone: The zone of the old scheduler.
            start: An aware instant.
            end: An aware instant.
        """

    def switch(self, _entry: E) -> Switch | None:
        """Return how to stop an entry on the old scheduler; None if an editor does that."""
        return None

    def read(self, exports: Sequence[str], reading: ReadingOptions) -> list[ExportFile]:
        """Read files and folders; see ``LegacySource``."""
        documents = list(read_documents(exports, reading, self.tables.main_shown, self.suffixes))
        self._entries = list(self.entries(documents))
        files = [document.file for document in documents]
        for entry in self._entries:
            next(file for file in files if file.name == _file_of(entry)).counts[
                self.tables.main
            ] += 1
        if not self._entries:
            raise without_entries(files, self.entry or self.tables.main_shown, self.hint)
        return files

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Convert every entry; see ``LegacySource``."""
        entries: dict[str, E] = {}
        result = Import(
            self.tables,
            files,
            options,
            NoRuns(),
            self.warnings,
            questions=lambda _: list(self.questions),
            advice=lambda _: list(self.advice),
            simulation=_Simulated(self, options.zone, entries),
        )
        drafts: list[Draft] = []
        for entry in self._entries:
            if isinstance(entry, Rejection):
                result.rejected.append(entry)
                continue
            try:
                drafts += self.drafts(entry, options)
            except Refused as refused:
                row = entry.row
                result.rejected.append(Rejection(row.file, row.line, str(refused), entry.name))
                continue
            entries[entry.row.place] = entry
            if switch := self.switch(entry):
                result.switches[entry.row.place] = switch
        Naming(drafts, options, project, result).add_jobs()
        return result


class _Simulated(Generic[E]):
    """The ``Simulation`` of a source.

    Args:
        source: The source.
        zone: The zone of the old scheduler.
        entries: The entries that became jobs, by their places.
    """

    def __init__(self, source: EntrySource[E], zone: ZoneInfo, entries: Mapping[str, E]) -> None:
        self.model = source.model
        self._source = source
        self._zone = zone
        self._entries = entries

    def starts(self, job: ImportedJob, start: datetime, end: datetime) -> Iterable[datetime] | None:
        """Return the starts of the entry of a job; see ``EntrySource.starts``."""
        return self._source.starts(self._entries[job.row.place], self._zone, start, end)


def _file_of(entry: Entry | Rejection) -> str:
    return entry.file if isinstance(entry, Rejection) else entry.row.file


class RowEntrySource(EntrySource[E]):
    """Convert entries that are spread over rows of several tables: of a database, or of exports.

    Attributes:
        rows: The rows, by table.
    """

    def __init__(self, spool: Path | None = None) -> None:
        super().__init__(spool)
        self.rows: dict[str, list[Row]] = {table: [] for table in self.tables.names}

    @abstractmethod
    def entries_of_rows(self) -> Iterable[E | Rejection]:
        """Return the entries of all rows."""

    def entries(self, documents: Sequence[Document]) -> Iterable[E | Rejection]:
        """Return the entries of files that ``is_document`` names, such as code; by default no file has any."""
        return [Rejection(each.file.name, 1, "is no export of tables") for each in documents]

    def is_document(self, _path: Path) -> bool:
        """Return whether a file has entries itself, instead of rows."""
        return False

    def read(self, exports: Sequence[str], reading: ReadingOptions) -> list[ExportFile]:
        """Read exports of the tables, the database, or files with entries; see ``LegacySource``."""
        documents = [export for export in exports if not is_address(export) and self.is_document(Path(export))]  # fmt: skip
        others = [export for export in exports if export not in documents]
        files = super().read(documents, reading) if documents else []
        if others:
            rows_files = read_rows(others, self.tables, self._take, reading)
            entries = list(self.entries_of_rows())
            for file in rows_files:
                file.counts.clear()
                file.counts[self.tables.main] = sum(
                    _file_of(entry) == file.name for entry in entries
                )
            self._entries += entries
            files += rows_files
        if not self._entries:
            raise without_entries(files, self.entry or self.tables.main_shown, self.hint)
        return files

    def _take(self, item: Item) -> None:
        if isinstance(item, Row):
            self.rows[item.table].append(item)
        elif isinstance(item, Remark):
            self.warnings.add(item.place, item.text)


NOT_PORTED = 'its job fails with "not yet ported" until somebody writes it'
"""The end of a warning about work that does not come over."""


def text_param(text: str) -> str:
    """Write a default value of a text parameter, as a spec does."""
    return str(Param("str", text, required=False))


def numbered(name: str, identity: str, place: int) -> tuple[str, str]:
    """Return the name and the id of an entry's job by its place among the jobs of the entry, from 0."""
    if not place:
        return name, identity
    return f"{name} ({place + 1})", f"{identity}{place + 1 if place > 1 else ''}{SECOND}"
