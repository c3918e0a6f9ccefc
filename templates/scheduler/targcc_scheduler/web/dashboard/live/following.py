"""Batches and flows as they happen: streams of events for their pages."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ....core.languages.reader import gettext
from ....queries.batches import batches
from ....queries.flows import flows
from ...live.batch_events import batch_events
from ...problems import Problem
from ..page_route import PageRoute
from ..pages.common import SchedulerOf, Viewer

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/batches/{batch_id}/live")
async def follow_batch(
    request: Request, principal: Viewer, scheduler: SchedulerOf, batch_id: int
) -> Response:
    """The events of a batch."""
    if await scheduler.read(lambda db: batches.batch_of_run(db, batch_id)) is None:
        raise no_such_batch(batch_id)
    return batch_events(request, principal, batch_id, "batch")


@router.get("/flows/{flow_id}/live")
async def follow_flow(
    request: Request, principal: Viewer, scheduler: SchedulerOf, flow_id: int
) -> Response:
    """The events of a flow."""
    if await scheduler.read(lambda db: flows.get_flow(db, flow_id)) is None:
        raise no_such_flow(flow_id)
    return batch_events(request, principal, flow_id, "flow")


def no_such_batch(batch_id: int) -> Problem:
    """The page that there is no batch of this id."""
    said = gettext("There is no batch %(id)s; old ones are removed in time.", id=batch_id)
    return Problem(404, "No such batch", said)


def no_such_flow(flow_id: int) -> Problem:
    """The page that there is no flow of this id."""
    said = gettext("There is no flow %(id)s; old ones are removed in time.", id=flow_id)
    return Problem(404, "No such flow", said)
