"""Create runs and submit them to the engine; submit the runs that settlements make ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from .. import deferred_keys, dependencies, idempotency
from ..dependencies import RUN
from ..effects import Effects, Ready
from ..feature import OnRetry, load
from ..jobs.definition import JobDefinition, JobType
from ..on_settled import on_settled
from ..runs.eligibility import Waiting
from ..runs.values import After, NewRun, RunId, Settlement, Then, Tie, is_mark
from ..unique import expiry, unique_key
from .port import Engine, Submission

# Deferred submission: until all runs of a call are inserted, or until an application with an unknown driver has committed.


class DeferredSubmit:
    """Collect submissions instead of submitting; pass every other call to the real engine.

    Args:
        engine: The real engine.

    Attributes:
        waiting: The collected submissions.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waiting: list[Submission] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Collect the submissions."""
        del connection
        self.waiting += runs


# Effects of settled runs: submit runs that wait again, and release runs that the ended runs blocked.

_HELD_UP = 5
"""Additional runs of a limited queue to offer when a run ends: the limits of their jobs may block the first runs."""


async def hand_over(
    engine: Engine, connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> list[Submission]:
    """Submit settled runs that wait again, apply the effects of the others, and return the submissions.

    Args:
        engine: The engine.
        connection: The transaction that settled the runs.
        settled: The result of :func:`..runs.settle.settle`.
        now: The present instant.
    """
    return await hand_on(engine, connection, Effects(settled=settled), now)


async def hand_on(
    engine: Engine, connection: AsyncConnection, consequences: Effects, now: datetime
) -> list[Submission]:
    """Apply effects like :func:`hand_over`, for effects that do not come from settlements alone; return the submissions."""
    submitted: list[Submission] = []
    while consequences.ready or consequences.settled:
        if consequences.ready:
            ready = [submission(run) for run in consequences.ready]
            await engine.submit(connection, ready)
            submitted += ready
        settled = consequences.settled
        if again := [item for item in settled if item.state is RunState.RETRYING]:
            for note in load(OnRetry):
                await note(connection, again, now)
        submitted += await _offer(engine, connection, settled)
        consequences = await on_settled(connection, settled, now)  # effects cause further effects
    return submitted


async def _offer(
    engine: Engine, connection: AsyncConnection, settled: Sequence[Settlement]
) -> list[Submission]:
    again = [_submission(item) for item in settled if item.goes_on]
    if again:
        await engine.submit(connection, again)
    limits = {item.claim.job_name: item.claim.limit for item in settled}
    for job, limit in sorted(limits.items()):
        if limit is not None:
            await engine.release(connection, job_name=job, count=limit)
    queues = {item.claim.queue: item.claim.queue_limit for item in settled}
    for queue, limit in sorted(queues.items()):
        if limit is not None:
            await engine.release(connection, queue=queue, count=limit + _HELD_UP)
    return again


def _submission(item: Settlement) -> Submission:
    claim = item.claim
    due_at = item.due_at or claim.due_at
    first = item.cost_a_worker or not item.counts  # lost or released by its worker
    return Submission(claim.run_id, claim.queue, claim.priority, due_at, first)


def submission(run: Waiting | Ready) -> Submission:
    """Build the submission for a ready run, or for a refused run that waits for another node."""
    how = {"asks": run.asks, "first": run.first} if isinstance(run, Ready) else {}
    return Submission(run.run_id, run.queue, run.priority, run.due_at, **how)


# Create runs, with their dependencies and the runs of the jobs that follow their jobs.

_RUNS_A_STATEMENT = 1_000


def runs_after(definition: JobDefinition, by: str, now: datetime) -> tuple[NewRun, ...]:
    """Build the runs of the jobs that follow a job, recursively."""
    return tuple(_run_after(job, by, now) for job in definition.followers())


def followers_of(jobs: Mapping[str, JobDefinition], by: str, now: datetime) -> Then:
    """Return a function from a job's name to the runs of its followers; an unknown job has no followers."""
    return lambda name: runs_after(jobs[name], by, now) if name in jobs else ()


def _run_after(job: JobDefinition, by: str, now: datetime) -> NewRun:
    then, arguments_json = runs_after(job, by, now), job.check({})
    return NewRun(
        job_name=job.name,
        job_type=JobType.FIRE_AND_FORGET,
        queue=job.queue,
        priority=job.priority,
        arguments_json=arguments_json,
        due_at=now,
        triggered_by=by,
        note=f"by {by}",
        expires_at=expiry(job, now),
        unique=unique_key(job, arguments_json),
        **job.room(arguments_json),
        after=After((), jobs=job.after),
        then=then,
        ties=dependencies_of(then),
    )


def dependencies_of(then: Sequence[NewRun]) -> int:
    """Return the ties of a run with the followers ``then``."""
    return int(Tie.FOLLOWED) if then else 0


async def create_runs(
    engine: Engine, connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> list[RunId]:
    """Insert runs and submit the runs without unmet dependencies to the engine.

    An existing run that stands for a requested run gets no new dependencies and no new dependents.

    Returns:
        For each run, in order, the id of the new run, or of an existing run that stands for the new run.

    Raises:
        UnknownRun: a parent does not exist.
        IdempotencyError: the idempotency key belongs to another call.
    """
    if len(runs) <= _RUNS_A_STATEMENT:
        return await _create(engine, connection, runs, now)
    ids: list[RunId] = []
    together = DeferredSubmit(engine)
    for start in range(0, len(runs), _RUNS_A_STATEMENT):
        ids += await _create(together, connection, runs[start : start + _RUNS_A_STATEMENT], now)
    await engine.submit(connection, together.waiting)
    return ids


async def _create(
    engine: Engine, connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> list[RunId]:
    waits = any(run.after is not None for run in runs)
    runs = await idempotency.without_repeated(connection, runs) if waits else runs
    ended = await dependencies.outcomes(connection, runs) if waits else {}
    runs = [dependencies.prepared(run, ended) for run in runs] if waits else runs
    made = await deferred_keys.insert_many(connection, runs, now)
    await engine.submit(connection, [submission(run) for run in made.moved])
    await submit_created(engine, connection, made.new, now)
    if waits:  # runs discarded at once take their dependents along
        discarded = await dependencies.tie(connection, made.new, ended, now)
        await hand_over(engine, connection, discarded, now)
    return made.ids


async def create_slots(
    engine: Engine,
    connection: AsyncConnection,
    runs: Sequence[NewRun],
    now: datetime,
    *,
    record_skipped: bool = True,
) -> int:
    """Insert runs for slots without a run, submit them with their followers, and return their number.

    If another run holds the unique key of a slot, the slot is recorded as skipped; without ``record_skipped``, the slot gets no run.
    """
    new = await deferred_keys.insert_slots(connection, runs, now, record_skipped=record_skipped)
    created = [
        (new[slot], run)
        for run in runs
        if run.scheduled_for is not None and (slot := (run.job_name, run.scheduled_for)) in new
    ]
    await submit_created(engine, connection, created, now)
    return len(created)


@dataclass(frozen=True, kw_only=True)
class RunChanges:
    """Changes of runs in a transaction, for the engine to follow.

    Args:
        created: New runs with their ids.
        submit: Existing runs that wait from now on.
        withdraw: Runs that no longer wait.
        settled: Settled runs.
    """

    created: Sequence[tuple[int, NewRun]] = ()
    submit: Sequence[Ready] = ()
    withdraw: Sequence[int] = ()
    settled: Sequence[Settlement] = ()


async def carry_out(
    engine: Engine, connection: AsyncConnection, step: RunChanges, now: datetime
) -> None:
    """Apply changes of runs, in their transaction: withdraw and submit runs, apply effects, add the runs of follower jobs."""
    if step.withdraw:
        await engine.withdraw(connection, step.withdraw)
    await hand_over(engine, connection, step.settled, now)
    await engine.submit(connection, [submission(run) for run in step.submit])
    await submit_created(engine, connection, step.created, now)


async def submit_created(
    engine: Engine,
    connection: AsyncConnection,
    created: Sequence[tuple[int, NewRun]],
    now: datetime,
) -> None:
    """Submit new runs to the engine, and create the runs of the jobs that follow by their ``after``."""
    submissions = [
        Submission(run_id, run.queue, run.priority, run.due_at, asks=is_mark(run.limit_key))
        for run_id, run in created
        if run.state != RunState.AWAITING
    ]
    await engine.submit(connection, submissions)
    children = []
    for run_id, run in created:
        for child in run.then:
            if child.after is not None and len(child.after.jobs) > 1:
                await _join(engine, connection, child, (run_id, run), now)
            else:
                children.append(replace(child, after=After(((RUN, run_id),))))
    if children:
        await create_runs(engine, connection, children, now)


async def _join(
    engine: Engine,
    connection: AsyncConnection,
    child: NewRun,
    parent: tuple[int, NewRun],
    now: datetime,
) -> None:
    """Add a parent to the waiting run of a job that follows several jobs; create the run with its first parent."""
    run_id, run = parent
    if await dependencies.joined(connection, child, run, run_id):
        return
    jobs = child.after.jobs if child.after is not None else ()
    others = tuple(dependencies.place_of(job) for job in jobs if job != run.job_name)
    after = After(((RUN, run_id), *others))
    await create_runs(engine, connection, [replace(child, after=after)], now)
