"""Create batches, add members, cancel, retry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, Unpack, overload

from ... import operations
from ...core.actor import SYSTEM, Actor
from ...core.errors import BatchError
from ...core.masking import mask
from ...core.states import ACTIVE, RunState
from ...core.text import visible
from ...hosting import Connection, Host
from ...kernel import dependencies
from ...kernel.audit import audit
from ...kernel.dependencies import BATCH
from ...kernel.engine.submit import (
    MOST_WAITING,
    DeferredSubmit,
    carry_out,
    check_size,
    hand_on,
    new_runs,
)
from ...kernel.jobs.context import JobContext
from ...kernel.jobs.definition import JobDefinition, JobType
from ...kernel.jobs.registry import JobRef
from ...kernel.runs.values import After, NewRun, Options, RunId, Tie
from ...operations import Call
from ...typed_calls import AddOptions, BoundJob, PlainCall, checked_add
from ..triage import bulk
from ..triage.bulk import Step
from . import effects, model
from .model import waiting_for

if TYPE_CHECKING:
    from ...typed_calls import CallbackRef, ContextClass, PlainClass

P = ParamSpec("P")

# Operations on batches. Each function is one transaction, or one step of an operation with several transactions.

MOST_RUNS = 100_000
"""Limit of runs in a batch when it is created."""
_LONGEST_NAME = 200
_A_STEP = 1_000
_ENDED_BADLY = (RunState.CANCELLED, RunState.FAILED)


@dataclass(eq=False)
class Planned:
    """A batch to create.

    Args:
        name: Name for people.
        on_success: Callback run, started once all members have succeeded.
        on_finish: Callback run, started once all members are over.
        runs: The batch's own runs.
        inner: Inner batches.
        parent: Id of an existing batch to join as a member.
        batch_id: The batch's id, set when the batch is created.
    """

    name: str
    on_success: NewRun | None = None
    on_finish: NewRun | None = None
    runs: list[NewRun] = field(default_factory=list)
    inner: list[Planned] = field(default_factory=list)
    parent: int | None = None
    batch_id: int | None = None

    @property
    def every(self) -> list[Planned]:
        """Return this batch and all inner batches, each outer batch before its inner batches."""
        return [self, *(deeper for inner in self.inner for deeper in inner.every)]

    @property
    def callbacks(self) -> list[NewRun]:
        """Return the callback runs, with this batch as the dependency. The batch must have its id."""
        assert self.batch_id is not None
        me = ((BATCH, self.batch_id),)
        runs = []
        if self.on_success is not None:
            runs.append(replace(self.on_success, after=After(me, "success", otherwise="wait")))
        if self.on_finish is not None:
            runs.append(replace(self.on_finish, after=After(me, "finish", otherwise="wait")))
        return runs


async def create(call: Call, planned: Planned, by: Actor) -> int:
    """Create a batch with its inner batches, runs and callbacks, and return its id.

    Raises:
        ValueError: the runs have too many dependencies.
        BatchError: the batch has too many runs; or the parent batch is over, or a run would wait for a batch that contains it.
        UnknownBatch: the parent batch does not exist.
        UnknownRun: a run that the batch's runs wait for does not exist.
    """
    every = planned.every
    _check_size(every)
    changes: dict[int, effects.Change] = {}
    if planned.parent is not None:  # lock the runs' rows before the parent's row
        await dependencies.outcomes(call.connection, [run for batch in every for run in batch.runs])
        await _refuse_circle(call, planned, planned.parent)
        await model.grow(call.connection, planned.parent, 1)
    for batch in every:
        outer = next((other.batch_id for other in every if batch in other.inner), batch.parent)
        batch.batch_id = await model.create(
            call.connection,
            name=visible(mask(batch.name))[:_LONGEST_NAME],
            by=str(by),
            now=call.now,
            members=len(batch.runs) + len(batch.inner),
            parent_id=outer,
        )
    for batch in every:
        assert batch.batch_id is not None
        missing = _stand_ins(await _create_runs(call, batch.batch_id, batch.runs))
        await operations.create_runs(call, batch.callbacks)
        if missing or not (batch.runs or batch.inner):
            changes[batch.batch_id] = effects.Change(missing, gone=missing)
    left = await effects.count(call.connection, changes, call.now)
    await hand_on(call.engine, call.connection, left, call.now)
    assert planned.batch_id is not None
    return planned.batch_id


async def _refuse_circle(call: Call, planned: Planned, parent: int) -> None:
    waits = [run.after for item in planned.every for run in item.runs if run.after is not None]
    if not waits:
        return
    circle = await waiting_for(call.connection, await model.with_outer(call.connection, parent))
    if any(circle.intersection(item.parents) for item in waits):
        raise BatchError(
            f"{planned.name} cannot wait for a batch that it is in, nor for what waits for that"
        )


def _check_size(every: Sequence[Planned]) -> None:
    total = sum(len(batch.runs) for batch in every)
    waits = {run.after for batch in every for run in batch.runs if run.after is not None}
    most = MOST_WAITING if waits else MOST_RUNS
    if total > most:
        what = "batch" if most == MOST_RUNS else "batch that waits"
        raise BatchError(f"a {what} has at most {most} runs, not {total}: make several")
    for after in waits:
        check_size(after, total)


async def _create_runs(call: Call, batch_id: int, runs: Sequence[NewRun]) -> list[RunId]:
    """Create runs of a batch and return their ids, or the ids of existing runs that take their place.

    Insert in steps of 1,000 runs: preparing all of them at once could exceed PostgreSQL's ``idle_in_transaction_session_timeout``.
    """
    ids: list[RunId] = []
    together = DeferredSubmit(call.engine)  # one submission for all steps makes fewer queue entries
    for start in range(0, len(runs), _A_STEP):
        some = runs[start : start + _A_STEP]
        members = [replace(run, batch_id=batch_id, ties=run.ties | Tie.BATCH) for run in some]
        ids += await operations.create_runs(replace(call, engine=together), members)
    await call.engine.submit(call.connection, together.waiting)
    return ids


def _stand_ins(ids: Iterable[RunId]) -> int:
    """Count the runs that were not created because an existing run takes their place, and so are no members."""
    return sum(run_id.existing for run_id in ids)


async def add(call: Call, batch_id: int, runs: Sequence[NewRun]) -> list[int]:
    """Add runs to a running batch and return their ids.

    Raises:
        UnknownBatch: no batch has this id.
        BatchError: the batch is over or being cancelled.
    """
    await model.grow(call.connection, batch_id, len(runs))
    ids = await _create_runs(call, batch_id, runs)
    if missing := _stand_ins(ids):
        changes = {batch_id: effects.Change(missing, gone=missing)}
        left = await effects.count(call.connection, changes, call.now)
        await hand_on(call.engine, call.connection, left, call.now)
    return [*ids]


@dataclass(frozen=True, slots=True)
class Members:
    """The runs of an operation that takes several steps.

    Args:
        batches: Ids of the batch and its inner batches.
        up_to: Largest run id to change; the operation skips newer runs.
    """

    batches: Sequence[int]
    up_to: int


async def begin_cancel(call: Call, batch_id: int, by: Actor) -> Members:
    """Mark a batch as being cancelled, so that nothing can be added. Return the runs to cancel.

    Raises:
        UnknownBatch: no batch has this id.
        BatchError: the batch is over.
    """
    members = await _members(call, batch_id)
    await model.mark_cancelled(
        call.connection, members.batches, str(by)
    )  # locks the inner batches first and this batch last
    row = await model.get(call.connection, batch_id)
    if row.State != model.BatchState.RUNNING:
        raise BatchError(f"batch {batch_id} is {row.State}: there is nothing to cancel")
    await audit(call.connection, by, "cancel batch", call.now, detail=f"batch {batch_id}")
    return replace(members, up_to=await model.newest_run(call.connection, members.batches))


async def begin_retry(call: Call, batch_id: int, by: Actor) -> Members:
    """Write the audit entry of a retry, and return the runs to retry.

    Raises:
        UnknownBatch: no batch has this id.
        BatchError: no run has failed or been cancelled.
    """
    members = await _members(call, batch_id)
    run_ids = await model.runs_in(call.connection, members.batches, _ENDED_BADLY, after=0, most=1)
    if not run_ids:
        raise BatchError(f"no run of batch {batch_id} has failed or been cancelled")
    await audit(call.connection, by, "retry batch", call.now, detail=f"batch {batch_id}")
    return members


async def _members(call: Call, batch_id: int) -> Members:
    await model.get(call.connection, batch_id)
    batches = await model.with_inner(call.connection, batch_id)
    return Members(batches, await model.newest_run(call.connection, batches))


Doing = Callable[[Call, Sequence[bulk.Row], str], Awaitable[Step]]


async def cancel_some(call: Call, found: Sequence[bulk.Row], by: str) -> Step:
    """Cancel the given runs."""
    return await bulk.cancel(call.connection, found, by, call.now)


async def retry_some(call: Call, found: Sequence[bulk.Row], by: str) -> Step:
    """Rerun the given runs now."""
    dues = [call.now] * len(found)
    return await bulk.retry(call.connection, found, by, call.now, dues)


async def step(
    call: Call, members: Members, by: Actor, doing: Doing, after: int
) -> tuple[int, int]:
    """Apply ``doing`` to the next 1,000 runs with ids above ``after``.

    Returns:
        The last run's id, 0 after the last step; and the number of runs changed.
    """
    states = sorted(ACTIVE) if doing is cancel_some else _ENDED_BADLY
    ids = await model.runs_in(
        call.connection, members.batches, states, after=after, up_to=members.up_to, most=_A_STEP
    )
    if not ids:
        return 0, 0
    did = await doing(call, await bulk.rows(call.connection, ids), str(by))
    await carry_out(call.engine, call.connection, did, call.now)
    return ids[-1], len(did.did)


# Builders of batches. Nothing is written until the block ends; if the block raises, nothing is written at all.


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Options of a batch to create.

    Args:
        name: Name for people.
        on_success: Callback job, started once all members have succeeded.
        on_finish: Callback job, started once all members are over.
        by: The actor.
        session: The application's session or connection.
        after: Dependencies of the batch's runs.
        parent: Id of an existing batch to join as a member.
    """

    name: str
    on_success: JobRef | None
    on_finish: JobRef | None
    by: Actor
    session: Connection | None
    after: After | None = None
    parent: int | None = None


class Collecting:
    """Collect the runs of a batch in a block.

    Args:
        host: The scheduler's host.
        find: Find a job.
        wanted: Options of the batch.
        outer: The outer batch, if its block contains this block.
    """

    def __init__(
        self,
        host: Host,
        find: Callable[[JobRef], JobDefinition],
        wanted: Wanted,
        outer: Planned | None = None,
    ) -> None:
        self._host = host
        self._find = find
        self._wanted = wanted
        self._outer = outer
        self._planned = Planned(wanted.name, parent=wanted.parent)

    @property
    def batch_id(self) -> int:
        """The batch's id, once this block and all outer blocks have ended.

        Raises:
            RuntimeError: a block has not ended.
        """
        if self._planned.batch_id is None:
            raise RuntimeError("a batch has its id when its block, and those around it, have ended")
        return self._planned.batch_id

    @overload
    def job(
        self, job: type[ContextClass[P]], /, **options: Unpack[AddOptions]
    ) -> BoundJob[P, None]: ...

    @overload
    def job(
        self, job: type[PlainClass[P]], /, **options: Unpack[AddOptions]
    ) -> BoundJob[P, None]: ...

    @overload
    def job(
        self,
        job: Callable[Concatenate[JobContext, P], Any],
        /,
        **options: Unpack[AddOptions],
    ) -> BoundJob[P, None]: ...

    @overload
    def job(self, job: Callable[P, Any], /, **options: Unpack[AddOptions]) -> BoundJob[P, None]: ...

    @overload
    def job(self, job: JobRef, /, **options: Unpack[AddOptions]) -> BoundJob[..., None]: ...

    def job(self, job: JobRef, /, **options: Unpack[AddOptions]) -> BoundJob[..., None]:
        """Bind options to a job: ``batch.job(SyncTenantJob, queue="bulk").enqueue(tenant_id="x")``. See :meth:`~...scheduler.Scheduler.job`."""

        def add(arguments: Mapping[str, Any]) -> None:
            self.enqueue_many(job, [arguments], **options)

        return BoundJob(lambda: self._find(job), add)

    @checked_add
    def enqueue(
        self,
        job: JobRef,
        /,
        *positional: Any,
        queue: str | None = None,
        priority: int | None = None,
        **arguments: Any,
    ) -> None:
        """Add a run; see :meth:`~...enqueueing.Creating.enqueue`.

        Raises:
            UnknownJob: no job has this name.
            ArgumentsError: the arguments do not fit the job.
        """
        call = PlainCall(arguments, positional, locals())
        definition = self._find(job)
        self.enqueue_many(definition, call.sets(definition), queue=queue, priority=priority)

    def enqueue_many(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Add a run for each set of arguments."""
        options = Options(self._wanted.after, queue, priority)
        self._planned.runs += self._new_runs(job, many, options)

    def batch(
        self,
        name: str,
        *,
        on_success: CallbackRef | None = None,
        on_finish: CallbackRef | None = None,
    ) -> Self:
        """Begin an inner batch. It counts as a single member of this batch.

        The inner batch's block must be inside this batch's block. The inner runs have the same dependencies as this batch's runs.
        """
        wanted = Wanted(
            name=name,
            on_success=on_success,
            on_finish=on_finish,
            by=self._wanted.by,
            session=self._wanted.session,
            after=self._wanted.after,
        )
        return type(self)(self._host, self._find, wanted, self._planned)

    def _begin(self) -> Self:
        wanted, planned = self._wanted, self._planned
        if wanted.on_success is not None:
            [planned.on_success] = self._new_runs(wanted.on_success, [{}])
        if wanted.on_finish is not None:
            [planned.on_finish] = self._new_runs(wanted.on_finish, [{}])
        return self

    def _whole(self) -> Planned | None:
        """End the block without an error. Return the batch to create now, or ``None`` for an inner batch."""
        if self._outer is None:
            return self._planned
        self._outer.inner.append(self._planned)
        return None

    def _new_runs(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        options: Options = Options(),  # noqa: B008 - it is frozen
    ) -> list[NewRun]:
        kind, now = JobType.FIRE_AND_FORGET, self._host.clock.now()
        return new_runs(self._find(job), kind, many, self._wanted.by, now, options=options)


class Batch(Collecting):
    """Builder of a batch as an ``async with`` block."""

    async def __aenter__(self) -> Self:
        await self._host.now()  # read the database's clock
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None and (whole := self._whole()) is not None:
            wanted = self._wanted
            await self._host.operate(create, wanted.session, whole, wanted.by)


class PlainBatch(Collecting):
    """Builder of a batch as a ``with`` block, for synchronous code."""

    def __enter__(self) -> Self:
        self._host.open_now()
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None and (whole := self._whole()) is not None:
            host, session, by = self._host, self._wanted.session, self._wanted.by
            if session is None:
                host.call_now(host.operate(create, None, whole, by))
            else:
                host.finish_now(host.operate_within(create, session, whole, by))


# Operations on existing batches: ``scheduler.batches``.

Begin = Callable[[Call, int, Actor], Awaitable[Members]]


class Batches:
    """Cancel batches, retry their failed runs, and add runs.

    Args:
        host: The scheduler's host.
        find: Find a job.
    """

    def __init__(self, host: Host, find: Callable[[JobRef], JobDefinition]) -> None:
        self._host = host
        self._find = find

    async def cancel(self, batch_id: int, *, by: Actor) -> int:
        """Cancel all runs of a batch and its inner batches, in steps of 1,000 runs. Return the number of runs.

        Waiting runs are cancelled at once; running runs get a request to stop. From the first step on, nothing can be added to the batch.

        Raises:
            UnknownBatch: no batch has this id.
            BatchError: the batch is over.
        """
        return await self._all(begin_cancel, cancel_some, batch_id, by)

    async def retry_failed(self, batch_id: int, *, by: Actor) -> int:
        """Rerun the failed and cancelled runs of a batch and its inner batches, in steps of 1,000 runs. Return the number of runs.

        The new runs replace the old runs in the batch.

        Raises:
            UnknownBatch: no batch has this id.
            BatchError: no run has failed or been cancelled.
        """
        return await self._all(begin_retry, retry_some, batch_id, by)

    async def add(
        self,
        batch_id: int,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        by: Actor = SYSTEM,
        session: Connection | None = None,
    ) -> list[int]:
        """Add runs to a running batch, for example from one of its runs, and return their ids.

        Raises:
            UnknownBatch: no batch has this id.
            BatchError: the batch is over or being cancelled.
            ArgumentsError: the arguments do not fit the job.
        """
        definition, now, kind = self._find(job), await self._host.now(), JobType.FIRE_AND_FORGET
        runs = new_runs(definition, kind, many, by, now)
        return await self._host.operate(add, session, batch_id, runs)

    async def _all(self, begin: Begin, doing: Doing, batch_id: int, by: Actor) -> int:
        members = await self._host.operate(begin, None, batch_id, by)
        total, after, more = 0, 0, True
        while more:
            after, count = await self._host.operate(step, None, members, by, doing, after)
            total, more = total + count, after > 0
        return total
