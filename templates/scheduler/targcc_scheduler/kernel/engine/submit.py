"""From an enqueue call to the engine: build runs, create them, submit them; submit the runs that settlements make ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, get_args, runtime_checkable

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.states import On, RunState
from ...core.stored_values import MOST_BYTES
from ...schedules.words import parse_duration
from .. import deferred_keys, dependencies, idempotency
from ..dependencies import BATCH, RUN
from ..feature import OnRetry, load
from ..jobs.definition import JobDefinition, JobType
from ..jobs.tracing import TRACING
from ..on_settled import on_settled
from ..runs import create
from ..runs.eligibility import Waiting
from ..runs.values import (
    After,
    Effects,
    NewRun,
    Options,
    Otherwise,
    Quorum,
    Ready,
    RunId,
    Settlement,
    Then,
    Tie,
    is_mark,
    own_retries_tie,
)
from ..unique import call_key, expiry, unique_key
from .port import Engine, Submission

# Create runs and submit them to the engine; submit the runs that settlements make ready.

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

    async def create_within(self, connection: AsyncConnection, run: NewRun) -> None:
        """Return ``None``: the real engine would submit."""
        del connection, run

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
        tied = [item for item in settled if item.ties]
        consequences = Effects()
        if tied:  # effects cause further effects
            consequences = await on_settled(connection, tied, now)
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


def stands_alone(run: NewRun) -> bool:
    """Return whether a run consists of its row and its submission: without keys, dependencies, followers and stored content."""
    extras = (run.after, run.unique, run.call, run.contents_of, run.scheduled_for)
    return not (any(extras) or run.then or run.contents or is_mark(run.limit_key))


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
    if any(run.unique or run.call for run in runs):
        made = await deferred_keys.insert_many(connection, runs, now)
        await engine.submit(connection, [submission(run) for run in made.moved])
        ids, new = made.ids, made.new
    else:
        ids = await create.insert_many(connection, runs, now) if runs else []
        new = list(zip(ids, runs, strict=True))
    await submit_created(engine, connection, new, now)
    if waits:  # runs discarded at once take their dependents along
        discarded = await dependencies.tie(connection, new, ended, now)
        await hand_over(engine, connection, discarded, now)
    return ids


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


# Build `NewRun` values from the arguments of an enqueue call. Writes nothing.

# Building runs: job, arguments and options of a call.


def new_runs(
    definition: JobDefinition,
    job_type: JobType,
    many: Iterable[Mapping[str, Any]],
    by: Actor,
    now: datetime,
    *,
    options: Options = Options(),  # noqa: B008 - it is frozen
    most_bytes: int = MOST_BYTES,
) -> list[NewRun]:
    """Build a run of a job for each set of arguments.

    Raises:
        ArgumentsError: the arguments do not fit the job.
        FileError: a file among the arguments cannot be read, or something is too large.
        IdempotencyError: the idempotency key is empty or too long.
    """
    common, key = _common(definition, job_type, str(by), now, options), options.idempotency_key
    return [
        NewRun(
            arguments_json=arguments_json,
            contents=contents,
            trace=TRACING.created(definition.name, common["queue"]) if TRACING.is_on else None,
            unique=unique_key(definition, arguments_json) if definition.unique else None,
            call=(
                call_key(definition, arguments_json, key, options.key_of)
                if key is not None
                else None
            ),
            **definition.room(arguments_json),
            **common,
        )
        for arguments in many
        for arguments_json, contents in [definition.take(arguments, most_bytes)]
    ]


def _common(
    definition: JobDefinition, job_type: JobType, by: str, now: datetime, options: Options
) -> dict[str, Any]:
    """Return the values that all runs of a call share."""
    due_at, expires_in = options.due_at or now, options.expires_in
    expires = expires_in is not None or definition.expires_in is not None
    then = runs_after(definition, by, now)
    delays = Tie.DELAYED if options.delayed and options.after is not None else 0
    return {
        "job_name": definition.name,
        "job_type": job_type,
        "queue": options.queue or definition.queue,
        "priority": definition.priority if options.priority is None else options.priority,
        "due_at": due_at,
        "triggered_by": by,
        "state": RunState.SCHEDULED if due_at > now else RunState.ENQUEUED,
        "note": f"by {by}",
        "expires_at": expiry(definition, due_at, expires_in) if expires else None,
        "then": then,
        "ties": dependencies_of(then) | delays | own_retries_tie(options.retries),
        **options.as_given(),
    }


def due_instant(delay: timedelta | str | None, at: datetime | None, now: datetime) -> datetime:
    """Return when a delayed run is due.

    Raises:
        ValueError: neither or both of ``delay`` and ``at`` are given, or ``at`` has no zone.
    """
    if (delay is None) == (at is None):
        raise ValueError("say either delay= or at=")
    if at is None:
        wait = parse_duration(delay) if isinstance(delay, str) else delay
        return now + (wait or timedelta())
    if at.tzinfo is None:
        raise ValueError(f"an instant needs a time zone: {at!r}")
    return at


# Parents: the arguments ``after``, ``on``, ``quorum`` and ``otherwise`` of ``enqueue``.

MOST_WAITING = 10_000
"""Maximum number of waiting runs of a call or batch: all of them go, or are discarded, in the transaction that ends their parent."""
MOST_LINKS = 100_000
"""Maximum number of links of a call: one row for each waiting run and each parent of that run."""


@runtime_checkable
class HasBatchId(Protocol):
    """A batch that runs can wait for."""

    @property
    def batch_id(self) -> int:
        """The id of the batch."""


Parents = int | HasBatchId | Iterable[int | HasBatchId]
"""Parents of a run: the id of a run, a batch, or several ids and batches."""


def after_of(
    parents: Parents | None,
    on: On = "success",
    quorum: Quorum = "all",
    otherwise: Otherwise = "discard",
) -> After | None:
    """Return the parents and conditions of a run; ``None`` if the run has no parents.

    Raises:
        ValueError: ``on``, ``quorum`` or ``otherwise`` has an unknown value or is given without ``parents``, or ``parents`` is empty.
    """
    for name, value, words in (
        ("on", on, get_args(On)),
        ("quorum", quorum, get_args(Quorum)),
        ("otherwise", otherwise, get_args(Otherwise)),
    ):
        if value not in words:
            raise ValueError(f"{name}= is {', '.join(words[:-1])} or {words[-1]}, not {value!r}")
    if parents is None:
        if (on, quorum, otherwise) != ("success", "all", "discard"):
            raise ValueError("on=, quorum= and otherwise= belong to after=")
        return None
    given = [parents] if isinstance(parents, int | HasBatchId) else list(parents)
    if not given:
        raise ValueError("after= names no run")
    return After(
        tuple(
            (RUN, parent) if isinstance(parent, int) else (BATCH, parent.batch_id)
            for parent in given
        ),
        on,
        quorum,
        otherwise,
    )


def check_size(after: After | None, runs: int) -> None:
    """Refuse a call that creates too many waiting runs.

    Args:
        after: The parents of the runs; ``None``: the runs do not wait.
        runs: Number of runs.

    Raises:
        ValueError: there are more than :data:`MOST_WAITING` runs, or more than :data:`MOST_LINKS` links.
    """
    if after is None:
        return
    if runs > MOST_WAITING:
        raise ValueError(
            f"a call has at most {MOST_WAITING} runs that wait, not {runs}: make several"
        )
    parents = len(set(after.parents))
    if runs * parents > MOST_LINKS:
        raise ValueError(
            f"{runs} runs that wait for {parents} are more than {MOST_LINKS} links: let them wait for a batch of these"
        )
