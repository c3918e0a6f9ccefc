"""What the evidence needs of a job's old row."""

from __future__ import annotations

from datetime import datetime

from targcc_gen.readers import cells
from targcc_gen.sources.model import ImportedJob
from targcc_gen.sources.past import is_plausible


def kind_of(job: ImportedJob) -> str:
    """TARGCC 4's word for the kind of its schedule, in lower case; empty for a row with a cron text."""
    return (cells.text(job.row, "enmjobtype") or "").casefold()


def when_of(job: ImportedJob) -> datetime | None:
    """TARGCC 4's ``WhenToRun``: the day and hour that the kind of schedule reads."""
    return cells.readable(cells.moment, job.row, "whentorun")


def runner_of(job: ImportedJob) -> str:
    """The process that ran a job, in lower case; empty where the table names none: one for all."""
    return (cells.text(job.row, "lkpjobrunner") or "").casefold()


def last_run_of(job: ImportedJob) -> datetime | None:
    """When the row says that the job ran last."""
    last = job.old.last_run
    return last if last is not None and is_plausible(last) else None


def known_times(job: ImportedJob) -> list[datetime]:
    """The times in the row that lie on its schedule if the row is right.

    TARGCC 4 writes the end of a run into ``LastRunTime``, which lies on nothing.
    """
    ends = "lastruntime" in job.row.values
    known = [job.old.next_run, None if ends else last_run_of(job)]
    return [one for one in known if one is not None and is_plausible(one)]
