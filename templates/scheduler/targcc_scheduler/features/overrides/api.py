"""API of overrides: list, preview, set, reset."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from ...web.api.common import CONFLICT, PROBLEMS, Operator, SchedulerOf, Viewer, find_job, tried
from ...web.api.schemas import OverrideOut, overrides_out
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from ...web.problems import Problem
from . import actions
from .actions import Wish
from .schemas import (
    ChangeOut,
    OverrideIn,
    OverridesOut,
    PreviewOut,
    ResetOut,
    all_of,
)

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/overrides", tags=["jobs"])
async def list_overrides(_: Viewer, scheduler: SchedulerOf) -> list[OverrideOut]:
    """List the overrides of all jobs."""
    return [override for job in scheduler.definitions.values() for override in overrides_out(job)]


@router.get("/jobs/{name}/overrides", tags=["jobs"])
async def job_overrides(name: str, _: Viewer, scheduler: SchedulerOf) -> OverridesOut:
    """Return the overrides of a job and the lines to write in the code instead."""
    return all_of(find_job(scheduler, name))


@router.post("/jobs/{name}/overrides", tags=["jobs"], responses=CONFLICT)
async def override_job(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf, body: OverrideIn
) -> PreviewOut:
    """Override options of a job on all servers, across deploys. `dry_run` only shows the effect."""
    if body.until is not None and body.until.tzinfo is None:
        raise Problem(422, "Which zone?", "until needs a zone, such as 2026-12-31T08:00:00Z")
    job, wish = find_job(scheduler, name), Wish(body.values(), body.reason, body.until)

    async def work() -> PreviewOut:
        seen = actions.preview(scheduler, job, wish)
        if not body.dry_run:
            await actions.override(scheduler, job, wish, actor(request, principal))
        return PreviewOut(
            changes=[ChangeOut.model_validate(change) for change in seen.changes],
            fires_now=list(seen.fires_now),
            fires_then=list(seen.fires_then),
            saved=not body.dry_run,
        )

    return await tried(work())


@router.delete("/jobs/{name}/overrides", tags=["jobs"], responses=CONFLICT)
async def reset_overrides(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    field: Annotated[
        list[str] | None, Query(description="Options to reset. Default: all options.")
    ] = None,
) -> ResetOut:
    """Remove overrides of a job; the values in the code apply again."""
    job = find_job(scheduler, name)
    by = actor(request, principal)
    return ResetOut(reset=await tried(actions.reset(scheduler, job, field or (), by)))
