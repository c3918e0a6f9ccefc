"""Advance flows when runs of their steps end: create the runs of ready steps, in the transaction that settles the ended runs.

All decisions are made under the lock of the flow's row, from the database's current rows. If two transactions settle the last runs of
a step, the second transaction decides after the first. Deciding again changes nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import ACTIVE
from ...core.stored_values import is_kept
from ...db.dialects import known
from ...db.tables import job_batch, job_run, logged_job
from ...kernel.runs import create
from ...kernel.runs.values import ASKS, Effects, NewRun, Ready, Settlement, Tie, over
from . import model
from .graph import OVER, Step, StepState, outcome, steps_of, verdict
from .language import FlowError, NotKept, filled
from .model import FlowRow, StepRow

MOST_RUNS = 10_000
"""Limit of runs in a step."""
MOST_CHARACTERS = 64 * 2**20
"""Limit of characters for the arguments of a step's runs together, and for the metadata that the step reads from another step.

The node that settles the other step's last run holds both in memory.
"""
_RUNS_A_STATEMENT = 1_000
_MOST_SWEPT = 100


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Advance the flows of the settled runs."""
    runs = sorted(over(settled, Tie.BATCH))
    if not runs:
        return Effects()
    c = job_run.c
    of_steps = (known.of(connection).among(c.Id, runs), c.Step.is_not(None))
    rows = await connection.execute(sa.select(c.BatchId, c.Step).where(*of_steps).distinct())
    return await _advance_steps(connection, rows, now)


async def removed(connection: AsyncConnection, gone: Sequence[Any], now: datetime) -> Effects:
    """Advance flows after a person deleted runs. ``gone`` holds the deleted rows; rows that were active can complete a step."""
    left = [row for row in gone if row.Step is not None and row.State in ACTIVE]
    return await _advance_steps(connection, left, now)


_IS_ACTIVE = sa.exists().where(
    job_run.c.BatchId == job_batch.c.Id, job_run.c.State.in_(ACTIVE), job_run.c.Step.is_not(None)
)
_STANDS = (
    sa.select(job_batch.c.Id)
    .where(job_batch.c.State == StepState.RUNNING, job_batch.c.Kind == model.KIND, ~_IS_ACTIVE)
    .order_by(job_batch.c.Id)
)


async def any_missed(connection: AsyncConnection) -> bool:
    """Return whether a running flow has no active run."""
    return await connection.scalar(_STANDS.limit(1)) is not None


async def sweep(connection: AsyncConnection, now: datetime) -> Effects:
    """Advance running flows that have no active run, because a writer without knowledge of flows ended or deleted the last one."""
    flow_ids = await connection.scalars(_STANDS.limit(_MOST_SWEPT))
    return await _advance_all(connection, dict.fromkeys(flow_ids), now)


async def _advance_steps(
    connection: AsyncConnection, runs: Iterable[Any], now: datetime
) -> Effects:
    """Advance the flows of the given rows. ``BatchId`` and ``Step`` of a row name the step that lost an active run."""
    steps: dict[int, set[str]] = defaultdict(set)
    for run in runs:
        steps[run.BatchId].add(run.Step)
    return await _advance_all(connection, steps, now)


async def _advance_all(
    connection: AsyncConnection, steps: Mapping[int, Collection[str] | None], now: datetime
) -> Effects:
    ready: list[Ready] = []
    for flow in await model.lock(connection, sorted(steps)) if steps else []:
        ready += await advance(connection, flow, steps[flow.flow_id], now)
    return Effects(ready=ready)


async def advance(
    connection: AsyncConnection, flow: FlowRow, steps: Collection[str] | None, now: datetime
) -> list[Ready]:
    """Advance a locked flow if one of the given steps is over, and return the runs that were created.

    ``steps=None`` checks all running steps. Otherwise the other running steps are checked only once a given step is over:
    if many steps run in parallel, the end of a run then queries its own step alone.
    """
    running = [name for name, step in flow.steps.items() if step.state == StepState.RUNNING]
    first = [name for name in running if steps is None or name in steps]
    ended_ = [name for name in first if await _is_over(connection, flow, name)]
    if not ended_:
        return []
    for name in running:
        if name not in first:
            await _is_over(connection, flow, name)
    return await go_on(connection, flow, now)


async def go_on(connection: AsyncConnection, flow: FlowRow, now: datetime) -> list[Ready]:
    """Decide on the waiting steps of a locked flow and write the flow's row. Return the created runs."""
    steps = steps_of({name: item.said for name, item in flow.steps.items()})
    ready: list[Ready] = []
    for name, step in steps.items():
        here = flow.steps[name]
        if here.state != StepState.WAITING:
            continue
        if flow.cancelled_by is not None:
            here.state, here.why = StepState.CANCELLED, f"cancelled by {flow.cancelled_by}"
        elif all(flow.steps[item].state in OVER for item in step.after):
            ready += await _decide(connection, flow, step, now)
    await model.write(connection, flow, now)
    return ready


async def _is_over(connection: AsyncConnection, flow: FlowRow, name: str) -> bool:
    """Return whether all runs of a step are over; if so, set the step's outcome."""
    step, c = flow.steps[name], job_run.c
    conditions = (c.BatchId == flow.flow_id, c.Step == name, c.Id >= (step.first or 0))
    going = (
        sa.select(c.Id).where(*conditions, c.CompletedAt.is_(None), c.State.in_(ACTIVE)).limit(1)
    )
    if (await connection.execute(going)).first() is not None:
        return False
    counted = sa.select(c.State, sa.func.count()).where(*conditions).group_by(c.State)
    states = {state: count for state, count in await connection.execute(counted)}
    step.state = outcome(states)
    if not states:
        step.state, step.why = StepState.CANCELLED, "its runs were deleted"
    return True


async def _decide(
    connection: AsyncConnection, flow: FlowRow, step: Step, now: datetime
) -> list[Ready]:
    """Decide on a step after its earlier steps are over. Create and return the step's runs, if any."""
    here = flow.steps[step.name]
    here.state, here.why = verdict(step.on, {item: flow.steps[item].state for item in step.after})
    if here.state != StepState.RUNNING:
        return []
    try:
        values = await _values(connection, flow, step)
        if step.when is not None and not step.when.value(values):
            here.state, here.why = StepState.SKIPPED, f"when: {step.when}"
            return []
        given = _arguments(step, here, values)
    except FlowError as error:
        here.state, here.why = StepState.FAILED, str(error)
        return []
    here.runs = len(given)
    if not given:
        here.state, here.why = StepState.SUCCEEDED, "for_each: there is nothing"
        return []
    runs = [_new_run(flow, step.name, item, now) for item in given]
    ids: list[int] = []
    for start in range(0, len(runs), _RUNS_A_STATEMENT):
        ids += await create.insert_many(connection, runs[start : start + _RUNS_A_STATEMENT], now)
    here.first = min(ids)
    return [Ready(run_id, here.queue, here.priority, now, asks=here.keyed) for run_id in ids]


def _new_run(flow: FlowRow, name: str, arguments_json: str | None, now: datetime) -> NewRun:
    step = flow.steps[name]
    expires = step.expires_seconds
    return NewRun(
        job_name=step.job,
        job_type="FireAndForget",
        queue=step.queue,
        priority=step.priority,
        arguments_json=arguments_json,
        due_at=now,
        expires_at=None if expires is None else now + timedelta(seconds=expires),
        triggered_by=flow.created_by,
        note=f"step {name} of flow {flow.flow_id}",
        ties=Tie.BATCH,
        limit_key=ASKS if step.keyed else None,
        batch_id=flow.flow_id,
        step=name,
    )


def _arguments(step: Step, here: StepRow, values: Mapping[str, Any]) -> list[str | None]:
    """Return the arguments of each run of a step, as JSON.

    Raises:
        FlowError: the templates cannot be filled in, or a limit is exceeded.
    """
    if step.for_each is None:
        return [_filled(step, here, values)]
    items = step.for_each.value(values)
    if not isinstance(items, list):
        raise FlowError(f"for_each: {step.for_each} is no list")
    if len(items) > MOST_RUNS:
        raise FlowError(f"for_each: {len(items)} items, and a step has at most {MOST_RUNS} runs")
    given: list[str | None] = []
    for start in range(0, len(items), _RUNS_A_STATEMENT):
        some = items[start : start + _RUNS_A_STATEMENT]
        given += [_filled(step, here, {**values, "item": item}) for item in some]
        _check_size(given, f"for_each: the arguments of {len(items)} runs")
    return given


def _check_size(texts: Iterable[str | None], what: str) -> None:
    if sum(len(text or "") for text in texts) > MOST_CHARACTERS:
        raise FlowError(f"{what} would have more than {MOST_CHARACTERS} characters")


def _filled(step: Step, here: StepRow, values: Mapping[str, Any]) -> str | None:
    if not step.arguments:
        return here.given
    given = {key: filled(value, values) for key, value in step.arguments.items()}
    kept = json.loads(here.given or "{}")
    return json.dumps({**given, **kept}, ensure_ascii=False)


async def _values(connection: AsyncConnection, flow: FlowRow, step: Step) -> dict[str, Any]:
    """Return the values for a step's expressions: the flow's arguments, and the metadata of each step that the expressions name.

    A step with ``for_each`` gives a list with the metadata of each run.
    """
    values: dict[str, Any] = {"flow": flow.arguments}
    for name in sorted(step.asks & flow.steps.keys()):
        given = await _metadata(connection, flow, name)
        several = flow.steps[name].said.get("for_each")
        values[name] = given if several else next(iter(given), {})
    return values


async def _metadata(connection: AsyncConnection, flow: FlowRow, name: str) -> list[dict[str, Any]]:
    """Return the metadata of each run of a step, from the run's last attempt, ordered by run id."""
    step, c = flow.steps[name], job_run.c
    if step.first is None:
        return []
    conditions = (c.BatchId == flow.flow_id, c.Step == name, c.Id >= step.first)
    ids = (await connection.scalars(sa.select(c.Id).where(*conditions).order_by(c.Id))).all()
    last: dict[str, str | None] = {}
    for start in range(0, len(ids), _RUNS_A_STATEMENT):
        some = [str(run_id) for run_id in ids[start : start + _RUNS_A_STATEMENT]]
        query = (
            sa.select(logged_job.c.JobId, logged_job.c.MetadataJson)
            .where(logged_job.c.JobId.in_(some))
            .order_by(logged_job.c.ID)
        )
        for row in await connection.execute(query):
            last[row.JobId] = row.MetadataJson
        _check_size(last.values(), f"the metadata of {name}")
    return [_as_kept(json.loads(last.get(str(run_id)) or "{}")) for run_id in ids]


def _as_kept(value: Any) -> Any:
    """Replace metadata values that were stored cut or masked with a :class:`NotKept` marker.

    So no expression reads a truncated value as complete, or a mask as an item.
    """
    if not is_kept(value):
        return NotKept()
    if isinstance(value, dict):
        return {key: _as_kept(item) for key, item in value.items()}
    return [_as_kept(item) for item in value] if isinstance(value, list) else value
