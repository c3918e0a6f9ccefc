"""Creating runs: with what they wait for, and with the runs of the jobs that follow theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from ..jobs.definition import JobDefinition, JobType
from ..storage.bulk.actions import Step
from ..storage.runs.values import After, NewRun, RunId, Then
from ..storage.ties import following
from ..storage.ties.keys import calls, keyed
from ..storage.ties.keys.marks import is_mark
from ..storage.ties.keys.wanted import expiry, unique_key
from ..storage.ties.links import RUN
from ..storage.ties.tie import Tie
from .handover import hand_over, submission
from .later import SubmitsLater
from .port import Engine, Submission

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
        ties=ties_of(then),
    )


def ties_of(then: Sequence[NewRun]) -> int:
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
    together = SubmitsLater(engine)
    for start in range(0, len(runs), _RUNS_A_STATEMENT):
        ids += await _create(together, connection, runs[start : start + _RUNS_A_STATEMENT], now)
    await engine.submit(connection, together.waiting)
    return ids


async def _create(
    engine: Engine, connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> list[RunId]:
    waits = any(run.after is not None for run in runs)
    runs = await calls.without_repeated(connection, runs) if waits else runs
    ended = await following.outcomes(connection, runs) if waits else {}
    runs = [following.prepared(run, ended) for run in runs] if waits else runs
    made = await keyed.insert_many(connection, runs, now)
    await engine.submit(connection, [submission(run) for run in made.moved])
    await submit_created(engine, connection, made.new, now)
    if waits:  # what is discarded at once takes those that follow it along
        discarded = await following.tie(connection, made.new, ended, now)
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
    new = await keyed.insert_slots(connection, runs, now, record_skipped=record_skipped)
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
    if await following.joined(connection, child, run, run_id):
        return
    jobs = child.after.jobs if child.after is not None else ()
    others = tuple(following.place_of(job) for job in jobs if job != run.job_name)
    after = After(((RUN, run_id), *others))
    await create_runs(engine, connection, [replace(child, after=after)], now)
