"""Create runs from code that is not async: views of Flask and Django, scripts, command lines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, Unpack, overload

from .core.actor import SYSTEM, Actor
from .core.states import On, RunState
from .enqueueing import one_connection
from .features.batches.actions import PlainBatch, Wanted
from .hosting import Connection
from .kernel.engine.submit import Parents, after_of
from .kernel.jobs.context import JobContext
from .kernel.jobs.definition import JobType
from .kernel.jobs.registry import JobRef
from .kernel.runs.values import Options, Otherwise, Quorum, RunId
from .scheduler import Scheduler
from .typed_calls import (
    BoundJob,
    CallOptions,
    FlowCall,
    PlainCall,
    checked_enqueue,
    flow_and_arguments,
    options_of,
)

if TYPE_CHECKING:
    from .typed_calls import CallbackRef, ContextClass, PlainClass

P = ParamSpec("P")


class Client:
    """A scheduler for code that is not async. A client creates runs; another process (``targcc serve``, ``targcc worker``) executes them.

    Call the methods from any thread without an event loop; async code awaits the methods of :class:`Scheduler` instead. Pass the
    application's session or connection as ``session=`` to create a run in the application's transaction: the run exists once the application
    commits, and not if the application rolls back. ``session=`` accepts SQLAlchemy, Django's ``connection``, psycopg and sqlite3.

    Args:
        scheduler: Default: a scheduler with the settings of the environment.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler or Scheduler()

    @overload
    def job(
        self, job: type[ContextClass[P]], /, **options: Unpack[CallOptions]
    ) -> BoundJob[P, RunId]: ...

    @overload
    def job(
        self, job: type[PlainClass[P]], /, **options: Unpack[CallOptions]
    ) -> BoundJob[P, RunId]: ...

    @overload
    def job(
        self,
        job: Callable[Concatenate[JobContext, P], Any],
        /,
        **options: Unpack[CallOptions],
    ) -> BoundJob[P, RunId]: ...

    @overload
    def job(
        self, job: Callable[P, Any], /, **options: Unpack[CallOptions]
    ) -> BoundJob[P, RunId]: ...

    @overload
    def job(self, job: JobRef, /, **options: Unpack[CallOptions]) -> BoundJob[..., RunId]: ...

    def job(self, job: JobRef, /, **options: Unpack[CallOptions]) -> BoundJob[..., RunId]:
        """Bind options to a job: ``client().job(SyncTenantJob, queue="bulk").enqueue(tenant_id="x")``. See :meth:`Scheduler.job`."""

        def create(arguments: Mapping[str, Any]) -> RunId:
            delay, at = options.get("delay"), options.get("at")
            is_now = delay is None and at is None
            [run_id] = self._scheduler.create_now(
                JobType.FIRE_AND_FORGET if is_now else JobType.DELAYED,
                job,
                [arguments],
                one_connection(options.get("session"), options.get("connection")),
                options.get("by", SYSTEM),
                options=options_of(options),
                delay=delay,
                at=at,
            )
            return run_id

        return BoundJob(lambda: self._scheduler.find(job), create)

    @checked_enqueue
    def enqueue(
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
        """Create a run that starts as soon as a worker is free; return the run's id. See :meth:`Scheduler.enqueue`."""
        call = PlainCall(arguments, positional, locals())
        kind, waits = JobType.FIRE_AND_FORGET, after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in, idempotency_key)
        [run_id] = self._scheduler.create_now(
            kind, job, call, one_connection(session, connection), by, options=options
        )
        return run_id

    def enqueue_many(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        session: Connection | None = None,
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

        Returns:
            The runs' ids, in the order of ``many``. See :meth:`Scheduler.enqueue_many`.
        """
        kind, waits = JobType.FIRE_AND_FORGET, after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in)
        return self._scheduler.create_now(kind, job, many, session, by, options=options)

    def schedule(
        self,
        job: JobRef,
        /,
        *,
        delay: timedelta | str | None = None,
        at: datetime | None = None,
        session: Connection | None = None,
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
        """Create a run that starts later, after ``delay`` or at ``at``; return the run's id. See :meth:`Scheduler.schedule`."""
        call = PlainCall(arguments, (), locals())
        kind, waits = JobType.DELAYED, after_of(after, on, quorum, otherwise)
        options = Options(waits, queue, priority, expires_in, idempotency_key)
        [run_id] = self._scheduler.create_now(
            kind, job, call, session, by, options=options, delay=delay, at=at
        )
        return run_id

    @overload
    def start_flow(self, flow: FlowCall, *, by: Actor = SYSTEM) -> int: ...

    @overload
    def start_flow(
        self, flow: str, arguments: Mapping[str, Any] | None = None, *, by: Actor = SYSTEM
    ) -> int: ...

    def start_flow(
        self,
        flow: str | FlowCall,
        arguments: Mapping[str, Any] | None = None,
        *,
        by: Actor = SYSTEM,
    ) -> int:
        """Start a flow; return the flow's id. See :meth:`Scheduler.start_flow`."""
        name, given = flow_and_arguments(flow, arguments)
        return self._scheduler.call_now(self._scheduler.start_flow(name, given, by=by))

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
    ) -> PlainBatch:
        """Create a batch of runs: ``with client.batch("month end") as batch: …``. See :meth:`Scheduler.batch`."""
        wanted = Wanted(
            name=name,
            on_success=on_success,
            on_finish=on_finish,
            by=by,
            session=session,
            after=after_of(after, on, quorum, otherwise),
            parent=parent,
        )
        return self._scheduler.plain_batch(wanted)

    def wait(self, run_id: int, timeout: float | None = None) -> RunState:
        """Wait until a run is over, at most ``timeout`` seconds; return the final state. See :meth:`Scheduler.wait`."""
        return self._scheduler.call_now(self._scheduler.wait(run_id, timeout))

    def close(self) -> None:
        """Close the connections; a later call opens new connections."""
        asyncio.run(self._scheduler.stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_clients: dict[int, Client] = {}


def client() -> Client:
    """Return the client of this process: ``client().enqueue(MailUserJob, user_id=7)``.

    A forked process gets a client of its own.
    """
    own = os.getpid()
    if own not in _clients:
        _clients.clear()  # after a fork: the parent's client has its thread in the parent
        _clients[own] = Client()
    return _clients[own]
