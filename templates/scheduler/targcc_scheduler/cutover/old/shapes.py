"""The two families of old tables, as far as a cut-over reads and writes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...core.errors import CutoverError


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a family of ``c_Job`` by what they mean.

    Args:
        word: What the family is called.
        name: The job's name or code.
        runner: Which process of the old server runs it; empty: there is one.
        active: Whether it runs.
        next_run: When it runs next.
        last_run: When it ran last: the start while it runs, then the end.
        status: What became of its last run.
        running: What ``status`` holds while it runs.
        mark: Where it is noted who switched the row off.
        also: Further conditions for a row that is there.
        stamps: Columns that get the time of a change.
    """

    word: str
    name: str
    runner: str
    active: str
    next_run: str
    last_run: str
    status: str
    running: tuple[str, ...]
    mark: str
    also: str = ""
    stamps: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a table has to have."""
        return ("ID", self.name, self.active, self.next_run, self.last_run, self.status, self.mark)


CLASSIC = Shape(
    word="classic",
    name="lkpJob",
    runner="lkpJobRunner",
    active="Active",
    next_run="NextRunTime",
    last_run="LastRunTime",
    status="enmJobStatus",
    running=("InProcess",),
    mark="ChangedBy",
    also="DeletedOn IS NULL",
    stamps=("ChangedOn",),
)
"""TARGCC 4."""

CRON = Shape(
    word="cron",
    name="JobName",
    runner="",
    active="IsActive",
    next_run="NextRun",
    last_run="LastRun",
    status="LastResult",
    running=("InProcess", "Running"),
    mark="LastResult",
)
"""A cron text and a procedure in each row. No column is for marks: ``LastResult`` gets one, until the job runs there again."""


def shape_of(columns: Collection[str], table: str) -> Shape:
    """The family of a table, by its columns.

    Raises:
        CutoverError: it is of neither, or a column is missing.
    """
    found = {column.lower() for column in columns}
    shape = CLASSIC if "lkpjob" in found else CRON
    missing = [name for name in shape.needed if name.lower() not in found]
    if missing:
        raise CutoverError(f"{table} has no column {missing[0]}: is it the old table of jobs?")
    return shape
