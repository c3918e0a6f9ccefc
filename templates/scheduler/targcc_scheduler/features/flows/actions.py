"""Start, cancel and rerun flows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, overload

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM, Actor
from ...core.errors import ArgumentsError, FlowStateError, RunStateError, UnknownFlow, UnknownRun
from ...core.states import ACTIVE, RunState
from ...db.dialects import known
from ...db.tables import job_batch, job_run, job_step
from ...enqueueing import Creating
from ...hosting import Connection
from ...kernel.audit import audit
from ...kernel.engine.submit import hand_over, submission
from ...kernel.jobs.checks import JobFinding, finding
from ...kernel.jobs.definition import JobDefinition
from ...kernel.runs import operate
from ...kernel.runs.values import Ready, Settlement
from ...kernel.unique import has_keys
from ...operations import Call
from ...project import current
from ...settings import Settings
from ...typed_calls import FlowCall, flow_and_arguments
from . import model
from .effects import go_on
from .graph import OVER, StepState, in_order, steps_of
from .language import FlowError, Template, filled, texts_in
from .model import NewFlow, StepRow

# Actions on flows: start, cancel, rerun from a step on.

STARTED = "start flow"
"""Name of the step row in the run that starts a flow; the step's result is the flow's id."""


async def start(
    connection: AsyncConnection, new: NewFlow, by: str, now: datetime
) -> tuple[int, list[Ready]]:
    """Insert a flow and create the runs of its first steps. Return the flow's id and the created runs."""
    flow_id = await model.insert(connection, new, by, now)
    flow = await model.lock_one(connection, flow_id)
    return flow_id, await go_on(connection, flow, now)


async def started_by(connection: AsyncConnection, run_id: int) -> int | None:
    """Return the flow that an earlier attempt of this run started, if any. Lock the run's row.

    Raises:
        UnknownRun: no run has this id.
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
    """Record that a run has started a flow: insert a finished step row, and set the run's batch id if it has none."""
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
    """Return the oldest running flow of this name whose arguments match ``is_same``.

    Lock the flow's name first: until this transaction ends, no other transaction searches for a running flow of this name.

    Args:
        connection: The transaction.
        name: The flow's name.
        is_same: Compare the stored arguments, as JSON.
    """
    await known.of(connection).lock_job(connection, f"flow/{name}")
    c = job_batch.c
    query = sa.select(c.Id, c.ArgumentsJson).where(
        c.State == StepState.RUNNING, c.Kind == model.KIND, c.Name == name
    )
    rows = await connection.execute(query.order_by(c.Id))
    return next((row.Id for row in rows if is_same(row.ArgumentsJson)), None)


async def rerun(
    connection: AsyncConnection, flow_id: int, from_step: str | None, now: datetime
) -> tuple[str, list[Ready]]:
    """Run a step and all its dependents again, in the same flow.

    ``from_step=None`` selects all steps that failed or were cancelled, and their dependents.

    Returns:
        The flow's name, and the runs that were created.

    Raises:
        UnknownFlow: no flow has this id.
        FlowStateError: the flow has no such step, no step failed, or a selected step still has active runs.
    """
    flow = await model.lock_one(connection, flow_id)
    steps = steps_of({name: row.said for name, row in flow.steps.items()})
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
    """Cancel all waiting steps of a flow.

    Returns:
        The flow's name, and the ids of its active runs. Cancel the runs after this transaction has committed:
        settling a run locks the run first and its flow second.

    Raises:
        UnknownFlow: no flow has this id.
        FlowStateError: the flow is over.
    """
    flow = await model.lock_one(connection, flow_id)
    if flow.state in OVER:
        raise FlowStateError(f"flow {flow_id} is {flow.state}: there is nothing to cancel")
    flow.cancelled_by = flow.cancelled_by or by[:100]
    await go_on(connection, flow, now)
    return flow.name, await active_runs(connection, flow_id)


async def active_runs(connection: AsyncConnection, flow_id: int) -> Sequence[int]:
    """Return the ids of the active runs of a flow's steps, in order."""
    c = job_run.c
    query = sa.select(c.Id).where(c.BatchId == flow_id, c.State.in_(ACTIVE), c.Step.is_not(None))
    return (await connection.scalars(query.order_by(c.Id))).all()


# The scheduler's methods for flows: start, cancel, rerun.

_RUNS_A_TRANSACTION = 500


class Flowing(Creating):
    """Methods of :class:`~...scheduler.Scheduler` for flows."""

    @overload
    async def start_flow(
        self, flow: FlowCall, *, session: Connection | None = None, by: Actor = SYSTEM
    ) -> int: ...

    @overload
    async def start_flow(
        self,
        flow: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        session: Connection | None = None,
        by: Actor = SYSTEM,
    ) -> int: ...

    async def start_flow(
        self,
        flow: str | FlowCall,
        arguments: Mapping[str, Any] | None = None,
        *,
        session: Connection | None = None,
        by: Actor = SYSTEM,
    ) -> int:
        """Start a flow of targcc.yaml and return its id.

        If a unique flow with the same arguments is running, return that flow's id instead.

        Args:
            flow: A call of the flow's function in the module ``flows``, which type checkers check; or the flow's name in targcc.yaml.
            arguments: Arguments of a flow that is given by name. Missing arguments get their defaults.
            session: The application's session or connection; see :meth:`enqueue`.
            by: The actor, for the audit log.

        Raises:
            UnknownFlow: no flow has this name.
            UnknownJob: a step names a job that is not registered.
            ArgumentsError: the arguments do not fit the flow, or those of a step do not fit its job.
        """
        new = self._new_flow(*flow_and_arguments(flow, arguments))
        return await self.operate(start_flow, session, new, by)

    async def start_flow_of_run(
        self, name: str, run_id: int, arguments: Mapping[str, Any], *, alone: bool, by: str
    ) -> tuple[int, bool]:
        """Start a flow for a run of the flow's job. Further attempts of the run start no second flow.

        Args:
            name: The flow's name in targcc.yaml.
            run_id: The run.
            arguments: Arguments of the flow.
            alone: Start nothing while another flow of this name is under way.
            by: The actor that started the run.

        Returns:
            The flow's id, and whether this run started the flow. If false, the id is that of the flow under way.
        """
        new = self._new_flow(name, arguments)
        return await self.operate(start_of_run, None, new, Actor(by), run_id, alone=alone)

    async def rerun_flow(
        self, flow_id: int, from_step: str | None = None, *, by: Actor = SYSTEM
    ) -> None:
        """Run a step of a flow and all its dependents again, in the same flow. Earlier steps keep their results.

        Args:
            flow_id: The flow.
            from_step: The step. Default: all steps that failed or were cancelled.
            by: The actor, for the audit log.

        Raises:
            UnknownFlow: no flow has this id.
            FlowStateError: the flow has no such step, no step failed, or a selected step still has active runs.
        """
        await self.operate(rerun_flow, None, flow_id, from_step, by)

    async def cancel_flow(self, flow_id: int, *, by: Actor = SYSTEM) -> None:
        """Cancel the waiting steps and the active runs of a flow.

        Waiting runs are cancelled at once. Running runs get a request to stop.

        Raises:
            UnknownFlow: no flow has this id.
            FlowStateError: the flow is over.
        """
        active = await self.operate(cancel_flow, None, flow_id, by)
        for start_ in range(0, len(active), _RUNS_A_TRANSACTION):
            some = active[start_ : start_ + _RUNS_A_TRANSACTION]
            for run_id in await self.operate(cancel_runs, None, some, by):
                self._host.cancel(run_id, str(by))

    def find_flow(self, name: str) -> JobDefinition:
        """Return the job of a flow.

        Raises:
            UnknownFlow: no flow has this name.
        """
        known = current().flows
        if name not in known:
            raise UnknownFlow(
                f"there is no flow {name!r}: {', '.join(known) or 'none is declared'}"
            )
        return self.find(name)

    def _new_flow(self, name: str, arguments: Mapping[str, Any]) -> NewFlow:
        """Build a flow to insert, with all arguments checked."""
        definition = self.find_flow(name)
        given = definition.check(arguments)
        declarations = current().flows[name]["steps"]
        steps = {step: self._step(step, declarations[step]) for step in in_order(declarations)}
        return NewFlow(name, steps, given, _same_as(definition, given))

    def _step(self, name: str, declared: Mapping[str, Any]) -> StepRow:
        job = self._registry.find(declared["job"])
        try:
            given = step_arguments(job, declared.get("arguments") or {})
        except ArgumentsError as error:
            raise ArgumentsError(f"step {name}: {error}") from None
        expires = None if job.expires_in is None else job.expires_in.total_seconds()
        keyed = has_keys(job)
        return StepRow(
            dict(declared), job.name, job.queue, job.priority, given, expires, keyed=keyed
        )


def wrong_steps(jobs: Iterable[JobDefinition], _settings: Settings) -> Iterator[JobFinding]:
    """Yield a finding for each step of a flow whose arguments do not fit the step's job."""
    by_name = {job.name: job for job in jobs}
    for name, flow in current().flows.items():
        for step, declared in flow["steps"].items():
            job = by_name.get(declared["job"])
            if job is None:
                continue
            try:
                step_arguments(job, declared.get("arguments") or {})
            except (ArgumentsError, FlowError) as error:
                reason = "; ".join(str(error).splitlines())
                cause = f"step {step} of the flow {name}: {reason}"
                advice = f"change the step's arguments in targcc.yaml, or those of {job.name}"
                yield replace(finding(job, cause, advice), job=name)


def step_arguments(job: JobDefinition, declared: Mapping[str, Any]) -> str | None:
    """Check the arguments of a step that contain no template, and return them as JSON.

    Raises:
        ArgumentsError: the arguments do not fit the job, or required arguments are missing.
    """
    filled_in = {
        key
        for key, value in declared.items()
        if any(next(Template(text).names, None) for _, text in texts_in(value))
    }
    fixed = {key: filled(value, {}) for key, value in declared.items() if key not in filled_in}
    if not filled_in:
        return job.check(fixed)
    if secret := filled_in & job.signature.secrets:
        raise ArgumentsError(f"{', '.join(sorted(secret))}: a secret is not filled in")
    job.signature.only(declared)  # raises if the job lacks a parameter
    fields = job.parameters.model_fields if job.parameters is not None else {}
    own = json.loads(job.arguments_json) | fixed
    rest = [
        key
        for key, field in fields.items()
        if key not in filled_in and (key in own or field.is_required())
    ]
    return job.signature.only(rest).check({key: own[key] for key in rest if key in own})


def _same_as(definition: JobDefinition, given: str | None) -> Callable[[str | None], bool] | None:
    """Return the comparison of arguments for a unique flow, ``None`` for any other flow."""
    unique, signature = definition.unique, definition.signature
    if unique is None:
        return None
    key = unique.key(signature, given)
    return lambda others: unique.key(signature, others) == key


async def start_flow(call: Call, new: NewFlow, by: Actor) -> int:
    """Start a flow and return its id. If a unique flow with the same arguments is running, return that flow's id."""
    other = await _in_its_way(call, new, alone=False)
    return await _start(call, new, by) if other is None else other


async def _in_its_way(call: Call, new: NewFlow, *, alone: bool) -> int | None:
    """Return the running flow that prevents this start.

    With ``alone``, any flow of the same name prevents the start. Otherwise only a unique flow with the same arguments does.
    """
    if alone:
        return await under_way(call.connection, new.name, lambda _arguments: True)
    if new.is_same is None:
        return None
    return await under_way(call.connection, new.name, new.is_same)


async def _start(call: Call, new: NewFlow, by: Actor) -> int:
    flow_id, ready = await start(call.connection, new, str(by), call.now)
    await _submit(call, ready)
    detail = f"flow {flow_id}"
    await audit(call.connection, by, "start flow", call.now, job_name=new.name, detail=detail)
    return flow_id


async def start_of_run(
    call: Call, new: NewFlow, by: Actor, run_id: int, *, alone: bool
) -> tuple[int, bool]:
    """Start the flow of a run. Start nothing if an earlier attempt did, or if a running flow prevents the start."""
    flow_id = await started_by(call.connection, run_id)
    if flow_id is not None:
        return flow_id, True
    other = await _in_its_way(call, new, alone=alone)
    if other is not None:
        return other, False
    flow_id = await _start(call, new, by)
    await note_start(call.connection, run_id, flow_id, call.now)
    return flow_id, True


async def rerun_flow(call: Call, flow_id: int, from_step: str | None, by: Actor) -> None:
    """Rerun steps of a flow and write an audit entry."""
    name, ready = await rerun(call.connection, flow_id, from_step, call.now)
    await _submit(call, ready)
    detail = f"flow {flow_id} from {from_step or 'what failed'} on"
    await audit(call.connection, by, "rerun flow", call.now, job_name=name, detail=detail)


async def cancel_flow(call: Call, flow_id: int, by: Actor) -> Sequence[int]:
    """Cancel a flow's waiting steps and write an audit entry. Return the runs to cancel in a later transaction."""
    name, active = await cancel(call.connection, flow_id, str(by), call.now)
    detail = f"flow {flow_id}"
    await audit(call.connection, by, "cancel flow", call.now, job_name=name, detail=detail)
    return active


async def cancel_runs(call: Call, run_ids: Sequence[int], by: Actor) -> list[int]:
    """Cancel the given runs, except runs that are over by now. Return the ids of running runs; these got a request to stop."""
    running: list[int] = []
    ended: list[Settlement] = []
    for run_id in run_ids:
        try:
            state, settled = await operate.cancel(call.connection, run_id, str(by), call.now)
        except (UnknownRun, RunStateError):
            continue
        ended += settled
        if state == RunState.RUNNING:
            running.append(run_id)
    await call.engine.withdraw(call.connection, [settlement.claim.run_id for settlement in ended])
    await hand_over(call.engine, call.connection, ended, call.now)
    return running


async def _submit(call: Call, ready: Sequence[Ready]) -> None:
    await call.engine.submit(call.connection, [submission(run) for run in ready])
