"""A flow under way as its row has it: its steps as they were when it began, and how each stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownFlow
from ...db.tables import job_batch
from .graph import OVER, StepState, flow_state

KIND = "flow"
_C = job_batch.c


@dataclass
class StepRow:
    """A step of a flow under way.

    Args:
        said: What targcc.yaml says of it; see :func:`....flows.graph.steps_of`.
        job: The job's name when the flow began.
        queue: Where its runs wait.
        priority: There.
        given: Arguments of its runs that need no filling in, as JSON that the job has checked.
        expires_seconds: So long after they may go, its runs are cancelled if they have not begun; ``None``: they are not.
        state: How it stands.
        why: Why it was skipped, cancelled or failed without a run.
        first: Its first run; runs before that are of an earlier round.
        runs: How many it has.
        keyed: Whether its runs ask for their keys: the job is unique, or has a limit.
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
    """A flow that is to begin.

    Args:
        name: What targcc.yaml calls it.
        steps: By name, each after those before it.
        arguments_json: What it is started with.
        is_same: Of a unique flow: whether one with these arguments, as JSON, is the same, so that it is not started beside that.
    """

    name: str
    steps: Mapping[str, StepRow]
    arguments_json: str | None
    is_same: Callable[[str | None], bool] | None = None


@dataclass
class FlowRow:
    """A flow under way.

    Args:
        flow_id: Its id.
        name: What targcc.yaml calls it.
        created_by: Who started it.
        arguments: What it was started with.
        steps: By name, each after those before it.
        cancelled_by: Who wants it to end.
        state: How it stands as a whole.
        created_at: When it began.
        completed_at: When it was over.
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
    """The steps as ``DefinitionJson`` keeps them."""
    return json.dumps({name: vars(step) for name, step in steps.items()}, ensure_ascii=False)


def flow_of(row: Any) -> FlowRow:
    """A flow from its row."""
    said = json.loads(row.DefinitionJson)
    return FlowRow(
        flow_id=row.Id,
        name=row.Name,
        created_by=row.CreatedBy,
        arguments=json.loads(row.ArgumentsJson or "{}"),
        steps={
            name: StepRow(**{**one, "state": StepState(one["state"])}) for name, one in said.items()
        },
        cancelled_by=row.CancelledBy,
        state=StepState(row.State),
        created_at=row.CreatedAt,
        completed_at=row.CompletedAt,
    )


async def insert(connection: AsyncConnection, new: NewFlow, by: str, now: datetime) -> int:
    """A new flow, of which nothing runs yet; its id."""
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
    """Those of some batches that are flows, locked, by their ids."""
    query = sa.select(job_batch).where(_C.Id.in_(ids), _C.Kind == KIND).order_by(_C.Id)
    return [flow_of(row) for row in await connection.execute(query.with_for_update())]


async def lock_one(connection: AsyncConnection, flow_id: int) -> FlowRow:
    """A flow, locked.

    Raises:
        UnknownFlow: there is none with this id.
    """
    found = await lock(connection, [flow_id])
    if not found:
        raise UnknownFlow(f"there is no flow {flow_id}")
    return found[0]


async def write(connection: AsyncConnection, flow: FlowRow, now: datetime) -> None:
    """Write how a flow stands, which is locked."""
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
