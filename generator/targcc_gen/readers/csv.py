"""Rows of delimited text: CSV with a header, the grid SSMS saves without one, ``bcp -c`` and ``-w``, ``sqlcmd -s``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import PurePath

from targcc_gen.errors import InputError
from targcc_gen.readers.row_repair import Aligner
from targcc_gen.readers.rows import Item, Remark, RemarkKind, Row, Value
from targcc_gen.readers.tsql.scanner import Truncated
from targcc_gen.sources.c_job.tables import JOB, headerless_shapes, table_of

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 200
_MIN_HEADER_NAMES = 2
_DASHES = re.compile(r"[-\s,;|]*-[-\s,;|]*")
# "(3 rows affected)" in any of SQL Server's languages: a line of its own in parentheses, with a number.
_FOOTER = re.compile(r"\s*\(\d+ [^()]*\)\s*")
_COLUMN_NAME = re.compile(r"[\w ]{1,60}")
_MAX_FIELD = 1 << 24


def read_csv(chunks: Iterator[str], file: str) -> Iterator[Item]:
    """Every row, and a remark for each that cannot be read in exactly one way.

    Args:
        chunks: The text in pieces.
        file: The file's name, for places and to find out which table it holds.

    Raises:
        InputError: Neither a header nor the values tell which table this is.
        Truncated: The file ends inside quotes.
    """
    lines = _lines(chunks)
    sample = list(islice(lines, _SAMPLE_LINES))
    every = chain(sample, lines)
    header = _header(sample)
    if header is None:
        return _headerless(sample, every, file)
    columns, delimiter = header
    table = table_of(columns, PurePath(file).name)
    if table is None:
        raise InputError(
            f"{file}:1: the columns {', '.join(columns[:6])} are of no table this import knows",
            hint="Export c_Job, c_JobAlertRecipient, c_LoggedJob or c_User.",
        )
    next(every)
    if len(sample) > 1 and _DASHES.fullmatch(sample[1]):
        next(every)
        return _aligned(every, file, table, Aligner(columns, delimiter), first_line=3, padded=True)
    if any('"' in line for line in sample):
        return _quoted(every, file, table, columns, delimiter)
    return _aligned(every, file, table, Aligner(columns, delimiter), first_line=2)


def _lines(chunks: Iterator[str]) -> Iterator[str]:
    """Lines by ``\\n`` alone, with their ends: letters such as U+2028 end no line here."""
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield line + "\n"
    if rest:
        yield rest


def _header(sample: Sequence[str]) -> tuple[list[str], str] | None:
    """The column names and the delimiter, if the first line holds names that a known table has."""
    best: tuple[int, list[str], str] = (0, [], ",")
    for delimiter in _DELIMITERS:
        names = _names(sample[0] if sample else "", delimiter)
        known = sum(name in _known_names() for name in names)
        if known > best[0] and all(_COLUMN_NAME.fullmatch(name) for name in names if name):
            best = (known, names, delimiter)
    return best[1:] if best[0] >= _MIN_HEADER_NAMES else None


def _names(line: str, delimiter: str) -> list[str]:
    try:
        record = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a lone carriage return
        return []
    return [name.strip().strip("[]").lower() for name in record]


def _known_names() -> frozenset[str]:
    from targcc_gen.sources.c_job.fields import EVERY_NAME

    return EVERY_NAME


def _quoted(
    lines: Iterable[str], file: str, table: str, columns: list[str], delimiter: str
) -> Iterator[Item]:
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    aligner = Aligner(columns, delimiter)
    line = 2
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise Truncated(file, line, "a quoted value") from None
            yield Remark(RemarkKind.UNREADABLE, file, line, f"not CSV: {error}", table)
        else:
            yield from _record(record, file, line, table, aligner)
        line = reader.line_num + 2


def _record(
    record: list[str], file: str, line: int, table: str, aligner: Aligner
) -> Iterator[Item]:
    if not record or _is_footer(aligner.delimiter.join(record)):
        return
    if len(record) == len(aligner.columns):
        yield _row(record, file, line, table, aligner)
        return
    yield _only_reading(aligner.delimiter.join(record), file, line, table, aligner)


def _headerless(sample: Sequence[str], lines: Iterable[str], file: str) -> Iterator[Item]:
    found = _best_shape(sample, file)
    if found is None:
        raise InputError(
            f"{file}:1: no header, and the values are of no table this import knows",
            hint="Save the grid with column headers (Options, Query Results, SQL Server, Results to Grid).",
        )
    table, aligner = found
    if any(line.startswith('"') or aligner.delimiter + '"' in line for line in sample):
        return _quoted_headerless(lines, file, table, aligner)
    return _aligned(lines, file, table, aligner, first_line=1)


def _quoted_headerless(
    lines: Iterable[str], file: str, table: str, aligner: Aligner
) -> Iterator[Item]:
    for item in _quoted(lines, file, table, aligner.columns, aligner.delimiter):
        # _quoted counts a header line that is not here.
        yield item._replace(line=item.line - 1)


def _best_shape(sample: Sequence[str], file: str) -> tuple[str, Aligner] | None:
    """The shape and delimiter that read the most rows of the sample; a file's name that names a table decides first."""
    named = table_of([], PurePath(file).name)
    best: tuple[int, str, Aligner] | None = None
    for table, columns in headerless_shapes():
        if named not in {None, table, JOB}:
            continue
        for delimiter in _DELIMITERS:
            aligner = Aligner(columns, delimiter)
            groups = _groups(sample, aligner, first_line=1)
            hits = sum(bool(aligner.readings(text)) for _, text in groups)
            if hits and (best is None or hits > best[0]):
                best = (hits, table, aligner)
    return best[1:] if best else None


def _aligned(
    lines: Iterable[str],
    file: str,
    table: str,
    aligner: Aligner,
    *,
    first_line: int,
    padded: bool = False,
) -> Iterator[Item]:
    for line, text in _groups(lines, aligner, first_line=first_line):
        if text.strip():
            item = _only_reading(text, file, line, table, aligner)
            yield _unpadded(item) if padded else item


def _unpadded(item: Item) -> Item:
    if isinstance(item, Remark):
        return item
    values = {
        key: value.strip() if isinstance(value, str) else value
        for key, value in item.values.items()
    }
    return item._replace(values={key: _value(str(v or "NULL")) for key, v in values.items()})


def _groups(
    lines: Iterable[str], aligner: Aligner, *, first_line: int
) -> Iterator[tuple[int, str]]:
    """The lines that make a row each: a row ends where it can be read and the next line could begin another."""
    begun, pending = first_line, ""
    for number, line in enumerate(lines, start=first_line):
        if _is_footer(line) and (not pending or aligner.readings(_bare(pending))):
            continue
        if not pending.strip():
            begun, pending = number, line
        elif aligner.starts_row(line) and (
            aligner.readings(_bare(pending)) or aligner.readings(_bare(line))
        ):
            yield begun, _bare(pending)
            begun, pending = number, line
        else:
            pending += line
    if pending:
        yield begun, _bare(pending)


def _bare(text: str) -> str:
    return text.rstrip("\r\n")


def _is_footer(line: str) -> bool:
    return _FOOTER.fullmatch(line) is not None


def _only_reading(text: str, file: str, line: int, table: str, aligner: Aligner) -> Item:
    found = aligner.readings(text)
    if len(found) == 1:
        return _row(found[0], file, line, table, aligner)
    if found:
        differing = next(
            index for index, pair in enumerate(zip(*found, strict=True)) if pair[0] != pair[1]
        )
        name = aligner.columns[differing]
        reason = (
            f"can be read in two ways: {name} is {found[0][differing]!r} or {found[1][differing]!r}"
        )
    else:
        count = text.count(aligner.delimiter) + 1
        reason = f"{count} values for {len(aligner.columns)} columns, and no way to fit them"
    return Remark(RemarkKind.UNREADABLE, file, line, reason, table)


def _row(record: Sequence[str], file: str, line: int, table: str, aligner: Aligner) -> Row:
    values = {name: _value(text) for name, text in zip(aligner.columns, record, strict=True)}
    return Row(table, values, file, line)


def _value(text: str) -> Value:
    """``NULL`` and nothing are NULL; bcp writes 0x00 for a string without letters."""
    if text in {"NULL", ""}:
        return None
    return "" if text == "\x00" else text
