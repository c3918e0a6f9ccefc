"""Read exports for a source: rows of tables by the readers, other texts whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import ExportError, NoTableError, OptionError
from targcc_gen.readers.database import Wanted, is_address, read_database
from targcc_gen.readers.dates import EVERY_ORDER
from targcc_gen.readers.exports import ExportFile, read_exports
from targcc_gen.readers.rows import Item, KnownTables
from targcc_gen.readers.text import open_text
from targcc_gen.sources.model import ReadingOptions


def read_rows(
    exports: Sequence[str],
    tables: KnownTables,
    take: Callable[[Item], None],
    reading: ReadingOptions,
    *,
    procedures: str | None = None,
) -> list[ExportFile]:
    """Read rows of tables from files, folders or one database.

    Args:
        exports: Files and folders, or one database address.
        tables: The wanted tables.
        take: Called with each row and each remark.
        reading: The options.
        procedures: The table name for rows of stored procedures of a database; None to read no procedures.

    Raises:
        InputError: An export cannot be read.
    """
    if any(map(is_address, exports)):
        if len(exports) > 1:
            raise OptionError("give one database's address, or files: not several")
        orders = frozenset({reading.dates}) if reading.dates else EVERY_ORDER
        wanted = Wanted(tables, reading.zone, reading.schema, procedures, orders)
        return read_database(
            exports[0], wanted, take, seconds=reading.seconds, progress=reading.progress
        )
    paths = [Path(export) for export in exports]
    total = sum(path.stat().st_size for path in paths if path.is_file())
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        reading.progress(min(done, total), total)

    return read_exports(
        paths,
        tables,
        take,
        encoding=reading.encoding,
        zone=reading.zone.key,
        dates=reading.dates,
        progress=advance,
    )


# Texts that are not rows.


@dataclass(frozen=True, slots=True)
class Document:
    """A file that a source reads as a whole.

    Attributes:
        path: The file.
        text: The file's text.
        file: The record of the file; the source counts its entries.
    """

    path: Path
    text: str
    file: ExportFile


def read_documents(
    exports: Sequence[str], reading: ReadingOptions, kind: str, suffixes: Collection[str] = ()
) -> Iterator[Document]:
    """Yield the text of each file, and of each file below each folder, in order of names.

    Args:
        exports: Files and folders.
        reading: The options.
        kind: The kind of the files, for messages.
        suffixes: The suffixes of files that count inside a folder; empty for all files.

    Raises:
        InputError: A file cannot be read, or is no text.
    """
    paths = [path for export in exports for path in files_of(Path(export), suffixes)]
    for place, path in enumerate(paths):
        text = open_text(path, encoding=reading.encoding, zone=reading.zone.key)
        whole = "".join(text.chunks()).replace("\r\n", "\n")
        reading.progress(place + 1, len(paths))
        yield Document(path, whole, ExportFile(text.name, text.label, kind, text.size))


def files_of(path: Path, suffixes: Collection[str] = ()) -> list[Path]:
    """Return a file, or the files below a folder without hidden ones and backups.

    Raises:
        InputError: The folder has no such file.
    """
    if not path.is_dir():
        return [path]
    inside = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not file.name.startswith(".")
        and not file.name.endswith(("~", ".bak", ".dpkg-old", ".dpkg-dist"))
        and (not suffixes or file.suffix.lower() in suffixes)
    ]
    if not inside:
        expected = ", ".join(sorted(suffixes)) or "files"
        raise ExportError(f"{path}: no export in this folder", hint=f"Expected {expected}")
    return inside


def without_entries(files: Sequence[ExportFile], entry: str, hint: str) -> NoTableError:
    """Return the error for files that have no entry.

    Args:
        files: The files.
        entry: The name of an entry.
        hint: The way to get files with entries.
    """
    names = ", ".join(file.name for file in files)
    return NoTableError(f"no {entry} in {names}", hint=hint)
