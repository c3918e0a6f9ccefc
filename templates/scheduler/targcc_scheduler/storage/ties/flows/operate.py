"""What people and programs do to flows: start, cancel, do again from a step on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.errors import FlowStateError, UnknownRun
from ....core.states import ACTIVE
from ....flows.graph import steps_of
from ....flows.progress import OVER, StepState
from ...dialects import known
from ...schema.tied.batches import job_batch
from ...tables import job_run, job_step
from ..consequences import Ready
from . import rows
from .advance import go_on
from .rows import NewFlow

STARTED = "start flow"
"""The step of the run that starts a flow; its result is the flow's id."""


async def start(
    connection: AsyncConnection, new: NewFlow, by: str, now: datetime
) -> tuple[int, list[Ready]]:
    """Start a flow: its id, and the runs of its first steps."""
    flow_id = await rows.insert(connection, new, by, now)
    flow = await rows.lock_one(connection, flow_id)
    return flow_id, await go_on(connection, flow, now)


async def started_by(connection: AsyncConnection, run_id: int) -> int | None:
    """The flow that a run has started already, in an earlier attempt; the run is locked.

    Raises:
        UnknownRun: there is no such run.
    """
    query = sa.select(job_run.c.Id).where(job_run.c.Id == run_id).with_for_update()
    if (await connection.execute(query)).first() is None:
        raise UnknownRun(f"there is no run {run_id}")
    kept = await connection.scalar(
        sa.select(job_step.c.ResultJson).where(
            job_step.c.RunId == run_id, job_step.c.Name == STARTED
        )
    )
    return None if kept is None else int(json.loads(kept))


async def note_start(connection: AsyncConnection, run_id: int, flow_id: int, now: datetime) -> None:
    """Note that a run has started a flow: as a finished step of it, and for its page."""
    await connection.execute(
        sa.insert(job_step).values(
            RunId=run_id,
            Name=STARTED,
            ResultJson=json.dumps(flow_id),
            Attempt=sa.select(job_run.c.Attempt).where(job_run.c.Id == run_id).scalar_subquery(),
            CompletedAt=now,
            DurationMs=0,
        )
    )
    unclaimed = (job_run.c.Id == run_id, job_run.c.BatchId.is_(None))
    await connection.execute(sa.update(job_run).where(*unclaimed).values(BatchId=flow_id))


async def under_way(
    connection: AsyncConnection, name: str, is_same: Callable[[str | None], bool]
) -> int | None:
    """The oldest flow of a name that is under way, with arguments that are the same; until this transaction ends nobody else looks for one.

    Args:
        connection: The transaction.
        name: The flow's name.
        is_same: Whether arguments, as JSON, are the same.
    """
    await known.of(connection).lock_job(connection, f"flow/{name}")
    c = job_batch.c
    query = sa.select(c.Id, c.ArgumentsJson).where(
        c.State == StepState.RUNNING, c.Kind == rows.KIND, c.Name == name
    )
    found = await connection.execute(query.order_by(c.Id))
    return next((row.Id for row in found if is_same(row.ArgumentsJson)), None)


async def rerun(
    connection: AsyncConnection, flow_id: int, from_step: str | None, now: datetime
) -> tuple[str, list[Ready]]:
    """Do a step and all after it again, in the same flow; ``None``: all steps that failed or were cancelled, and those after them.

    Returns:
        The flow's name, and the runs that go.

    Raises:
        UnknownFlow: there is no such flow.
        FlowStateError: it has no such step, nothing of it failed, or what is to be done again is not over.
    """
    flow = await rows.lock_one(connection, flow_id)
    steps = steps_of({name: one.said for name, one in flow.steps.items()})
    if from_step is not None and from_step not in steps:
        raise FlowStateError(f"flow {flow_id} has no step {from_step!r}: {', '.join(steps)}")
    if from_step is not None and flow.steps[from_step].state not in OVER:
        raise FlowStateError(f"step {from_step} of flow {flow_id} is {flow.steps[from_step].state}")
    bad = {StepState.FAILED, StepState.CANCELLED}
    again: set[str] = set()
    for name, step in steps.items():
        wanted = name == from_step if from_step else flow.steps[name].state in bad
        if wanted or again.intersection(step.after):
            again.add(name)
    if not again:
        raise FlowStateError(f"nothing of flow {flow_id} failed: say from which step on")
    for name in steps:
        if name in again and flow.steps[name].state == StepState.RUNNING:
            raise FlowStateError(f"step {name} of flow {flow_id} is running: cancel the flow first")
    await _require_quiet(connection, flow_id, again)
    for name in again:
        here = flow.steps[name]
        here.state, here.why, here.runs, here.first = StepState.WAITING, "", 0, None
    flow.cancelled_by = None
    return flow.name, await go_on(connection, flow, now)


async def _require_quiet(connection: AsyncConnection, flow_id: int, steps: set[str]) -> None:
    c = job_run.c
    query = sa.select(sa.func.min(c.Id)).where(
        c.BatchId == flow_id, c.State.in_(ACTIVE), c.Step.in_(sorted(steps))
    )
    run_id = await connection.scalar(query)
    if run_id is not None:
        raise FlowStateError(f"run {run_id} of flow {flow_id} is not over yet")


async def cancel(
    connection: AsyncConnection, flow_id: int, by: str, now: datetime
) -> tuple[str, Sequence[int]]:
    """Let nothing more of a flow begin.

    Returns:
        Its name, and its runs that are not over: they are cancelled once this is committed, since whoever ends a run locks first the
        run and then its flow.

    Raises:
        UnknownFlow: there is no such flow.
        FlowStateError: it is over.
    """
    flow = await rows.lock_one(connection, flow_id)
    if flow.state in OVER:
        raise FlowStateError(f"flow {flow_id} is {flow.state}: there is nothing to cancel")
    flow.cancelled_by = flow.cancelled_by or by[:100]
    await go_on(connection, flow, now)
    return flow.name, await active_runs(connection, flow_id)


async def active_runs(connection: AsyncConnection, flow_id: int) -> Sequence[int]:
    """The runs of a flow's steps that are not over, by their ids."""
    c = job_run.c
    query = sa.select(c.Id).where(c.BatchId == flow_id, c.State.in_(ACTIVE), c.Step.is_not(None))
    return (await connection.scalars(query.order_by(c.Id))).all()
