"""Save and remove a person's named searches."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from ...core.languages import gettext
from ...kernel.queries import run_search
from ...web.dashboard.common import SchedulerOf, Viewer
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/views")
async def keep_view(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """Keep a search under a name."""
    form = await request.form()
    name = str(form.get("name") or "").strip()[: run_search.LONGEST_NAME]
    search = str(form.get("q") or "").strip()
    page = f"{base_path(request)}/runs?{urlencode({'q': search})}"
    if not name or not search or len(search) > run_search.LONGEST_SEARCH:
        return back(request, Flash("bad", gettext("Enter a name and a search.")), page)
    kept = await scheduler.change(lambda db: run_search.keep(db, principal.name, name, search))
    message = (
        gettext("Search %(name)s saved.", name=name)
        if kept
        else gettext(
            "The limit is %(number)s saved searches. Delete one first.", number=run_search.MOST
        )
    )
    return back(request, Flash("good" if kept else "bad", message), page)


@router.post("/views/remove")
async def remove_view(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """Remove a view."""
    name = str((await request.form()).get("name") or "")
    await scheduler.change(lambda db: run_search.forget(db, principal.name, name))
    return back(
        request,
        Flash("good", gettext("Search %(name)s deleted.", name=name)),
        f"{base_path(request)}/runs",
    )
