"""API routes that list the owners of jobs and set the owner of a job."""

from __future__ import annotations

from fastapi import APIRouter, Request

from ...kernel import job_owner as owners
from ...web.api.common import CONFLICT, PROBLEMS, Operator, SchedulerOf, Viewer, find_job, tried
from ...web.api.schema import DoneOut
from ...web.api.schemas import OwnerIn, OwnerOut
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from . import owning

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/owners", tags=["jobs"])
async def list_owners(_: Viewer, scheduler: SchedulerOf) -> list[OwnerOut]:
    """List the owners of jobs that the old server runs or ran. This scheduler runs all other jobs."""
    return [
        OwnerOut.model_validate(ownership)
        for ownership in (await scheduler.read(owners.load)).values()
    ]


@router.post("/jobs/{name}/owner", tags=["jobs"], responses=CONFLICT)
async def set_owner(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf, body: OwnerIn
) -> DoneOut:
    """Set the owner of a job. The old server is not changed; `targcc cutover` changes both sides."""
    job = scheduler.key_of(name)
    if job not in await scheduler.read(owners.load):  # the job may no longer be in the code
        job = find_job(scheduler, name).name
    await tried(
        scheduler.operate(
            owning.set_owner,
            None,
            job,
            body.owner,
            actor(request, principal),
            reason=body.reason,
            old_is_off=body.old_is_off,
            old_key=body.old_key,
            runner=body.runner,
        )
    )
    return DoneOut(message=f"{job} has the owner {body.owner}")
