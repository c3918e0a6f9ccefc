"""Create runs and make them claimable: deferred submission, handover of follow-up runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...features.events.model import note_retries
from ...features.triage.bulk import Step
from .. import deferred_keys, dependencies, idempotency
from ..dependencies import RUN
from ..effects import Effects, Ready
from ..jobs.definition import JobDefinition, JobType
from ..on_settled import on_settled
from ..runs.eligibility import Waiting
from ..runs.values import After, NewRun, RunId, Settlement, Then, Tie, is_mark
from ..unique import expiry, unique_key
from .port import Engine, Submission

# Submissions that are kept for later: until all runs of a call are there, or until an application has committed whose driver the engine does not know.


class DeferredSubmit:
    """An engine that keeps what is submitted, and leaves all else to the real one.

    Args:
        engine: The real one.

    Attributes:
        waiting: What was submitted.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waiting: list[Submission] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Keep them."""
        del connection
        self.waiting += runs


# What settled runs mean for others: those that go on are submitted again, and those that ended let others go.

_HELD_UP = 5
"""More runs of a limited queue that are offered when one ends: the first may be held up by their own jobs' limits."""


async def hand_over(
    engine: Engine, connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> list[Submission]:
    """Tell the engine of settled runs, in the transaction that settled them, and of what hung on them; the submissions it got.

    Args:
        engine: The engine.
        connection: The transaction.
        settled: What :func:`..storage.runs.settle.settle` has written.
        now: The present instant.
    """
    return await hand_on(engine, connection, Effects(settled=settled), now)


async def hand_on(
    engine: Engine, connection: AsyncConnection, consequences: Effects, now: datetime
) -> list[Submission]:
    """As :func:`hand_over`, of what has come of something else than ends."""
    submitted: list[Submission] = []
    while consequences.ready or consequences.settled:
        if consequences.ready:
            ready = [submission(run) for run in consequences.ready]
            await engine.submit(connection, ready)
            submitted += ready
        settled = consequences.settled
        await note_retries(connection, settled, now)
        submitted += await _offer(engine, connection, settled)
        consequences = await on_settled(connection, settled, now)  # which has consequences too
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
    first = item.cost_a_worker or not item.counts  # its worker was lost, or released it
    return Submission(claim.run_id, claim.queue, claim.priority, due_at, first)


def submission(run: Waiting | Ready) -> Submission:
    """A run that waits from now on; or one that a node has refused, for others."""
    how = {"asks": run.asks, "first": run.first} if isinstance(run, Ready) else {}
    return Submission(run.run_id, run.queue, run.priority, run.due_at, **how)


# Creating runs: with what they wait for, and with the runs of the jobs that follow theirs.

_RUNS_A_STATEMENT = 1_000


def runs_after(definition: JobDefinition, by: str, now: datetime) -> tuple[NewRun, ...]:
    """The runs of the jobs that follow a job, and of those that follow them in turn."""
    return tuple(_run_after(job, by, now) for job in definition.followers())


def followers_of(jobs: Mapping[str, JobDefinition], by: str, now: datetime) -> Then:
    """Finds the runs of the jobs that follow a job, by its name; none for a job that is not there."""
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
    """What hangs on a run that others follow."""
    return int(Tie.FOLLOWED) if then else 0


async def create_runs(
    engine: Engine, connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> list[RunId]:
    """Insert runs, and submit those to the engine that do not wait for others; the ids of those, in order, or of what stands for them.

    A run that was there already, and stands for another, is as it was: it waits for nothing more, and nothing more follows it.

    Raises:
        UnknownRun: something that a run is to wait for does not exist.
        IdempotencyError: a call's name is that of another call.
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
    if waits:  # what is discarded at once takes those that follow it along
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
    """Insert the runs of slots that have none, and submit them with those that follow them; how many there are.

    Of a unique job a slot whose key another run has is recorded as skipped; without ``record_skipped`` it stays without a run.
    """
    new = await deferred_keys.insert_slots(connection, runs, now, record_skipped=record_skipped)
    created = [
        (new[slot], run)
        for run in runs
        if run.scheduled_for is not None and (slot := (run.job_name, run.scheduled_for)) in new
    ]
    await submit_created(engine, connection, created, now)
    return len(created)


async def carry_out(engine: Engine, connection: AsyncConnection, step: Step, now: datetime) -> None:
    """Tell the engine, and whom it concerns, of a step of an operation on many runs, in its transaction."""
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
    """Submit new runs to the engine, and create those that follow them because their jobs' ``after`` says so."""
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
    """Let the run of a job that follows several ones wait for this one too; it is created with the first of them."""
    run_id, run = parent
    if await dependencies.joined(connection, child, run, run_id):
        return
    jobs = child.after.jobs if child.after is not None else ()
    others = tuple(dependencies.place_of(job) for job in jobs if job != run.job_name)
    after = After(((RUN, run_id), *others))
    await create_runs(engine, connection, [replace(child, after=after)], now)
