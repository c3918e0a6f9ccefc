"""Create runs: enqueue, schedule, trigger, batch. Applications use this part of the scheduler most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from . import operations
from .core.actor import SYSTEM, Actor, visibility
from .core.errors import UnknownJob, UnknownRun
from .core.states import On
from .features.batches.actions import Batch, Batches, PlainBatch, Wanted
from .hosting import Connection, Host
from .kernel.engine.submit import Parents, after_of, check_size, due_instant, new_runs
from .kernel.jobs.context import JobContext
from .kernel.jobs.definition import JobDefinition, JobType
from .kernel.jobs.registry import JobRef, JobRegistry
from .kernel.runs.values import NewRun, Options, Otherwise, Quorum, RunId
from .operations import Call
from .typed_calls import (
    CallOptions,
    PlainCall,
    TriggeredJob,
    checked_enqueue,
    options_of,
)

if TYPE_CHECKING:
    from .typed_calls import CallbackRef, ContextClass, PlainClass

P = ParamSpec("P")
T = TypeVar("T")


class Creating:
    """The methods of :class:`~.scheduler.Scheduler` that create runs."""

    _host: Host
    _registry: JobRegistry

    def find(self, job: JobRef) -> JobDefinition:
        """Return a job by name, display name, class or function.

        A name matches in any case, with or without ``Job``.

        Raises:
            UnknownJob: no such job exists, its file cannot be imported, or the current user may not see the job.
        """
        allowed = visibility.get()
        try:
            definition = self._registry.find(job)
        except UnknownJob as error:
            broken = self._registry.broken_file_of(job) if isinstance(job, str) else None
            if broken is None or allowed is not None:
                raise
            raise UnknownJob(
                f"the file of job {job!r}, {broken.path or broken.module}, cannot be imported: {broken.error}"
            ) from error
        if allowed is not None and definition.name not in allowed.seen:
            raise UnknownJob(f"there is no job {job!r}")
        return definition

    @overload
    def job(
        self, job: type[ContextClass[P]], /, **options: Unpack[CallOptions]
    ) -> TriggeredJob[P]: ...

    @overload
    def job(
        self, job: type[PlainClass[P]], /, **options: Unpack[CallOptions]
    ) -> TriggeredJob[P]: ...

    @overload
    def job(
        self,
        job: Callable[Concatenate[JobContext, P], Any],
        /,
        **options: Unpack[CallOptions],
    ) -> TriggeredJob[P]: ...

    @overload
    def job(self, job: Callable[P, Any], /, **options: Unpack[CallOptions]) -> TriggeredJob[P]: ...

    @overload
    def job(self, job: JobRef, /, **options: Unpack[CallOptions]) -> TriggeredJob[...]: ...

    def job(self, job: JobRef, /, **options: Unpack[CallOptions]) -> TriggeredJob[...]:
        """Bind options to a job, so that the arguments stand in a call of their own, which type checkers check.

        ``await scheduler.job(SyncTenantJob, queue="bulk", delay="15m").enqueue(tenant_id="x")`` creates a run, and so does ``.trigger(…)``
        with the option ``by``. An argument may have the name of an option.

        Args:
            job: The job.
            options: As for :meth:`enqueue` and :meth:`schedule`.
        """

        async def create(arguments: Mapping[str, Any]) -> RunId:
            delay, at = options.get("delay"), options.get("at")
            bound, kind = options_of(options), JobType.FIRE_AND_FORGET
            if delay is not None or at is not None:
                due_at = due_instant(delay, at, await self._host.now())
                kind = JobType.DELAYED
                bound = replace(bound, due_at=due_at, delayed=delay is not None)
            by = options.get("by", SYSTEM)
            [run] = await self._new_runs(job, kind, [arguments], by, bound)
            session = one_connection(options.get("session"), options.get("connection"))
            return await self._host.create_run(session, run)

        async def trigger(arguments: Mapping[str, Any]) -> RunId:
            accepted: Any = options  # trigger refuses options that it does not take
            return await self.trigger(job, arguments, **accepted)

        return TriggeredJob(lambda: self.find(job), create, trigger)

    @checked_enqueue
    async def enqueue(
        self,
        job: JobRef,
        /,
        *positional: Any,
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
        """Create a run that starts as soon as a worker is free.

        Args:
            job: The job.
            session: The application's session or connection to the scheduler's database. The run exists once the application commits,
                and not if the application rolls back. Accepts SQLAlchemy, async or sync; Django's ``connection``; psycopg; sqlite3.
            connection: The same as ``session``; pass one of the two.
            by: The actor, shown with the run.
            queue: Default: the job's queue.
            priority: Runs with a higher priority start first within a queue. Default: the job's priority.
            expires_in: A duration such as ``"15m"``, or a ``timedelta``: cancel the run if the run has not started so long after its due
                time. A run with dependencies is due when the dependencies are satisfied. Default: the job's ``expires_in``.
            idempotency_key: Idempotency key: a second call with the same key returns the first run, for as long as that run is kept.
                The returned id then has ``existing`` set, as for an existing run of a ``unique`` job.
            after: Dependencies: the id of a run, a batch, or several. The run waits for these as ``on`` and ``quorum`` say. An
                existing run that this call returns gets no new dependencies.
            on: How the dependencies must end: ``success``, ``failure``, or ``finish`` for any end.
            quorum: Whether ``all`` dependencies must end that way, or ``any`` single dependency is enough.
            otherwise: If the dependencies end in another way: ``discard`` cancels the run and records the reason; ``wait`` waits for a
                person to retry the dependencies.
            *positional: Arguments of ``execute`` by position, without the context.
            **arguments: Arguments of ``execute`` by name. Type checkers check the arguments of a call without options; see :meth:`job` for
                calls with options, and for an argument with the name of an option.

        Returns:
            The id of the run.

        Raises:
            UnknownJob: no such job exists.
            ArgumentsError: the arguments do not fit the job, or a given option is also the name of an argument.
            FileError: a file among the arguments cannot be read, or a file or the arguments are too large.
            IdempotencyError: a call for another job, or with other arguments, has used the key; or the key is empty or too long.
            UnknownRun: a dependency does not exist.
            ValueError: both ``session`` and ``connection`` are given; ``priority``, ``on``, ``quorum`` or ``otherwise`` has a value that is
                not allowed; or ``after`` is empty.
        """
        call = PlainCall(arguments, positional, locals())
        waits = after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in, idempotency_key)
        [run] = await self._new_runs(job, JobType.FIRE_AND_FORGET, call, by, options)
        return await self._host.create_run(one_connection(session, connection), run)

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
        """Create a run of a job for each set of arguments, in one transaction: all runs or none.

        ``many`` contains the arguments for each run. All other arguments and errors are as for :meth:`enqueue`.

        Returns:
            The runs' ids, in the order of ``many``.

        Raises:
            ValueError: ``after`` is given with more than 10,000 runs.
        """
        waits = after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in)
        runs = await self._new_runs(job, JobType.FIRE_AND_FORGET, many, by, options)
        return await self.operate(operations.create_runs, one_connection(session, connection), runs)

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
        """Create a run that starts later.

        Pass either ``delay``, a ``timedelta`` or a text such as ``"15m"``, or ``at``, an instant with a timezone. With ``after``, the delay
        starts when the dependencies are satisfied. All other arguments and errors are as for :meth:`enqueue`. Type checkers
        cannot check the arguments beside ``delay`` or ``at``; they check ``job(SyncTenantJob, delay="15m").enqueue(tenant_id="x")``.

        Returns:
            The run's id.

        Raises:
            ValueError: neither or both of ``delay`` and ``at`` are given, or ``at`` has no timezone.
        """
        call = PlainCall(arguments, (), locals())
        due_at = due_instant(delay, at, await self._host.now())
        waits = after_of(after, on, quorum, otherwise)
        options = Options(
            waits, queue, priority, expires_in, idempotency_key, due_at, delay is not None
        )
        [run] = await self._new_runs(job, JobType.DELAYED, call, by, options)
        return await self._host.create_run(one_connection(session, connection), run)

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
        retries: int | None = None,
    ) -> RunId:
        """Create a run that a person requested, to start now. The request is recorded in the audit.

        Args:
            name: The job.
            arguments: Arguments of ``execute``, without the context.
            by: The actor, for the audit.
            session: As for :meth:`enqueue`.
            connection: As for :meth:`enqueue`.
            expires_in: As for :meth:`enqueue`.
            idempotency_key: As for :meth:`enqueue`.
            key_of: Caller who owns the idempotency key. Default: all callers share the key.
            after: As for :meth:`enqueue`.
            on: As for :meth:`enqueue`.
            quorum: As for :meth:`enqueue`.
            otherwise: As for :meth:`enqueue`.
            retries: Retries after a failed attempt. Default: the job's.

        Returns:
            The id of the run.

        Raises:
            RunStateError: the old server runs the job. Other errors are as for :meth:`enqueue`.
        """
        waits = after_of(after, on, quorum, otherwise)
        options = Options(
            waits,
            expires_in=expires_in,
            idempotency_key=idempotency_key,
            key_of=key_of,
            retries=retries,
        )
        [run] = await self._new_runs(name, JobType.MANUAL, [arguments or {}], by, options)
        return await self.operate(operations.trigger, one_connection(session, connection), run, by)

    def batch(
        self,
        name: str,
        *,
        on_success: CallbackRef | None = None,
        on_finish: CallbackRef | None = None,
        after: Parents | None = None,
        on: On = "success",
        quorum: Quorum = "all",
        otherwise: Otherwise = "discard",
        parent: int | None = None,
        session: Connection | None = None,
        by: Actor = SYSTEM,
    ) -> Batch:
        """Create a batch of runs: ``async with scheduler.batch("month end") as batch: batch.enqueue(Invoice, customer_id=7)``.

        The end of the block creates up to 100,000 runs in one transaction. If the block raises, nothing is created.

        Args:
            name: Name of the batch, shown to people.
            on_success: Job to run once all runs have succeeded, possibly after retries.
            on_finish: Job to run once all runs are over for the first time.
            after: Dependencies of the runs, as for :meth:`enqueue`; with dependencies, at most 10,000 runs.
            on: As for :meth:`enqueue`.
            quorum: As for :meth:`enqueue`.
            otherwise: As for :meth:`enqueue`.
            parent: Id of an unfinished batch; the new batch becomes a member of that batch.
            session: As for :meth:`enqueue`.
            by: The actor.
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
        """Create a batch from code that is not async; see :class:`~.blocking_client.Client`."""
        return PlainBatch(self._host, self.find, wanted)

    @property
    def batches(self) -> Batches:
        """Operations on batches: cancel, retry failed runs, add runs."""
        return Batches(self._host, self.find)

    async def arguments_of(self, name: JobRef, run_id: int) -> dict[str, Any]:
        """Return the arguments of a run in the form that :meth:`trigger` takes, such as to trigger the job again with changes.

        Raises:
            UnknownRun: the job has no run with this id.
            ArgumentsError: the arguments do not fit the job any more.
        """
        definition = self.find(name)
        from .kernel.queries import runs

        run = await self._host.read(lambda db: runs.get_run(db, run_id))
        if run is None or run.job != definition.name:
            raise UnknownRun(f"{definition.name} has no run {run_id}")
        here = await self._host.keeper.in_memory(self._host.read, run_id, run.arguments_json)
        return definition.signature.load(run.arguments_json, here)

    def create_now(
        self,
        kind: JobType,
        job: JobRef,
        many: Iterable[Mapping[str, Any]] | PlainCall,
        session: Connection | None,
        by: Actor,
        *,
        options: Options,
        delay: timedelta | str | None = None,
        at: datetime | None = None,
    ) -> list[RunId]:
        """Create runs from code that is not async; see :class:`~.blocking_client.Client`."""
        self._host.open_now()
        definition, now, keeper = self.find(job), self._host.clock.now(), self._host.keeper
        if kind == JobType.DELAYED:
            due_at = due_instant(delay, at, now)
            options = replace(options, due_at=due_at, delayed=delay is not None)
        given = many.sets(definition) if isinstance(many, PlainCall) else many
        made = new_runs(
            definition, kind, given, by, now, options=options, most_bytes=keeper.most_bytes
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
        many: Iterable[Mapping[str, Any]] | PlainCall,
        by: Actor,
        options: Options,
    ) -> list[NewRun]:
        keeper, now = self._host.keeper, await self._host.now()
        definition = self.find(job)
        given = many.sets(definition) if isinstance(many, PlainCall) else many
        runs = new_runs(
            definition, kind, given, by, now, options=options, most_bytes=keeper.most_bytes
        )
        check_size(options.after, len(runs))
        return [
            await asyncio.to_thread(keeper.put_of, run) if run.contents else run for run in runs
        ]

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
        return await self._host.operate(operation, caller, *args, **kwargs)


def one_connection(session: Connection | None, connection: Connection | None) -> Connection | None:
    """Return the connection that a call gives under either name.

    Raises:
        ValueError: Both are given.
    """
    if session is not None and connection is not None:
        raise ValueError("session= and connection= are the same: give one")
    return connection if session is None else session
