"""Dashboard page of calendars and maintenance windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ...core.errors import MaintenanceError, UnknownQueue
from ...core.identity import Principal, Role
from ...core.languages import gettext
from ...kernel import pauses as model
from ...kernel.queries import system
from ...project import current
from ...schedules.errors import CronError
from ...web.authentication import actor
from ...web.dashboard.common import SchedulerOf, Viewer, local_time
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render
from . import actions
from .queries import CalendarYear, calendar_year, users_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


@dataclass(frozen=True, slots=True)
class _Shown:
    """A calendar on the page. ``year`` is ``None`` if the calendar is invalid; ``problem`` then states the error."""

    name: str
    jobs: list[str]
    year: CalendarYear | None
    problem: str


@router.get("/calendars")
async def calendars_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, year: str = ""
) -> Response:
    """When nothing runs."""
    now = scheduler.clock.now()
    wanted = int(year) if year.isdecimal() and len(year) == len("2026") else now.year
    wanted = min(max(wanted, _FIRST_YEAR), _LAST_YEAR)
    definitions = list(scheduler.definitions.values())
    shown = [_shown(name, wanted, users_of(name, definitions)) for name in current().calendars]
    windows = await scheduler.read(lambda db: model.since(db, now - model.KEPT))
    return render(
        request,
        "calendars/calendars.html",
        principal,
        calendars=shown,
        windows=[window for window in windows if window.ends_at > now],
        over=[window for window in reversed(windows) if window.ends_at <= now],
        year=wanted,
        queues=system.queue_names(definitions),
    )


def _shown(name: str, year: int, jobs: list[str]) -> _Shown:
    try:
        return _Shown(name, jobs, calendar_year(name, year), "")
    except CronError as error:
        return _Shown(name, jobs, None, str(error))


@router.post("/maintenance")
async def plan(request: Request, principal: Operator, scheduler: SchedulerOf) -> Response:
    """Plan a window, or begin one now."""
    form = await request.form()
    since, until = str(form.get("since") or ""), str(form.get("until") or "")
    queues = [str(value) for value in form.getlist("queue")]
    try:
        for queue in queues:
            system.check_queue(queue, scheduler.definitions.values())
        window = await scheduler.operate(
            actions.plan,
            None,
            actor(request, principal),
            starts_at=local_time(since) if since else None,
            ends_at=local_time(until),
            reason=str(form.get("reason") or ""),
            queues=queues,
        )
        flash = Flash("good", gettext("Maintenance window %(id)s is planned.", id=window.id))
    except (MaintenanceError, UnknownQueue, ValueError) as error:
        flash = Flash("bad", gettext("The window was not planned: %(error)s.", error=str(error)))
    return back(request, flash, f"{base_path(request)}/calendars")


@router.post("/maintenance/{window_id}/end")
async def end(
    window_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """End a window, or take it back."""
    try:
        await scheduler.operate(actions.end, None, window_id, actor(request, principal))
        flash = Flash(
            "good", gettext("Maintenance window %(id)s ended. Runs start again.", id=window_id)
        )
    except MaintenanceError as error:
        flash = Flash("bad", f"{error}.")
    return back(request, flash, f"{base_path(request)}/calendars")
