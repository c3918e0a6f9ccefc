"""Page of limits by key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ...kernel.queries import limits
from .common import SchedulerOf, Viewer
from .page_route import PageRoute
from .rendering import render

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_SHOWN = 50


@router.get("/limits")
async def limits_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    *,
    job: str = "",
    key: str = "",
    waiting: str = "",
    after: str = "",
) -> Response:
    """The keys that are in use."""
    definitions, now = scheduler.definitions, scheduler.clock.now()

    async def query(db: AsyncConnection) -> dict[str, Any]:
        result = await limits.list_keys(
            db,
            definitions,
            now,
            job=job or None,
            key=key,
            waiting=bool(waiting),
            limit=_SHOWN + 1,
            after=after,
        )
        return {"keys": result, "standings": await limits.by_job(db)}

    result = await scheduler.read(query)
    limited = [one for one in definitions.values() if one.keyed_limit is not None]
    return render(
        request,
        "limits/limits.html",
        principal,
        limited=sorted(limited, key=lambda one: one.display_name),
        standings=result["standings"],
        keys=result["keys"][:_SHOWN],
        more=len(result["keys"]) > _SHOWN,
        job=job,
        key=key,
        waiting=bool(waiting),
    )
