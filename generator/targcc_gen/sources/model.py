"""The result of an import, whatever the old scheduler: jobs, rejections, warnings, past runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.classic import Weekly

from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import Item, KnownTables, Routine, Row
from targcc_gen.sources.past_runs import RunLog
from targcc_gen.spec import JobSpec, Spec

# Results.

_FIRST_PLACES = 3
SECOND = "+"
"""What ends the id of a job's second schedule."""


Polling = Literal["minute", "next-run"]
"""How the runner of the ``cron`` shape finds a row: its text names the minute of the clock, or ``NextRun`` has passed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person decided.

    Attributes:
        zone: The old server's zone.
        now: The instant to measure "still to come" against; aware.
        dialect: How the old server read cron texts.
        alert_email: Addresses for jobs whose recipients are not in the export.
        procedures: A stored procedure for each code of a classic export, codes in lower case.
        weekly: How Weekly is read.
        polling: How rows with a cron text were found.
        runner_workers: How many jobs of one old runner may run at once; the old runner ran one.
    """

    zone: ZoneInfo
    now: datetime
    dialect: str = "cronos"
    alert_email: tuple[str, ...] = ()
    procedures: Mapping[str, str] = field(default_factory=dict)
    weekly: Weekly = "every-day"
    polling: Polling = "minute"
    runner_workers: int = 1


@dataclass(frozen=True, slots=True)
class OldJob:
    """The old row, as far as people want to read it again; times are the old server's wall clock.

    ``runner`` is the runner whose row it was; ``managed``: that runner ran it by itself. ``mailed`` are the addresses that
    the old server wrote to, ``mail_rule`` when and why.
    """

    name: str
    id: str | None
    schedule_text: str
    runner: str = ""
    managed: bool = True
    last_run: datetime | None = None
    next_run: datetime | None = None
    last_result: str | None = None
    failures: int | None = None
    mailed: tuple[str, ...] = ()
    mail_rule: str = ""


@dataclass(frozen=True, slots=True)
class ImportedJob:
    """A row that became a job: its key and spec, and where it came from, and what to look at.

    ``theory`` is what the row alone says, where the history says otherwise and was followed; ``seen``: several past
    runs say something about the schedule; ``awake``: it ran within the last month of the old server's work.
    """

    key: str
    spec: JobSpec
    row: Row
    old: OldJob
    notes: tuple[str, ...] = ()
    theory: JobSpec | None = None
    seen: bool = False
    awake: bool = False

    @property
    def stable_name(self) -> str:
        """The name its history is kept under."""
        return self.spec.name or self.key


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that became no job, and why.

    ``id`` is the row's key in its table, where it could be read; ``deleted``: the old server had deleted it. ``row`` is the
    row, where its own words are the reason.
    """

    file: str
    line: int
    reason: str
    name: str = ""
    id: str | None = None
    deleted: bool = False
    row: Row | None = field(default=None, repr=False, compare=False)


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
    """What the old runs say about one job; ``weekdays`` counts its runs by weekday, Monday first.

    ``longest`` is the longest run whose length is known.
    """

    runs: int = 0
    failures: int = 0
    longest: timedelta = timedelta(0)
    weekdays: list[int] = field(default_factory=lambda: [0] * 7)
    last: datetime | None = None
    log: RunLog = field(default_factory=RunLog)


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


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the rows of one table: the ends add up to what was read.

    Attributes:
        table: The table as people write it.
        read: Rows that were read, readable or not.
        ends: How many ended in which way, in words.
    """

    table: str
    read: int
    ends: Mapping[str, int]

    @property
    def difference(self) -> int:
        """Rows of which nobody knows what became of them; 0 unless something is wrong."""
        return self.read - sum(self.ends.values())


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
        second: Second schedules of jobs whose old schedule no single cron text says.
        companions: What became of the rows of the other tables.
        touches: What each stored procedure of the export uses, by its name in lower case.
        queues: A queue for each old runner that has jobs here: its name, and how many of them may run at once.
    """

    tables: KnownTables
    files: Sequence[ExportFile]
    options: Options
    history: OldRuns
    warnings: Warnings = field(default_factory=Warnings)
    jobs: list[ImportedJob] = field(default_factory=list)
    inactive: list[ImportedJob] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    second: list[ImportedJob] = field(default_factory=list)
    companions: list[Balance] = field(default_factory=list)
    touches: dict[str, Routine] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the main table, readable or not."""
        return sum(file.counts[self.tables.main] for file in self.files)

    @property
    def all_jobs(self) -> list[ImportedJob]:
        """Jobs and inactive jobs, then second schedules."""
        return [*self.jobs, *self.inactive, *self.second]


# The interface of an old scheduler.


class LegacySource(Protocol):
    """Turns the rows of one old scheduler's tables into jobs.

    The readers are given ``tables`` and call ``take``; when all files are read, ``convert`` is called once.
    """

    @property
    def tables(self) -> KnownTables:
        """What the readers look for."""

    def take(self, item: Item) -> None:
        """Keep a row of these tables, or a remark about one or about a file as a whole."""

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Bring every row of the main table to its end: a job, an inactive job, or a rejection with its reason.

        Args:
            files: What was read.
            options: What the person decided.
            project: The project that the jobs will join: its names are taken, its zone may differ.

        Raises:
            InputError: The ends do not add up to the rows that were read.
        """
