"""The pages of batches, and their buttons."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core import humanize
from ....core.errors import BatchError, UnknownBatch
from ....core.languages.catalogue import marked
from ....core.languages.reader import gettext
from ....queries.batches import batches
from ....queries.batches.batches import Batch
from ....queries.following.family import children
from ....security.roles import Principal, Role
from ....storage.ties.batches.rows import BatchState
from ....storage.ties.links import BATCH
from ...authentication import actor
from ..flash import Flash, back, base_path
from ..live.following import no_such_batch
from ..page_route import PageRoute, page_needs
from ..pages.common import Every, SchedulerOf, Viewer, id_of, reloading
from ..rendering import render

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
_A_PAGE, _MOST_INNER = 50, 100


@router.get("/batches")
async def batches_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, state: str = "", before: str = ""
) -> Response:
    """The last batches; any word that is no state shows all."""
    wanted = BatchState(state) if state in set(BatchState) else None
    found = await scheduler.read(
        lambda db: batches.list_batches(db, state=wanted, limit=_A_PAGE + 1, before=id_of(before))
    )
    return render(
        request,
        "batches/batches.html",
        principal,
        batches=found[:_A_PAGE],
        older=found[_A_PAGE - 1].id if len(found) > _A_PAGE else None,
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
        return await batches.get_batch(db, batch_id), {
            "inner": await batches.list_batches(db, parent=batch_id, limit=_MOST_INNER),
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
    return await _done(request, batch_id, act, marked("Cancelled, or told to stop: %(runs)s."))


@router.post("/batches/{batch_id}/retry")
async def retry(
    batch_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Do the runs of a batch again that failed or were cancelled."""
    act = scheduler.batches.retry_failed(batch_id, by=actor(request, principal))
    return await _done(request, batch_id, act, marked("Done again: %(runs)s."))


async def _done(request: Request, batch_id: int, act: Awaitable[int], said: str) -> Response:
    try:
        flash = Flash("good", gettext(said, runs=humanize.count(await act, "run")))
    except (UnknownBatch, BatchError) as error:
        flash = Flash("bad", f"{humanize.sentence(str(error))}.")
    return back(request, flash, f"{base_path(request)}/batches/{batch_id}")
