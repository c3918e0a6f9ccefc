"""API of the audit: list, export, verify."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from ...core.errors import AuditError
from ...kernel.queries.models import AuditEntry
from ...web.api.common import PROBLEMS, Limit, Operator, SchedulerOf, Viewer, link_older
from ...web.api_route import ApiRoute
from ...web.problems import Problem
from . import actions, queries
from .queries import Filter, Format
from .responses import file_of, names_of
from .schemas import VerdictOut

router = APIRouter(prefix="/api/audit", route_class=ApiRoute, responses=PROBLEMS, tags=["system"])
_FILES = {
    "text/csv": {"schema": {"type": "string"}},
    "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
}


def _filter(
    scheduler: SchedulerOf,
    *,
    job: str | None = None,
    run_id: int | None = None,
    actor: Annotated[
        str, Query(description="Only rows whose actor's name contains this text, case-insensitive.")
    ] = "",
    action: Annotated[
        str, Query(description="Only rows with this action, such as `trigger`.")
    ] = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Filter:
    jobs = names_of(scheduler, job) if job is not None else ()
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            raise Problem(422, "An instant needs a zone", f"{name}: write it as 2026-12-31T08:00Z")
    return Filter(jobs=jobs, run_id=run_id, actor=actor, action=action, since=since, until=until)


Which = Annotated[Filter, Depends(_filter)]


@router.get("")
async def list_audit(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    which: Which,
    *,
    before: int | None = None,
    cursor: Annotated[int | None, Query(description="Same as `before`.")] = None,
    limit: Limit = 50,
) -> list[AuditEntry]:
    """List audit rows, newest first: actor, action, time and origin. The header `Link` names the next page."""
    before = cursor if cursor is not None else before
    rows = await scheduler.read(
        lambda db: queries.audit(db, which, before=before, limit=limit),
    )
    link_older(request, response, rows, limit)
    return list(rows)


@router.get("/export", response_class=Response, responses={200: {"content": _FILES}})
async def export_audit(
    _: Viewer, scheduler: SchedulerOf, which: Which, kind: Annotated[Format, Query(alias="format")]
) -> StreamingResponse:
    """Export the matching audit rows, newest first, as CSV or JSON."""
    return file_of(scheduler, which, kind)


@router.get("/verify")
async def verify_audit(
    _: Operator,
    scheduler: SchedulerOf,
    head: Annotated[str, Query(description="Noted head of the chain, as PLACE:HASH.")] = "",
) -> VerdictOut:
    """Verify that audit rows are unchanged and in order. `fault` describes the first fault."""
    try:
        verdict = await actions.verified(scheduler, head)
    except AuditError as error:
        raise Problem(422, "That head says nothing", str(error)) from None
    return VerdictOut(
        rows=verdict.rows,
        head=str(verdict.head),
        unchained=verdict.unchained,
        fault=verdict.fault,
        too_old=verdict.too_old,
    )
