"""Creating runs: the part of a scheduler that applications use most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from . import operations
from .core.actor import SYSTEM, Actor
from .core.errors import UnknownJob, UnknownRun
from .core.job_scope import visibility
from .features.batches.actions import Batch, Batches, PlainBatch, Wanted
from .hosting import Connection, Host
from .kernel.jobs.definition import JobDefinition, JobType
from .kernel.jobs.registry import JobRef, JobRegistry
from .kernel.run_builder import Options, Parents, after_of, check_size, due_instant, new_runs
from .kernel.runs.values import NewRun, On, Otherwise, Quorum, RunId
from .operations import Call

P = ParamSpec("P")
T = TypeVar("T")


class Creating:
    """What :class:`~..scheduler.Scheduler` has for creating runs."""

    _host: Host
    _registry: JobRegistry

    def find(self, job: JobRef) -> JobDefinition:
        """A job by its name (in any case, with or without ``Job``), display name, class or function.

        Raises:
            UnknownJob: there is none, or its file cannot be imported.
        """
        allowed = visibility.get()
        try:
            found = self._registry.find(job)
        except UnknownJob as error:
            broken = self._registry.broken_file_of(job) if isinstance(job, str) else None
            if broken is None or allowed is not None:
                raise
            raise UnknownJob(
                f"the file of job {job!r}, {broken.path or broken.module}, cannot be imported: {broken.error}"
            ) from error
        if allowed is not None and found.name not in allowed.seen:
            raise UnknownJob(f"there is no job {job!r}")
        return found

    async def enqueue(
        self,
        job: JobRef,
        /,
        *,
        session: Connection | None = None,
        connection: Connection | None = None,
        by: Actor = SYSTEM,
        queue: str | None = None,
        priority: int | None = None,
        expires_in: timedelta | str | None = None,
        idempotency_key: str | None = None,
        after: Parents | None = None,
        on: On = "success",
        quorum: Quorum = "all",
        otherwise: Otherwise = "discard",
        **arguments: Any,
    ) -> RunId:
        """Run a job as soon as there is a worker; returns the run's id.

        Args:
            job: The job.
            session: A session or connection of yours to the scheduler's database: the run exists once you commit, and not if you roll
                back. SQLAlchemy's, async or plain; Django's ``connection``; psycopg's or sqlite3's.
            connection: The same.
            by: Who wants it.
            queue: Instead of the job's own.
            priority: Instead of the job's own.
            expires_in: If it has not begun so long after it was due, it is cancelled. Instead of the job's own. One that waits for others is due
                when it may go.
            idempotency_key: What you name this call: repeated with the same name it returns the run that it made the first time, for as long
                as that is kept. The ``existing`` of the id that is returned says so, as it does where a job is ``unique``.
            after: It waits for these: the id of a run, a batch, or several. A run that was there already, and stands for this one, is as it
                was: it waits for nothing more.
            on: How they have to end: ``success``, ``failure``, or ``finish`` for any end.
            quorum: Whether ``all`` of them have to, or ``any`` is enough.
            otherwise: When they end otherwise it is cancelled with that reason (``discard``), or ``wait`` for a retry that a person starts.
            **arguments: What ``execute`` gets besides the context.

        Raises:
            UnknownJob: there is no such job.
            ArgumentsError: the arguments do not fit it.
            FileError: a file among them cannot be read, or something is too large.
            IdempotencyError: the name is that of a call for another job or with other arguments.
            UnknownRun: it is to wait for a run that does not exist.
        """
        waits = after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in, idempotency_key)
        [run] = await self._new_runs(job, JobType.FIRE_AND_FORGET, [arguments], by, options)
        return await self.operate(operations.create_run, _one(session, connection), run)

    async def enqueue_many(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        session: Connection | None = None,
        connection: Connection | None = None,
        by: Actor = SYSTEM,
        queue: str | None = None,
        priority: int | None = None,
        expires_in: timedelta | str | None = None,
        after: Parents | None = None,
        on: On = "success",
        quorum: Quorum = "all",
        otherwise: Otherwise = "discard",
    ) -> list[RunId]:
        """Run a job once for each of many sets of arguments: all or none of them; returns the runs' ids, in that order.

        The rest is as :meth:`enqueue` has it. With ``after`` there are at most 10,000 (``ValueError``).
        """
        waits = after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in)
        runs = await self._new_runs(job, JobType.FIRE_AND_FORGET, many, by, options)
        return await self.operate(operations.create_runs, _one(session, connection), runs)

    async def schedule(
        self,
        job: JobRef,
        /,
        *,
        delay: timedelta | str | None = None,
        at: datetime | None = None,
        session: Connection | None = None,
        connection: Connection | None = None,
        by: Actor = SYSTEM,
        queue: str | None = None,
        priority: int | None = None,
        expires_in: timedelta | str | None = None,
        idempotency_key: str | None = None,
        after: Parents | None = None,
        on: On = "success",
        quorum: Quorum = "all",
        otherwise: Otherwise = "discard",
        **arguments: Any,
    ) -> RunId:
        """Run a job later; returns the run's id.

        Either ``delay`` says how much later, such as ``"15m"``, or ``at`` says when; the rest is as :meth:`enqueue` has it. With ``after``
        the delay counts from when the run may go.

        Raises:
            ValueError: neither or both of ``delay`` and ``at`` are given, or ``at`` has no zone.
        """
        due_at = due_instant(delay, at, await self._host.now())
        waits = after_of(after, on, quorum, otherwise)
        options = Options(
            waits, queue, priority, expires_in, idempotency_key, due_at, delay is not None
        )
        [run] = await self._new_runs(job, JobType.DELAYED, [arguments], by, options)
        return await self.operate(operations.create_run, _one(session, connection), run)

    async def trigger(
        self,
        name: JobRef,
        arguments: Mapping[str, Any] | None = None,
        *,
        by: Actor,
        session: Connection | None = None,
        connection: Connection | None = None,
        expires_in: timedelta | str | None = None,
        idempotency_key: str | None = None,
        key_of: str | None = None,
        after: Parents | None = None,
        on: On = "success",
        quorum: Quorum = "all",
        otherwise: Otherwise = "discard",
    ) -> RunId:
        """Run a job now because somebody wants it; returns the run's id.

        Args:
            name: The job.
            arguments: What ``execute`` gets besides the context.
            by: Who wants it.
            session: As :meth:`enqueue` has it.
            connection: The same.
            expires_in: The same.
            idempotency_key: The same.
            key_of: The caller whose own the idempotency key is; ``None``: all callers share it.
            after: What it waits for, as :meth:`enqueue` has it; as the next three.
            on: How that has to end.
            quorum: Whether ``all`` or ``any`` of it.
            otherwise: What becomes of the run else.
        """
        waits = after_of(after, on, quorum, otherwise)
        options = Options(
            waits, expires_in=expires_in, idempotency_key=idempotency_key, key_of=key_of
        )
        [run] = await self._new_runs(name, JobType.MANUAL, [arguments or {}], by, options)
        return await self.operate(operations.trigger, _one(session, connection), run, by)

    def batch(
        self,
        name: str,
        *,
        on_success: JobRef | None = None,
        on_finish: JobRef | None = None,
        after: Parents | None = None,
        on: On = "success",
        quorum: Quorum = "all",
        otherwise: Otherwise = "discard",
        parent: int | None = None,
        session: Connection | None = None,
        by: Actor = SYSTEM,
    ) -> Batch:
        """Runs that belong together: ``async with scheduler.batch("month end") as batch: batch.enqueue(Invoice, customer_id=7)``.

        They are created in one transaction when the block ends, up to 100,000; if it raises, there is nothing.

        Args:
            name: For people.
            on_success: A job that runs once all runs have succeeded, be it after some were done again.
            on_finish: A job that runs once all runs are over for the first time.
            after: What its runs wait for, as :meth:`enqueue` has it, as the next three; at most 10,000 runs may.
            on: How that has to end.
            quorum: Whether ``all`` or ``any`` of it.
            otherwise: What becomes of its runs else.
            parent: The id of a batch that is not over: this one is a member of it.
            session: As :meth:`enqueue` has it.
            by: Who wants it.
        """
        wanted = Wanted(
            name=name,
            on_success=on_success,
            on_finish=on_finish,
            by=by,
            session=session,
            after=after_of(after, on, quorum, otherwise),
            parent=parent,
        )
        return Batch(self._host, self.find, wanted)

    def plain_batch(self, wanted: Wanted) -> PlainBatch:
        """A batch from code that is not async; see :class:`~.client.Client`."""
        return PlainBatch(self._host, self.find, wanted)

    @property
    def batches(self) -> Batches:
        """Cancels batches, has what failed of them done again, and adds to them."""
        return Batches(self._host, self.find)

    async def arguments_of(self, name: JobRef, run_id: int) -> dict[str, Any]:
        """The arguments that a run of a job had, as :meth:`trigger` takes them; to run it again with some of them changed.

        Raises:
            UnknownRun: the job has no run with this id.
            ArgumentsError: they do not fit the job any more.
        """
        definition = self.find(name)
        from .kernel.queries import runs

        found = await self._host.read(lambda db: runs.get_run(db, run_id))
        if found is None or found.job != definition.name:
            raise UnknownRun(f"{definition.name} has no run {run_id}")
        here = await self._host.keeper.in_memory(self._host.read, run_id, found.arguments_json)
        return definition.signature.load(found.arguments_json, here)

    def create_now(
        self,
        kind: JobType,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        session: Connection | None,
        by: Actor,
        *,
        options: Options,
        delay: timedelta | str | None = None,
        at: datetime | None = None,
    ) -> list[RunId]:
        """Create runs from code that is not async; see :class:`~.client.Client`."""
        self._host.open_now()
        definition, now, keeper = self.find(job), self._host.clock.now(), self._host.keeper
        if kind == JobType.DELAYED:
            due_at = due_instant(delay, at, now)
            options = replace(options, due_at=due_at, delayed=delay is not None)
        made = new_runs(
            definition, kind, many, by, now, options=options, most_bytes=keeper.most_bytes
        )
        check_size(options.after, len(made))
        runs = [keeper.put_of(run) for run in made]
        if session is None:
            return self._host.call_now(self.operate(operations.create_runs, None, runs))
        return self._host.finish_now(
            self._host.operate_within(operations.create_runs, session, runs)
        )

    async def _new_runs(
        self,
        job: JobRef,
        kind: JobType,
        many: Iterable[Mapping[str, Any]],
        by: Actor,
        options: Options,
    ) -> list[NewRun]:
        keeper, now = self._host.keeper, await self._host.now()
        runs = new_runs(
            self.find(job), kind, many, by, now, options=options, most_bytes=keeper.most_bytes
        )
        check_size(options.after, len(runs))
        return [
            await asyncio.to_thread(keeper.put_of, run) if run.contents else run for run in runs
        ]

    async def operate(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        theirs: Connection | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do one of :mod:`.operations`, in the caller's transaction ``theirs``; or in one of its own, and then the engine looks for work."""
        return await self._host.operate(operation, theirs, *args, **kwargs)


def _one(session: Connection | None, connection: Connection | None) -> Connection | None:
    if session is not None and connection is not None:
        raise ValueError("session= and connection= are the same: give one")
    return connection if session is None else session
