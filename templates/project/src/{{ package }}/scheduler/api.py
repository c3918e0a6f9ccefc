# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The REST API. Every route needs a token or a session; whatever goes wrong is answered as problem JSON (RFC 9457)."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from . import overview, queries, stats
from .access import read
from .arguments import ArgumentsError
from .auth import Principal, Role
from .cron import parse_zone
from .job import JobDefinition
from .queries import RunFilter
from .records import Run
from .scheduler import RunStateError, Scheduler, UnknownJob, UnknownRun
from .schemas import (
    AttemptOut,
    AuditOut,
    DoneOut,
    JobDetailOut,
    JobOut,
    PauseIn,
    ProblemOut,
    QueueOut,
    RunDetailOut,
    RunOut,
    RunsOut,
    ServerOut,
    StartedOut,
    StatsOut,
    TriggerIn,
    attempt_out,
    audit_out,
    job_detail_out,
    job_values,
    queue_out,
    run_detail_out,
    run_out,
    server_out,
    stats_out,
)
from .states import RunState
from .store.control import PauseError
from .web import ApiRoute, Problem, actor, api_needs, get_scheduler

T = TypeVar("T")

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": ProblemOut, "description": "No token, or one that is not known"},
    403: {"model": ProblemOut, "description": "The token's role does not go so far"},
    404: {"model": ProblemOut, "description": "There is no such job or run"},
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ProblemOut, "description": "The state of the run does not allow it"}
}

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=_PROBLEMS)

Viewer = Annotated[Principal, Depends(api_needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(api_needs(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(api_needs(Role.ADMIN))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]


def _job(scheduler: Scheduler, name: str) -> JobDefinition:
    try:
        return scheduler.find(name)
    except UnknownJob as error:
        raise Problem(404, "No such job", str(error)) from None


async def _tried(action: Awaitable[T]) -> T:
    """The result of an operator's action, or the problem with it."""
    try:
        return await action
    except UnknownJob as error:
        raise Problem(404, "No such job", str(error)) from None
    except UnknownRun as error:
        raise Problem(404, "No such run", str(error)) from None
    except RunStateError as error:
        raise Problem(409, "Not in this state", str(error)) from None
    except PauseError as error:
        raise Problem(422, "A pause ends later", str(error)) from None
    except ArgumentsError as error:
        errors = str(error).splitlines()
        raise Problem(422, "The arguments do not fit", "; ".join(errors), errors=errors) from None


# Jobs


@router.get("/jobs", tags=["jobs"])
async def list_jobs(_: Viewer, scheduler: SchedulerOf) -> list[JobOut]:
    """Every job: its schedule, next run and last result."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()
    jobs = await read(scheduler, lambda db: overview.job_overviews(db, definitions, now))
    return [JobOut(**job_values(job)) for job in jobs]


@router.get("/jobs/{name}", tags=["jobs"])
async def get_job(name: str, _: Viewer, scheduler: SchedulerOf) -> JobDetailOut:
    """One job with its settings and its next five runs; the name in any case, with or without `Job`."""
    definition, now = _job(scheduler, name), scheduler.clock.now()
    jobs = await read(scheduler, lambda db: overview.job_overviews(db, [definition], now))
    return job_detail_out(jobs[0], overview.next_runs(jobs[0], 5))


@router.post(
    "/jobs/{name}/trigger",
    tags=["jobs"],
    responses={422: {"model": ProblemOut, "description": "The arguments do not fit the job"}},
)
async def trigger_job(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[TriggerIn | None, Body()] = None,
) -> StartedOut:
    """Run a job now."""
    definition = _job(scheduler, name)
    arguments = body.arguments if body is not None else {}
    by = actor(request, principal)
    run_id = await _tried(scheduler.trigger(definition, arguments, by=by))
    return StartedOut(run_id=run_id, message=f"{definition.display_name} started as run {run_id}")


@router.get("/jobs/{name}/history", tags=["jobs"])
async def job_history(
    name: str, _: Viewer, scheduler: SchedulerOf, limit: Limit = 50
) -> list[AttemptOut]:
    """The last attempts of a job, newest first: its rows of c_LoggedJob."""
    key = _job(scheduler, name).name
    attempts = await read(scheduler, lambda db: queries.history(db, key, limit))
    return [attempt_out(attempt) for attempt in attempts]


@router.get("/jobs/{name}/stats", tags=["jobs"])
async def job_statistics(
    name: str,
    _: Viewer,
    scheduler: SchedulerOf,
    days: Annotated[int, Query(ge=1, le=366, description="How far back.")] = 30,
) -> StatsOut:
    """How a job has done: counts, success rate, durations, days."""
    definition, now = _job(scheduler, name), scheduler.clock.now()
    since, zone = now - timedelta(days=days - 1), parse_zone(definition.timezone)
    return stats_out(
        await read(
            scheduler,
            lambda db: stats.job_stats(db, definition.name, since=since, until=now, zone=zone),
        )
    )


@router.post("/jobs/{name}/pause", tags=["jobs"])
async def pause_job(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[PauseIn | None, Body()] = None,
) -> DoneOut:
    """Let the slots of a job pass; it can still be triggered."""
    definition = _job(scheduler, name)
    reason, until = _pause_of(body)
    by = actor(request, principal)
    await _tried(scheduler.pause(definition, by=by, reason=reason, until=until))
    return DoneOut(message=f"{definition.display_name} is paused")


def _pause_of(body: PauseIn | None) -> tuple[str | None, datetime | None]:
    if body is None:
        return None, None
    if body.until is not None and body.until.tzinfo is None:
        raise Problem(422, "Which zone?", "until needs a zone, such as 2026-12-31T08:00:00Z")
    return body.reason, body.until


@router.post("/jobs/{name}/resume", tags=["jobs"])
async def resume_job(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Let a job run by its schedule again."""
    definition = _job(scheduler, name)
    await _tried(scheduler.resume(definition, by=actor(request, principal)))
    return DoneOut(message=f"{definition.display_name} runs by its schedule again")


# Runs


@router.get("/runs", tags=["runs"])
async def list_runs(
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    state: Annotated[list[RunState] | None, Query(description="Any of these states.")] = None,
    job: Annotated[str | None, Query(description="Of this job.")] = None,
    text: Annotated[
        str, Query(description="Found in job, message, arguments or who started it.")
    ] = "",
    since: Annotated[datetime | None, Query(description="Created then or later.")] = None,
    limit: Limit = 50,
    before: Annotated[int | None, Query(description="Older than this run id.")] = None,
) -> RunsOut:
    """Runs, newest first."""
    if since is not None and since.tzinfo is None:
        raise Problem(422, "Which zone?", "since needs a zone, such as 2026-12-31T08:00:00Z")
    wanted = RunFilter(
        states=frozenset(state or ()),
        job=_known_name(scheduler, job),
        since=since,
        text=text,
        arguments_of=overview.open_arguments(scheduler.definitions.values()),
        limit=limit,
        before=before,
    )
    page = await read(scheduler, lambda db: queries.list_runs(db, wanted))
    runs = [_run_out(scheduler, run) for run in page.runs]
    return RunsOut(runs=runs, next_before=page.next_before)


def _known_name(scheduler: Scheduler, job: str | None) -> str | None:
    """The key of a job; one that is no longer in the code keeps the name it has."""
    if job is None:
        return None
    try:
        return scheduler.find(job).name
    except UnknownJob:
        return job


def _run_out(scheduler: Scheduler, run: Run) -> RunOut:
    return run_out(run, scheduler.definitions.get(run.job))


@router.get("/runs/{run_id}", tags=["runs"])
async def get_run(run_id: int, _: Viewer, scheduler: SchedulerOf) -> RunDetailOut:
    """One run with its life, attempts, log and steps."""

    async def query(db: AsyncConnection) -> RunDetailOut | None:
        run = await queries.get_run(db, run_id)
        if run is None:
            return None
        return run_detail_out(
            run,
            scheduler.definitions.get(run.job),
            await queries.attempts_of_run(db, run),
            await queries.log_lines(db, run_id),
            await queries.steps(db, run_id),
        )

    found = await read(scheduler, query)
    if found is None:
        raise Problem(404, "No such run", f"there is no run {run_id}; old ones are removed in time")
    return found


@router.post("/runs/{run_id}/cancel", tags=["runs"], responses=_CONFLICT)
async def cancel_run(
    run_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Cancel a run: at once if it waits, else its job is told and stopped after a grace."""
    state = await _tried(scheduler.cancel(run_id, by=actor(request, principal)))
    told = state == RunState.RUNNING
    return DoneOut(message=f"run {run_id} {'has been told to stop' if told else 'is cancelled'}")


@router.post("/runs/{run_id}/retry", tags=["runs"], responses=_CONFLICT)
async def retry_run(
    run_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> StartedOut:
    """Do a run that is over again, as a new run; one that waits for its time starts now."""
    again = await _tried(scheduler.retry(run_id, by=actor(request, principal)))
    return StartedOut(run_id=again, message=f"run {run_id} is done as run {again}")


@router.delete("/runs/{run_id}", tags=["runs"], responses=_CONFLICT)
async def delete_run(
    run_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DoneOut:
    """Remove a run with its log and steps; its attempts stay in c_LoggedJob. Needs the role admin."""
    await _tried(scheduler.delete(run_id, by=actor(request, principal)))
    return DoneOut(message=f"run {run_id} is deleted")


# Queues, servers, audit


@router.get("/queues", tags=["system"])
async def list_queues(_: Viewer, scheduler: SchedulerOf) -> list[QueueOut]:
    """The queues: what waits in each, what runs from it, whether it is paused."""
    now = scheduler.clock.now()
    names = overview.queue_names(scheduler.definitions.values())
    found = await read(scheduler, lambda db: queries.queues(db, names, now))
    return [queue_out(queue) for queue in found]


@router.post("/queues/{name}/pause", tags=["system"])
async def pause_queue(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[PauseIn | None, Body()] = None,
) -> DoneOut:
    """Let no worker take runs from a queue."""
    reason, until = _pause_of(body)
    _queue(scheduler, name)
    by = actor(request, principal)
    await _tried(scheduler.pause_queue(name, by=by, reason=reason, until=until))
    return DoneOut(message=f"the queue {name} is paused")


@router.post("/queues/{name}/resume", tags=["system"])
async def resume_queue(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Let workers take runs from a queue again."""
    _queue(scheduler, name)
    await scheduler.resume_queue(name, by=actor(request, principal))
    return DoneOut(message=f"the queue {name} goes on")


def _queue(scheduler: Scheduler, name: str) -> None:
    known = overview.queue_names(scheduler.definitions.values())
    if name not in known:
        raise Problem(404, "No such queue", f"there is no queue {name!r}: {', '.join(known)}")


@router.get("/servers", tags=["system"])
async def list_servers(_: Viewer, scheduler: SchedulerOf) -> list[ServerOut]:
    """The nodes that are up, and when each last said so."""
    return [server_out(server) for server in await read(scheduler, queries.servers)]


@router.get("/audit", tags=["system"])
async def list_audit(
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    job: str | None = None,
    run_id: int | None = None,
    before: int | None = None,
    limit: Limit = 50,
) -> list[AuditOut]:
    """Who did what, when, from where; newest first."""
    entries = await read(
        scheduler,
        lambda db: queries.audit(db, job=job, run_id=run_id, before=before, limit=limit),
    )
    return [audit_out(entry) for entry in entries]
