"""The scheduler: what applications, the dashboard, the API and the command line talk to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import dishka
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from . import operations
from .core.actor import SYSTEM, Actor
from .core.clock import Clock, SystemClock
from .core.states import RunState
from .hosting import Host
from .jobs.declaration import RecurringOptions, define
from .jobs.definition import JobDefinition, JobType
from .jobs.discovery import BrokenModule
from .jobs.registry import JobRef
from .node.alert_queue import Notify
from .node.node import Node
from .node.pruner import prune
from .operations import Call
from .schedules import parse_duration
from .settings import Settings
from .storage.audit import audit
from .storage.runs.values import NewRun
from .storage.transactions import Store

P = ParamSpec("P")
T = TypeVar("T")
Connection = AsyncConnection | AsyncSession


class Scheduler:
    """Everything that can be done with jobs and runs; every method may be awaited on any event loop.

    The work is done on a loop of its own, in a thread named ``targcc``, so a web server that is busy does not hold jobs up, nor
    the other way round.

    Args:
        settings: Default: from the environment and ``.env``.
        jobs_package: Where the jobs are. Default: what the settings say.
        container: Serves the constructors of jobs. Default: ``make_container()`` of the project's ``services.py``, if there is one.
        clock: Tells the time.
        notify: Is called with results and missed slots. Default: sends alerts.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        jobs_package: str | None = None,
        container: dishka.AsyncContainer | None = None,
        clock: Clock | None = None,
        notify: Notify | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        package = jobs_package or self.settings.jobs_package
        offers: dict[type, object] = {Scheduler: self}
        self._host = Host(
            self.settings, self.clock, package, offers=offers, container=container, notify=notify
        )
        self._registry = self._host.registry

    # What there is.

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """The jobs by name; the jobs package is imported at the first look."""
        return dict(self._registry.definitions)  # the registry's own may change meanwhile

    @property
    def broken(self) -> Sequence[BrokenModule]:
        """The job files that could not be used."""
        return self._registry.broken

    @property
    def store(self) -> Store:
        """The database, for use on the scheduler's loop only: see :meth:`call`."""
        return self._host.store

    @property
    def node(self) -> Node | None:
        """This process among the nodes; ``None`` while it neither works nor schedules."""
        return self._host.node

    def find(self, job: JobRef) -> JobDefinition:
        """A job by its name (in any case, with or without ``Job``), display name, class or function.

        Raises:
            UnknownJob: there is none.
        """
        return self._registry.find(job)

    def key_of(self, name: str) -> str:
        """The key of a job by any name that :meth:`find` takes; a name that is not in the code any more stays as it is."""
        return self._registry.key_of(name)

    def add_recurring(
        self,
        name: str,
        function: Callable[..., Any],
        cron: str | None = None,
        *,
        timezone: str | None = None,
        **options: Unpack[RecurringOptions],
    ) -> JobDefinition:
        """Register a recurring job that discovery cannot see; call it in each process, at any time.

        Args:
            name: Its stable key.
            function: What to do, or a job class.
            cron: A cron expression; or say ``every=`` or ``at=``.
            timezone: Default: the project's.
            options: See :class:`RecurringOptions`.

        Raises:
            JobError: the options contradict each other.
            ValueError: the name is taken.
        """
        definition = define(function, cron, name=name, timezone=timezone, **options)
        self._registry.add(definition)
        self._host.look_for_slots()
        return definition

    # Starting and stopping.

    async def start(
        self, *, work: bool = True, schedule: bool = True, queues: Sequence[str] | None = None
    ) -> None:
        """Bring the tables up to date and begin; starting twice does nothing.

        Args:
            work: Whether this process runs jobs.
            schedule: Whether it creates the runs of recurring jobs.
            queues: The queues it takes runs from. Default: all.
        """
        await self._host.start(work=work, schedule=schedule, queues=queues)

    async def stop(self) -> None:
        """Take nothing new, tell running jobs, wait the grace, hand the rest back; then close everything."""
        await self._host.stop()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the scheduler's loop, with the database open, and return its result."""
        return await self._host.call(coroutine)

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ``query`` finds in the scheduler's database."""
        return await self._host.read(query)

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do ``work`` in one transaction on the scheduler's database; an exception undoes it."""
        return await self._host.change(work)

    # Creating runs.

    async def enqueue(
        self,
        job: JobRef,
        /,
        *,
        connection: Connection | None = None,
        by: Actor = SYSTEM,
        queue: str | None = None,
        priority: int | None = None,
        **arguments: Any,
    ) -> int:
        """Run a job as soon as there is a worker; returns the run's id.

        Args:
            job: The job.
            connection: A connection or session of yours to the scheduler's database: the run exists once you commit.
            by: Who wants it.
            queue: Instead of the job's own.
            priority: Instead of the job's own.
            **arguments: What ``execute`` gets besides the context.

        Raises:
            UnknownJob: there is no such job.
            ArgumentsError: the arguments do not fit it.
        """
        run = self._new_run(
            job, JobType.FIRE_AND_FORGET, arguments, by, queue=queue, priority=priority
        )
        return await self._do(operations.create_run, connection, run)

    async def schedule(
        self,
        job: JobRef,
        /,
        *,
        delay: timedelta | str | None = None,
        at: datetime | None = None,
        connection: Connection | None = None,
        by: Actor = SYSTEM,
        queue: str | None = None,
        priority: int | None = None,
        **arguments: Any,
    ) -> int:
        """Run a job later; returns the run's id.

        Args:
            job: The job.
            delay: How much later, such as ``"15m"``.
            at: Or when; aware.
            connection: See :meth:`enqueue`, as for the next three.
            by: Who wants it.
            queue: Instead of the job's own.
            priority: Instead of the job's own.
            **arguments: What ``execute`` gets besides the context.

        Raises:
            ValueError: neither or both of ``delay`` and ``at`` are given, or ``at`` has no zone.
        """
        if (delay is None) == (at is None):
            raise ValueError("say either delay= or at=")
        if at is None:
            wait = parse_duration(delay) if isinstance(delay, str) else delay
            at = self.clock.now() + (wait or timedelta())
        if at.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {at!r}")
        run = self._new_run(
            job, JobType.DELAYED, arguments, by, queue=queue, priority=priority, due_at=at
        )
        return await self._do(operations.create_run, connection, run)

    async def trigger(
        self,
        name: JobRef,
        arguments: Mapping[str, Any] | None = None,
        *,
        by: Actor,
        connection: Connection | None = None,
    ) -> int:
        """Run a job now because somebody wants it; returns the run's id.

        Args:
            name: The job.
            arguments: What ``execute`` gets besides the context.
            by: Who wants it.
            connection: As :meth:`enqueue` has it, here and in the methods below: it is done once you commit.
        """
        run = self._new_run(name, JobType.MANUAL, arguments or {}, by)
        return await self._do(operations.trigger, connection, run, by)

    # Runs.

    async def cancel(
        self, run_id: int, *, by: Actor, connection: Connection | None = None
    ) -> RunState:
        """Cancel a run: at once if it waits, else its job is told, and stopped after a grace.

        Returns:
            ``cancelled``, or ``running`` if the job has been told.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is over.
        """
        state = await self._do(operations.cancel, connection, run_id, by)
        if state == RunState.RUNNING and connection is None:  # else a heartbeat sees the commit
            self._host.cancel(run_id, str(by))
        return state

    async def retry(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> int:
        """Do a run that is over again, as a new run; one that waits for its time is made due now.

        Returns:
            The id of the run that will do it.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is running or about to.
        """
        return await self._do(operations.retry, connection, run_id, by)

    async def delete(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> None:
        """Remove a run with its log and steps; its attempts stay in the history.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is running.
        """
        await self._do(operations.delete, connection, run_id, by)

    async def wait(
        self, run_id: int, timeout: float | None = None  # noqa: ASYNC109 - as asyncio has it
    ) -> RunState:
        """Wait until a run is over.

        Args:
            run_id: The run.
            timeout: Seconds.

        Raises:
            UnknownRun: there is none with this id.
            TimeoutError: it is not over yet.
        """
        return await operations.until_final(self.read, run_id, timeout)

    # Jobs and queues.

    async def pause(
        self,
        name: JobRef,
        *,
        by: Actor,
        reason: str | None = None,
        until: datetime | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Let the slots of a job pass silently, until an instant or until it is resumed; runs by hand still go."""
        job = self.find(name).name
        await self._do(operations.pause_job, connection, job, by, reason=reason, until=until)

    async def resume(
        self, name: JobRef, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Let a job run by its schedule again, from now on."""
        job = self.find(name).name
        await self._do(operations.resume_job, connection, job, by)

    async def pause_queue(
        self,
        name: str,
        *,
        by: Actor,
        reason: str | None = None,
        until: datetime | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Let no worker take runs from a queue, until an instant or until it is resumed."""
        await self._do(operations.pause_queue, connection, name, by, reason=reason, until=until)

    async def resume_queue(
        self, name: str, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Let workers take runs from a queue again."""
        await self._do(operations.resume_queue, connection, name, by)

    async def prune(
        self, *, days: int | None = None, keep_last: int | None = None, by: Actor = SYSTEM
    ) -> dict[str, int]:
        """Remove what ended long ago; returns how many ``runs``, ``attempts`` and ``audit`` rows went.

        Args:
            days: How old. Default: what the settings say, as for the next.
            keep_last: How many of each job stay whatever their age.
            by: Who wants it.
        """
        before = self.clock.now() - timedelta(days=days or self.settings.history_days)
        keep = self.settings.history_keep if keep_last is None else keep_last

        async def work() -> dict[str, int]:
            return await prune(self.store, before=before, keep_last=keep)

        removed = await self.call(work())
        detail = ", ".join(f"{count} {what}" for what, count in removed.items())
        now = self.clock.now()
        await self.change(lambda mine: audit(mine, by, "prune", now, detail=detail))
        return removed

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Inside.

    def _new_run(
        self, job: JobRef, kind: JobType, arguments: Mapping[str, Any], by: Actor, **options: Any
    ) -> NewRun:
        return operations.new_run(self.find(job), kind, arguments, by, self.clock.now(), **options)

    async def _do(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        theirs: Connection | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Part of the caller's transaction; or one of its own on the scheduler's loop, and then the engine looks for work."""
        if theirs is not None:
            await self.call(asyncio.sleep(0))  # the engine is open from here on
            mine = await theirs.connection() if isinstance(theirs, AsyncSession) else theirs
            return await operation(self._call(mine), *args, **kwargs)
        result = await self.change(lambda mine: operation(self._call(mine), *args, **kwargs))
        self._host.engine.wake()
        return result

    def _call(self, connection: AsyncConnection) -> Call:
        return Call(connection, self._host.engine, self.clock.now())
