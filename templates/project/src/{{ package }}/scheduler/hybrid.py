# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Hybrid mode: jobs that stay in the old server's table ``c_Job`` and run from here, while ``TARGCC_LEGACY_URL`` names its database.

The table is read at the start and every minute, and never written. Each active row is a recurring job that calls its stored
procedure; a row that changes, comes or goes is followed. A row that cannot be a job is reported as broken, and the others run.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from . import project
from .context import JobContext
from .cron import CronError, CronSchedule
from .discovery import BrokenModule
from .job import Alerts, JobDefinition, define
from .masking import masked
from .outages import Outage, in_short
from .registry import JobRegistry
from .result import JobResult
from .settings import Settings

if TYPE_CHECKING:  # services.py is the project's own; it is looked for only when there is a c_Job
    from ..services import Database

log = logging.getLogger(__name__)

_NEEDED = {
    "jobname": "JobName",
    "cronexpression": "CronExpression",
    "storedprocname": "StoredProcName",
}
_COLUMNS = (*_NEEDED, "isactive")
_RECIPIENTS = "c_JobAlertRecipient"
_JOB_ID = ("c_jobid", "jobid")
_ADDRESS = ("overrideemailorphone", "email", "emailaddress", "recipientemail")
_EXEC = re.compile(r"\s*EXEC(?:UTE)?\s+", re.IGNORECASE)
_MORE_THAN_A_NAME = re.compile(r"[@='();,\"\[\]\r\n]")
_SPLIT = re.compile(r"[;,\s]+")

_TWICE = "LastRun has moved: TaskManager still runs this row, so it runs twice. Stop TaskManager, then start this again"

Record = Mapping[str, Any]


class LegacyError(ValueError):
    """The table, or a row of it, cannot be used."""


@dataclass(frozen=True)
class Reading:
    """What the table says.

    Args:
        definitions: The jobs of its active rows.
        broken: Rows that cannot be jobs.
        idle: Names of rows that are not active.
    """

    definitions: Mapping[str, JobDefinition]
    broken: tuple[BrokenModule, ...]
    idle: frozenset[str]


@dataclass(frozen=True)
class LegacyRow:
    """An active row, as far as it makes the job; rows that are equal make the same job."""

    id: str
    name: str
    cron: str
    procedure: str
    emails: tuple[str, ...] | None
    """Who is told of a failure; ``None``: nobody wants to know."""
    last_run: object = field(default=None, compare=False)


class LegacyJobs:
    """Reads ``c_Job`` and keeps the registry up to date with it.

    Args:
        settings: Where the table is, and how its schedules are meant.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._zone = settings.legacy_timezone or project.TIMEZONE
        self._database: Database | None = None
        self._lock = threading.Lock()
        self._known: dict[LegacyRow, JobDefinition] = {}
        self._last_runs: dict[str, object] = {}
        self._run_elsewhere: set[str] = set()
        self._said: set[str] = set()
        self._outage = Outage(log, "reading c_Job")

    def fill(self, registry: JobRegistry) -> None:
        """Read the table for the first time; if that fails the project's own jobs run, and c_Job is shown as broken."""
        try:
            reading = self.read()
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            registry.exchange({}, [self._unreadable(error)])
        else:
            registry.exchange(reading.definitions, reading.broken)

    async def follow(
        self, registry: JobRegistry, changed: Callable[[set[str]], Awaitable[None]]
    ) -> None:
        """Read the table again and again, until cancelled; while it cannot be read, the jobs go on as they were.

        Args:
            registry: Gets the jobs.
            changed: Called with the names whose schedules rest, after the jobs have changed.
        """
        resting: frozenset[str] = frozenset()
        while True:
            try:
                reading = await asyncio.to_thread(self.read)
                gone, different = registry.exchange(reading.definitions, reading.broken)
                for name in sorted(different):
                    log.info("c_Job: %s runs %s", name, reading.definitions[name].schedule_text)
                for name in sorted(gone):
                    log.info("c_Job: %s is inactive or gone", name)
                if gone or different or reading.idle != resting:
                    await changed({*gone, *reading.idle} - registry.definitions.keys())
                resting = reading.idle
                self._outage.over()
            except Exception as error:  # noqa: BLE001 - a driver may raise anything
                registry.exchange(None, [self._unreadable(error)])
            await asyncio.sleep(self._settings.legacy_poll_seconds)

    def read(self) -> Reading:
        """What the table says now; blocks, so call it in a thread.

        Raises:
            LegacyError: there is no such table, or it has other columns.
            Exception: the database cannot be reached; the driver's own error.
        """
        with self._open().engine.connect() as connection:
            records = _records(connection, self._settings.legacy_table)
            people = _people(connection, self._settings.legacy_table)
        definitions: dict[str, JobDefinition] = {}
        broken: list[BrokenModule] = []
        known: dict[LegacyRow, JobDefinition] = {}
        active = [record for record in records if _yes(record["isactive"])]
        for record in active:
            try:
                row = _row(record, people)
                definition = self._known.get(row) or self._define(row)
                _take(definitions, definition)
            except (ValueError, TypeError) as error:
                broken.append(_broken(record, error))
            else:
                known[row] = definition
        self._known = known
        broken += self._watch_task_manager(known)
        self._say(broken)
        idle = {_name(record) for record in records if not _yes(record["isactive"])}
        return Reading(definitions, tuple(broken), frozenset(idle - definitions.keys()))

    def close(self) -> None:
        """Give the connections and threads back."""
        with self._lock:
            database, self._database = self._database, None
        if database is not None:
            database.close()

    def _open(self) -> Database:
        from ..services import Database  # the project's own

        with self._lock:
            if self._database is None:
                settings = self._settings
                self._database = Database(settings.legacy_url, threads=settings.legacy_threads)
            return self._database

    def _define(self, row: LegacyRow) -> JobDefinition:
        from ..services import procedure_call  # the project's own

        procedure = _procedure(row.procedure)
        procedure_call("mssql", procedure, {})  # is it a name?
        schedule = CronSchedule.parse(row.cron)
        if not schedule.reachable:
            raise LegacyError(f'cron "{row.cron}": there is no such date, it never runs')
        return define(
            self._work(procedure),
            row.cron,
            name=row.name,
            display_name=row.name,
            description=f"Calls {procedure}, as row {row.id} of c_Job says",
            timezone=self._zone,
            retries=0,  # the old server did not retry, and a procedure may not bear it
            alerts=None if row.emails is None else Alerts(email=row.emails),
        )

    def _work(self, procedure: str) -> Callable[[JobContext], Awaitable[JobResult]]:
        async def execute(ctx: JobContext) -> JobResult:
            database = self._open()
            dialect = database.engine.dialect.name
            if dialect not in {"mssql", "postgresql"}:
                text = f"{dialect} has no stored procedures: TARGCC_LEGACY_URL must name the database that holds {procedure}"
                return JobResult.failure(text, retry=False)
            result = await database.call(procedure)
            ctx.log.info(
                "Procedure done", result_sets=len(result.sets), rows_changed=result.affected
            )
            return JobResult.success(
                f"{procedure}: {len(result.rows)} rows returned, {result.affected} changed"
            )

        return execute

    def _watch_task_manager(self, rows: Mapping[LegacyRow, JobDefinition]) -> list[BrokenModule]:
        """This project writes nothing to ``c_Job``: whoever moves ``LastRun`` of an active row runs it too."""
        for row in rows:
            if row.last_run != self._last_runs.get(row.name, row.last_run):
                self._run_elsewhere.add(row.name)
        self._last_runs = {row.name: row.last_run for row in rows}
        twice = [row for row in rows if row.name in self._run_elsewhere]
        return [BrokenModule(_place(row.id, row.name), None, _TWICE, _TWICE) for row in twice]

    def _say(self, broken: list[BrokenModule]) -> None:
        """Log what is new; the table is read every minute."""
        texts = {f"{one.module}: {one.error}" for one in broken}
        for text in sorted(texts - self._said):
            log.error("%s", text)
        self._said = texts

    def _unreadable(self, error: Exception) -> BrokenModule:
        self._outage.failed(error)
        text = str(error) if isinstance(error, LegacyError) else masked(in_short(error))
        if isinstance(error, ImportError):
            text += " (SQL Server: uv sync --extra mssql; PostgreSQL: --extra postgresql)"
        return BrokenModule(self._settings.legacy_table, None, f"cannot be read: {text}", text)


def _records(connection: sa.Connection, table: str) -> list[Record]:
    """The rows, by column names in lower case.

    Raises:
        LegacyError: there is no such table or view, or it has other columns.
    """
    found = _find(connection, table)
    if found is None:
        raise LegacyError(f"there is no table or view {table}: TARGCC_LEGACY_TABLE names it")
    result = connection.execute(sa.select(sa.text("*")).select_from(found))
    columns = [column.lower() for column in result.keys()]  # noqa: SIM118 - no mapping
    if missing := [column for column in _COLUMNS if column not in columns]:
        is_classic = "lkpjob" in columns
        hint = ": it is a table of TARGCC 4, import it instead" if is_classic else ""
        raise LegacyError(f"{table} has no column {missing[0]}{hint}")
    return [dict(zip(columns, row, strict=True)) for row in result]


def _find(connection: sa.Connection, table: str) -> sa.TableClause | None:
    """A table or view by its name in any case, since databases fold names differently."""
    *schemas, name = (part.strip('[]"') for part in table.split("."))
    schema = ".".join(schemas) or None
    inspector = sa.inspect(connection)
    names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    found = next((one for one in names if one.lower() == name.lower()), None)
    return None if found is None else sa.table(found, schema=schema)


def _people(connection: sa.Connection, table: str) -> dict[str, list[str]]:
    """The addresses of ``c_JobAlertRecipient`` beside the table, by the job's id; none if there is no such table."""
    schema, dot, _ = table.rpartition(".")
    found = _find(connection, f"{schema}{dot}{_RECIPIENTS}")
    if found is None:
        return {}
    people: dict[str, list[str]] = {}
    for row in connection.execute(sa.select(sa.text("*")).select_from(found)).mappings():
        record = {column.lower(): value for column, value in row.items()}
        job_id = next((record[column] for column in _JOB_ID if record.get(column)), None)
        texts = [str(record[column]) for column in _ADDRESS if record.get(column)]
        if texts and record.get("deletedon") is None:
            people.setdefault(str(job_id), []).extend(
                word for word in _SPLIT.split(texts[0]) if "@" in word
            )
    return people


def _row(record: Record, people: Mapping[str, list[str]]) -> LegacyRow:
    for column, name in _NEEDED.items():
        if not str(record[column] or "").strip():
            raise LegacyError(f"it has no {name}")
    job_id = str(record.get("id") or "?")
    wanted = _yes(record.get("emailonfailure"))
    return LegacyRow(
        id=job_id,
        name=_name(record),
        cron=str(record["cronexpression"]).strip(),
        procedure=str(record["storedprocname"]),
        emails=tuple(people.get(job_id, ())) if wanted else None,
        last_run=record.get("lastrun"),
    )


def _procedure(text: str) -> str:
    """The name in ``StoredProcName``, without ``EXEC``; a part with blanks or dashes gets brackets."""
    name = _EXEC.sub("", text, count=1).strip("; \t\r\n")
    if _MORE_THAN_A_NAME.search(name):
        return name
    return ".".join(part if part.isidentifier() else f"[{part}]" for part in name.split("."))


def _name(record: Record) -> str:
    return " ".join(str(record["jobname"] or "").split())


def _yes(value: object) -> bool:
    """A bit, however the database and its driver give it."""
    if isinstance(value, bytes):
        return any(value)
    return str(value).strip().lower() in {"1", "true", "t", "yes", "y"}


def _take(definitions: dict[str, JobDefinition], definition: JobDefinition) -> None:
    if any(name.casefold() == definition.name.casefold() for name in definitions):
        raise LegacyError(f"another active row is called {definition.name!r}: rename one")
    definitions[definition.name] = definition


def _broken(record: Record, error: Exception) -> BrokenModule:
    frame = error.frame() if isinstance(error, CronError) else str(error)
    place = _place(str(record.get("id") or "?"), _name(record))
    return BrokenModule(place, None, str(error), frame)


def _place(row: str, name: str) -> str:
    return f'c_Job row {row} "{name}"'
