"""API of jobs."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.identity import Role
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries import chains as chain_queries
from ...kernel.queries import jobs as job_queries
from ...kernel.queries import runs, statistics, system
from ...kernel.queries.chains import Chain
from ...kernel.queries.jobs import JobOverview, JobStates
from ...kernel.queries.models import Attempt, Run
from ...kernel.queries.statistics import JobStats
from ...kernel.queries.system import Place, place_of
from ...kernel.queries.upcoming import next_runs
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from ..api_route import ApiRoute
from ..authentication import actor, require_job
from ..problems import Problem
from .common import (
    PROBLEMS,
    Cursor,
    Limit,
    Operator,
    SchedulerOf,
    Starter,
    Viewer,
    find_job,
    link_next,
    tried,
    trigger,
)
from .schema import DoneOut, PauseIn
from .schemas import (
    ChainOut,
    JobDetailOut,
    JobOut,
    StartedOut,
    TriggerIn,
    chain_out,
    job_detail_out,
    job_values,
    standing_out,
)

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/jobs", tags=["jobs"])
async def list_jobs(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    limit: Annotated[
        int | None, Query(ge=1, le=500, description="Maximum number of rows. Default: all jobs.")
    ] = None,
    cursor: Cursor = None,
) -> list[JobOut]:
    """List the jobs by display name, with schedule, next run and last result. With `limit`, the header `Link` names the next page."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()
    wanted = sorted(definitions, key=_by_display_name)
    if cursor is not None:
        begin = bisect_right(wanted, tuple(cursor.rsplit("/", 1)), key=_by_display_name)
        wanted = wanted[begin:]
    page = wanted[:limit]
    following = "/".join(_by_display_name(page[-1])) if len(page) < len(wanted) else None

    async def query(
        db: AsyncConnection,
    ) -> tuple[tuple[JobStates, ...], dict[int, Run], tuple[Chain, ...]]:
        entries = await job_queries.job_entries(db, page, now)
        jobs = await job_queries.with_states(db, entries.jobs)
        last = await runs.get_runs(db, [job.last.id for job in jobs if job.last is not None])
        return jobs, last, await chain_queries.chains(db, definitions)

    jobs, last, chains = await scheduler.read(query)
    link_next(request, response, following)
    chain_of = {
        name: standing
        for standing in map(standing_out, chains)
        if standing is not None
        for name in standing.jobs
    }
    return [JobOut(**job_values(job, last, chain_of.get(job.name))) for job in jobs]


def _by_display_name(job: JobDefinition) -> tuple[str, str]:
    """Return the place of a job in the list. Names of jobs have no ``/``."""
    return job.display_name.casefold(), job.name


@router.get("/chains", tags=["jobs"])
async def list_chains(_: Viewer, scheduler: SchedulerOf) -> list[ChainOut]:
    """List all chains of jobs. Each chain has one state, from its newest first run and the runs that followed."""
    definitions = scheduler.definitions.values()
    return [
        chain_out(chain)
        for chain in await scheduler.read(lambda db: chain_queries.chains(db, definitions))
    ]


@router.get("/jobs/{name}", tags=["jobs"])
async def get_job(name: str, _: Viewer, scheduler: SchedulerOf) -> JobDetailOut:
    """Return one job with its settings and its next five runs. `name` is case-insensitive; the suffix `Job` is optional."""
    definition, now = find_job(scheduler, name), scheduler.clock.now()
    every = scheduler.definitions.values()

    async def query(db: AsyncConnection) -> tuple[JobOverview, dict[int, Run], Chain | None]:
        [job] = await job_queries.job_overviews(db, [definition], now)
        last = await runs.get_runs(db, [job.last.id] if job.last is not None else [])
        chains = await chain_queries.chains(db, every, of=definition.name)
        return job, last, next(iter(chains), None)

    job, last, chain = await scheduler.read(query)
    return job_detail_out(job, last, chain, next_runs(job, 5), now)


@router.post("/jobs/{name}/trigger", tags=["jobs"])
async def trigger_job(
    name: str,
    request: Request,
    principal: Starter,
    scheduler: SchedulerOf,
    body: Annotated[TriggerIn | None, Body()] = None,
) -> StartedOut:
    """Run a job now. `existing` is true when an earlier run with the same unique key or idempotency key is returned."""
    definition = find_job(scheduler, name)
    require_job(principal, Role.OPERATOR, definition.name)
    wish = body or TriggerIn()
    return await trigger(request, principal, definition, wish, wish.arguments)


@router.get("/jobs/{name}/history", tags=["jobs"])
async def job_history(
    name: str,
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> list[Attempt]:
    """List the last attempts of a job, newest first: its rows of c_LoggedJob. The header `Link` names the next page."""
    key = find_job(scheduler, name).name
    return await _history(scheduler, key, request, response, limit=limit, cursor=cursor)


@router.get("/history", tags=["jobs"])
async def whole_history(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> list[Attempt]:
    """List the last attempts of all jobs, newest first. The header `Link` names the next page."""
    return await _history(scheduler, None, request, response, limit=limit, cursor=cursor)


async def _history(
    scheduler: Scheduler,
    key: str | None,
    request: Request,
    response: Response,
    *,
    limit: int,
    cursor: str | None,
) -> list[Attempt]:
    try:
        after = Place.parse(cursor) if cursor is not None else None
    except ValueError:
        raise Problem(422, "No such page", "cursor is what a header Link has given") from None
    attempts = await scheduler.read(lambda db: system.history(db, key, limit, after=after))
    link_next(request, response, place_of(attempts, limit))
    return list(attempts)


@router.get("/jobs/{name}/stats", tags=["jobs"])
async def job_statistics(
    name: str,
    _: Viewer,
    scheduler: SchedulerOf,
    days: Annotated[int, Query(ge=1, le=366, description="Number of past days to include.")] = 30,
) -> JobStats:
    """Return the statistics of a job: run counts, success rate, durations, figures by day."""
    definition, now = find_job(scheduler, name), scheduler.clock.now()
    since, zone = now - timedelta(days=days - 1), parse_zone(definition.timezone)
    return await scheduler.read(
        lambda db: statistics.job_stats(db, definition.name, since=since, until=now, zone=zone),
    )


@router.post("/jobs/{name}/pause", tags=["jobs"])
async def pause_job(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[PauseIn | None, Body()] = None,
) -> DoneOut:
    """Pause the schedule of a job. The job can still be triggered."""
    definition = find_job(scheduler, name)
    reason, until = pause_of(body)
    by = actor(request, principal)
    await tried(scheduler.pause(definition, by=by, reason=reason, until=until))
    return DoneOut(message=f"{definition.display_name} is paused")


def pause_of(body: PauseIn | None) -> tuple[str | None, datetime | None]:
    """Return the reason and the end of a pause from the request's body.

    Raises:
        Problem: the end has no time zone.
    """
    if body is None:
        return None, None
    if body.until is not None and body.until.tzinfo is None:
        raise Problem(422, "Which zone?", "until needs a zone, such as 2026-12-31T08:00:00Z")
    return body.reason, body.until


@router.post("/jobs/{name}/resume", tags=["jobs"])
async def resume_job(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Resume the schedule of a job."""
    definition = find_job(scheduler, name)
    await tried(scheduler.resume(definition, by=actor(request, principal)))
    return DoneOut(message=f"{definition.display_name} runs by its schedule again")
