"""The scheduler: what applications, the dashboard, the API and the command line talk to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, ParamSpec, Self, TypeVar, Unpack

import dishka
from sqlalchemy.ext.asyncio import AsyncConnection

from . import operations
from .core.actor import SYSTEM, Actor
from .core.clock import Clock, DatabaseClock
from .core.job_scope import visibility
from .core.states import RunState
from .db.transactions import Store
from .fake import RecordingHost
from .features.alerts.loops import Notify
from .features.flows.actions import Flowing
from .features.flows.declared import FlowStarter
from .hosting import Connection, Host
from .kernel.jobs.declaration import RecurringOptions, define
from .kernel.jobs.definition import JobDefinition
from .kernel.jobs.discovery import BrokenModule
from .kernel.jobs.registry import Hooked, JobRef
from .kernel.jobs.tracing import TRACING
from .kernel.node.node import Node
from .kernel.node.pruner import Progress, Upkeep
from .kernel.runs.values import RunId
from .settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


class Scheduler(Flowing, Hooked):
    """Everything that can be done with jobs and runs; every method may be awaited on any event loop.

    The work is done on a loop in a thread named ``targcc``: a busy web server does not hold jobs up, nor the other way round.

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
        self.clock = clock or DatabaseClock()
        package = jobs_package or self.settings.jobs_package
        offers: dict[type, object] = {Scheduler: self, FlowStarter: self}
        is_off = self.settings.effective_mode == "off"
        self._host = (RecordingHost if is_off else Host)(
            self.settings, self.clock, package, offers=offers, container=container, notify=notify
        )
        self._registry = self._host.registry
        self.keeper = self._host.keeper
        """Knows where the files of runs are kept."""
        if self.settings.otel:
            TRACING.turn_on(self._registry.hooks)
        self.look_for_slots = self._host.look_for_slots
        """Let this node look at all schedules again, as when one has changed in the database. From any thread."""
        self.look_at_overrides = self._host.look_at_overrides
        """Let this process see at once what has been changed of jobs."""
        self.hold = self._host.hold
        """Take no more runs, as :meth:`stop` is about to follow; with ``hurry=True`` that waits for none that run. From any thread."""

    # What there is.

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """The jobs by name, of those that may be seen; the jobs package is imported at the first look."""
        every = dict(self._registry.definitions)  # the registry's own may change meanwhile
        allowed = visibility.get()
        if allowed is None:
            return every
        return {name: job for name, job in every.items() if name in allowed.seen}

    @property
    def broken(self) -> Sequence[BrokenModule]:
        """The job files that could not be used; whose they would be is not known, so nobody sees them who sees some jobs only."""
        return self._registry.broken if visibility.get() is None else ()

    def broken_file_of(self, name: str) -> BrokenModule | None:
        """Return the file that declares a job of this name and cannot be imported; ``None`` for who sees some jobs only."""
        return self._registry.broken_file_of(name) if visibility.get() is None else None

    @property
    def store(self) -> Store:
        """The database, for use on the scheduler's loop only: see :meth:`call`."""
        return self._host.store

    @property
    def node(self) -> Node | None:
        """This process among the nodes; ``None`` while it neither works nor schedules."""
        return self._host.node

    def key_of(self, name: str) -> str:
        """The key of a job by any name that :meth:`find` takes; a name that is not in the code any more, or hidden, stays as it is."""
        key, allowed = self._registry.key_of(name), visibility.get()
        return key if allowed is None or key in allowed.seen else name

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

    def call_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """As :meth:`call`, from a thread without an event loop."""
        return self._host.call_now(coroutine)

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ``query`` finds, on a connection that cannot write; ``QueryTimeout`` after ``query_seconds``."""
        return await self._host.read(query)

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do ``work`` in one transaction on the scheduler's database, again if that undid it for another one; an exception undoes it."""
        return await self._host.change(work)

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
        state = await self.operate(operations.cancel, connection, run_id, by)
        if state == RunState.RUNNING and connection is None:  # else a heartbeat sees the commit
            self._host.cancel(run_id, str(by))
        return state

    async def retry(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> RunId:
        """Do a run that is over again, as a new run; one that waits for its time is made due now.

        Returns:
            The id of the run that will do it; of a job that is ``unique``, it may be one that is there already.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is running or about to.
        """
        return await self.operate(operations.retry, connection, run_id, by, self.definitions)

    async def delete(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> None:
        """Remove a run with its log and steps; its attempts stay in the history.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is running.
        """
        await self.operate(operations.delete, connection, run_id, by)

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
        return await self._host.wait(run_id, timeout)

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
        await self.operate(operations.pause_job, connection, job, by, reason=reason, until=until)

    async def resume(
        self, name: JobRef, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Let a job run by its schedule again, from now on."""
        job = self.find(name).name
        await self.operate(operations.resume_job, connection, job, by)

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
        await self.operate(operations.pause_queue, connection, name, by, reason=reason, until=until)

    async def resume_queue(
        self, name: str, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Let workers take runs from a queue again."""
        await self.operate(operations.resume_queue, connection, name, by)

    async def prune(
        self,
        *,
        days: int | None = None,
        keep_last: int | None = None,
        by: Actor = SYSTEM,
        progress: Progress | None = None,
    ) -> dict[str, int]:
        """Remove what ended long ago; returns how many ``runs``, ``attempts``, ``audit`` and ``statistics`` rows went.

        Args:
            days: How old. Default: what the settings say, as for the next.
            keep_last: How many of each job stay whatever their age.
            by: Who wants it.
            progress: Hears how many have gone so far, on the scheduler's loop.
        """
        wanted = Upkeep(days=days, keep_last=keep_last, by=by, progress=progress)
        return await self._host.prune(wanted)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
