"""The scheduler: the interface for applications, the dashboard, the API and the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from sqlalchemy.ext.asyncio import AsyncConnection

from . import operations
from .core.actor import SYSTEM, Actor, visibility
from .core.clock import Clock, DatabaseClock
from .core.states import RunState
from .db.transactions import Store
from .fake import RecordingHost
from .features.flows.actions import Flowing
from .features.flows.declared import FlowStarter
from .hosting import Connection, Host
from .kernel.alert_events import Notify
from .kernel.jobs.checks import JobFinding
from .kernel.jobs.declaration import RecurringOptions, define
from .kernel.jobs.definition import JobDefinition
from .kernel.jobs.discovery import BrokenModule
from .kernel.jobs.registry import Hooked, JobRef
from .kernel.jobs.tracing import TRACING
from .kernel.node.node import Node
from .kernel.node.pruner import Progress, Upkeep
from .kernel.runs.values import RunId
from .settings import Settings

if TYPE_CHECKING:
    import dishka

P = ParamSpec("P")
T = TypeVar("T")


class Scheduler(Flowing, Hooked):
    """Create, run, schedule and control jobs. Every method may be awaited on any event loop.

    The scheduler works on an event loop in a thread named ``targcc``: a busy web server does not delay jobs, and jobs do not delay
    the server.

    Args:
        settings: Default: read from the environment and ``.env``.
        jobs_package: Package with the job modules. Default: from the settings.
        container: Dishka container that provides the arguments for job constructors. Default: ``make_container()`` of the project's
            ``services.py``, if the project has one.
        clock: Source of the current time. Default: the database's clock.
        notify: Called with an event for each result and each missed slot, by the feature ``alerts``. Default: sends alerts.
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
        """Stores and loads the files of runs."""
        if self.settings.otel:
            TRACING.turn_on(self._registry.hooks)
        self.look_for_slots = self._host.look_for_slots
        """Make this node read all schedules again, such as after a change in the database. Call from any thread."""
        self.look_at_overrides = self._host.look_at_overrides
        """Make this process read the overrides of jobs now."""
        self.hold = self._host.hold
        """Claim no more runs; call before :meth:`stop`. With ``hurry=True``, ``stop`` does not wait for running jobs. Call from any thread."""

    # Jobs, database and node.

    @property
    def definitions(self) -> Mapping[str, JobDefinition]:
        """The jobs by name, limited to the jobs that the current user may see.

        The first access imports the jobs package.
        """
        every = dict(self._registry.definitions)  # a copy: the registry may change meanwhile
        allowed = visibility.get()
        if allowed is None:
            return every
        return {name: job for name, job in every.items() if name in allowed.seen}

    @property
    def broken(self) -> Sequence[BrokenModule]:
        """The job files that cannot be imported.

        Empty for a user who may see only some jobs: the jobs of a broken file are unknown.
        """
        return self._registry.broken if visibility.get() is None else ()

    def check_jobs(self) -> Sequence[JobFinding]:
        """Check the file, the schedule, the alerts and the constructor's services of each job. Start and open nothing.

        Returns:
            The findings, each with file, line, cause and advice; empty for a user who may see only some jobs.
        """
        return self._host.check_jobs() if visibility.get() is None else ()

    @property
    def findings(self) -> Sequence[JobFinding]:
        """The findings of :meth:`check_jobs` at the last start; empty for a user who may see only some jobs."""
        return self._host.findings if visibility.get() is None else ()

    def broken_file_of(self, name: str) -> BrokenModule | None:
        """Return the file that declares the job ``name`` and cannot be imported.

        Returns:
            The file; ``None`` if there is no such file, or if the current user may see only some jobs.
        """
        return self._registry.broken_file_of(name) if visibility.get() is None else None

    @property
    def store(self) -> Store:
        """The database, for use on the scheduler's loop only; see :meth:`call`.

        Raises:
            RuntimeError: the database is not open.
        """
        return self._host.store

    @property
    def node(self) -> Node | None:
        """This process as a node; ``None`` while the process neither runs nor schedules jobs."""
        return self._host.node

    def key_of(self, name: str) -> str:
        """Return the key of a job from any name that :meth:`find` accepts.

        A name that is no longer in the code, or that the current user may not see, is returned unchanged.
        """
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
        """Register a recurring job that discovery does not find.

        Call this in each process. A call is possible at any time, before or after :meth:`start`.

        Args:
            name: Stable key of the job.
            function: A function or a job class.
            cron: A cron expression. Alternatively, pass ``every=`` or ``at=``.
            timezone: Default: the project's timezone.
            options: See :class:`RecurringOptions`.

        Returns:
            The definition of the job.

        Raises:
            JobError: the options contradict each other.
            ValueError: another job has this name.
        """
        definition = define(function, cron, name=name, timezone=timezone, **options)
        self._registry.add(definition)
        self._host.look_for_slots()
        return definition

    # Starting and stopping.

    async def start(
        self, *, work: bool = True, schedule: bool = True, queues: Sequence[str] | None = None
    ) -> None:
        """Upgrade the tables and start this node. Starting a started scheduler does nothing.

        Args:
            work: Whether this process runs jobs.
            schedule: Whether this process creates the runs of recurring jobs.
            queues: Queues that this process claims runs from. Default: all queues.

        Raises:
            SchemaError: the tables do not fit this release.
        """
        await self._host.start(work=work, schedule=schedule, queues=queues)

    async def stop(self) -> None:
        """Stop this node and close all connections.

        The node claims no more runs, tells running jobs to stop, and waits for ``shutdown_grace`` seconds. Runs that have not ended by then go
        back to their queues.
        """
        await self._host.stop()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the scheduler's loop, with the database open, and return the result."""
        return await self._host.call(coroutine)

    def call_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine as :meth:`call` does, from a thread without an event loop."""
        return self._host.call_now(coroutine)

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of ``query``, called with a read-only connection.

        Raises:
            QueryTimeout: the query took longer than ``query_seconds``.
        """
        return await self._host.read(query)

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction on the scheduler's database and return the result.

        If the database rolls the transaction back because of a deadlock, ``work`` runs again. An exception rolls the transaction back.
        """
        return await self._host.change(work)

    # Runs.

    async def cancel(
        self, run_id: int, *, by: Actor, connection: Connection | None = None
    ) -> RunState:
        """Cancel a run.

        A run that has not started is cancelled at once. A running job is told to stop, and is stopped after ``cancel_grace`` seconds.

        Args:
            run_id: The run.
            by: The actor, for the audit.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.

        Returns:
            ``cancelled``; ``running`` if the job was told to stop.

        Raises:
            UnknownRun: no run has this id.
            RunStateError: the run is over.
        """
        state = await self.operate(operations.cancel, connection, run_id, by)
        if state == RunState.RUNNING and connection is None:  # else a heartbeat sees the commit
            self._host.cancel(run_id, str(by))
        return state

    async def retry(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> RunId:
        """Run a finished run again, as a new run. A scheduled or retrying run becomes due now instead.

        Args:
            run_id: The run.
            by: The actor, for the audit.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.

        Returns:
            The id of the run to be executed. For a ``unique`` job this may be an existing run.

        Raises:
            UnknownRun: no run has this id.
            RunStateError: the run is running, enqueued or awaiting; or the old server runs the job.
        """
        return await self.operate(operations.retry, connection, run_id, by, self.definitions)

    async def delete(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> None:
        """Delete a run with its log and steps. The attempts stay in the history.

        Args:
            run_id: The run.
            by: The actor, for the audit.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.

        Raises:
            UnknownRun: no run has this id.
            RunStateError: the run is running.
        """
        await self.operate(operations.delete, connection, run_id, by)

    async def wait(
        self, run_id: int, timeout: float | None = None  # noqa: ASYNC109 - as asyncio has it
    ) -> RunState:
        """Wait until a run is over.

        Args:
            run_id: The run.
            timeout: Seconds to wait. Default: no limit.

        Returns:
            The final state.

        Raises:
            UnknownRun: no run has this id.
            TimeoutError: the run is not over after ``timeout`` seconds.
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
        """Pause a job: its slots pass without runs and without a record. Runs that are enqueued or triggered still start.

        Args:
            name: The job.
            by: The actor, for the audit.
            reason: Shown with the pause.
            until: End of the pause. Default: until :meth:`resume`.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.

        Raises:
            UnknownJob: no job has this name.
            PauseError: ``until`` is in the past, or too far in the future.
        """
        job = self.find(name).name
        await self.operate(operations.pause_job, connection, job, by, reason=reason, until=until)

    async def resume(
        self, name: JobRef, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Resume a paused job; its schedule continues from now. Slots that passed during the pause stay without runs.

        Args:
            name: The job.
            by: The actor, for the audit.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.

        Raises:
            UnknownJob: no job has this name.
        """
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
        """Pause a queue: workers claim no runs from the queue.

        Args:
            name: The queue.
            by: The actor, for the audit.
            reason: Shown with the pause.
            until: End of the pause. Default: until :meth:`resume_queue`.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.

        Raises:
            PauseError: ``until`` is in the past, or too far in the future.
        """
        await self.operate(operations.pause_queue, connection, name, by, reason=reason, until=until)

    async def resume_queue(
        self, name: str, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Resume a paused queue.

        Args:
            name: The queue.
            by: The actor, for the audit.
            connection: The application's session or connection; see ``session`` in :meth:`enqueue`.
        """
        await self.operate(operations.resume_queue, connection, name, by)

    async def prune(
        self,
        *,
        days: int | None = None,
        keep_last: int | None = None,
        by: Actor = SYSTEM,
        progress: Progress | None = None,
    ) -> dict[str, int]:
        """Remove old runs, history, audit rows and statistics.

        Args:
            days: Age in days after which runs and their history are removed. Default: ``history_days`` in the settings.
            keep_last: Number of finished runs to keep for each job at any age. Default: ``history_keep`` in the settings.
            by: The actor, for the audit.
            progress: Called after each step, on the scheduler's loop, with the numbers of rows removed so far.

        Returns:
            Numbers of removed ``runs``, ``attempts``, ``audit`` and ``statistics`` rows.
        """
        upkeep = Upkeep(days=days, keep_last=keep_last, by=by, progress=progress)
        return await self._host.prune(upkeep)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


OFFERED = frozenset({Scheduler, FlowStarter})
"""The types that a scheduler itself provides to the constructors of jobs."""
