"""Read and write the row of a flow: its steps as declared at the start, and the state of each step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownFlow
from ...db.tables import job_batch, job_run
from .graph import OVER, StepState, flow_state

KIND = "flow"
_C = job_batch.c
IS_NEEDED = sa.exists().where(
    _C.Id == job_run.c.BatchId, _C.Kind == KIND, _C.State == StepState.RUNNING
)
"""Condition that a run belongs to a running flow: later steps may read its metadata."""


@dataclass
class StepRow:
    """A step of a flow as stored in the flow's row.

    Args:
        said: The step in targcc.yaml; see :func:`.graph.steps_of`.
        job: The job's name when the flow began.
        queue: Queue of the step's runs.
        priority: Priority of the step's runs.
        given: Arguments that contain no template, as JSON checked by the job.
        expires_seconds: Cancel runs that have not begun so many seconds after they are due; ``None``: not at all.
        state: The step's state.
        why: Reason for a step that was skipped or cancelled, or that failed without a run.
        first: Id of the step's first run; runs with smaller ids belong to an earlier rerun.
        runs: Number of runs.
        keyed: Whether the step's runs must get limit or unique keys before a claim: the job is unique or has a limit.
    """

    said: dict[str, Any]
    job: str
    queue: str
    priority: int
    given: str | None
    expires_seconds: float | None = None
    state: StepState = StepState.WAITING
    why: str = ""
    first: int | None = None
    runs: int = 0
    keyed: bool = False


@dataclass(frozen=True)
class NewFlow:
    """A flow to insert.

    Args:
        name: The flow's name in targcc.yaml.
        steps: Steps by name, in topological order.
        arguments_json: Arguments of the flow, as JSON.
        is_same: For a unique flow: compare stored arguments, as JSON, with this flow's. If they match, no second flow is started.
    """

    name: str
    steps: Mapping[str, StepRow]
    arguments_json: str | None
    is_same: Callable[[str | None], bool] | None = None


@dataclass
class FlowRow:
    """A flow as stored.

    Args:
        flow_id: The flow's id.
        name: The flow's name in targcc.yaml.
        created_by: The actor that started the flow.
        arguments: Arguments of the flow.
        steps: Steps by name, in topological order.
        cancelled_by: The actor that cancelled the flow.
        state: State of the whole flow.
        created_at: Start time.
        completed_at: End time, ``None`` while the flow is running.
    """

    flow_id: int
    name: str
    created_by: str
    arguments: dict[str, Any]
    steps: dict[str, StepRow]
    cancelled_by: str | None
    state: StepState
    created_at: datetime
    completed_at: datetime | None


def steps_json(steps: Mapping[str, StepRow]) -> str:
    """Return the steps as JSON for ``DefinitionJson``."""
    return json.dumps({name: vars(step) for name, step in steps.items()}, ensure_ascii=False)


def flow_of(row: Any) -> FlowRow:
    """Build a flow from its row."""
    steps = json.loads(row.DefinitionJson)
    return FlowRow(
        flow_id=row.Id,
        name=row.Name,
        created_by=row.CreatedBy,
        arguments=json.loads(row.ArgumentsJson or "{}"),
        steps={
            name: StepRow(**{**step, "state": StepState(step["state"])})
            for name, step in steps.items()
        },
        cancelled_by=row.CancelledBy,
        state=StepState(row.State),
        created_at=row.CreatedAt,
        completed_at=row.CompletedAt,
    )


async def insert(connection: AsyncConnection, new: NewFlow, by: str, now: datetime) -> int:
    """Insert a flow with no runs yet, and return its id."""
    made = await connection.execute(
        sa.insert(job_batch)
        .values(
            {
                _C.Name: new.name,
                _C.Kind: KIND,
                _C.State: StepState.RUNNING,
                _C.CreatedBy: by[:100],
                _C.CreatedAt: now,
                _C.Total: len(new.steps),
                _C.Pending: len(new.steps),
                _C.DefinitionJson: steps_json(new.steps),
                _C.ArgumentsJson: new.arguments_json,
            }
        )
        .returning(_C.Id)
    )
    return int(made.scalar_one())


async def lock(connection: AsyncConnection, ids: Sequence[int]) -> list[FlowRow]:
    """Lock and return the flows among the given batches, in id order."""
    query = sa.select(job_batch).where(_C.Id.in_(ids), _C.Kind == KIND).order_by(_C.Id)
    return [flow_of(row) for row in await connection.execute(query.with_for_update())]


async def lock_one(connection: AsyncConnection, flow_id: int) -> FlowRow:
    """Lock a flow and return it.

    Raises:
        UnknownFlow: no flow has this id.
    """
    flows = await lock(connection, [flow_id])
    if not flows:
        raise UnknownFlow(f"there is no flow {flow_id}")
    return flows[0]


async def write(connection: AsyncConnection, flow: FlowRow, now: datetime) -> None:
    """Compute the state of a locked flow from its steps, and write the flow's row."""
    states = [step.state for step in flow.steps.values()]
    flow.state = flow_state(states, cancelled=flow.cancelled_by is not None)
    bad = {StepState.FAILED, StepState.CANCELLED}
    await connection.execute(
        sa.update(job_batch)
        .where(_C.Id == flow.flow_id)
        .values(
            {
                _C.State: flow.state,
                _C.CompletedAt: now if flow.state in OVER else None,
                _C.CancelledBy: flow.cancelled_by,
                _C.Pending: sum(state not in OVER for state in states),
                _C.Failed: sum(state in bad for state in states),
                _C.DefinitionJson: steps_json(flow.steps),
            }
        )
    )
