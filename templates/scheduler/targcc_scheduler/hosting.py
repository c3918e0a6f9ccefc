"""The scheduler within its process: open and close the event loop, the database, the engine and the node."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from .core.clock import Clock, DatabaseClock, uptime
from .core.errors import ExtraMissing
from .core.languages import for_nobody
from .core.loop_thread import LoopOnDemand
from .core.masking import KNOWN, mask
from .core.pools import Workers, workers_of
from .core.secrets import SEALS
from .core.states import RunState
from .db.caller_database import Home
from .db.caller_transaction import borrowed, finish
from .db.migrations.upgrade import refuse_newer
from .db.reader import Reader
from .db.transactions import Store
from .kernel.alert_events import AlertEvents, Notify, node_event
from .kernel.blobs import ContentKeeper
from .kernel.engine.factory import make_queue_engine
from .kernel.engine.port import Engine, Submission
from .kernel.engine.submit import stands_alone
from .kernel.feature import ExternalJobs, JobChanger, JobChanges, JobFollower, parts
from .kernel.jobs.checks import JobFinding, MakeContainer, broken_of, check_jobs
from .kernel.jobs.definition import JobDefinition
from .kernel.jobs.registry import JobRegistry
from .kernel.node import slots
from .kernel.node.node import Node
from .kernel.node.nodes import host_name
from .kernel.node.pruner import Upkeep, upkeep
from .kernel.queries.models import Attempt
from .kernel.queries.system import ended_since
from .kernel.runs.values import NewRun, RunId
from .kernel.worker.node_services import NodeServices
from .kernel.worker.processes import ProcessPool, ProcessSetup
from .kernel.worker.runner import JobLoop
from .operations import Call, create_run, run_asked, until_final, within
from .project import current
from .schema_setup import prepare
from .services.container import project_services
from .settings import Settings

if TYPE_CHECKING:
    import dishka

log = logging.getLogger("targcc")
P = ParamSpec("P")
T = TypeVar("T")
Connection = Any
"""A session or connection of the application: SQLAlchemy (async or sync), Django, psycopg or sqlite3."""
_AT_ONCE_SECONDS = 0.1
"""Interval at which a run is created on the scheduler's loop, which reads overrides and writes checkpoints; meanwhile in the calling thread."""
_PREPARING_SECONDS = 60
"""Longest wait of a call for a start that still creates or upgrades the tables."""
_CLOCK_READ_SECONDS = 60
"""Interval at which a process without a node reads the database's clock."""


class Host:
    """Opens for a :class:`Scheduler` an event loop in a thread named ``targcc``, the database, the engine and the node.

    Args:
        settings: Settings with the database URL.
        clock: Source of the current time.
        jobs_package: Package with the job modules.
        offers: Objects by type for job constructors, besides the project's services.
        container: Dishka container that provides the arguments for job constructors. Default: ``make_container()`` of the project's
            ``services.py``, if the project has one.
        notify: Called with an event for each result and each missed slot, by the feature ``alerts``. Default: sends alerts.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        jobs_package: str,
        *,
        offers: Mapping[type, object],
        container: dishka.AsyncContainer | None,
        notify: Notify | None,
    ) -> None:
        self._external: dict[str, JobFollower] = {
            feature.name: follower
            for feature, part in parts(ExternalJobs)
            if (follower := feature.load(part)(settings, clock)) is not None
        }
        self._jobs_package = jobs_package
        self.registry = JobRegistry(jobs_package, self._fill)
        self.node: Node | None = None
        self._offers = offers
        self._settings = settings
        self.clock = clock
        self._changers: dict[str, JobChanger] = {
            feature.name: feature.load(part)(self.registry, clock)
            for feature, part in parts(JobChanges)
        }
        for changer in self._changers.values():
            changer.changed = self.look_for_slots
        self._container = container
        self._notify = notify
        self.keeper = ContentKeeper(settings)
        self._reader = Reader(settings.database_url, limit=settings.query_seconds)
        self._loop = LoopOnDemand("targcc")
        self._store: Store | None = None
        self._engine: Engine | None = None
        self._following: list[asyncio.Task[None]] = []
        self._clock_read = float("-inf")
        self._opened_at = float("-inf")
        self._opening = asyncio.Lock()
        self._preparing: Future[None] | None = None
        self._told = ""
        self._home = Home(settings.database_url)
        self.findings: list[JobFinding] = []
        """The findings about jobs at the last start."""

    @property
    def store(self) -> Store:
        """The database, for use on the scheduler's loop only; see :meth:`call`.

        Raises:
            RuntimeError: the database is not open.
        """
        if self._store is None:
            raise RuntimeError(
                "the scheduler's database is open while it is started, or within call()"
            )
        return self._store

    @property
    def engine(self) -> Engine:
        """The engine.

        Raises:
            RuntimeError: the engine is not open.
        """
        if self._engine is None:
            raise RuntimeError("the scheduler is not open")
        return self._engine

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the scheduler's loop, with database and engine open, and return the result."""
        return await self._loop.open().call(self._opened(coroutine))

    async def now(self) -> datetime:
        """Return the current time; open the database first, so that the clock follows the database's clock."""
        if self._store is None:
            await self.call(asyncio.sleep(0))
        return self.clock.now()

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of ``query``, on a read-only connection that is separate from the scheduler's own.

        Raises:
            DatabaseReplaced: the database is not the one that was opened.
        """
        if self._store is None:  # opening checks that the tables fit this release
            await self._loop.open().call(self._opened(asyncio.sleep(0), waits=False))
        if self._store is not None:  # open connections could still read a deleted file
            self._store.watch.check()
        return await self._reader.read(query)

    async def wait(
        self, run_id: int, timeout: float | None  # noqa: ASYNC109 - as asyncio has it
    ) -> RunState:
        """Wait until a run is over and return its state."""
        return await until_final(self.read, run_id, timeout)

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, again if the database rolls back a deadlock; an exception rolls the transaction back."""

        async def transaction() -> T:
            return await self.store.change(work)

        return await self.call(transaction())

    async def operate(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        caller: Connection | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run an operation of :mod:`.operations` in one transaction.

        Args:
            operation: The operation.
            caller: The caller's session or connection, whose owner commits. ``None``: use a transaction of the scheduler, then wake the engine.
            *args: Arguments of the operation.
            **kwargs: Keyword arguments of the operation.

        Returns:
            The result of the operation.
        """
        if caller is not None:
            await self._look()  # the engine is open from here on
            return await self.operate_within(operation, caller, *args, **kwargs)
        result = await self.change(lambda mine: operation(self._call(mine), *args, **kwargs))
        self.engine.wake()
        return result

    async def create_run(self, caller: Connection | None, run: NewRun) -> RunId:
        """Create a run as :meth:`operate` does; a run that stands alone by the engine's own statement, if the engine has one."""
        run_id = None
        if stands_alone(run):
            run_id = await (
                self._create_alone(run) if caller is None else self._create_within(caller, run)
            )
        return await self.operate(create_run, caller, run) if run_id is None else run_id

    async def _create_alone(self, run: NewRun) -> RunId:
        """Create a run where the engine takes the least time: in the calling thread, on the calling loop, else on the scheduler's loop."""
        run_id = self._create_at_once(run)
        if run_id is not None:
            await asyncio.sleep(0)  # the caller's other tasks run, as during a call of another loop
        elif (run_id := await self._create_here(run)) is None:
            run_id = await self.call(self._create_on_loop(run))
        self.engine.wake()
        return run_id

    async def _create_within(self, caller: Connection, run: NewRun) -> RunId | None:
        """Create a run by one statement of the caller's transaction; ``None`` if the engine has no statement for the caller's driver."""
        await self._look()
        with for_nobody():
            async with borrowed(caller) as connection, self._home.writing(connection):
                return await self.engine.create_within(connection, run)

    async def _look(self) -> None:
        """Open the database, or look at it again if the last look is some time ago."""
        if self._fresh_store is None:
            await self.call(asyncio.sleep(0))

    @property
    def _fresh_store(self) -> Store | None:
        """The open database; ``None`` where the scheduler's loop has to open the database, or to look at it again."""
        return self._store if uptime() - self._opened_at <= _AT_ONCE_SECONDS else None

    def _create_at_once(self, run: NewRun) -> RunId | None:
        """Create a run in the calling thread if the engine can and :attr:`_fresh_store` is there."""
        if (store := self._fresh_store) is None:
            return None
        with for_nobody():
            return self.engine.create_at_once(store, run)

    async def _create_here(self, run: NewRun) -> RunId | None:
        """Do as :meth:`_create_at_once` on the calling loop, unless that is the scheduler's loop."""
        store, thread = self._fresh_store, self._loop.started
        if store is None or thread is None or asyncio.get_running_loop() is thread.loop:
            return None
        with for_nobody():
            return await self.engine.create_here(store, run)

    async def _create_on_loop(self, run: NewRun) -> RunId:
        run_id = await self.engine.create(self.store, run)
        if run_id is not None:
            return run_id
        return await self.store.change(lambda mine: create_run(self._call(mine), run))

    async def operate_within(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        caller: Any,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run an operation of :mod:`.operations` in the caller's transaction; engine and database must be open."""
        return await within(
            caller,
            lambda call: operation(call, *args, **kwargs),
            call_on=self._call,
            submit=lambda waiting: self._loop.open().submit(self._submit(waiting)),
            home=self._home,
        )

    async def _submit(self, waiting: Sequence[Submission]) -> None:
        async with self.store.write() as connection:
            await self.engine.submit(connection, waiting)

    def open_now(self) -> None:
        """Open database and engine, from a thread without an event loop."""
        self._loop.open().call_sync(self._opened(asyncio.sleep(0)))

    def call_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the scheduler's loop, from a thread without an event loop."""
        return self._loop.open().call_sync(self._opened(coroutine))

    def finish_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that does not suspend, in the calling thread."""
        return finish(coroutine)

    def _call(self, connection: AsyncConnection) -> Call:
        return Call(connection, self.engine, self.clock.now())

    async def prune(self, wanted: Upkeep) -> dict[str, int]:
        """Remove old rows; return the number of removed rows by kind."""

        async def work() -> dict[str, int]:
            return await upkeep(self.store, self._settings, self.clock.now(), wanted)

        return await self.call(work())

    def _fill(self, registry: JobRegistry) -> None:
        for follower in self._external.values():
            follower.fill(registry)

    async def look_at_overrides(self) -> None:
        """Read the overrides of jobs now."""

        async def look() -> None:
            for changer in self._changers.values():
                await changer.look(self.store, ends=self.node is not None)

        await self.call(look())

    def look_for_slots(self) -> None:
        """Make the node read registered jobs and schedules again. Call from any thread."""
        if self.node is None:
            return
        loop = self._loop.open().loop
        loop.call_soon_threadsafe(self.node.releases.wake)
        if self.node.slots is not None:
            loop.call_soon_threadsafe(self.node.slots.wake)

    def cancel(self, run_id: int, by: str) -> None:
        """Cancel a job that runs in this process at once, before the next heartbeat. Call from any thread."""
        if self.node is not None and self.node.executor is not None:
            self._loop.open().loop.call_soon_threadsafe(self.node.executor.cancel, run_id, by)

    def hold(self, *, hurry: bool = False) -> None:
        """Let the node claim no more runs, or with ``hurry`` skip the grace. Call from any thread or from a signal handler."""
        thread = self._loop.started
        if self.node is not None and thread is not None:
            act = self.node.hurry if hurry else self.node.hold
            thread.loop.call_soon_threadsafe(act)

    async def start(self, *, work: bool, schedule: bool, queues: Sequence[str] | None) -> None:
        """Upgrade the tables, follow jobs defined in the old server's database, and start the node.

        Raises:
            ExtraMissing: a setting needs packages that are not installed.
        """
        self._require_extras()
        preparing = self._preparing = Future[None]()
        try:
            await asyncio.to_thread(prepare, self._settings)
        finally:
            self._preparing = None
            preparing.set_result(None)
        definitions = await asyncio.to_thread(lambda: self.registry.definitions)
        await self.call(self._start(definitions, work=work, schedule=schedule, queues=queues))

    async def _start(
        self,
        definitions: Mapping[str, JobDefinition],
        *,
        work: bool,
        schedule: bool,
        queues: Sequence[str] | None,
    ) -> None:
        if not self._following:
            for name, changer in self._changers.items():
                self._follow(name, changer.run(self.store, ends=lambda: self.node is not None))
            for name, follower in self._external.items():
                follow = follower.follow(
                    self.registry, self._forget_slots, self._run_asked, self._ended_since
                )
                self._follow(name, follow)
        if self.node is not None:
            return
        if not (work or schedule):
            self._report_checks(self._services)
            return
        events = AlertEvents()
        services = NodeServices(
            self.store, self.engine, self.clock, self._settings, events, self.registry.hooks
        )
        jobs = self._job_loop() if work else None
        make_container = self._services if jobs is None else lambda: jobs.container
        node = Node(
            services,
            definitions,
            alert_events=events,
            notify=self._notify,
            loop=self._loop.open(),
            jobs=jobs,
            processes=ProcessPool(f"{__package__}.worker_process", self._process_setup()),
            workers=self._workers(queues),
            queue_limits=current().queue_limits,
            schedule=schedule,
            own=lambda: self.registry.own,
            look_again=partial(self._look_for_files, make_container),
            changers=tuple(self._changers.values()),
        )
        try:
            await node.start()
        except Exception as error:
            message = f"a node did not start: {type(error).__name__}: {error}"
            await node.abandon()
            if message != self._told:  # a host retries: alert once
                self._told = message
                events(node_event(mask(message), server=host_name()))
                await node.send_rest()
            raise
        self.node, self._told = node, ""
        self._report_checks(make_container)

    def check_jobs(self, make_container: MakeContainer | None = None) -> list[JobFinding]:
        """Check the jobs in the code; see :func:`~.kernel.jobs.checks.check_jobs`."""
        self.registry.report_failing(())
        findings = check_jobs(
            self.registry,
            self._settings,
            offers=self._offers.keys(),
            make_container=make_container or self._services,
        )
        self.registry.report_failing(broken_of(findings))
        return findings

    def _look_for_files(self, make_container: MakeContainer) -> None:
        """Import job files that were added since the start, and check the jobs as at the start."""
        known = {job.name for job in self.registry.own}
        self.registry.look_again()
        if any(job.name not in known for job in self.registry.own):
            self._report_checks(make_container, told=self.findings)

    def _report_checks(
        self, make_container: MakeContainer, told: Collection[JobFinding] = ()
    ) -> None:
        """Check the jobs and log findings that ``told`` lacks; an error of a check keeps no node from working."""
        try:
            self.findings = self.check_jobs(make_container)
        except Exception:
            log.exception("the jobs could not be checked")
        for item in self.findings:
            if item.job is not None and item not in told:
                log.log(logging.ERROR if item.fails else logging.WARNING, "%s", item)

    def _follow(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._following.append(asyncio.create_task(work, name=f"targcc {name}"))

    def _job_loop(self) -> JobLoop:
        offers, meter = dict(self._offers), self._settings.cpu_meter
        return JobLoop(self._services, offers=offers, cpu_meter=meter)

    async def stop(self) -> None:
        """Stop the node, close engine and database, and end the loop."""
        await self._loop.stop(self._close)
        self._opening = asyncio.Lock()  # the old lock belonged to the ended loop
        await self._reader.close()
        for follower in self._external.values():
            follower.close()

    async def _opened(self, coroutine: Coroutine[Any, Any, T], *, waits: bool = True) -> T:
        """Open database and engine, then await ``coroutine``.

        While a start of this process creates or upgrades the tables, wait for that start, for at most ``_PREPARING_SECONDS``: a host serves
        requests before a long start is over. With ``waits=False``, as for a page that says so, do not wait.
        """
        with for_nobody():  # stored texts are English, not in a reader's language
            try:
                if waits and (preparing := self._preparing) is not None:
                    await asyncio.wait({asyncio.wrap_future(preparing)}, timeout=_PREPARING_SECONDS)
                # The lock: a failed opening closes only its own store and engine.
                async with self._opening:
                    await self._open()
            except BaseException:
                coroutine.close()
                raise
            return await coroutine

    def _require_extras(self) -> None:
        if missing := self._settings.missing_extra:
            raise ExtraMissing(missing)

    async def _open(self) -> None:
        if self._store is None:
            self._require_extras()
            store = Store(self._settings.database_url, self._settings.pool_size)
            engine = make_queue_engine(
                self._settings, self.clock, store.engine, current().queue_aging
            )
            store.fence = engine.fence
            try:
                async with store.read() as connection:
                    await connection.run_sync(refuse_newer)
                    await self._read_clock(store, connection)
                await engine.open()
                await self._look_again(store)
            except BaseException:
                await engine.close()
                await store.dispose()
                raise
            # Only now, and the engine first: other threads create runs as soon as they see the database.
            self._engine = engine
            self._store = store
        elif self.node is None:
            await self._look_again(self._store)
            if uptime() - self._clock_read > _CLOCK_READ_SECONDS:
                async with self._store.read() as connection:
                    await self._read_clock(self._store, connection)
        self._opened_at = uptime()

    async def _look_again(self, store: Store) -> None:
        for changer in self._changers.values():
            await changer.look_again(store)

    async def _read_clock(self, store: Store, connection: AsyncConnection) -> None:
        """Set the clock by the database's clock; a node reads the database's clock again at each heartbeat."""
        if isinstance(self.clock, DatabaseClock):
            self._clock_read = asked_at = uptime()
            server_time = await store.dialect.read_clock(connection)
            if server_time is not None:
                self.clock.follow(server_time, asked_at, uptime())

    async def _close(self) -> None:
        following, self._following = self._following, []
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        if self.node is not None:  # hold(hurry=True) may still need the node
            try:
                await self.node.stop()
            finally:
                self.node = None
        store, self._store = self._store, None
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
        if store is not None:
            await store.dispose()

    async def _forget_slots(self, inactive: set[str]) -> None:
        """Forget the last slot of jobs that became inactive, so that a job that returns starts from then."""
        await self.store.change(lambda connection: slots.forget(connection, inactive))
        self.look_for_slots()

    async def _ended_since(self, jobs: Collection[str], since: datetime) -> Sequence[Attempt]:
        return await self.read(lambda connection: ended_since(connection, jobs, since))

    async def _run_asked(self, due_times: Mapping[str, datetime]) -> None:
        """Create the runs requested in the old server's database, if this process creates runs."""
        if self.node is None or self.node.slots is None:
            return
        known = self.registry.definitions
        jobs = [(known[name], at) for name, at in due_times.items() if name in known]
        await self.store.change(lambda connection: run_asked(self._call(connection), jobs))
        self.engine.wake()

    def _services(self) -> dishka.AsyncContainer | None:
        return project_services() if self._container is None else self._container

    def _process_setup(self) -> ProcessSetup:
        project = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in vars(current()).items()
        }
        settings = pickle.dumps(self._settings)
        return ProcessSetup(project, settings, self._jobs_package, KNOWN.lasting, SEALS.keys)

    def _workers(self, wanted: Sequence[str] | None) -> Workers:
        named = (item.queue for item in self.registry.definitions.values())
        return workers_of(current(), named=named, wanted=wanted)
