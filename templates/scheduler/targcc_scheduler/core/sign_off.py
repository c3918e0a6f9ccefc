"""The list of decisions before a cut-over: a CSV file that the import writes, people sign, and ``targcc cutover start`` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

COLUMNS = ("Id", "Job", "Runner", "Question", "Decision", "By", "Date")
_DELIMITERS = ",;\t"
_GO = {"", "go", "yes", "y", "ok", "right", "approved", "כן"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that a spreadsheet takes for a formula."""


class SignOffError(ValueError):
    """The file has no column ``Id``, ``By`` or ``Date``."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A line of the list.

    Args:
        id: Identifies job, question and schedules: after a change of a schedule the line has another id.
        job: The job's name.
        runner: The old server's process that runs the job.
        question: The difference.
        decision: Filled by people: ``go``; empty counts as ``go``.
        by: Filled by people: the name of the person.
        on: Filled by people: the date.
    """

    id: str
    job: str
    runner: str
    question: str
    decision: str = ""
    by: str = ""
    on: str = ""

    @property
    def problem(self) -> str:
        """Why the line does not allow the switch; empty if it does."""
        if not any(map(str.isalnum, self.by)) or not any(map(str.isdigit, self.on)):
            return "nobody signed it" if not (self.by or self.on) else "By or Date is missing"
        if self.decision.strip().casefold().rstrip(".!") not in _GO:
            return f'{self.by} decided "{self.decision}"'
        return ""


def read_decisions(text: str) -> dict[str, Decision]:
    """Return the lines of a list by id. Commas, semicolons and tabs are read, whichever the header has.

    Raises:
        SignOffError: A needed column is missing.
    """
    lines = text.removeprefix("\ufeff").lstrip().splitlines(keepends=True)
    if lines and lines[0].casefold().startswith("sep="):
        lines = lines[1:]
    header = lines[0] if lines else ""
    delimiter = max(_DELIMITERS, key=header.count)
    rows = csv.reader(lines, delimiter=delimiter)
    names = [name.strip().casefold() for name in next(rows, [])]
    if missing := [name for name in ("Id", "By", "Date") if name.casefold() not in names]:
        raise SignOffError(f"it has no column {missing[0]}")
    decisions = {}
    for row in rows:
        values = dict(zip(names, map(str.strip, row), strict=False))
        cells = [values.get(name.casefold(), "") for name in COLUMNS]
        if cells[0]:
            decisions[cells[0]] = Decision(*cells)
    return decisions


def decisions_csv(decisions: Iterable[Decision]) -> str:
    """Return the list as CSV with commas, for a file in UTF-8 with a byte order mark, as spreadsheets want it."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for each in decisions:
        cells = (each.id, each.job, each.runner, each.question, each.decision, each.by, each.on)
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return stream.getvalue()
