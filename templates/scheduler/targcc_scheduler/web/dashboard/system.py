"""System page: queues, nodes and releases."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.version import MODE, __version__
from ...kernel.queries import system
from ..state import get_web
from .common import SchedulerOf, Viewer
from .page_route import PageRoute
from .panels import PageSubject, panels
from .rendering import render

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_RELEASES_SHOWN = 3


@router.get("/system")
async def system_page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """Queues and servers."""
    now = scheduler.clock.now()
    names = system.queue_names(scheduler.definitions.values())
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "queues": await system.queues(db, names, now, lost_after=lost_after),
            "servers": await system.read_servers(db),
            "releases": shown_releases(await system.releases(db)),
            "unknown": await system.count_unknown(db),
            **await panels("system", db, PageSubject(scheduler, now)),
        }

    context = await scheduler.read(query)
    return render(
        request,
        "pages/system.html",
        principal,
        lost_after=lost_after,
        version=__version__,
        mode=MODE,
        has_turns=get_web(request).turn is not None,
        has_limits=any(
            definition.keyed_limit is not None for definition in scheduler.definitions.values()
        ),
        **context,
    )


def shown_releases(releases_shown: tuple[system.Release, ...]) -> list[system.Release]:
    """Return the releases that nodes run, the deciding release, chosen releases, and the first three of the list."""
    return [
        release
        for place, release in enumerate(releases_shown)
        if release.servers or release.decides or release.chosen_at or place < _RELEASES_SHOWN
    ]
