"""Page of notes."""

from fastapi import APIRouter, Request, Response
from targcc_scheduler.web.dashboard.common import SchedulerOf, Viewer
from targcc_scheduler.web.dashboard.page_route import PageRoute
from targcc_scheduler.web.dashboard.rendering import render

from . import model

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/notes")
async def page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """Show the entries of all jobs."""
    rows = await scheduler.read(model.entries)
    return render(
        request,
        "notes/page.html",
        principal,
        section="notes",
        title="Notes",
        entries=rows,
    )
