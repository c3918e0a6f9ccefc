# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The scheduler: what applications, the dashboard, the API and the command line talk to."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, Unpack

import dishka
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from . import project
from .actor import SYSTEM, Actor
from .alerts import AlertEvent, AlertSender
from .clock import Clock, SystemClock
from .cron import parse_duration
from .database import migrate
from .discovery import BrokenModule
from .engine import make_queue_engine
from .engine.port import Engine, Submission
from .hybrid import LegacyJobs
from .job import JobDefinition, JobType, RecurringOptions, define
from .loops import LoopThread
from .node import Node, Notify
from .registry import JobRef, JobRegistry, UnknownJob
from .running import JobThread
from .settings import Settings
from .states import FINAL, RunState
from .store import Store, control, runs, slots
from .store.runs import NewRun, RunStateError, UnknownRun
from .upkeep import prune

__all__ = ["RunStateError", "Scheduler", "UnknownJob", "UnknownRun"]

T = TypeVar("T")
Connection = AsyncConnection | AsyncSession

log = logging.getLogger(__name__)


class Scheduler:
    """Everything that can be done with jobs and runs; every method may be awaited on any event loop.

    The work is done on a loop of its own, in a thread named ``targcc``, so a web server that is busy does not hold jobs up, nor
    the other way round.

    Args:
        settings: Default: from the environment and ``.env``.
        jobs_package: Where the jobs are. Default: what the settings say.
        container: Serves the constructors of jobs. Default: ``make_container()`` of the project's ``services.py``, if there is one.
        clock: Tells the time.
        notify: Hears of results and missed slots. Default: mail, Slack and Teams.
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
        self._legacy = LegacyJobs(self.settings) if self.settings.legacy_url else None
        self._registry = JobRegistry(
            jobs_package or self.settings.jobs_package, self._legacy.fill if self._legacy else None
        )
        self._container = container
        self._notify = notify
        self._lock = threading.Lock()
        self._home: LoopThread | None = None
        self._store: Store | None = None
        self._engine: Engine | None = None
        self._following: asyncio.Task[None] | None = None
        self.node: Node | None = None

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
        """The database, for use on the home loop only: see :meth:`call`."""
        if self._store is None:
            raise RuntimeError(
                "the scheduler's database is open while it is started, or within call()"
            )
        return self._store

    def find(self, job: JobRef) -> JobDefinition:
        """A job by its name (in any case, with or without ``Job``), display name, class or function.

        Raises:
            UnknownJob: there is none.
        """
        return self._registry.find(job)

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
        home, node = self._home, self.node
        if home is not None and node is not None and node.slots is not None:
            home.loop.call_soon_threadsafe(node.slots.wake)
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
        definitions = await asyncio.to_thread(lambda: self._registry.definitions)
        if self.settings.migrate_on_start:
            url, directory = self.settings.database_url, self.settings.migrations_dir
            await asyncio.to_thread(migrate, url, directory=directory)
        await self.call(self._start(definitions, work, schedule, queues))

    async def stop(self) -> None:
        """Take nothing new, tell running jobs, wait the grace, hand the rest back; then close everything."""
        home = self._home
        if home is not None:
            await home.call(self._stop())
            await asyncio.to_thread(home.stop)
            self._home = None
        if self._legacy is not None:
            self._legacy.close()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the home loop, such as a query against ``store.engine``, and return its result."""
        home = self._open_home()
        return await home.call(self._opened(coroutine))

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
            self.find(job), JobType.FIRE_AND_FORGET, arguments, by, queue=queue, priority=priority
        )
        return await self._create(run, connection)

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
            connection: See :meth:`enqueue`.
            by: See there.
            queue: See there.
            priority: See there.
            **arguments: See there.

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
        definition = self.find(job)
        run = self._new_run(
            definition, JobType.DELAYED, arguments, by, queue=queue, priority=priority, due_at=at
        )
        return await self._create(run, connection)

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
        definition = self.find(name)
        run = self._new_run(definition, JobType.MANUAL, arguments or {}, by)

        async def work(connection: AsyncConnection, now: datetime) -> int:
            run_id = await self._insert(connection, run, now)
            await control.audit(
                connection, by, "trigger", now, job_name=definition.name, run_id=run_id
            )
            return run_id

        return await self._change(work, connection)

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

        async def work(connection: AsyncConnection, now: datetime) -> RunState:
            state = await runs.cancel(connection, run_id, str(by), now)
            await self._engine_or_fail.withdraw(connection, [run_id])
            await control.audit(connection, by, "cancel", now, run_id=run_id)
            return state

        state = await self._change(work, connection)
        if state == RunState.RUNNING and connection is None:  # else a heartbeat sees the commit
            self._cancel_here(run_id, by)
        return state

    async def retry(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> int:
        """Do a run that is over again, as a new run; one that waits for its time is made due now.

        Returns:
            The id of the run that will do it.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is running or about to.
        """

        async def work(connection: AsyncConnection, now: datetime) -> int:
            await control.audit(connection, by, "retry", now, run_id=run_id)
            if await runs.hurry(connection, run_id, str(by), now):
                queue, priority, due_at = await runs.find_submission(connection, run_id)
                submission = Submission(run_id, queue, priority, due_at)
                await self._engine_or_fail.submit(connection, [submission])
                return run_id
            again = await runs.again(connection, run_id, str(by), now)
            return await self._insert(connection, again, now)

        return await self._change(work, connection)

    async def delete(self, run_id: int, *, by: Actor, connection: Connection | None = None) -> None:
        """Remove a run with its log and steps; its attempts stay in the history.

        Raises:
            UnknownRun: there is none with this id.
            RunStateError: it is running.
        """

        async def work(connection: AsyncConnection, now: datetime) -> None:
            name = await runs.delete(connection, run_id)
            await self._engine_or_fail.withdraw(connection, [run_id])
            await control.audit(connection, by, "delete", now, job_name=name, run_id=run_id)

        await self._change(work, connection)

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
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.01
        while (state := await self.call(self._state(run_id))) not in FINAL:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"run {run_id} is still {state} after {timeout:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return state

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

        async def work(connection: AsyncConnection, now: datetime) -> None:
            await control.pause_job(connection, job, by, now, reason=reason, until=until)
            detail = _pause_detail(reason, until)
            await control.audit(connection, by, "pause", now, job_name=job, detail=detail)

        await self._change(work, connection)

    async def resume(
        self, name: JobRef, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Let a job run by its schedule again, from now on."""
        job = self.find(name).name

        async def work(connection: AsyncConnection, now: datetime) -> None:
            await control.resume_job(connection, job, now)
            await control.audit(connection, by, "resume", now, job_name=job)

        await self._change(work, connection)

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

        async def work(connection: AsyncConnection, now: datetime) -> None:
            await control.pause_queue(connection, name, by, now, reason=reason, until=until)
            detail = _pause_detail(reason, until, f"queue {name}")
            await control.audit(connection, by, "pause queue", now, detail=detail)

        await self._change(work, connection)

    async def resume_queue(
        self, name: str, *, by: Actor, connection: Connection | None = None
    ) -> None:
        """Let workers take runs from a queue again."""

        async def work(connection: AsyncConnection, now: datetime) -> None:
            await control.resume_queue(connection, name)
            await self._engine_or_fail.release(connection, queue=name)
            await control.audit(connection, by, "resume queue", now, detail=f"queue {name}")

        await self._change(work, connection)

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

        async def note(connection: AsyncConnection, now: datetime) -> None:
            detail = ", ".join(f"{count} {what}" for what, count in removed.items())
            await control.audit(connection, by, "prune", now, detail=detail)

        await self._change(note)
        return removed

    # Inside.

    @property
    def _engine_or_fail(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the scheduler is not open")
        return self._engine

    def _open_home(self) -> LoopThread:
        with self._lock:
            if self._home is None:
                self._home = LoopThread("targcc")
                self._home.start()
            return self._home

    async def _opened(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._store is None:
            self._store = Store(self.settings.database_url)
            self._engine = make_queue_engine(self.settings, self.clock, self._store.engine)
            await self._engine.open()
        return await coroutine

    async def _start(
        self,
        definitions: Mapping[str, JobDefinition],
        work: bool,  # noqa: FBT001 - passed on from start(), where it has a name
        schedule: bool,  # noqa: FBT001 - the same
        queues: Sequence[str] | None,
    ) -> None:
        if self._legacy is not None and self._following is None:
            self._following = asyncio.create_task(
                self._legacy.follow(self._registry, self._legacy_changed), name="targcc legacy"
            )
        if self.node is not None or not (work or schedule):
            return
        home = self._open_home()
        node = Node(
            self.store,
            self._engine_or_fail,
            definitions,
            self.settings,
            self.clock,
            home=home,
            jobs=JobThread(self._services, offers={Scheduler: self}) if work else None,
            queues=self._workers(queues),
            schedule=schedule,
            look_again=self._registry.look_again,
            notify=self._notify or self._sender(),
        )
        await node.start()
        self.node = node

    async def _legacy_changed(self, resting: set[str]) -> None:
        """Schedules that rest forget how far they came: one that comes back starts from then."""
        async with self.store.write() as connection:
            await slots.forget(connection, resting)
        if self.node is not None and self.node.slots is not None:
            self.node.slots.wake()

    async def _stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        node, self.node = self.node, None
        if node is not None:
            await node.stop()
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
        store, self._store = self._store, None
        if store is not None:
            await store.dispose()

    def _sender(self) -> Callable[[AlertEvent], Coroutine[Any, Any, None]]:
        sender = AlertSender(self.store.engine, self.settings, self.clock)

        async def send(event: AlertEvent) -> None:
            await sender(event)

        return send

    def _services(self) -> dishka.AsyncContainer | None:
        if self._container is not None:
            return self._container
        name = f"{project.PACKAGE}.services"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in {name, project.PACKAGE}:
                raise
            return None
        make: Callable[[], dishka.AsyncContainer] | None = getattr(module, "make_container", None)
        return make() if make is not None else None

    def _workers(self, wanted: Sequence[str] | None) -> dict[str, int]:
        """How many runs at a time from each queue; one that only a job names gets one worker."""
        workers = {item.queue: 1 for item in self._registry.definitions.values()} | project.QUEUES
        if wanted is None:
            return workers
        return {name: workers.get(name, 1) for name in wanted}

    def _new_run(
        self,
        definition: JobDefinition,
        job_type: JobType,
        arguments: Mapping[str, Any],
        by: Actor,
        *,
        queue: str | None = None,
        priority: int | None = None,
        due_at: datetime | None = None,
    ) -> NewRun:
        now = self.clock.now()
        later = due_at is not None and due_at > now
        return NewRun(
            job_name=definition.name,
            job_type=job_type,
            queue=queue or definition.queue,
            priority=definition.priority if priority is None else priority,
            arguments_json=definition.signature.check(arguments),
            due_at=due_at or now,
            triggered_by=str(by),
            state=RunState.SCHEDULED if later else RunState.ENQUEUED,
            note=f"by {by}",
        )

    async def _insert(self, connection: AsyncConnection, run: NewRun, now: datetime) -> int:
        run_id = await runs.insert(connection, run, now)
        submission = Submission(run_id, run.queue, run.priority, run.due_at)
        await self._engine_or_fail.submit(connection, [submission])
        return run_id

    async def _create(self, run: NewRun, connection: Connection | None) -> int:
        return await self._change(lambda mine, now: self._insert(mine, run, now), connection)

    def _cancel_here(self, run_id: int, by: Actor) -> None:
        """Tell a job of this process at once, without waiting for the heartbeat."""
        if self.node is not None and self.node.executor is not None:
            self._open_home().loop.call_soon_threadsafe(self.node.executor.cancel, run_id, str(by))

    async def _change(
        self,
        work: Callable[[AsyncConnection, datetime], Coroutine[Any, Any, T]],
        theirs: Connection | None = None,
    ) -> T:
        """Part of the caller's transaction; or one of its own on the home loop, and then the engine looks for work."""
        if theirs is not None:
            await self.call(_nothing())  # the engine is open from here on
            mine = await theirs.connection() if isinstance(theirs, AsyncSession) else theirs
            return await work(mine, self.clock.now())

        async def transaction() -> T:
            async with self.store.write() as connection:
                result = await work(connection, self.clock.now())
            self._engine_or_fail.wake()
            return result

        return await self.call(transaction())

    async def _state(self, run_id: int) -> RunState:
        async with self.store.read() as connection:
            return await runs.state_of(connection, run_id)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def _nothing() -> None:
    """See :meth:`Scheduler._change`."""


def _pause_detail(reason: str | None, until: datetime | None, what: str = "") -> str | None:
    parts = [what, reason or "", f"until {until.isoformat(timespec='seconds')}" if until else ""]
    return "; ".join(filter(None, parts)) or None
