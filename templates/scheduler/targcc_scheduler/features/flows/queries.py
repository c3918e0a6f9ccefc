"""Read flows with their steps, and count the runs of each step by state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import visibility
from ...db.tables import job_batch, job_run
from .graph import StepState
from .model import KIND, FlowRow, StepRow, flow_of

_C = job_batch.c


@dataclass(frozen=True)
class FlowStep:
    """A step of a flow.

    Args:
        name: The step's name in the flow.
        job: The step's job.
        after: The earlier steps to wait for.
        on: The required outcome of the earlier steps.
        state: The step's state.
        why: Reason for a step without runs, or for a failure without a run.
        runs: Number of the step's runs in each state.
        last_run: Id of the newest run.
    """

    name: str
    job: str
    after: tuple[str, ...]
    on: str
    state: StepState
    why: str
    runs: Mapping[str, int] = field(default_factory=dict)
    last_run: int | None = None


@dataclass(frozen=True)
class Flow:
    """A flow with its steps, for pages and the API."""

    id: int
    name: str
    state: StepState
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    cancelled_by: str | None
    arguments: Mapping[str, Any]
    steps: tuple[FlowStep, ...]

    @property
    def final(self) -> bool:
        """Whether the flow is over."""
        return self.completed_at is not None


def _visible() -> list[sa.ColumnElement[bool]]:
    allowed = visibility.get()
    return [] if allowed is None else [_C.Name.in_(sorted(allowed.seen))]


async def list_flows(
    db: AsyncConnection, *, name: str | None = None, limit: int = 50, before: int | None = None
) -> list[Flow]:
    """Return flows, newest first, without counts of runs. Show only flows visible to the caller.

    Args:
        db: The database.
        name: Return only flows of this name.
        limit: Maximum number of flows.
        before: Return only flows with a smaller id.
    """
    query = sa.select(job_batch).where(_C.Kind == KIND, *_visible())
    if name is not None:
        query = query.where(_C.Name == name)
    if before is not None:
        query = query.where(_C.Id < before)
    rows = await db.execute(query.order_by(_C.Id.desc()).limit(limit))
    return [_flow(flow_of(row), {}, {}) for row in rows]


async def get_flow(db: AsyncConnection, flow_id: int) -> Flow | None:
    """Return a flow with the counts of its runs; ``None`` if no visible flow has this id."""
    query = sa.select(job_batch).where(_C.Id == flow_id, _C.Kind == KIND, *_visible())
    row = (await db.execute(query)).one_or_none()
    if row is None:
        return None
    flow, c = flow_of(row), job_run.c
    firsts = {name: value.first for name, value in flow.steps.items() if value.first is not None}
    if not firsts:
        return _flow(flow, {}, {})
    counted = (
        sa.select(c.Step, c.State, sa.func.count(), sa.func.max(c.Id))
        .where(c.BatchId == flow_id)
        .where(sa.or_(*(sa.and_(c.Step == name, c.Id >= value) for name, value in firsts.items())))
        .group_by(c.Step, c.State)
    )
    runs: dict[str, dict[str, int]] = {}
    last: dict[str, int] = {}
    for step, state, count, newest in await db.execute(counted):
        runs.setdefault(step, {})[state] = count
        last[step] = max(newest, last.get(step, 0))
    return _flow(flow, runs, last)


def _flow(flow: FlowRow, runs: Mapping[str, Mapping[str, int]], last: Mapping[str, int]) -> Flow:
    return Flow(
        id=flow.flow_id,
        name=flow.name,
        state=flow.state,
        created_by=flow.created_by,
        created_at=flow.created_at,
        completed_at=flow.completed_at,
        cancelled_by=flow.cancelled_by,
        arguments=flow.arguments,
        steps=tuple(
            FlowStep(
                name=name,
                job=step.job,
                after=steps_before(step),
                on=step.said.get("on") or "success",
                state=step.state,
                why=step.why,
                runs=runs.get(name, {}),
                last_run=last.get(name),
            )
            for name, step in flow.steps.items()
        ),
    )


def steps_before(step: StepRow) -> tuple[str, ...]:
    """Return the names of the steps in a step's ``after``."""
    after: str | Sequence[str] = step.said.get("after") or ()
    return (after,) if isinstance(after, str) else tuple(after)


async def flow_of_run(db: AsyncConnection, run_id: int) -> tuple[int, str, str | None] | None:
    """Return the id and name of a run's flow, and the run's step. The step is ``None`` for the run that started the flow."""
    of_run = sa.select(job_run.c.BatchId, job_run.c.Step).where(job_run.c.Id == run_id)
    run = (await db.execute(of_run)).one_or_none()
    if run is None or run.BatchId is None:
        return None
    of_flow = sa.select(_C.Id, _C.Name).where(_C.Id == run.BatchId, _C.Kind == KIND)
    row = (await db.execute(of_flow)).one_or_none()
    return None if row is None else (row.Id, row.Name, run.Step)
