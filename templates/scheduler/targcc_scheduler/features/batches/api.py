"""API routes of batches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ...web.api.common import (
    CONFLICT,
    PROBLEMS,
    Limit,
    Operator,
    SchedulerOf,
    Viewer,
    link_older,
    no_such_batch,
    tried,
)
from ...web.api.events import STREAM
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from . import queries
from .model import BatchState
from .schemas import BatchDetailOut, BatchDoneOut, BatchOut
from .stream import batch_events

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/batches", tags=["batches"])
async def list_batches(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    state: Annotated[BatchState | None, Query(description="Only batches in this state.")] = None,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(description="Only batches with a lower id.")] = None,
) -> list[BatchOut]:
    """List batches, newest first, including inner batches. The header `Link` names the next page."""
    rows = await scheduler.read(
        lambda db: queries.list_batches(db, state=state, limit=limit, before=cursor)
    )
    link_older(request, response, rows, limit)
    return [BatchOut.model_validate(row) for row in rows]


@router.get("/batches/{batch_id}", tags=["batches"])
async def get_batch(batch_id: int, _: Viewer, scheduler: SchedulerOf) -> BatchDetailOut:
    """Return one batch with its run counts by state, its inner batches and its callbacks."""
    batch = await scheduler.read(lambda db: queries.get_batch(db, batch_id))
    if batch is None:
        raise no_such_batch(batch_id)
    return BatchDetailOut.model_validate(batch)


@router.post("/batches/{batch_id}/cancel", tags=["batches"], responses=CONFLICT)
async def cancel_batch(
    batch_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> BatchDoneOut:
    """Cancel all runs of a batch and of its inner batches. Waiting runs end at once; running jobs are asked to stop. The response comes once all runs are cancelled or asked to stop."""
    by = actor(request, principal)
    count = await tried(scheduler.batches.cancel(batch_id, by=by))
    message = f"{count} runs of batch {batch_id} are cancelled, or told to stop"
    return BatchDoneOut(message=message, runs=count)


@router.post("/batches/{batch_id}/retry", tags=["batches"], responses=CONFLICT)
async def retry_batch(
    batch_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> BatchDoneOut:
    """Retry the failed and cancelled runs of a batch and of its inner batches. The batch is running again."""
    by = actor(request, principal)
    count = await tried(scheduler.batches.retry_failed(batch_id, by=by))
    return BatchDoneOut(message=f"{count} runs of batch {batch_id} are done again", runs=count)


@router.get(
    "/batches/{batch_id}/events", tags=["batches"], response_class=Response, responses=STREAM
)
async def follow_batch(
    batch_id: int, request: Request, principal: Viewer, scheduler: SchedulerOf
) -> Response:
    """Stream a batch as server-sent events: `batch` (its state, the number of pending members and of running runs), `end` (the batch has ended).

    The stream begins with the current state and closes at `end`, even when a later retry continues the batch.
    """
    if await scheduler.read(lambda db: queries.batch_of_run(db, batch_id)) is None:
        raise no_such_batch(batch_id)
    return batch_events(request, principal, batch_id, "batch")
