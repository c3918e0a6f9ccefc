"""API of calendars and maintenance windows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from ...core.errors import MaintenanceError, UnknownQueue
from ...kernel import pauses as model
from ...kernel.queries.system import check_queue
from ...project import current
from ...schedules.errors import CronError
from ...web.api.common import PROBLEMS, Operator, SchedulerOf, Viewer
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from ...web.problems import Problem
from . import actions
from .queries import calendar_year, users_of
from .schemas import (
    CalendarOut,
    CalendarYearOut,
    MaintenanceIn,
    MaintenanceOut,
    window_out,
    year_out,
)

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/calendars", tags=["calendars"])
async def list_calendars(_: Viewer, scheduler: SchedulerOf) -> list[CalendarOut]:
    """List the calendars of the project with the jobs that use each calendar."""
    definitions = list(scheduler.definitions.values())
    return [
        CalendarOut(
            name=name,
            description=calendar.get("description", ""),
            jobs=users_of(name, definitions),
        )
        for name, calendar in current().calendars.items()
    ]


@router.get("/calendars/{name}", tags=["calendars"])
async def get_calendar(
    name: str,
    _: Viewer,
    scheduler: SchedulerOf,
    year: Annotated[
        int | None, Query(ge=1970, le=9000, description="Default: the current year.")
    ] = None,
) -> CalendarYearOut:
    """Return the days off and blackouts of a calendar in a year."""
    wanted = year or scheduler.clock.now().year
    try:
        return year_out(calendar_year(name, wanted), wanted)
    except CronError as error:
        raise Problem(404, "No such calendar", str(error)) from None


@router.get("/maintenance", tags=["calendars"])
async def list_maintenance(
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    every: Annotated[bool, Query(alias="all", description="Include ended windows.")] = False,
) -> list[MaintenanceOut]:
    """List the active and planned maintenance windows."""
    now = scheduler.clock.now()
    windows = await scheduler.read(lambda db: model.since(db, now - model.KEPT if every else now))
    return [window_out(window, now) for window in windows]


@router.post("/maintenance", tags=["calendars"])
async def plan_maintenance(
    request: Request, principal: Operator, scheduler: SchedulerOf, body: MaintenanceIn
) -> MaintenanceOut:
    """Plan a maintenance window, in which no run starts. Slots in the window wait for its end; the misfire policy `skip` skips them."""
    try:
        for queue in body.queues:
            check_queue(queue, scheduler.definitions.values())
        made = await scheduler.operate(
            actions.plan,
            None,
            actor(request, principal),
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            reason=body.reason,
            queues=body.queues,
        )
    except (MaintenanceError, UnknownQueue) as error:
        raise Problem(422, "No such window", str(error)) from None
    return window_out(made, scheduler.clock.now())


@router.delete("/maintenance/{window_id}", tags=["calendars"])
async def end_maintenance(
    window_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> MaintenanceOut:
    """End an active window, or cancel a planned window."""
    by = actor(request, principal)
    try:
        ended = await scheduler.operate(actions.end, None, window_id, by)
    except MaintenanceError as error:
        raise Problem(404, "No such window", str(error)) from None
    return window_out(ended, scheduler.clock.now())
