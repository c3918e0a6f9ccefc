"""The overview."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ....queries import overview
from ..banner import status_banner
from ..page_route import PageRoute
from ..rendering import render
from .common import SchedulerOf, Viewer

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("")
async def first_page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """The overview."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()
    lost_after = scheduler.settings.lost_after_seconds
    view = await scheduler.read(
        lambda db: overview.overview(db, definitions, now, lost_after=lost_after)
    )
    return render(
        request,
        "pages/overview.html",
        principal,
        view=view,
        banner=status_banner(view, scheduler.broken),
        usual={job.name: job.usual_duration for job in view.jobs},
    )
