"""What becomes of an old scheduler's rows, whichever scheduler it was: jobs, rejections, warnings, past runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Row
from targcc_gen.readers.tables import KnownTables
from targcc_gen.spec import JobSpec

_FIRST_PLACES = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What the person decided.

    Attributes:
        zone: The old server's zone.
        now: The instant to measure "still to come" against; aware.
        dialect: How the old server read cron texts.
        alert_email: Addresses for jobs whose recipients are not in the export.
        procedures: A stored procedure for each code of a classic export, codes in lower case.
    """

    zone: ZoneInfo
    now: datetime
    dialect: str = "cronos"
    alert_email: tuple[str, ...] = ()
    procedures: Mapping[str, str] = field(default_factory=dict)


class OldSchedule(StrEnum):
    """How the old server found out that a job was due; what ``parity`` compares with."""

    CRON = "cron"
    DAILY = "daily"
    MONTHLY = "monthly"
    ANNUALLY = "annually"
    NONE = "none"
    """Nothing to compare: a job without a schedule, or one that followed its own last run."""


@dataclass(frozen=True, slots=True)
class OldJob:
    """The old row, as far as people want to read it again.

    ``when`` is the first time of a calendar schedule; times are the old server's wall clock.
    """

    name: str
    id: str | None
    schedule: OldSchedule
    schedule_text: str
    when: datetime | None = None
    last_run: datetime | None = None
    next_run: datetime | None = None
    last_result: str | None = None
    failures: int | None = None


@dataclass(frozen=True, slots=True)
class ImportedJob:
    """A row that became a job: its key and spec, and where it came from."""

    key: str
    spec: JobSpec
    row: Row
    old: OldJob

    @property
    def stable_name(self) -> str:
        """The name its history is kept under."""
        return self.spec.name or self.key


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that became no job, and why."""

    file: str
    line: int
    reason: str
    name: str = ""


@dataclass(slots=True)
class Warnings:
    """Remarks in the order they came up, each once."""

    texts: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        """Remember ``place: text``."""
        self.texts[f"{place}: {text}" if place else text] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(slots=True)
class Past:
    """What the old runs say about one job; ``weekdays`` counts its runs by weekday, Monday first."""

    runs: int = 0
    failures: int = 0
    weekdays: list[int] = field(default_factory=lambda: [0] * 7)
    last: datetime | None = None


@dataclass(slots=True)
class LeftOut:
    """Rows that were left out for one reason: how many, and where the first of them are."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count a row, and keep its place if it is among the first."""
        self.count += 1
        if len(self.places) < _FIRST_PLACES:
            self.places.append(place)

    def __str__(self) -> str:
        more = self.count - len(self.places)
        return ", ".join(self.places) + (f" and {more:,} more" if more else "")


class OldRuns(Protocol):
    """What the old server logged about past runs; there may be millions, so they are counted as they are read."""

    @property
    def rows(self) -> int:
        """How many there are, with those left out."""

    @property
    def left_out(self) -> Mapping[str, LeftOut]:
        """The rows that are no past run, by why: a few words such as ``without a date``."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take over."""

    def of(self, job_id: str | None, name: str) -> Past | None:
        """The past of a job, by its old id or name."""

    def records(
        self, zone: ZoneInfo, named: Mapping[str, tuple[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """Every kept run as a row of the new ``c_LoggedJob``; instants become UTC.

        Args:
            zone: The old server's zone. In the hour that comes twice in autumn the first pass is meant.
            named: For each link (``id:7`` or ``name:nightly``) the job's stable name and its ``JobType``.
        """


@dataclass(slots=True)
class Import:
    """The end of every row.

    Attributes:
        tables: What was looked for in the files.
        files: What was read.
        options: What the person decided.
        history: The old server's past runs.
        warnings: Everything to look at, in the order it came up.
        jobs: Rows that became jobs.
        inactive: Rows that became jobs and are created paused.
        rejected: Rows that became none.
    """

    tables: KnownTables
    files: Sequence[ExportFile]
    options: Options
    history: OldRuns
    warnings: Warnings = field(default_factory=Warnings)
    jobs: list[ImportedJob] = field(default_factory=list)
    inactive: list[ImportedJob] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the main table, readable or not."""
        return sum(file.counts[self.tables.main] for file in self.files)

    @property
    def all_jobs(self) -> list[ImportedJob]:
        """Jobs and inactive jobs."""
        return [*self.jobs, *self.inactive]

    def reject(self, job: ImportedJob, reason: str) -> None:
        """Take a job out again, for a reason that came up later."""
        for jobs in (self.jobs, self.inactive):
            if job in jobs:
                jobs.remove(job)
        self.rejected.append(Rejection(job.row.file, job.row.line, reason, job.old.name))
