"""Hybrid mode: run the jobs of the old server's table ``c_Job`` here, while ``TARGCC_LEGACY_URL`` names the table's database.

This scheduler reads the table at the start and every ``TARGCC_LEGACY_POLL_SECONDS`` (60 by default). Each active row becomes a recurring
job that calls the row's stored procedure. Changed, new and removed rows change the jobs. A row that cannot become a job is reported as
broken; the other rows run. This scheduler does not write a table with cron texts. A table of TARGCC 4 is written by ``write_back.py``,
in TaskManager's format.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ...core.clock import Clock, SystemClock
from ...core.errors import LegacyError
from ...core.masking import mask
from ...core.outage import in_short
from ...core.version import DISTRIBUTION
from ...kernel.jobs.context import JobContext, JobResult
from ...kernel.jobs.declaration import define
from ...kernel.jobs.definition import Alerts, JobDefinition
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.queries.models import Attempt
from ...project import current
from ...schedules.cron import CronSchedule
from ...schedules.errors import CronError
from ...services.database import Database
from ...services.procedures import procedure_call
from ...settings import Settings
from .c_job_rows import (
    LegacyRow,
    check_columns,
    is_yes,
    name_of,
    place_of,
    procedure_of,
    read_table,
    recipients_of,
    row_of,
    take,
)
from .classic import check_classic, is_classic
from .classic_jobs import ClassicJobs
from .source import Reading

_TWICE = "LastRun has moved: TaskManager still runs this row, so it runs twice. Stop TaskManager, then start this again"

_END_OF_READING_SECONDS = 2

Record = Mapping[str, Any]


class CJobSource:
    """Job source that reads ``c_Job``.

    Args:
        settings: Name the table, the table's database and the zone of the schedules.
        clock: Clock of the scheduler; default: this machine's clock.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._zone = settings.legacy_timezone or current().timezone
        self._database: Database | None = None
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._known: dict[LegacyRow, JobDefinition] = {}
        self._last_runs: dict[str, object] = {}
        self._run_elsewhere: set[str] = set()
        self._classic = ClassicJobs(settings, self._zone, clock or SystemClock(), self._open)

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return self._settings.legacy_table

    @property
    def if_taken(self) -> str:
        """Return the advice for a job name that is taken. See :class:`~.source.JobSource`."""
        return (
            "set IsActive = 0 (TARGCC 4: Active = 0) if that job does the work now, else rename one"
        )

    def read(self) -> Reading:
        """Read the table and return its jobs.

        Raises:
            LegacyError: the database cannot be reached, the table does not exist, or a column is missing.
        """
        with self._reading:
            return self._read(self._settings.legacy_table)

    def _read(self, table: str) -> Reading:
        try:
            with self._open().engine.connect() as connection:
                old_table = read_table(connection, table)
                if is_classic(old_table.columns):
                    check_classic(table, old_table.columns)
                    return self._classic.read(connection, old_table)
                check_columns(table, old_table.columns)
                people = recipients_of(connection, table)
        except LegacyError:
            raise
        except Exception as error:  # a driver may raise anything
            raise LegacyError(_unreadable(error)) from error
        records = old_table.records
        active = [record for record in records if is_yes(record["isactive"])]
        definitions, broken = self._define_all(active, people)
        idle = {name_of(record) for record in records if not is_yes(record["isactive"])}
        return Reading(definitions, tuple(broken), frozenset(idle - definitions.keys()))

    def _define_all(
        self, active: Sequence[Record], people: Mapping[str, list[str]]
    ) -> tuple[dict[str, JobDefinition], list[BrokenModule]]:
        definitions: dict[str, JobDefinition] = {}
        broken: list[BrokenModule] = []
        known: dict[LegacyRow, JobDefinition] = {}
        for record in active:
            try:
                row = row_of(record, people)
                definition = self._known.get(row) or self._define(row)
                take(definitions, definition)
            except (ValueError, TypeError) as error:
                broken.append(_broken(record, error))
            else:
                known[row] = definition
        self._known = known
        return definitions, broken + self._watch_task_manager(known)

    def write_down(self, attempts: Sequence[Attempt]) -> None:
        """Write ended attempts into a table of TARGCC 4. See :class:`~.source.JobSource`."""
        with self._reading:
            try:
                self._classic.write_down(attempts)
            except Exception as error:  # a driver may raise anything
                raise LegacyError(_unreadable(error)) from error

    def close(self) -> None:
        """Close the connections and end the threads; wait at most 2 seconds for a read in progress."""
        if self._reading.acquire(timeout=_END_OF_READING_SECONDS):
            self._reading.release()
        with self._lock:
            database, self._database = self._database, None
        if database is not None:
            database.close()

    def _open(self) -> Database:
        with self._lock:
            if self._database is None:
                settings = self._settings
                self._database = Database(settings.legacy_url, threads=settings.legacy_threads)
            return self._database

    def _define(self, row: LegacyRow) -> JobDefinition:
        procedure = procedure_of(row.procedure)
        procedure_call("mssql", procedure, {})  # raises ValueError if the name is invalid
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
            retries=0,  # the old server did not retry, and a procedure may not be safe to repeat
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
            return JobResult.success(result.message(procedure))

        return execute

    def _watch_task_manager(self, rows: Mapping[LegacyRow, JobDefinition]) -> list[BrokenModule]:
        """Report rows that TaskManager still runs: this project does not write ``LastRun``, so a change comes from another program."""
        for row in rows:
            if row.last_run != self._last_runs.get(row.name, row.last_run):
                self._run_elsewhere.add(row.name)
        self._last_runs = {row.name: row.last_run for row in rows}
        twice = [row for row in rows if row.name in self._run_elsewhere]
        return [BrokenModule(place_of(row.id, row.name), None, _TWICE, _TWICE) for row in twice]


def _unreadable(error: Exception) -> str:
    text = mask(in_short(error))
    if isinstance(error, ImportError):
        text += (
            f" (of {DISTRIBUTION}[mssql] for SQL Server, {DISTRIBUTION}[postgresql] for PostgreSQL)"
        )
    return text


def _broken(record: Record, error: Exception) -> BrokenModule:
    frame = error.frame() if isinstance(error, CronError) else str(error)
    place = place_of(str(record.get("id") or "?"), name_of(record))
    return BrokenModule(place, None, str(error), frame)
