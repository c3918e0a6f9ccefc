"""Pages and event streams of batches."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.errors import BatchError, UnknownBatch
from ...core.identity import Principal, Role
from ...core.languages import gettext, marked
from ...kernel.dependencies import BATCH
from ...kernel.queries.chains import children
from ...web.authentication import actor
from ...web.dashboard.common import Every, SchedulerOf, Viewer, id_of, reloading
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render
from ...web.problems import Problem
from ..flows import queries as flow_queries
from . import queries
from .model import BatchState
from .queries import Batch
from .stream import batch_events

# Event streams for the pages of batches and flows.

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/batches/{batch_id}/live")
async def follow_batch(
    request: Request, principal: Viewer, scheduler: SchedulerOf, batch_id: int
) -> Response:
    """The events of a batch."""
    if await scheduler.read(lambda db: queries.batch_of_run(db, batch_id)) is None:
        raise no_such_batch(batch_id)
    return batch_events(request, principal, batch_id, "batch")


@router.get("/flows/{flow_id}/live")
async def follow_flow(
    request: Request, principal: Viewer, scheduler: SchedulerOf, flow_id: int
) -> Response:
    """The events of a flow."""
    if await scheduler.read(lambda db: flow_queries.get_flow(db, flow_id)) is None:
        raise no_such_flow(flow_id)
    return batch_events(request, principal, flow_id, "flow")


def no_such_batch(batch_id: int) -> Problem:
    """Return the 404 page for a batch id."""
    message = gettext("Batch %(id)s does not exist. Old batches are removed.", id=batch_id)
    return Problem(404, "No such batch", message)


def no_such_flow(flow_id: int) -> Problem:
    """Return the 404 page for a flow id."""
    message = gettext("Flow %(id)s does not exist. Old flows are removed.", id=flow_id)
    return Problem(404, "No such flow", message)


# Pages and buttons of batches.

Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
_A_PAGE, _MOST_INNER = 50, 100


@router.get("/batches")
async def batches_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, state: str = "", before: str = ""
) -> Response:
    """The last batches; any word that is no state shows all."""
    wanted = BatchState(state) if state in set(BatchState) else None
    rows = await scheduler.read(
        lambda db: queries.list_batches(db, state=wanted, limit=_A_PAGE + 1, before=id_of(before))
    )
    return render(
        request,
        "batches/batches.html",
        principal,
        batches=rows[:_A_PAGE],
        older=rows[_A_PAGE - 1].id if len(rows) > _A_PAGE else None,
        before=id_of(before),
        state=wanted or "",
        states=tuple(BatchState),
    )


@router.get("/batches/{batch_id}")
async def batch_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    batch_id: int,
    every: Every = 0,
) -> Response:
    """One batch."""

    async def query(db: AsyncConnection) -> tuple[Batch | None, dict[str, Any]]:
        return await queries.get_batch(db, batch_id), {
            "inner": await queries.list_batches(db, parent=batch_id, limit=_MOST_INNER),
            "callbacks": await children(db, batch_id, BATCH),
        }

    batch, details = await scheduler.read(query)
    if batch is None:
        raise no_such_batch(batch_id)
    page = render(
        request,
        "batches/batch.html",
        principal,
        batch=batch,
        most=_MOST_INNER,
        every=every,
        **details,
    )
    return reloading(page, every if batch.pending else 0)


@router.post("/batches/{batch_id}/cancel")
async def cancel(
    batch_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Cancel all runs of a batch."""
    act = scheduler.batches.cancel(batch_id, by=actor(request, principal))
    return await _done(request, batch_id, act, marked("Cancelling %(runs)s."))


@router.post("/batches/{batch_id}/retry")
async def retry(
    batch_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Do the runs of a batch again that failed or were cancelled."""
    act = scheduler.batches.retry_failed(batch_id, by=actor(request, principal))
    return await _done(request, batch_id, act, marked("%(runs)s retried."))


async def _done(request: Request, batch_id: int, act: Awaitable[int], message: str) -> Response:
    try:
        flash = Flash("good", gettext(message, runs=humanize.count(await act, "run")))
    except (UnknownBatch, BatchError) as error:
        flash = Flash("bad", f"{humanize.sentence(str(error))}.")
    return back(request, flash, f"{base_path(request)}/batches/{batch_id}")
