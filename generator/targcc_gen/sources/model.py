"""The interface of an old scheduler, and the result of an import: jobs, rejections, warnings, past runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.classic import Weekly

from targcc_gen.readers.exports import ExportFile
from targcc_gen.readers.rows import KnownTables, Routine, Row
from targcc_gen.sources.past_runs import RunLog
from targcc_gen.spec import FlowSpec, FlowStepSpec, JobSpec, Spec

# Results.

_FIRST_PLACES = 3
SECOND = "+"
"""The suffix of the id of a job's second schedule."""


Polling = Literal["minute", "next-run"]
"""The trigger of a row in the runner of the ``cron`` shape: the cron text matches the minute of the clock, or ``NextRun`` has passed."""


@dataclass(frozen=True, slots=True)
class Options:
    """The user's choices for an import.

    Attributes:
        zone: The old server's zone.
        now: The instant that separates past from future; aware.
        dialect: The cron dialect of the old server.
        alert_email: Addresses for jobs without recipients in the export.
        procedures: The stored procedure of each code of a classic export; codes in lower case.
        weekly: The reading of Weekly.
        polling: The trigger of rows with a cron text.
        runner_workers: The number of concurrent jobs of an old runner; the old runner ran one at a time.
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
    """Values of the old row that reports show. Times are the old server's wall clock.

    Attributes:
        runner: The runner of the row.
        managed: Whether the runner started the row by itself.
        mailed: The addresses that the old server wrote to.
        mail_rule: When and why the old server wrote to these addresses.
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
    """A row that was converted to a job: key, spec, origin, and notes for the owner.

    Attributes:
        theory: The spec by the row alone, if the history contradicts the row and the spec follows the history.
        seen: Whether several past runs show the schedule.
        awake: Whether the job ran within the last month of the old server's work.
        steps: The steps of a flow, by name, which run the jobs of other entries; None for a job. The spec then has the flow's schedule.
    """

    key: str
    spec: JobSpec
    row: Row
    old: OldJob
    notes: tuple[str, ...] = ()
    theory: JobSpec | None = None
    seen: bool = False
    awake: bool = False
    steps: Mapping[str, FlowStepSpec] | None = None

    @property
    def stable_name(self) -> str:
        """The name that the job's history is kept under."""
        return self.spec.name or self.key

    @property
    def flow(self) -> FlowSpec | None:
        """The flow; None for a job."""
        if self.steps is None:
            return None
        values = {
            name: getattr(self.spec, name)
            for name in self.spec.model_fields_set
            if name in FlowSpec.model_fields
        }
        return FlowSpec(**values, steps=dict(self.steps))


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not converted to a job, with the reason.

    Attributes:
        id: The row's key in its table, if readable.
        deleted: Whether the old server had deleted the row.
        row: The row, if its own values are the reason.
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
    """Warnings in order of appearance, without repetitions."""

    texts: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        """Add ``place: text``."""
        self.texts[f"{place}: {text}" if place else text] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(slots=True)
class Past:
    """Statistics of a job's past runs.

    Attributes:
        weekdays: The number of runs by weekday, Monday first.
        longest: The longest run of known length.
    """

    runs: int = 0
    failures: int = 0
    longest: timedelta = timedelta(0)
    weekdays: list[int] = field(default_factory=lambda: [0] * 7)
    last: datetime | None = None
    log: RunLog = field(default_factory=RunLog)


@dataclass(slots=True)
class LeftOut:
    """Rows left out for the same reason: their number, and the places of the first rows."""

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
    """The old server's log of past runs. A log may have millions of rows, so rows are counted while they are read."""

    @property
    def rows(self) -> int:
        """The number of rows, including the rows left out."""

    @property
    def left_out(self) -> Mapping[str, LeftOut]:
        """The rows that are no past run, by reason: a few words such as ``without a date``."""

    @property
    def is_empty(self) -> bool:
        """Whether the log has no run to take over."""

    def of(self, job_id: str | None, name: str) -> Past | None:
        """Return the past of a job, by its old id or name."""

    def records(
        self, zone: ZoneInfo, named: Mapping[str, tuple[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """Yield every kept run as a row of the new ``c_LoggedJob``; instants become UTC.

        Args:
            zone: The old server's zone. An hour that repeats in autumn means its first pass.
            named: The job's stable name and ``JobType`` by link (``id:7`` or ``name:nightly``).
        """


@dataclass(frozen=True, slots=True)
class Balance:
    """The outcomes of the rows of a table. The outcomes add up to the rows read.

    Attributes:
        table: The table's name for people.
        read: Rows that were read, readable or not.
        ends: The number of rows by outcome, in words.
    """

    table: str
    read: int
    ends: Mapping[str, int]

    @property
    def difference(self) -> int:
        """Number of rows without an outcome; 0 in a correct import."""
        return self.read - sum(self.ends.values())


class NoRuns:
    """The log of an old scheduler that keeps none, or whose log is not in the export."""

    rows = 0
    is_empty = True

    def __init__(self) -> None:
        self.left_out: dict[str, LeftOut] = {}

    def of(self, _job_id: str | None, _name: str) -> Past | None:
        """Return None: no run is known."""
        return None

    def records(
        self, _zone: ZoneInfo, _named: Mapping[str, tuple[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """Yield nothing."""
        return iter(())


class Simulation(Protocol):
    """The simulated runner of an old scheduler, independent of the translated schedules."""

    @property
    def model(self) -> str:
        """The rules of the runner and their source, for the report."""

    def starts(self, job: ImportedJob, start: datetime, end: datetime) -> Iterable[datetime] | None:
        """Return the aware instants in ``[start, end)`` at which the old scheduler starts a job; None if they depend on other runs."""


@dataclass(frozen=True, slots=True)
class Switch:
    """How to stop and start a job on the old scheduler.

    Attributes:
        off: The statement or command that stops the job.
        on: The statement or command that starts the job again.
        suffix: The suffix of a script of such statements, such as ``.sql``.
        comment: The sign that begins a comment line in the script.
    """

    off: str
    on: str
    suffix: str
    comment: str


@dataclass(frozen=True, slots=True)
class MoveStep:
    """A step of the move to the new scheduler, for the runbook.

    Attributes:
        when: When the step is due, such as ``A week before``.
        who: The person responsible: ``developer``, ``DBA``, ``operator`` or ``team lead``.
        what: What to do.
        commands: Commands to run, or scripts by name.
        good: What shows that the step succeeded.
    """

    when: str
    who: str
    what: str
    commands: tuple[str, ...] = ()
    good: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """The move from the old scheduler, made from the rows.

    Attributes:
        steps: The steps up to the last job's move, in order.
        no_return: When the way back ends.
        back: The steps of the way back.
        stops: A checklist of the work that ends with the old scheduler and has to be done elsewhere.
        scripts: SQL for the old database, by file name.
    """

    steps: tuple[MoveStep, ...]
    no_return: str
    back: tuple[MoveStep, ...]
    stops: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Import:
    """Result of an import: the outcome of every row.

    Attributes:
        tables: The tables that the readers looked for.
        files: The files that were read.
        options: The user's choices.
        history: The old server's past runs.
        warnings: Warnings in order of appearance.
        jobs: Rows that were converted to jobs.
        inactive: Rows that were converted to jobs and are created paused.
        rejected: Rows that were not converted.
        second: Second schedules of jobs whose old schedule does not fit a single cron text.
        companions: The outcomes of the rows of the other tables.
        touches: The objects used by each stored procedure of the export, by its name in lower case.
        queues: Queues of the old runners that have jobs here: name and number of concurrent jobs.
        questions: Returns the questions to the owner about facts that the export leaves open.
        advice: Returns the settings that were kept from the old server and that the owner may want to change.
        simulation: The simulated runner; None for TARGCC's own, which is simulated for all rows together.
        switches: How to stop each job on the old scheduler, by the job's place in the export.
        move: Returns the steps of the move; None for schedulers that are switched off by ``switches`` or by hand.
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
    questions: Callable[[Import], list[str]] = lambda _result: []
    advice: Callable[[Import], list[str]] = lambda _result: []
    simulation: Simulation | None = None
    switches: dict[str, Switch] = field(default_factory=dict)
    move: Callable[[Import], Move] | None = None

    @property
    def rows(self) -> int:
        """The number of rows of the main table, readable or not."""
        return sum(file.counts[self.tables.main] for file in self.files)

    @property
    def all_jobs(self) -> list[ImportedJob]:
        """Jobs and inactive jobs, then second schedules."""
        return [*self.jobs, *self.inactive, *self.second]

    @property
    def in_flows(self) -> set[str]:
        """The keys of jobs that are steps of flows. Only their flow starts them."""
        return {step.job for job in self.all_jobs for step in (job.steps or {}).values()}

    @property
    def running(self) -> list[ImportedJob]:
        """Jobs and second schedules that are not created paused."""
        return [*self.jobs, *(job for job in self.second if not job.spec.paused)]


# The interface of an old scheduler.


Advance = Callable[[int, int], None]
"""Called while reading, with the bytes or rows read and their total."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """Options for reading exports.

    Attributes:
        zone: The old server's zone.
        encoding: The encoding of the files; None: detect the encoding.
        dates: The order of ambiguous dates; None: each file has to show its order.
        seconds: The longest silence of a database.
        schema: The schema of the tables; None: search for the tables.
        progress: Called while reading.
    """

    zone: ZoneInfo
    encoding: str | None = None
    dates: str | None = None
    seconds: float = 30
    schema: str | None = None
    progress: Advance = lambda _done, _total: None


class LegacySource(Protocol):
    """An old scheduler: read its exports, and convert every entry to a job.

    The importer calls ``read`` once, then ``convert`` once.
    """

    @property
    def tables(self) -> KnownTables:
        """The tables, or the kinds of entries, that are counted."""

    def read(self, exports: Sequence[str], reading: ReadingOptions) -> list[ExportFile]:
        """Read files, folders, or the address of a database.

        Raises:
            InputError: An export cannot be read, or has no entry.
        """

    def convert(
        self, files: Sequence[ExportFile], options: Options, *, project: Spec | None = None
    ) -> Import:
        """Convert every entry to a job, an inactive job, or a rejection with its reason.

        Args:
            files: The files that were read.
            options: The user's choices.
            project: The project that the jobs will join. The project's names are taken; its zone may differ.

        Raises:
            InputError: The outcomes do not add up to the entries that were read.
        """


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of old scheduler.

    Attributes:
        name: The value of ``--kind``.
        title: The scheduler's name.
        recognizes: Returns whether a file is an export of this scheduler, by its path and its beginning.
        open: Returns a source; the path is the file that keeps past runs, None to count them only.
        options: The options of the command, by parameter name, that only this kind has.
    """

    name: str
    title: str
    recognizes: Callable[[Path, str], bool]
    open: Callable[[Path | None], LegacySource]
    options: frozenset[str] = frozenset()
