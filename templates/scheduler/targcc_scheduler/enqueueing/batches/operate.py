"""What is done with batches: each function is one transaction, or one step of what takes several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ... import operations
from ...core.actor import Actor
from ...core.errors import BatchError
from ...core.secrets import mask
from ...core.states import ACTIVE, RunState
from ...core.text import visible
from ...engine.creating import carry_out
from ...engine.handover import hand_on
from ...engine.later import SubmitsLater
from ...operations import Call
from ...storage.audit import audit
from ...storage.bulk import actions
from ...storage.bulk.actions import Step
from ...storage.runs.values import After, NewRun, RunId
from ...storage.ties import following
from ...storage.ties.batches import ended, rows
from ...storage.ties.batches.waiters import waiting_for
from ...storage.ties.links import BATCH
from ...storage.ties.tie import Tie
from ..waiting import MOST_WAITING, check_size

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
    changes: dict[int, ended.Change] = {}
    if planned.parent is not None:  # its row is locked after those of runs
        await following.outcomes(call.connection, [run for one in every for run in one.runs])
        await _refuse_circle(call, planned, planned.parent)
        await rows.grow(call.connection, planned.parent, 1)
    for one in every:
        outer = next((other.batch_id for other in every if one in other.inner), one.parent)
        one.batch_id = await rows.create(
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
            changes[one.batch_id] = ended.Change(missing, gone=missing)
    left = await ended.count(call.connection, changes, call.now)
    await hand_on(call.engine, call.connection, left, call.now)
    assert planned.batch_id is not None
    return planned.batch_id


async def _refuse_circle(call: Call, planned: Planned, parent: int) -> None:
    waits = [run.after for one in planned.every for run in one.runs if run.after is not None]
    if not waits:
        return
    circle = await waiting_for(call.connection, await rows.with_outer(call.connection, parent))
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
    together = SubmitsLater(call.engine)  # many have fewer entries
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
    await rows.grow(call.connection, batch_id, len(runs))
    ids = await _create_runs(call, batch_id, runs)
    if missing := _stand_ins(ids):
        changes = {batch_id: ended.Change(missing, gone=missing)}
        left = await ended.count(call.connection, changes, call.now)
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
    await rows.mark_cancelled(call.connection, members.batches, str(by))  # it is locked last
    row = await rows.get(call.connection, batch_id)
    if row.State != rows.BatchState.RUNNING:
        raise BatchError(f"batch {batch_id} is {row.State}: there is nothing to cancel")
    await audit(call.connection, by, "cancel batch", call.now, detail=f"batch {batch_id}")
    return replace(members, up_to=await rows.newest_run(call.connection, members.batches))


async def begin_retry(call: Call, batch_id: int, by: Actor) -> Members:
    """Note that what failed of a batch is done again; the runs to look at.

    Raises:
        UnknownBatch: there is none with this id.
        BatchError: none has failed, or been cancelled.
    """
    members = await _members(call, batch_id)
    found = await rows.runs_in(call.connection, members.batches, _ENDED_BADLY, after=0, most=1)
    if not found:
        raise BatchError(f"no run of batch {batch_id} has failed or been cancelled")
    await audit(call.connection, by, "retry batch", call.now, detail=f"batch {batch_id}")
    return members


async def _members(call: Call, batch_id: int) -> Members:
    await rows.get(call.connection, batch_id)
    batches = await rows.with_inner(call.connection, batch_id)
    return Members(batches, await rows.newest_run(call.connection, batches))


Doing = Callable[[Call, Sequence[actions.Row], str], Awaitable[Step]]


async def cancel_some(call: Call, found: Sequence[actions.Row], by: str) -> Step:
    """Cancel some runs."""
    return await actions.cancel(call.connection, found, by, call.now)


async def retry_some(call: Call, found: Sequence[actions.Row], by: str) -> Step:
    """Do some runs again."""
    dues = [call.now] * len(found)
    return await actions.retry(call.connection, found, by, call.now, dues)


async def step(
    call: Call, members: Members, by: Actor, doing: Doing, after: int
) -> tuple[int, int]:
    """Do something to the next runs of a batch; the last that was looked at, 0 after the last of all, and how many it was done to."""
    states = sorted(ACTIVE) if doing is cancel_some else _ENDED_BADLY
    ids = await rows.runs_in(
        call.connection, members.batches, states, after=after, up_to=members.up_to, most=_A_STEP
    )
    if not ids:
        return 0, 0
    did = await doing(call, await actions.rows(call.connection, ids), str(by))
    await carry_out(call.engine, call.connection, did, call.now)
    return ids[-1], len(did.did)
