"""The pages of the inbox: failures by their cause, and whatever else is wrong."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core import humanize
from ....core.errors import UnknownFailure
from ....jobs.definition import shown_arguments
from ....oncall.finding import looked_for
from ....queries.finding.filters import RunFilter
from ....queries.needs import failures
from ....queries.needs.concerns import besides_failures
from ....search.errors import SearchError
from ...problems import Problem
from ..page_route import PageRoute
from ..rendering import render
from .common import SchedulerOf, Viewer
from .runs import MOST

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_RUNS_SHOWN = 100


@router.get("/inbox")
async def inbox_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, show: str = "", q: str = ""
) -> Response:
    """Everything that needs a person."""
    search, error = q.strip()[:MOST], None
    try:
        wanted = looked_for(scheduler, search)
    except SearchError as wrong:
        wanted, error = RunFilter(), wrong
    now = scheduler.clock.now()
    everything = show == "all"
    definitions = list(scheduler.definitions.values())
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "failures": await failures.inbox(db, now, everything=everything, wanted=wanted),
            "wrong": await besides_failures(db, definitions, now, lost_after=lost_after),
        }

    found = await scheduler.read(query)
    return render(
        request,
        "oncall/inbox.html",
        principal,
        everything=everything,
        search=search,
        error=error,
        **found,
    )


@router.get("/inbox/{cause}")
async def failure_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, cause: str
) -> Response:
    """One failure with its open runs."""
    now = scheduler.clock.now()

    async def query(db: AsyncConnection) -> dict[str, Any]:
        one = await failures.get(db, cause, now)
        runs = await failures.runs_of(db, cause, limit=_RUNS_SHOWN)
        return {"one": one, "runs": runs, "again": await failures.done_since(db, runs)}

    try:
        found = await scheduler.read(query)
    except UnknownFailure:
        raise Problem(404, "No such failure", f"There is no failure {cause}.") from None
    definition = scheduler.definitions.get(found["one"].job)
    shown = {
        run.id: humanize.arguments(shown_arguments(definition, run.arguments))
        for run in found["runs"]
    }
    return render(request, "oncall/failure.html", principal, shown=shown, **found)
