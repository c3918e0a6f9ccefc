"""API routes of the calendar, timeline, trends and heat map."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request

from ...core.numbers import MOST_TREND_DAYS
from ...project import current
from ...schedules.errors import CronError
from ...schedules.zones import parse_zone
from ...web.api.common import PROBLEMS, SchedulerOf, Viewer, find_job
from ...web.api_route import ApiRoute
from ...web.problems import Problem
from ...web.state import get_web
from .gantt import LONGEST_RANGE, Gantt, gantt
from .history import Heat, Trend, day_counts, heat, trend
from .schemas import ComingOut, coming_out
from .upcoming import grouped, nights, plan

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)
_FURTHEST = timedelta(days=366)
Queue = Annotated[str | None, Query(description="Only this queue.")]
Job = Annotated[str | None, Query(description="Only this job.")]


@router.get("/calendar", tags=["time"])
async def get_coming(
    _: Viewer,
    scheduler: SchedulerOf,
    start: Annotated[
        datetime | None, Query(description="Start, with a time zone. Default: now.")
    ] = None,
    days: Annotated[int, Query(ge=1, le=31)] = 7,
    queue: Queue = None,
) -> ComingOut:
    """Return the upcoming slots by minute and hour, the crowded minutes, and the effect of clock changes on jobs."""
    now = scheduler.clock.now()
    begins = max(_with_zone(start, "start") or now, now)
    if begins > now + _FURTHEST:
        raise Problem(422, "Too far away", "start is at most a year from now")
    end = begins + timedelta(days=days)
    jobs = grouped(job for job in scheduler.definitions.values() if queue in (None, job.queue))
    coming = await scheduler.read(lambda db: plan(db, jobs, now, start=begins, end=end))
    return coming_out(coming, nights(jobs, begins, end))


@router.get("/timeline", tags=["time"])
async def get_timeline(
    _: Viewer,
    scheduler: SchedulerOf,
    since: Annotated[
        datetime | None, Query(description="Start, with a time zone. Default: 12 hours ago.")
    ] = None,
    until: Annotated[
        datetime | None,
        Query(
            description="End, with a time zone, at most two days after `since`. Default: 12 hours after `since`."
        ),
    ] = None,
    queue: Queue = None,
    job: Job = None,
) -> Gantt:
    """Return attempts and planned slots by queue and job, for at most 60 jobs. Jobs with failures come first."""
    now = scheduler.clock.now()
    half_a_day = timedelta(hours=12)
    begins = _with_zone(since, "since") or now - half_a_day
    ends = _with_zone(until, "until") or begins + half_a_day
    if not begins < ends <= begins + LONGEST_RANGE:
        raise Problem(422, "No such time", "until is later than since, by at most two days")
    key = find_job(scheduler, job).name if job is not None else None
    every = scheduler.definitions.values()
    return await scheduler.read(
        lambda db: gantt(db, every, now, since=begins, until=ends, queue=queue, job=key)
    )


@router.get("/jobs/{name}/trend", tags=["time"])
async def job_trend(
    name: str,
    _: Viewer,
    scheduler: SchedulerOf,
    days: Annotated[
        int, Query(ge=1, le=MOST_TREND_DAYS, description="Number of past days to include.")
    ] = 30,
) -> Trend:
    """Return the trend of a job by day: durations, lateness, successes, longest attempts, and whether the job has become slower."""
    job, now = find_job(scheduler, name), scheduler.clock.now()
    zone = parse_zone(job.timezone)
    return await scheduler.read(lambda db: trend(db, job.name, now, days=days, zone=zone))


@router.get("/heatmap", tags=["time"])
async def get_heatmap(
    request: Request,
    _: Viewer,
    scheduler: SchedulerOf,
    weeks: Annotated[int, Query(ge=1, le=8, description="Number of past weeks to include.")] = 4,
    job: Job = None,
    zone: Annotated[
        str | None, Query(description="Time zone. Default: the zone of the project.")
    ] = None,
) -> Heat:
    """Count the runs that ended well or badly, by the hour of the week in which they started, Monday first."""
    now, kept = scheduler.clock.now(), get_web(request).shared(day_counts)
    key = find_job(scheduler, job).name if job is not None else None
    clock = _zone(zone or current().timezone)
    return await scheduler.read(
        lambda db: heat(db, now, weeks=weeks, zone=clock, job=key, kept=kept)
    )


def _with_zone(at: datetime | None, name: str) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise Problem(422, "Which zone?", f"{name} needs a zone, such as 2026-12-31T08:00:00Z")
    return at


def _zone(name: str) -> ZoneInfo:
    try:
        return parse_zone(name)
    except CronError as error:
        raise Problem(422, "No such zone", str(error)) from None
