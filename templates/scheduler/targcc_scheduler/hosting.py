"""The scheduler in its process: the loop it works on, its database, engine and node, opened and closed."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import dishka
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .alerts.dispatcher import AlertSender
from .core.clock import Clock
from .core.loop_thread import LoopThread
from .engine.factory import make_queue_engine, schema_steps
from .engine.port import Engine
from .jobs.definition import JobDefinition
from .jobs.registry import JobRegistry
from .legacy.c_job import CJobSource
from .legacy.source import SourceFollower
from .migrations.upgrade import refuse_newer, require_current, upgrade
from .node.alert_queue import AlertQueue, Notify
from .node.node import Node
from .project import current
from .settings import Settings
from .storage import slots
from .storage.transactions import Store
from .worker.node_services import NodeServices
from .worker.runner import JobLoop

T = TypeVar("T")


def migrate(url: str | sa.URL | None = None) -> str:
    """Bring the scheduler's tables up to date, and return the revision they have then.

    Args:
        url: The database. Default: what the settings say.

    Raises:
        SchemaError: a newer release has changed the tables.
    """
    url = url or Settings().database_url
    return upgrade(url, also=schema_steps(url))


def prepare(settings: Settings) -> str:
    """Bring the tables up to date, or only look whether they are, as ``migrate_on_start`` says; returns their revision.

    Raises:
        SchemaError: they are not those that this release works with.
    """
    bring = migrate if settings.migrate_on_start else require_current
    return bring(settings.database_url)


def _external_jobs(settings: Settings) -> SourceFollower | None:
    if not settings.legacy_url:
        return None
    return SourceFollower(CJobSource(settings), settings.legacy_poll_seconds)


class Host:
    """What a :class:`Scheduler` opens: a loop in a thread named ``targcc``, the database, the engine, the node.

    Args:
        settings: Say where the database is.
        clock: Tells the time.
        jobs_package: Where the jobs are.
        offers: What a job's constructor gets by type besides the project's services.
        container: Serves the constructors of jobs. Default: ``make_container()`` of the project's ``services.py``, if there is one.
        notify: Is called with results and missed slots. Default: sends alerts.
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
        source = _external_jobs(settings)
        self.registry = JobRegistry(jobs_package, source.fill if source else None)
        self.node: Node | None = None
        self._offers = offers
        self._settings = settings
        self._clock = clock
        self._source = source
        self._container = container
        self._notify = notify
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._store: Store | None = None
        self._engine: Engine | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def store(self) -> Store:
        """The database, for use on the scheduler's loop only: see :meth:`call`."""
        if self._store is None:
            raise RuntimeError(
                "the scheduler's database is open while it is started, or within call()"
            )
        return self._store

    @property
    def engine(self) -> Engine:
        """The engine, once it is open."""
        if self._engine is None:
            raise RuntimeError("the scheduler is not open")
        return self._engine

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the scheduler's loop, with database and engine open, and return its result."""
        return await self._open_loop().call(self._opened(coroutine))

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ``query`` finds."""

        async def work() -> T:
            async with self.store.read() as connection:
                return await query(connection)

        return await self.call(work())

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do ``work`` in one transaction; an exception undoes it."""

        async def transaction() -> T:
            async with self.store.write() as connection:
                return await work(connection)

        return await self.call(transaction())

    def look_for_slots(self) -> None:
        """Let the node see jobs that were registered; from any thread."""
        if self.node is not None and self.node.slots is not None:
            self._open_loop().loop.call_soon_threadsafe(self.node.slots.wake)

    def cancel(self, run_id: int, by: str) -> None:
        """Tell a job of this process at once, without waiting for the heartbeat; from any thread."""
        if self.node is not None and self.node.executor is not None:
            self._open_loop().loop.call_soon_threadsafe(self.node.executor.cancel, run_id, by)

    async def start(self, *, work: bool, schedule: bool, queues: Sequence[str] | None) -> None:
        """Bring the tables up to date, follow jobs that are kept elsewhere, and start the node."""
        definitions = await asyncio.to_thread(lambda: self.registry.definitions)
        await asyncio.to_thread(prepare, self._settings)
        await self.call(self._start(definitions, work=work, schedule=schedule, queues=queues))

    async def _start(
        self,
        definitions: Mapping[str, JobDefinition],
        *,
        work: bool,
        schedule: bool,
        queues: Sequence[str] | None,
    ) -> None:
        if self._source is not None and self._following is None:
            follow = self._source.follow(self.registry, self._forget_slots)
            self._following = asyncio.create_task(follow, name="targcc legacy")
        if self.node is not None or not (work or schedule):
            return
        send = self._notify or AlertSender(self.store.engine, self._settings, self._clock)
        alerts = AlertQueue(send, definitions)
        services = NodeServices(self.store, self.engine, self._clock, self._settings, alerts.put)
        node = Node(
            services,
            definitions,
            alert_queue=alerts,
            loop=self._open_loop(),
            jobs=JobLoop(self._services, offers=dict(self._offers)) if work else None,
            queues=self._workers(queues),
            schedule=schedule,
            look_again=self.registry.look_again,
        )
        await node.start()
        self.node = node

    async def stop(self) -> None:
        """Stop the node, close engine and database, and end the loop."""
        loop = self._loop
        if loop is not None:
            await loop.call(self._close())
            await asyncio.to_thread(loop.stop)
            self._loop = None
        if self._source is not None:
            self._source.close()

    def _open_loop(self) -> LoopThread:
        with self._lock:
            if self._loop is None:
                self._loop = LoopThread("targcc")
                self._loop.start()
            return self._loop

    async def _opened(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._store is None:
            self._store = Store(self._settings.database_url)
            self._engine = make_queue_engine(self._settings, self._clock, self._store.engine)
            try:
                async with self._store.read() as connection:
                    await connection.run_sync(refuse_newer)
            except BaseException:
                coroutine.close()
                await self._close()
                raise
            await self._engine.open()
        return await coroutine

    async def _close(self) -> None:
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

    async def _forget_slots(self, inactive: set[str]) -> None:
        """Forget the last slot of jobs that became inactive, so that they start from now when they return."""
        async with self.store.write() as connection:
            await slots.forget(connection, inactive)
        if self.node is not None and self.node.slots is not None:
            self.node.slots.wake()

    def _services(self) -> dishka.AsyncContainer | None:
        if self._container is not None:
            return self._container
        name = f"{current().package}.services"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in {name, current().package}:
                raise
            return None
        make: Callable[[], dishka.AsyncContainer] | None = getattr(module, "make_container", None)
        return make() if make is not None else None

    def _workers(self, wanted: Sequence[str] | None) -> dict[str, int]:
        """How many runs at a time from each queue; one that only a job names gets one worker."""
        workers = {item.queue: 1 for item in self.registry.definitions.values()}
        workers.update(current().queues)
        if wanted is None:
            return workers
        return {name: workers.get(name, 1) for name in wanted}
