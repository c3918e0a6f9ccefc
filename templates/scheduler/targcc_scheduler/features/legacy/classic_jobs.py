"""Turn rows of TARGCC 4's ``c_Job`` into jobs, run the jobs, and write results back."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ...core.clock import Clock
from ...core.masking import mask
from ...core.outage import in_short
from ...core.stored_values import exception_line
from ...kernel.jobs.context import JobContext, JobResult, StopReason
from ...kernel.jobs.declaration import define
from ...kernel.jobs.definition import Alerts, JobDefinition
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.queries.models import Attempt
from ...project import current
from ...schedules.base import Schedule
from ...schedules.calendars import WorkingSchedule
from ...schedules.cron import CronSchedule
from ...schedules.intervals import AfterRunSchedule, EverySchedule, OnceSchedule
from ...services.database import Database
from ...services.procedures import procedure_call, remark_of
from ...settings import Settings
from .c_job_rows import OldTable, place_of, take
from .classic import Choice, ClassicRow, Rules, code_of, names_of, recipients_of, row_of, runs_here
from .old_server import seconds_between
from .source import Reading
from .write_back import (
    FAILURE,
    MARK,
    SUCCESS,
    PendingWriteBack,
    RunReport,
    WriteBack,
    unexpected,
)

_ASKED = timedelta(minutes=15)
"""Maximum age of a run request from an old screen; an older request is ignored."""
_OTHERS = re.compile(r"[^a-z0-9]+")
_TWICE = "LastRunTime has moved by {}: TaskManager still runs this row. Stop it, or leave its runner out of TARGCC_LEGACY_RUNNERS"
_NO_HISTORY = (
    "there is no c_LoggedJob beside it: the runs here are not written into the old history"
)
_RUNS_THERE = (
    "TaskManager runs this row now (enmJobStatus is InProcess): this run waits until it has ended"
)

Record = Mapping[str, Any]


class ClassicJobs:
    """Build jobs from rows.

    Args:
        settings: Select the rows and name the table.
        zone: Time zone of the old server.
        clock: Clock of the scheduler.
        database: Opens the old database.
    """

    def __init__(
        self, settings: Settings, zone: str, clock: Clock, database: Callable[[], Database]
    ) -> None:
        self._table = settings.legacy_table
        self._zone = zone
        self._clock = clock
        self._database = database
        self._choice = Choice(
            Rules(ZoneInfo(zone), settings.legacy_weekly),
            frozenset(name.lower() for name in settings.legacy_runner_names),
            {code.lower(): name for code, name in settings.legacy_procedures.items()},
        )
        self._poll = settings.legacy_poll_seconds
        self._by = f"{MARK}{socket.gethostname()}"
        self._unwritten = PendingWriteBack(clock)
        self._never_begun: set[str] = set()
        self._known: dict[ClassicRow, JobDefinition] = {}
        self._last_runs: dict[int, datetime | None] = {}
        self._run_elsewhere: dict[int, str] = {}
        self._writer: WriteBack | None = None

    def read(self, connection: sa.Connection, table: OldTable) -> Reading:
        """Return the jobs of a table; fill each ``NextRunTime`` that an old screen has cleared."""
        people = recipients_of(connection, self._table)
        self._writer = WriteBack(connection, self._table)
        connection.rollback()  # writes use their own transaction
        names = names_of(table.records)
        ours = [record for record in table.records if runs_here(record, self._choice)]
        definitions, broken = self._define_all(ours, names, people)
        if not self._writer.has_history:
            broken.append(BrokenModule(self._table, None, _NO_HISTORY, _NO_HISTORY))
        self._fill_next_runs()
        idle = frozenset(set(names.values()) - definitions.keys())
        since = self._unwritten.since
        return Reading(definitions, tuple(broken), idle, self._asked(), since)

    def write_down(self, attempts: Sequence[Attempt]) -> None:
        """Write attempts that are missing in the old history.

        An attempt is missing if the old database was unavailable when the attempt ended, or if the process died before writing.
        """
        rows = {row.name: (row, job) for row, job in self._known.items()}
        ended = [
            attempt
            for attempt in attempts
            if attempt.job in rows
            and _token(attempt.run_id, attempt.number) not in self._never_begun
        ]
        reports = [self._late_report(*rows[attempt.job], attempt) for attempt in ended]
        with self._database().engine.begin() as connection:
            self._writing().end_late(connection, reports)
        self._unwritten.compared([_token(attempt.run_id, attempt.number) for attempt in attempts])

    def _late_report(self, row: ClassicRow, job: JobDefinition, attempt: Attempt) -> RunReport:
        message = attempt.message or ""
        ended = attempt.completed_at or attempt.started_at
        return RunReport(
            job_id=row.id,
            started=self._wall(attempt.started_at),
            ended=self._wall(ended),
            seconds=seconds_between(attempt.started_at, ended),
            status=SUCCESS if attempt.success else FAILURE,
            remarks=remark_of(message) if attempt.success else unexpected(attempt.error or ""),
            by=f"{MARK}{attempt.server or 'here'}",
            token=_token(attempt.run_id, attempt.number),
            next_run=self._following_of(job, self._clock.now()),
        )

    def _asked(self) -> dict[str, datetime]:
        """Map the jobs to run now to their requested instant: run requests from old screens, and due one-offs.

        An old screen requests a run by setting ``NextRunTime`` to the current time. Runs that are due by a schedule are left to the
        scheduler. So are all runs of the kinds ``CyclicMin`` and ``CyclicSec``.
        """
        now = self._clock.now()
        requests = {}
        for row, definition in self._known.items():
            if row.next_run is None or row.is_running:
                continue
            at = self._instant(row.next_run)
            if at <= now and _is_own_instant(definition, at, now):
                requests[row.name] = at
        return requests

    def _define_all(
        self, ours: Sequence[Record], names: Mapping[int, str], people: Mapping[str, list[str]]
    ) -> tuple[dict[str, JobDefinition], list[BrokenModule]]:
        definitions: dict[str, JobDefinition] = {}
        broken: list[BrokenModule] = []
        known: dict[ClassicRow, JobDefinition] = {}
        now = self._wall(self._clock.now())
        for record in ours:
            name = names[int(record["id"])]
            try:
                row = row_of(record, name, self._choice, people, now)
                definition = self._known.get(row) or self._define(row)
                take(definitions, definition)
            except (ValueError, TypeError) as error:
                place = place_of(str(record["id"]), name or code_of(record))
                broken.append(BrokenModule(place, None, str(error), str(error)))
            else:
                known[row] = definition
        self._known = known
        return definitions, broken + self._watch_task_manager(known)

    def _define(self, row: ClassicRow) -> JobDefinition:
        procedure_call("mssql", row.procedure, {})  # raises ValueError if the name is invalid
        options: dict[str, Any] = dict(row.schedule)
        cron = options.pop("schedule", None)
        if cron is not None and not CronSchedule.parse(cron).reachable:
            raise ValueError(f'cron "{cron}": there is no such date, it never runs')
        on = ("failure", "missed", *(["success"] if row.tells_success else []))
        definition = define(
            self._work(row.id, row.name, row.procedure),
            cron,
            **options,
            name=row.name,
            display_name=row.name,
            description=f"Calls {row.procedure}, as row {row.id} of c_Job says",
            timezone=self._zone,
            queue=_queue_of(row.runner),
            retries=0,  # the old server did not retry, and a procedure may not be safe to repeat
            timeout="none",
            misfire="run_once",
            misfire_grace="none",
            alerts=Alerts(on=on, email=row.emails),
        )
        return replace(definition, since=self._due(row, definition.schedule))

    def _due(self, row: ClassicRow, schedule: Schedule | None) -> datetime | None:
        """Return when a row was due by ``NextRunTime``, to the minute: a row that is overdue at its first start here runs once, as with TaskManager.

        Of several slots that have passed since then, the newest counts, and the others are not recorded as missed: TaskManager had one run for
        all. The slots of an interval that counts from the start of the previous run begin one interval after the returned instant.
        """
        if row.next_run is None or row.is_running:
            return None
        before = schedule.delay if isinstance(schedule, AfterRunSchedule) else timedelta()
        due = self._instant(row.next_run.replace(second=0, microsecond=0)) - before
        newest = schedule.previous(self._clock.now(), self._zone) if schedule is not None else None
        return due if newest is None else max(due, newest)

    def _work(
        self, row_id: int, name: str, procedure: str
    ) -> Callable[[JobContext], Awaitable[JobResult]]:
        async def execute(ctx: JobContext) -> JobResult:
            database, began = self._database(), self._clock.now()
            try:
                started = await self._begin(ctx, database, row_id)
            except Exception:
                self._unwritten.add(_token(ctx.run_id, ctx.attempt), began)
                raise
            try:
                result = await database.call(procedure)
            except BaseException as error:
                text = unexpected(mask(exception_line(error)))
                end = self._end(ctx, row_id, name, started, status=FAILURE, remarks=text)
                await _finish(end)
                raise
            await self._end(ctx, row_id, name, started, status=SUCCESS, remarks=result.remark)
            return JobResult.success(result.message(procedure))

        return execute

    async def _begin(self, ctx: JobContext, database: Database, row_id: int) -> datetime:
        """Mark a row as running, once TaskManager does not run it; return the start."""
        writer, is_told = self._writing(), False
        while True:
            started = self._clock.now()
            at = self._wall(started)
            if await database.run(partial(writer.begin, job_id=row_id, started=at, by=self._by)):
                return started
            if not is_told:
                ctx.log.warning(_RUNS_THERE)
                is_told = True
            try:
                await asyncio.sleep(self._poll)
            except asyncio.CancelledError:
                self._never_begun.add(_token(ctx.run_id, ctx.attempt))
                raise

    async def _end(
        self,
        ctx: JobContext,
        row_id: int,
        name: str,
        started: datetime,
        *,
        status: str,
        remarks: str,
    ) -> None:
        """Write an ended run into the old tables.

        If the write fails, the run has ended all the same; a later comparison writes it when the old database is available again.
        """
        ended = self._clock.now()
        following = self._following(name, ended) or self._following_of(ctx.definition, ended)
        released = status == FAILURE and ctx.stop_reason is StopReason.SHUTDOWN
        token = self._by if released else _token(ctx.run_id, ctx.attempt)
        report = RunReport(
            job_id=row_id,
            started=self._wall(started),
            ended=self._wall(ended),
            seconds=seconds_between(started, ended),
            status=status,
            remarks=remarks,
            by=self._by,
            token=token,
            next_run=following,
        )
        writer = self._writing()
        try:
            await self._database().run(lambda c: writer.end(c, report))
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            why = mask(in_short(error))
            if not released:  # a released run is repeated
                self._unwritten.add(token, ended)
            ctx.log.warning("this run is not in the old c_Job and c_LoggedJob yet", why=why)

    def _following(self, name: str, after: datetime) -> datetime | None:
        """Return the next run by the current row, which may have changed since the run began."""
        now = next((job for job in self._known.values() if job.name == name), None)
        return None if now is None else self._following_of(now, after)

    def _following_of(self, definition: JobDefinition, after: datetime) -> datetime | None:
        schedule = definition.schedule
        slot = None if schedule is None else schedule.next(after, definition.timezone)
        return None if slot is None else self._wall(slot)

    def _writing(self) -> WriteBack:
        assert self._writer is not None  # rows are read before they run
        return self._writer

    def _fill_next_runs(self) -> None:
        now = self._clock.now()
        next_runs = [
            (row.id, self._following_of(definition, now))
            for row, definition in self._known.items()
            if row.next_run is None
        ]
        missing = [(row_id, at) for row_id, at in next_runs if at is not None]
        if not missing:
            return
        with self._database().engine.begin() as connection:
            for row_id, at in missing:
                self._writing().fill_next_run(connection, row_id, at)

    def _watch_task_manager(self, rows: Mapping[ClassicRow, JobDefinition]) -> list[BrokenModule]:
        """Report rows that TaskManager still runs: ``LastRunTime`` has changed, and ``LastRunBy`` names no process of this scheduler."""
        for row in rows:
            before = self._last_runs.get(row.id, row.last_run)
            if row.last_run != before and not row.last_run_by.startswith(MARK):
                self._run_elsewhere[row.id] = row.last_run_by or "somebody"
        self._last_runs = {row.id: row.last_run for row in rows}
        broken = []
        for row in rows:
            if row.id in self._run_elsewhere:
                text = _TWICE.format(self._run_elsewhere[row.id])
                broken.append(BrokenModule(place_of(str(row.id), row.name), None, text, text))
        return broken

    def _instant(self, wall: datetime) -> datetime:
        """Convert a time of the old server's wall clock to an instant."""
        return wall.replace(tzinfo=ZoneInfo(self._zone)).astimezone(UTC)

    def _wall(self, instant: datetime) -> datetime:
        """Convert an instant to the old server's wall clock, to the second."""
        return instant.astimezone(ZoneInfo(self._zone)).replace(tzinfo=None, microsecond=0)


def _token(run_id: int | str | None, attempt: int) -> str:
    """Return the token that identifies an attempt in the old history."""
    return f"{MARK}run {run_id}.{attempt}"


def _is_own_instant(definition: JobDefinition, at: datetime, now: datetime) -> bool:
    """Return whether a past ``NextRunTime`` is a run request rather than a slot of the job's schedule; true for one-offs."""
    match definition.schedule:
        case OnceSchedule():
            return True
        case CronSchedule() | EverySchedule() | WorkingSchedule() as schedule:
            following = schedule.next(at, definition.timezone, inclusive=True)
            return now - at < _ASKED and following != at
    return False


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, even if the calling task is cancelled."""
    await asyncio.shield(asyncio.ensure_future(work))


def _queue_of(runner: str) -> str | None:
    """Return the project's queue for a runner, such as ``srv01-tasks`` for ``SRV01\\tasks``; ``None`` if there is none.

    TaskManager ran one job at a time for each runner.
    """
    queues = {_squeezed(name): name for name in current().queues}
    return queues.get(_squeezed(runner))


def _squeezed(name: str) -> str:
    return _OTHERS.sub("-", name.lower()).strip("-")
