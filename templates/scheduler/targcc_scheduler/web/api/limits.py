"""API of limits by key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ...kernel.queries import limits
from ..api_route import ApiRoute
from .common import PROBLEMS, Cursor, Limit, SchedulerOf, Viewer, link_next
from .limit_schemas import LimitKeyOut

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/limits", tags=["limits"])
async def list_limits(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    job: Annotated[str | None, Query(description="Only keys of this job.")] = None,
    key: Annotated[str | None, Query(description="Only keys that contain this text.")] = None,
    waiting: Annotated[bool, Query(description="Only keys with waiting runs.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> list[LimitKeyOut]:
    """List the limit keys in use, sorted by key. The header `Link` names the next page."""
    jobs, now = scheduler.definitions, scheduler.clock.now()
    limit_keys = await scheduler.read(
        lambda db: limits.list_keys(
            db, jobs, now, job=job, key=key, waiting=waiting, limit=limit, after=cursor or ""
        )
    )
    link_next(request, response, limit_keys[-1].key if len(limit_keys) == limit else None)
    return [LimitKeyOut(**vars(limit_key)) for limit_key in limit_keys]
