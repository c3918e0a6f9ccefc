"""API routes of flows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from ...core.identity import Role
from ...scheduler import Scheduler
from ...web.api.common import (
    CONFLICT,
    PROBLEMS,
    Limit,
    Operator,
    SchedulerOf,
    Starter,
    Viewer,
    link_older,
    no_such_flow,
    tried,
)
from ...web.api.events import STREAM
from ...web.api_route import ApiRoute
from ...web.authentication import actor, require_job
from ..batches.stream import batch_events
from . import queries
from .schemas import FlowIn, FlowOut, RerunIn, flow_out

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/flows", tags=["flows"])
async def list_flows(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    name: Annotated[str | None, Query(description="Only flows of this name.")] = None,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(description="Only flows with a lower id.")] = None,
) -> list[FlowOut]:
    """List flows, newest first. The header `Link` names the next page."""
    flows = await scheduler.read(
        lambda db: queries.list_flows(db, name=name, limit=limit, before=cursor)
    )
    link_older(request, response, flows, limit)
    return [flow_out(flow) for flow in flows]


@router.post("/flows", tags=["flows"])
async def start_flow(
    request: Request, principal: Starter, scheduler: SchedulerOf, body: FlowIn
) -> FlowOut:
    """Start a flow."""
    require_job(principal, Role.OPERATOR, body.name)
    by = actor(request, principal)
    return await _shown(
        scheduler, await tried(scheduler.start_flow(body.name, body.arguments, by=by))
    )


@router.get("/flows/{flow_id}", tags=["flows"])
async def get_flow(flow_id: int, _: Viewer, scheduler: SchedulerOf) -> FlowOut:
    """Return one flow with its steps and the run counts of each step by state."""
    return await _shown(scheduler, flow_id)


@router.post("/flows/{flow_id}/cancel", tags=["flows"], responses=CONFLICT)
async def cancel_flow(
    flow_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> FlowOut:
    """Cancel a flow: its runs are cancelled and no further step starts."""
    require_job(principal, Role.OPERATOR, (await _shown(scheduler, flow_id)).name)
    await tried(scheduler.cancel_flow(flow_id, by=actor(request, principal)))
    return await _shown(scheduler, flow_id)


@router.post("/flows/{flow_id}/rerun", tags=["flows"], responses=CONFLICT)
async def rerun_flow(
    flow_id: int,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[RerunIn | None, Body()] = None,
) -> FlowOut:
    """Rerun a flow from a step on, or its failed steps. Results of earlier steps are kept."""
    require_job(principal, Role.OPERATOR, (await _shown(scheduler, flow_id)).name)
    step = body.from_step if body is not None else None
    await tried(scheduler.rerun_flow(flow_id, step, by=actor(request, principal)))
    return await _shown(scheduler, flow_id)


async def _shown(scheduler: Scheduler, flow_id: int) -> FlowOut:
    flow = await scheduler.read(lambda db: queries.get_flow(db, flow_id))
    if flow is None:
        raise no_such_flow(flow_id)
    return flow_out(flow)


@router.get("/flows/{flow_id}/events", tags=["flows"], response_class=Response, responses=STREAM)
async def follow_flow(
    flow_id: int, request: Request, principal: Viewer, scheduler: SchedulerOf
) -> Response:
    """Stream a flow as server-sent events: `flow` (its state, the state of each step, the number of running runs), `end` (the flow has ended)."""
    if await scheduler.read(lambda db: queries.get_flow(db, flow_id)) is None:
        raise no_such_flow(flow_id)
    return batch_events(request, principal, flow_id, "flow")
