"""Operations of users and applications: one transaction each, with audit and submission to the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from .core.actor import Actor, ActorKind
from .core.errors import RunStateError, UnknownRelease, UnknownServer
from .core.states import FINAL, RunState
from .db.caller_database import Home
from .db.caller_transaction import after_commit, borrowed
from .kernel import dependencies, error_groups, on_settled, pauses, releases
from .kernel import job_owner as owners
from .kernel.audit import audit
from .kernel.engine import submit
from .kernel.engine.port import Engine, Submission
from .kernel.engine.submit import DeferredSubmit, hand_on, hand_over
from .kernel.jobs.definition import JobDefinition, JobType
from .kernel.runs import eligibility, operate, rerun, transition
from .kernel.runs.values import NewRun, RunId, rerun_of
from .kernel.unique import expiry, unique_key

# Operations: each is one transaction. An operation that a person requests also writes an audit row.


@dataclass(frozen=True, slots=True)
class Call:
    """One operation in its transaction.

    Args:
        connection: The transaction.
        engine: Takes the runs that become claimable.
        now: Time of the operation.
    """

    connection: AsyncConnection
    engine: Engine
    now: datetime


async def create_run(call: Call, run: NewRun) -> RunId:
    """Insert a run and submit the run to the engine; return its id, or the id of the existing run with its key."""
    [run_id] = await submit.create_runs(call.engine, call.connection, [run], call.now)
    return run_id


async def create_runs(call: Call, runs: Sequence[NewRun]) -> list[RunId]:
    """Insert runs and submit the runs to the engine; return their ids in order, with an existing run's id for each duplicate."""
    return await submit.create_runs(call.engine, call.connection, runs, call.now)


async def run_asked(call: Call, requests: Sequence[tuple[JobDefinition, datetime]]) -> None:
    """Create the runs that people requested in the old server's table.

    A job's run at an instant is created once. No run is created while a job is paused, or while the old server runs the job.
    """
    foreign_owners = await owners.not_ours(call.connection, [job.name for job, _ in requests])
    paused = await pauses.paused_jobs(call.connection, call.now) | foreign_owners.keys()
    by = str(Actor(ActorKind.LEGACY, "c_Job"))
    runs = [
        NewRun(
            job_name=job.name,
            job_type=JobType.RECURRING,
            queue=job.queue,
            priority=job.priority,
            arguments_json=arguments,
            due_at=call.now,
            scheduled_for=at,
            triggered_by=by,
            note=f"asked for by NextRunTime, by {by}",
            expires_at=expiry(job, call.now),
            unique=unique_key(job, arguments),
            then=then,
            ties=submit.dependencies_of(then),
            **job.room(arguments),
        )
        for job, at in requests
        if job.name not in paused
        for arguments in [job.check({})]
        for then in [submit.runs_after(job, by, call.now)]
    ]
    await submit.create_slots(call.engine, call.connection, runs, call.now)


async def trigger(call: Call, run: NewRun, by: Actor) -> RunId:
    """Create a run that a person requested; return its id, or the id of the existing run with its key.

    Raises:
        RunStateError: the old server runs the job.
    """
    await _require_ours(call, run.job_name)
    run_id = await create_run(call, run)
    detail = "the run was there already" if run_id.existing else None
    await audit(
        call.connection,
        by,
        "trigger",
        call.now,
        job_name=run.job_name,
        run_id=run_id,
        detail=detail,
    )
    return run_id


async def _require_ours(call: Call, job: str) -> None:
    if await owners.not_ours(call.connection, [job]):
        raise RunStateError(
            f"{job} is still run by the old server, so a run here would wait: targcc owner list"
        )


async def cancel(call: Call, run_id: int, by: Actor) -> RunState:
    """Cancel a waiting run, or ask the node of a running run to stop the run; return the new state."""
    await dependencies.lock_rows(call.connection, [run_id])
    state, ended = await operate.cancel(call.connection, run_id, str(by), call.now)
    await call.engine.withdraw(call.connection, [run_id])
    await hand_over(call.engine, call.connection, ended, call.now)
    await audit(call.connection, by, "cancel", call.now, run_id=run_id)
    return state


async def retry(
    call: Call, run_id: int, by: Actor, jobs: Mapping[str, JobDefinition] | None = None
) -> RunId:
    """Make a scheduled or retrying run due now, or create a rerun of a finished run.

    Args:
        call: The transaction.
        run_id: The run.
        by: The actor.
        jobs: The known jobs. A slot that passed without a run has no dependents; its rerun creates the runs of the jobs that follow its job.

    Returns:
        The id of the run to be executed.
    """
    await audit(call.connection, by, "retry", call.now, run_id=run_id)
    if await operate.run_now(call.connection, run_id, str(by), call.now):
        queue, priority, due_at = await operate.find_submission(call.connection, run_id)
        await call.engine.submit(call.connection, [Submission(run_id, queue, priority, due_at)])
        return RunId(run_id)
    row = await operate.over(call.connection, run_id)
    await _require_ours(call, row.JobName)
    then = submit.followers_of(jobs or {}, str(by), call.now)
    copy = rerun_of(row, str(by), call.now, then)
    done = await rerun.rerun(call.connection, [copy], str(by), call.now)
    await submit.submit_created(call.engine, call.connection, done.new, call.now)
    await hand_on(call.engine, call.connection, done.consequences, call.now)
    [new] = done.ids
    await error_groups.handled_as(
        call.connection, run_id, str(by), f"retried as run {new}", call.now
    )
    return new


async def delete(call: Call, run_id: int, by: Actor) -> None:
    """Delete a run with its log and steps."""
    await dependencies.lock_rows(call.connection, [run_id])
    row = await operate.delete(call.connection, run_id)
    await call.engine.withdraw(call.connection, [run_id])
    left = await on_settled.removed(call.connection, [row], call.now)
    await hand_on(call.engine, call.connection, left, call.now)
    await audit(call.connection, by, "delete", call.now, job_name=row.JobName, run_id=run_id)


async def fail(call: Call, run_id: int, by: Actor) -> None:
    """Fail a run that waits for a node that knows its job."""
    ended = await eligibility.fail(call.connection, run_id, str(by), call.now)
    await hand_over(call.engine, call.connection, ended, call.now)
    await audit(call.connection, by, "fail", call.now, run_id=run_id)


async def pause_job(
    call: Call, job: str, by: Actor, *, reason: str | None, until: datetime | None
) -> None:
    """Pause a job: its slots pass without runs."""
    await pauses.pause_job(call.connection, job, by, call.now, reason=reason, until=until)
    await audit(
        call.connection, by, "pause", call.now, job_name=job, detail=_pause_detail(reason, until)
    )


async def resume_job(call: Call, job: str, by: Actor) -> None:
    """Resume the schedule of a paused job."""
    await pauses.resume_job(call.connection, job, call.now)
    await audit(call.connection, by, "resume", call.now, job_name=job)


async def pause_queue(
    call: Call, queue: str, by: Actor, *, reason: str | None, until: datetime | None
) -> None:
    """Pause a queue: workers claim no runs from the queue."""
    await pauses.pause_queue(call.connection, queue, by, call.now, reason=reason, until=until)
    detail = _pause_detail(reason, until, f"queue {queue}")
    await audit(call.connection, by, "pause queue", call.now, detail=detail)


async def resume_queue(call: Call, queue: str, by: Actor) -> None:
    """Resume a paused queue."""
    await pauses.resume_queue(call.connection, queue)
    await call.engine.release(call.connection, queue=queue)
    await audit(call.connection, by, "resume queue", call.now, detail=f"queue {queue}")


async def drain(call: Call, name: str, by: Actor) -> list[releases.Found]:
    """Drain the nodes with a name: these nodes claim no more runs.

    Returns:
        The nodes.

    Raises:
        UnknownServer: no node with this name is up.
    """
    return await _mark_drained(call, name, by, "drain")


async def resume_server(call: Call, name: str, by: Actor) -> list[releases.Found]:
    """Let drained nodes with a name claim runs again.

    Returns:
        The nodes.

    Raises:
        UnknownServer: no node with this name is up.
    """
    return await _mark_drained(call, name, by, "resume server")


async def _mark_drained(call: Call, name: str, by: Actor, action: str) -> list[releases.Found]:
    servers = await releases.find(call.connection, name)
    if not servers:
        raise UnknownServer(f"no server {name!r} is up: targcc server list shows which are")
    ids = [server.id for server in servers]
    if action == "drain":
        await releases.drain(call.connection, ids, str(by), call.now)
    else:
        await releases.resume(call.connection, ids)
    for server in servers:
        detail = f"server {server.name}:{server.process_id}"
        await audit(call.connection, by, action, call.now, detail=detail)
    return servers


async def use_release(call: Call, name: str | None, by: Actor) -> str | None:
    """Choose the release that decides about schedules, newest or not; with ``None`` the newest release decides.

    Returns:
        The release's full name; ``None`` if the newest release decides.

    Raises:
        UnknownRelease: no release has this name, or several names begin with these characters.
    """
    chosen = name if name is None else await _release(call.connection, name)
    await releases.choose(call.connection, chosen, str(by), call.now)
    detail = f"release {chosen}" if chosen is not None else "the newest release"
    await audit(call.connection, by, "use release", call.now, detail=detail)
    return chosen


async def _release(connection: AsyncConnection, name: str) -> str:
    names = [release.name for release in await releases.load(connection)]
    matches = [release for release in names if release == name] or [
        release for release in names if release.startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    what = "several releases begin with" if matches else "there is no release"
    raise UnknownRelease(
        f"{what} {name!r}: {', '.join(matches or names) or 'none has been seen yet'}"
    )


def _pause_detail(reason: str | None, until: datetime | None, what: str = "") -> str | None:
    parts = [what, reason or "", f"until {until.isoformat(timespec='seconds')}" if until else ""]
    return "; ".join(filter(None, parts)) or None


async def until_final(
    read: Callable[[Callable[[AsyncConnection], Awaitable[RunState]]], Awaitable[RunState]],
    run_id: int,
    timeout: float | None,  # noqa: ASYNC109 - as asyncio has it
) -> RunState:
    """Poll until a run is over, at growing intervals of 10 ms up to 0.5 s; return the final state.

    Args:
        read: Run a query on the scheduler's database.
        run_id: The run.
        timeout: Seconds; ``None`` for no limit.

    Raises:
        TimeoutError: the run is not over after ``timeout`` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.01
    while (state := await read(lambda db: transition.state_of(db, run_id))) not in FINAL:
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(f"run {run_id} is still {state} after {timeout:g} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    return state


# Operations in an application's transaction.

T = TypeVar("T")


async def within(
    caller: Any,
    operation: Callable[[Call], Awaitable[T]],
    *,
    call_on: Callable[[AsyncConnection], Call],
    submit: Callable[[Sequence[Submission]], object],
    home: Home,
) -> T:
    """Run an operation in the application's transaction, which the application commits.

    Args:
        caller: The application's session or connection.
        operation: An operation of this module.
        call_on: Build the :class:`Call` for a connection.
        submit: Submit runs after the commit, if the engine cannot submit on this connection.
        home: The scheduler's database.

    Raises:
        OtherDatabase: The application's session is on a database without the scheduler's tables. Its transaction goes on.
    """
    async with borrowed(caller) as connection:
        call = call_on(connection)
        await home.enter(connection)
        if await call.engine.submits_on(connection):
            return await operation(call)
        later = DeferredSubmit(call.engine)
        result = await operation(replace(call, engine=cast("Engine", later)))
        after_commit(caller, lambda: submit(later.waiting))  # only a session reports a commit
        return result
