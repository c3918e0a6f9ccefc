"""Create batches, add members, cancel, retry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

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
from ...kernel.engine.submit import DeferredSubmit, carry_out, hand_on
from ...kernel.jobs.definition import JobDefinition, JobType
from ...kernel.jobs.registry import JobRef
from ...kernel.run_builder import MOST_WAITING, Options, check_size, new_runs
from ...kernel.runs.values import After, NewRun, RunId, Tie
from ...operations import Call
from ..triage import bulk
from ..triage.bulk import Step
from . import effects, model
from .model import waiting_for

# What is done with batches: each function is one transaction, or one step of what takes several.

MOST_RUNS = 100_000
"""A batch has at most so many runs when it is created."""
_LONGEST_NAME = 200
_A_STEP = 1_000
_ENDED_BADLY = (RunState.CANCELLED, RunState.FAILED)


@dataclass(eq=False)
class Planned:
    """A batch that is to be created.

    Args:
        name: For people.
        on_success: Runs once everything in it has succeeded.
        on_finish: Runs once everything in it is over.
        runs: Its runs.
        inner: The batches in it.
        parent: The batch that it is in, by its id, where that is there already.
        batch_id: Its id, once it was created.
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
        """It, and all that are in it; one that is in another comes after that."""
        return [self, *(deeper for one in self.inner for deeper in one.every)]

    @property
    def callbacks(self) -> list[NewRun]:
        """The runs that wait for it, once it has its id."""
        assert self.batch_id is not None
        me = ((BATCH, self.batch_id),)
        found = []
        if self.on_success is not None:
            found.append(replace(self.on_success, after=After(me, "success", otherwise="wait")))
        if self.on_finish is not None:
            found.append(replace(self.on_finish, after=After(me, "finish", otherwise="wait")))
        return found


async def create(call: Call, planned: Planned, by: Actor) -> int:
    """Create a batch with all that is in it; its id.

    Raises:
        ValueError: its runs wait for too much.
        BatchError: it has too many runs, or what it is to be in is over, or is what it is to wait for.
        UnknownBatch: what it is to be in does not exist.
        UnknownRun: what its runs are to wait for does not exist.
    """
    every = planned.every
    _check_size(every)
    changes: dict[int, effects.Change] = {}
    if planned.parent is not None:  # its row is locked after those of runs
        await dependencies.outcomes(call.connection, [run for one in every for run in one.runs])
        await _refuse_circle(call, planned, planned.parent)
        await model.grow(call.connection, planned.parent, 1)
    for one in every:
        outer = next((other.batch_id for other in every if one in other.inner), one.parent)
        one.batch_id = await model.create(
            call.connection,
            name=visible(mask(one.name))[:_LONGEST_NAME],
            by=str(by),
            now=call.now,
            members=len(one.runs) + len(one.inner),
            parent_id=outer,
        )
    for one in every:
        assert one.batch_id is not None
        missing = _stand_ins(await _create_runs(call, one.batch_id, one.runs))
        await operations.create_runs(call, one.callbacks)
        if missing or not (one.runs or one.inner):
            changes[one.batch_id] = effects.Change(missing, gone=missing)
    left = await effects.count(call.connection, changes, call.now)
    await hand_on(call.engine, call.connection, left, call.now)
    assert planned.batch_id is not None
    return planned.batch_id


async def _refuse_circle(call: Call, planned: Planned, parent: int) -> None:
    waits = [run.after for one in planned.every for run in one.runs if run.after is not None]
    if not waits:
        return
    circle = await waiting_for(call.connection, await model.with_outer(call.connection, parent))
    if any(circle.intersection(one.parents) for one in waits):
        raise BatchError(
            f"{planned.name} cannot wait for a batch that it is in, nor for what waits for that"
        )


def _check_size(every: Sequence[Planned]) -> None:
    total = sum(len(one.runs) for one in every)
    waits = {run.after for one in every for run in one.runs if run.after is not None}
    most = MOST_WAITING if waits else MOST_RUNS
    if total > most:
        what = "batch" if most == MOST_RUNS else "batch that waits"
        raise BatchError(f"a {what} has at most {most} runs, not {total}: make several")
    for after in waits:
        check_size(after, total)


async def _create_runs(call: Call, batch_id: int, runs: Sequence[NewRun]) -> list[RunId]:
    """Create runs of a batch and return their ids, or those of existing runs that stand for them.

    In steps, since PostgreSQL ends a transaction that stands still for as long as all of them take to be made ready.
    """
    ids: list[RunId] = []
    together = DeferredSubmit(call.engine)  # many have fewer entries
    for start in range(0, len(runs), _A_STEP):
        some = runs[start : start + _A_STEP]
        mine = [replace(run, batch_id=batch_id, ties=run.ties | Tie.BATCH) for run in some]
        ids += await operations.create_runs(replace(call, engine=together), mine)
    await call.engine.submit(call.connection, together.waiting)
    return ids


def _stand_ins(ids: Iterable[RunId]) -> int:
    """Return how many runs were not created, as existing runs stand for them: their places in the batch are gone."""
    return sum(run_id.existing for run_id in ids)


async def add(call: Call, batch_id: int, runs: Sequence[NewRun]) -> list[int]:
    """Add runs to a batch that is not over; their ids.

    Raises:
        UnknownBatch: there is none with this id.
        BatchError: it is over, or being cancelled.
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
    """Which runs something is done to, step by step.

    Args:
        batches: The batch, and those in it.
        up_to: The newest run; those that come later are left as they are.
    """

    batches: Sequence[int]
    up_to: int


async def begin_cancel(call: Call, batch_id: int, by: Actor) -> Members:
    """Let nothing be added to a batch, since it is being cancelled; the runs to look at.

    Raises:
        UnknownBatch: there is none with this id.
        BatchError: it is over.
    """
    members = await _members(call, batch_id)
    await model.mark_cancelled(call.connection, members.batches, str(by))  # it is locked last
    row = await model.get(call.connection, batch_id)
    if row.State != model.BatchState.RUNNING:
        raise BatchError(f"batch {batch_id} is {row.State}: there is nothing to cancel")
    await audit(call.connection, by, "cancel batch", call.now, detail=f"batch {batch_id}")
    return replace(members, up_to=await model.newest_run(call.connection, members.batches))


async def begin_retry(call: Call, batch_id: int, by: Actor) -> Members:
    """Note that what failed of a batch is done again; the runs to look at.

    Raises:
        UnknownBatch: there is none with this id.
        BatchError: none has failed, or been cancelled.
    """
    members = await _members(call, batch_id)
    found = await model.runs_in(call.connection, members.batches, _ENDED_BADLY, after=0, most=1)
    if not found:
        raise BatchError(f"no run of batch {batch_id} has failed or been cancelled")
    await audit(call.connection, by, "retry batch", call.now, detail=f"batch {batch_id}")
    return members


async def _members(call: Call, batch_id: int) -> Members:
    await model.get(call.connection, batch_id)
    batches = await model.with_inner(call.connection, batch_id)
    return Members(batches, await model.newest_run(call.connection, batches))


Doing = Callable[[Call, Sequence[bulk.Row], str], Awaitable[Step]]


async def cancel_some(call: Call, found: Sequence[bulk.Row], by: str) -> Step:
    """Cancel some runs."""
    return await bulk.cancel(call.connection, found, by, call.now)


async def retry_some(call: Call, found: Sequence[bulk.Row], by: str) -> Step:
    """Do some runs again."""
    dues = [call.now] * len(found)
    return await bulk.retry(call.connection, found, by, call.now, dues)


async def step(
    call: Call, members: Members, by: Actor, doing: Doing, after: int
) -> tuple[int, int]:
    """Do something to the next runs of a batch; the last that was looked at, 0 after the last of all, and how many it was done to."""
    states = sorted(ACTIVE) if doing is cancel_some else _ENDED_BADLY
    ids = await model.runs_in(
        call.connection, members.batches, states, after=after, up_to=members.up_to, most=_A_STEP
    )
    if not ids:
        return 0, 0
    did = await doing(call, await bulk.rows(call.connection, ids), str(by))
    await carry_out(call.engine, call.connection, did, call.now)
    return ids[-1], len(did.did)


# A batch while it is being put together: nothing of it exists until its block ends, and nothing if the block raises.


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A batch as it is asked for.

    Args:
        name: For people.
        on_success: The job that runs once everything in it has succeeded.
        on_finish: The job that runs once everything in it is over.
        by: Who wants it.
        session: The application's session or connection.
        after: What its runs wait for.
        parent: The batch of which it is to be a member, by its id.
    """

    name: str
    on_success: JobRef | None
    on_finish: JobRef | None
    by: Actor
    session: Connection | None
    after: After | None = None
    parent: int | None = None


class Collecting:
    """Collects the runs of a batch.

    Args:
        host: Where it is going to be.
        find: Finds a job.
        wanted: What is asked for.
        outer: The batch that it is in.
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
        """The batch's id, once its block has ended, and those around it.

        Raises:
            RuntimeError: they have not.
        """
        if self._planned.batch_id is None:
            raise RuntimeError("a batch has its id when its block, and those around it, have ended")
        return self._planned.batch_id

    def enqueue(
        self,
        job: JobRef,
        /,
        *,
        queue: str | None = None,
        priority: int | None = None,
        **arguments: Any,
    ) -> None:
        """Add a run; see :meth:`~..creating.Creating.enqueue`.

        Raises:
            UnknownJob: there is no such job.
            ArgumentsError: the arguments do not fit it.
        """
        self.enqueue_many(job, [arguments], queue=queue, priority=priority)

    def enqueue_many(
        self,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Add a run for each of many sets of arguments."""
        options = Options(self._wanted.after, queue, priority)
        self._planned.runs += self._new_runs(job, many, options)

    def batch(
        self, name: str, *, on_success: JobRef | None = None, on_finish: JobRef | None = None
    ) -> Self:
        """A batch that counts as one member of this one; its block stands in this one's, and its runs wait for what those of this one wait for."""
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
        """The block has ended well: what is to be created now, if it stands in no other block."""
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
    """A batch that is put together in an ``async with`` block."""

    async def __aenter__(self) -> Self:
        await self._host.now()  # by the database's clock
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None and (whole := self._whole()) is not None:
            wanted = self._wanted
            await self._host.operate(create, wanted.session, whole, wanted.by)


class PlainBatch(Collecting):
    """A batch that is put together in a ``with`` block, by code that is not async."""

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


# What can be done with batches that exist: ``scheduler.batches``.

Begin = Callable[[Call, int, Actor], Awaitable[Members]]


class Batches:
    """Cancels batches, has what failed of them done again, and adds to them.

    Args:
        host: Where they are.
        find: Finds a job.
    """

    def __init__(self, host: Host, find: Callable[[JobRef], JobDefinition]) -> None:
        self._host = host
        self._find = find

    async def cancel(self, batch_id: int, *, by: Actor) -> int:
        """Cancel all runs of a batch, and of those in it: those that wait at once, the others are told. How many.

        It is done in steps of 1,000 runs; nothing can be added from the first on.

        Raises:
            UnknownBatch: there is none with this id.
            BatchError: it is over.
        """
        return await self._all(begin_cancel, cancel_some, batch_id, by)

    async def retry_failed(self, batch_id: int, *, by: Actor) -> int:
        """Do the runs of a batch again that have failed or were cancelled; how many. The new runs take their places in the batch.

        It is done in steps of 1,000 runs.

        Raises:
            UnknownBatch: there is none with this id.
            BatchError: none has failed, or been cancelled.
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
        """Add runs to a batch that is not over, as from one of its runs; their ids.

        Raises:
            UnknownBatch: there is none with this id.
            BatchError: it is over, or being cancelled.
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
