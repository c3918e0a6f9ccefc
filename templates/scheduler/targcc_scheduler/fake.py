"""A scheduler that is off, for the tests of an application: records enqueued runs, runs nothing, connects to nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util.concurrency import await_only

from . import operations
from .core.errors import SchedulerOff, UnknownRun
from .core.loop_thread import run_beside
from .core.states import FINAL, RunState
from .db.caller_transaction import Then, Watched, finish, watch
from .db.older_sqlalchemy import in_greenlet
from .features.batches import actions as batch_actions
from .hosting import Connection, Host
from .kernel import dependencies
from .kernel.dependencies import RUN
from .kernel.jobs.chains import ParentRun
from .kernel.jobs.context import JobResult
from .kernel.jobs.definition import JobDefinition
from .kernel.jobs.files import Content
from .kernel.runs.values import After, NewRun, RunId
from .operations import Call
from .settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Recorded:
    """A recorded run.

    Args:
        run_id: Id that ``enqueue`` returned.
        job: Name of the job.
        arguments: Arguments in their stored form.
        due_at: When the run would be due.
        by: The actor.
        state: ``enqueued`` or ``scheduled``; the final state where jobs run inline.
        contents: Files that the arguments refer to.
        parents: Where jobs run inline, the runs that this run waited for.
        result: Where jobs run inline, the job's result.
        within: The application's transaction that enqueued the run; ``None`` without a transaction.
        cancelled: The state before a cancellation in an application's transaction, and that transaction.
    """

    run_id: int
    job: str
    arguments: dict[str, Any]
    queue: str
    priority: int
    due_at: datetime
    by: str
    state: RunState
    contents: Sequence[Content] = ()
    parents: Sequence[ParentRun] = ()
    result: JobResult | None = None
    within: Watched | None = field(default=None, repr=False)
    cancelled: tuple[RunState, Watched] | None = field(default=None, repr=False)

    @property
    def is_undone(self) -> bool:
        """Whether the application rolled back the transaction that enqueued the run."""
        return self.within is not None and self.within.state == "undone"

    def look(self) -> None:
        """Check the outcome of the application's transactions; a rolled-back cancellation restores the state."""
        if self.within is not None:
            self.within.look()
        if self.cancelled is not None and self.cancelled[1].state == "undone":
            self.state, self.cancelled = self.cancelled[0], None

    @property
    def as_parent(self) -> ParentRun:
        """This run as its dependents see it."""
        result = self.result
        message, metadata = (result.message, result.metadata) if result is not None else (None, {})
        return ParentRun(self.job, self.run_id, str(self.state), message, metadata)


Perform = Callable[[JobDefinition, str | None, Recorded], Awaitable[RunState]]


@dataclass
class Recording:
    """All runs enqueued in this process, by any scheduler.

    Attributes:
        joining: For each job that follows several jobs, the last run of each followed job so far.
        perform: Run a job inline; ``None`` runs no jobs.
    """

    runs: list[Recorded] = field(default_factory=list)
    joining: dict[str, dict[str, int]] = field(default_factory=dict)
    perform: Perform | None = None

    def add(self, run: NewRun) -> Recorded:
        """Record a run."""
        made = Recorded(
            run_id=len(self.runs) + 1,
            job=run.job_name,
            arguments=json.loads(run.arguments_json or "{}"),
            queue=run.queue,
            priority=run.priority,
            due_at=run.due_at,
            by=run.triggered_by,
            state=run.state,
            contents=run.contents,
        )
        self.runs.append(made)
        return made

    def find(self, run_id: int) -> Recorded:
        """Return a run by id.

        Raises:
            UnknownRun: no run has this id, or the application rolled the run back.
        """
        if not 1 <= run_id <= len(self.runs):
            raise UnknownRun(f"no run {run_id} was enqueued in this test")
        run = self.runs[run_id - 1]
        run.look()
        if run.is_undone:
            raise UnknownRun(
                f"run {run_id} was rolled back with the transaction it was enqueued in"
            )
        return run

    def kept(self) -> list[Recorded]:
        """Return the runs except those that the application rolled back, oldest first."""
        for run in list(self.runs):  # look() may run a job, which enqueues more runs
            run.look()
        return [run for run in self.runs if not run.is_undone]

    def parents_of(self, after: After | None) -> list[ParentRun]:
        """Return the runs that ``after`` refers to."""
        parents = after.parents if after is not None else ()
        return [self.find(run_id).as_parent for kind, run_id in sorted(parents) if kind == RUN]

    def join(self, child: str, after: After, job: str, run_id: int) -> After | None:
        """Return the dependencies for a new run of ``child``, a job that follows other jobs.

        Args:
            child: Name of the following job.
            after: Dependencies with the jobs to follow.
            job: The job that has just run.
            run_id: The run of ``job``.

        Returns:
            The dependencies; ``None`` while a run of another followed job is missing.
        """
        if len(after.jobs) == 1:
            return After(((RUN, run_id),))
        came = self.joining.setdefault(child, {})
        came[job] = run_id
        if came.keys() < set(after.jobs):
            return None
        del self.joining[child]
        return After(tuple((RUN, parent_id) for parent_id in came.values()))

    def clear(self) -> None:
        """Forget all runs and run no jobs inline."""
        self.runs.clear()
        self.joining.clear()
        self.perform = None


RECORDING = Recording()
Made = tuple[NewRun, Recorded]


async def _nothing() -> None:
    """Do nothing."""


def _add(runs: Sequence[NewRun]) -> list[Made]:
    """Record runs with their initial states."""
    return [(run, RECORDING.add(_waits(run))) for run in runs]


async def _cancel(run: Recorded, caller: Connection | None) -> RunState:
    """Cancel a run; a rollback of the application's transaction restores the state."""
    within = None if caller is None else await watch(caller, _nothing, finish)
    if within is not None:
        run.cancelled = run.state, within
    run.state = RunState.CANCELLED
    return run.state


def _waits(run: NewRun) -> NewRun:
    """Return a run with the state that follows from the outcomes of its dependencies so far."""
    if run.after is None:
        return run
    states = {
        (kind, parent_id): _outcome(parent_id) if kind == RUN else None
        for kind, parent_id in run.after.parents
    }
    prepared_run = dependencies.prepared(run, states)
    return (
        replace(prepared_run, state=RunState.CANCELLED)
        if dependencies.is_discarded(run.after, states)
        else prepared_run
    )


def _outcome(run_id: int) -> str | None:
    state = RECORDING.find(run_id).state
    return str(state) if state in FINAL else None


def _followers(run: NewRun, run_id: int) -> list[NewRun]:
    """Return runs for the jobs that follow a finished run's job."""
    new_runs = []
    for child in run.then:
        after = child.after and RECORDING.join(child.job_name, child.after, run.job_name, run_id)
        if after is not None:
            new_runs.append(replace(child, after=after))
    return new_runs


class RecordingHost(Host):
    """A host that opens nothing; a method that needs a database raises :class:`~.core.errors.SchedulerOff`."""

    def __init__(self, settings: Settings, *args: Any, **options: Any) -> None:
        super().__init__(settings.model_copy(update={"legacy_url": ""}), *args, **options)
        self._off = settings.why_off
        self._batches = 0

    async def start(self, **_: Any) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Do nothing: nothing was started."""

    async def now(self) -> datetime:
        """Return the time of this machine's clock."""
        return self.clock.now()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Raise ``SchedulerOff``: there is no database."""
        coroutine.close()
        self._refuse()

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Raise ``SchedulerOff``: there is no database."""
        del query
        self._refuse()

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Raise ``SchedulerOff``: there is no database."""
        del work
        self._refuse()

    async def wait(
        self, run_id: int, timeout: float | None  # noqa: ASYNC109 - as asyncio has it
    ) -> RunState:
        """Return the final state of a recorded run, without waiting.

        Raises:
            TimeoutError: the run is not over.
        """
        state = RECORDING.find(run_id).state
        if state not in FINAL:
            raise TimeoutError(
                f"run {run_id} is still {state} after {timeout or 0:g} s: {self._off}"
            )
        return state

    def open_now(self) -> None:
        """Do nothing: there is no database."""

    def call_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in a separate thread; sync jobs run in the calling thread."""
        return run_beside(coroutine)

    def finish_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that does not suspend, in the calling thread: the caller's transaction may belong to that thread."""
        return finish(coroutine)

    async def operate(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        caller: Connection | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Record runs at once; other operations succeed without effect.

        Where jobs run inline, the jobs run now, or after the commit of ``caller``.
        """
        del kwargs
        result, perform = await self._record(operation, caller, args)
        if perform is not None:
            await perform()
        return cast("T", result)

    async def create_run(self, caller: Connection | None, run: NewRun) -> RunId:
        """Record a run, as :meth:`operate` does."""
        return await self.operate(operations.create_run, caller, run)

    async def operate_within(
        self,
        operation: Callable[Concatenate[Call, P], Awaitable[T]],
        caller: Any,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Record runs as :meth:`operate` does, from code that is not async."""
        del kwargs
        result, perform = await self._record(operation, caller, args)
        if perform is not None:
            self.call_now(perform())
        return cast("T", result)

    async def _record(
        self, operation: Any, caller: Connection | None, args: Sequence[Any]
    ) -> tuple[Any, Then | None]:
        """Record the runs of an operation; return its result and the work left to do at once."""
        made: list[Made] = []
        if operation in {operations.create_run, operations.trigger}:
            made = _add(args[:1])
            result: Any = RunId(made[0][1].run_id)
            then: Then = partial(self._perform, made)
        elif operation in {operations.create_runs, batch_actions.add}:
            made = _add(args[-1])
            result = [RunId(run.run_id) for _, run in made]
            then = partial(self._perform, made)
        elif operation is batch_actions.create:
            made, then = self._add_batch(args[0])
            result = args[0].batch_id
        elif operation is operations.cancel:
            return await _cancel(RECORDING.find(args[0]), caller), None
        else:
            return args[0] if operation is operations.retry else None, None
        within = None if caller is None else await watch(caller, then, self._run)
        for _, run in made:
            run.within = within
        return result, None if within is not None else then

    def _run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run a coroutine during a commit: on the loop of async SQLAlchemy, otherwise in a separate thread."""
        return await_only(coroutine) if in_greenlet() else self.call_now(coroutine)

    async def _perform(self, made: Sequence[Made]) -> None:
        """Run jobs inline, if wanted, and the jobs that follow."""
        for new, run in made:
            if RECORDING.perform is None:
                return
            if run.state == RunState.AWAITING and new.after is not None:
                run.state = _waits(new).state  # dependencies may have ended meanwhile
            if run.state != RunState.ENQUEUED:
                continue
            run.parents = RECORDING.parents_of(new.after)
            run.state = RunState.FAILED  # stays if the job raises
            definition = self.registry.definitions[new.job_name]
            run.state = await RECORDING.perform(definition, new.arguments_json, run)
            await self._perform(_add(_followers(new, run.run_id)))

    def _add_batch(self, planned: batch_actions.Planned) -> tuple[list[Made], Then]:
        """Record a batch's runs and its waiting callbacks; return these, and a function that runs them all."""
        self._batches += 1
        planned.batch_id = self._batches
        inner = [self._add_batch(part) for part in planned.inner]
        members = _add(planned.runs)
        on_success, on_finish = (
            _add([replace(part, state=RunState.AWAITING)] if part is not None else [])
            for part in (planned.on_success, planned.on_finish)
        )

        async def perform() -> None:
            for _, perform_inner in inner:
                await perform_inner()
            await self._perform(members)
            if RECORDING.perform is None:
                return
            succeeded = {run.state for _, run in members} <= {RunState.SUCCEEDED}
            called = [*on_success, *on_finish] if succeeded else on_finish
            for _, run in called:
                run.state = RunState.ENQUEUED
            await self._perform(called)

        return [
            *(part for made, _ in inner for part in made),
            *members,
            *on_success,
            *on_finish,
        ], perform

    def _refuse(self) -> NoReturn:
        raise SchedulerOff(self._off)
