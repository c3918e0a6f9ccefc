"""Entries of the palette, the dialog that leads to pages and jobs."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ...core.languages import gettext, translated
from ...kernel.feature import is_installed
from .common import SchedulerOf, Viewer
from .page_route import PageRoute
from .rendering import Frame

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/palette")
async def palette(request: Request, principal: Viewer, scheduler: SchedulerOf) -> JSONResponse:
    """Return the pages and jobs that the person may see: text, address, and further words to find a job by."""
    frame = Frame(request, principal)
    pages = [(translated(link.label), link.path) for link in frame.navigation]
    pages += [(text, path) for feature, text, path in _more(frame) if is_installed(feature)]
    pages += [(gettext("REST API"), "/api/docs"), (gettext("Guides"), "/help")]
    if principal.session:
        pages.append((gettext("Account"), "/account"))
    jobs = sorted(scheduler.definitions.values(), key=lambda job: job.display_name.casefold())
    entries = [{"text": text, "address": f"{frame.base}{path}" or "/"} for text, path in pages]
    entries += [
        {
            "text": job.display_name,
            "address": f"{frame.base}/jobs/{quote(job.name, safe='')}",
            "more": job.name,
        }
        for job in jobs
    ]
    return JSONResponse(entries, headers={"Cache-Control": "no-store"})


def _more(frame: Frame) -> list[tuple[str, str, str]]:
    """Return the pages beside the navigation, with their features; none for people whose role is for some jobs."""
    if frame.is_limited:
        return []
    return [
        ("flows", gettext("Flows"), "/flows"),
        ("batches", gettext("Batches"), "/batches"),
        ("timeline", gettext("Timeline"), "/timeline"),
        ("timeline", gettext("Heat map"), "/heatmap"),
        ("calendars", gettext("Calendars"), "/calendars"),
        ("triage", gettext("Operations on many runs"), "/bulk"),
    ]
