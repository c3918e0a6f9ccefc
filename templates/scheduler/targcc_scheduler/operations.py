"""What a call of an operator or of an application does: one transaction, with its row of the audit and its message to the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from .core.actor import Actor
from .core.states import FINAL, RunState
from .engine.port import Engine, Submission
from .jobs.definition import JobDefinition, JobType
from .storage import pauses
from .storage.audit import audit
from .storage.runs import create, operate
from .storage.runs.values import NewRun


def new_run(
    definition: JobDefinition,
    job_type: JobType,
    arguments: Mapping[str, Any],
    by: Actor,
    now: datetime,
    *,
    queue: str | None = None,
    priority: int | None = None,
    due_at: datetime | None = None,
) -> NewRun:
    """A run of a job as it is wanted.

    Raises:
        ArgumentsError: the arguments do not fit the job.
    """
    later = due_at is not None and due_at > now
    return NewRun(
        job_name=definition.name,
        job_type=job_type,
        queue=queue or definition.queue,
        priority=definition.priority if priority is None else priority,
        arguments_json=definition.signature.check(arguments),
        due_at=due_at or now,
        triggered_by=str(by),
        state=RunState.SCHEDULED if later else RunState.ENQUEUED,
        note=f"by {by}",
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One call in its transaction.

    Args:
        connection: The transaction.
        engine: Hears what becomes claimable.
        now: The instant of the call.
    """

    connection: AsyncConnection
    engine: Engine
    now: datetime


async def create_run(call: Call, run: NewRun) -> int:
    """Insert a run and submit it to the engine; its id."""
    run_id = await create.insert(call.connection, run, call.now)
    await call.engine.submit(
        call.connection, [Submission(run_id, run.queue, run.priority, run.due_at)]
    )
    return run_id


async def trigger(call: Call, run: NewRun, by: Actor) -> int:
    """Create a run that somebody wants call.now; its id."""
    run_id = await create_run(call, run)
    await audit(call.connection, by, "trigger", call.now, job_name=run.job_name, run_id=run_id)
    return run_id


async def cancel(call: Call, run_id: int, by: Actor) -> RunState:
    """Cancel a run that waits, or ask the node of one that runs to stop it; the state it has then."""
    state = await operate.cancel(call.connection, run_id, str(by), call.now)
    await call.engine.withdraw(call.connection, [run_id])
    await audit(call.connection, by, "cancel", call.now, run_id=run_id)
    return state


async def retry(call: Call, run_id: int, by: Actor) -> int:
    """Make a waiting run due call.now, or do one that is over again; the id of the run that will do it."""
    await audit(call.connection, by, "retry", call.now, run_id=run_id)
    if await operate.run_now(call.connection, run_id, str(by), call.now):
        queue, priority, due_at = await operate.find_submission(call.connection, run_id)
        await call.engine.submit(call.connection, [Submission(run_id, queue, priority, due_at)])
        return run_id
    copy = await operate.requeue(call.connection, run_id, str(by), call.now)
    return await create_run(call, copy)


async def delete(call: Call, run_id: int, by: Actor) -> None:
    """Remove a run with its log and steps."""
    name = await operate.delete(call.connection, run_id)
    await call.engine.withdraw(call.connection, [run_id])
    await audit(call.connection, by, "delete", call.now, job_name=name, run_id=run_id)


async def pause_job(
    call: Call, job: str, by: Actor, *, reason: str | None, until: datetime | None
) -> None:
    """Let the slots of a job pass."""
    await pauses.pause_job(call.connection, job, by, call.now, reason=reason, until=until)
    await audit(
        call.connection, by, "pause", call.now, job_name=job, detail=_pause_detail(reason, until)
    )


async def resume_job(call: Call, job: str, by: Actor) -> None:
    """Let a job run by its schedule again."""
    await pauses.resume_job(call.connection, job, call.now)
    await audit(call.connection, by, "resume", call.now, job_name=job)


async def pause_queue(
    call: Call, queue: str, by: Actor, *, reason: str | None, until: datetime | None
) -> None:
    """Let no worker take runs from a queue."""
    await pauses.pause_queue(call.connection, queue, by, call.now, reason=reason, until=until)
    detail = _pause_detail(reason, until, f"queue {queue}")
    await audit(call.connection, by, "pause queue", call.now, detail=detail)


async def resume_queue(call: Call, queue: str, by: Actor) -> None:
    """Let workers take runs from a queue again."""
    await pauses.resume_queue(call.connection, queue)
    await call.engine.release(call.connection, queue=queue)
    await audit(call.connection, by, "resume queue", call.now, detail=f"queue {queue}")


def _pause_detail(reason: str | None, until: datetime | None, what: str = "") -> str | None:
    parts = [what, reason or "", f"until {until.isoformat(timespec='seconds')}" if until else ""]
    return "; ".join(filter(None, parts)) or None


async def until_final(
    read: Callable[[Callable[[AsyncConnection], Awaitable[RunState]]], Awaitable[RunState]],
    run_id: int,
    timeout: float | None,  # noqa: ASYNC109 - as asyncio has it
) -> RunState:
    """Wait until a run is over, looking less often the longer it takes; its state then.

    Args:
        read: Answers a query from the scheduler's database.
        run_id: The run.
        timeout: Seconds; ``None`` is for ever.

    Raises:
        TimeoutError: it is not over yet.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.01
    while (state := await read(lambda db: operate.state_of(db, run_id))) not in FINAL:
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(f"run {run_id} is still {state} after {timeout:g} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    return state
