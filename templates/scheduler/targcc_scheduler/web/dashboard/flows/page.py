"""The pages of flows, and their buttons."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ....core.errors import RunStateError, UnknownFlow
from ....core.languages.reader import gettext
from ....queries.flows import flows
from ....scheduler import Scheduler
from ....security.roles import Principal, Role
from ...authentication import actor, require_job
from ..flash import Flash, back, base_path
from ..live.following import no_such_flow
from ..page_route import PageRoute, page_needs
from ..pages.common import Every, SchedulerOf, Viewer, id_of, reloading
from ..rendering import render
from .picture import picture, state_word

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]


@router.get("/flows")
async def flows_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, before: str = ""
) -> Response:
    """The last flows."""
    found = await scheduler.read(lambda db: flows.list_flows(db, before=id_of(before)))
    return render(request, "flows/flows.html", principal, flows=found, state_word=state_word)


@router.get("/flows/{flow_id}")
async def flow_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, flow_id: int, every: Every = 0
) -> Response:
    """One flow."""
    flow = await _found(scheduler, flow_id)
    page = render(
        request,
        "flows/flow.html",
        principal,
        flow=flow,
        picture=picture(flow),
        state_word=state_word,
        every=every,
    )
    return reloading(page, 0 if flow.final else every)


@router.post("/flows/{flow_id}/cancel")
async def cancel(
    flow_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Cancel a flow."""
    require_job(principal, Role.OPERATOR, (await _found(scheduler, flow_id)).name)
    try:
        await scheduler.cancel_flow(flow_id, by=actor(request, principal))
        flash = Flash("good", gettext("Flow %(id)s is cancelled.", id=flow_id))
    except (UnknownFlow, RunStateError) as error:
        flash = Flash("bad", f"{error}.")
    return back(request, flash, f"{base_path(request)}/flows/{flow_id}")


@router.post("/flows/{flow_id}/rerun")
async def rerun(
    flow_id: int, request: Request, principal: Operator, scheduler: SchedulerOf, step: str = ""
) -> Response:
    """Do a flow again, from a step on."""
    require_job(principal, Role.OPERATOR, (await _found(scheduler, flow_id)).name)
    try:
        await scheduler.rerun_flow(flow_id, step or None, by=actor(request, principal))
        flash = Flash("good", gettext("Flow %(id)s goes on.", id=flow_id))
    except (UnknownFlow, RunStateError) as error:
        flash = Flash("bad", f"{error}.")
    return back(request, flash, f"{base_path(request)}/flows/{flow_id}")


async def _found(scheduler: Scheduler, flow_id: int) -> flows.Flow:
    found = await scheduler.read(lambda db: flows.get_flow(db, flow_id))
    if found is None:
        raise no_such_flow(flow_id)
    return found
