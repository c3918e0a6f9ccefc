"""API of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ... import operations
from ...core.identity import Principal, Role
from ...core.search_language import joined, write
from ...core.states import FINAL, RunState
from ...kernel.queries import chains, runs
from ...kernel.queries.chains import Relative, lineage
from ...kernel.queries.models import LogLine
from ...kernel.queries.run_search import list_runs as find_runs
from ...kernel.queries.runs import lines_after
from ..api_route import ApiRoute
from ..authentication import actor, require_job
from ..problems import Problem
from ..run_filter import looked_for
from ..state import get_web
from .common import (
    CONFLICT,
    PROBLEMS,
    SEARCH,
    Admin,
    Limit,
    Looker,
    Operator,
    SchedulerOf,
    Viewer,
    link_next,
    no_such_run,
    run_out_of,
    started_out,
    tried,
)
from .schema import DoneOut
from .schemas import CancelledOut, RunDetailOut, RunsOut, StartedOut, run_detail_out

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/runs", tags=["runs"])
async def list_runs(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    q: Annotated[str, Query(description=SEARCH, max_length=2_000)] = "",
    state: Annotated[
        list[RunState] | None, Query(description="Only runs in any of these states.")
    ] = None,
    job: Annotated[str | None, Query(description="Only runs of this job.")] = None,
    text: Annotated[
        str,
        Query(
            description="Text in the job's name, the message, the arguments or the name of the person or program that started the run."
        ),
    ] = "",
    since: Annotated[
        datetime | None, Query(description="Only runs created at or after this time.")
    ] = None,
    limit: Limit = 50,
    before: Annotated[int | None, Query(description="Only runs with a lower id.")] = None,
    cursor: Annotated[int | None, Query(description="Same as `before`.")] = None,
) -> RunsOut:
    """List runs, newest first. The header `Link` names the next page."""
    before = cursor if cursor is not None else before
    if since is not None and since.tzinfo is None:
        raise Problem(422, "Which zone?", "since needs a zone, such as 2026-12-31T08:00:00Z")
    search = joined(
        q, write("state", *(state or ())), write("job", job), write("", text), write("since", since)
    )
    wanted = looked_for(scheduler, search, limit=limit, before=before)
    page = await scheduler.read(lambda db: find_runs(db, wanted))
    link_next(request, response, page.next_before)
    rows = [run_out_of(scheduler, run) for run in page.runs]
    return RunsOut(runs=rows, next_before=page.next_before)


@router.get("/runs/{run_id}", tags=["runs"])
async def get_run(
    request: Request,
    run_id: int,
    principal: Looker,
    scheduler: SchedulerOf,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=60,
            description="Wait for the run to end, at most this many seconds, before answering.",
        ),
    ] = 0,
) -> RunDetailOut:
    """Return one run with its state changes, attempts, log, steps and chain."""

    async def query(db: AsyncConnection) -> RunDetailOut | None:
        found = await runs.with_attempts(db, run_id)
        if found is None:
            return None
        run, attempts = found
        definition = scheduler.definitions.get(run.job)
        return run_detail_out(
            run,
            definition,
            attempts=attempts,
            log=await runs.log_lines(db, run_id),
            steps=await runs.steps(db, run_id),
            parents=_told(
                principal,
                await chains.parents(
                    db, run_id, definition.after if definition is not None else ()
                ),
            ),
            children=_told(principal, await chains.children(db, run_id)),
            chain=await lineage(db, run) if principal.jobs is None else None,
        )

    detail = await scheduler.read(query)
    if detail is not None:
        require_job(principal, Role.VIEWER, detail.job)
        if wait and detail.state not in FINAL:
            await get_web(request).runs.until_final(run_id, wait)
            detail = await scheduler.read(query)
    if detail is None:
        raise no_such_run(run_id)
    return detail


def _told(principal: Principal, relatives: Iterable[Relative]) -> tuple[Relative, ...]:
    """Redact a run's relatives, its dependencies or dependents: a relative that the principal may not see shows only that it exists."""
    return tuple(
        (
            relative
            if relative.job is None or principal.covers(Role.VIEWER, relative.job)
            else replace(relative, job=None, state=None)
        )
        for relative in relatives
    )


@router.get("/runs/{run_id}/log", tags=["runs"])
async def run_log(
    run_id: int,
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    limit: Limit = 500,
    cursor: Annotated[int | None, Query(description="Only lines with a lower id.")] = None,
    after: Annotated[
        int | None,
        Query(description="Return the lines with a higher id instead of the last lines."),
    ] = None,
) -> list[LogLine]:
    """Return the last log lines of a run, oldest first. The header `Link` names the page of earlier lines."""
    if after is not None:
        return list(await scheduler.read(lambda db: lines_after(db, run_id, after, limit)))
    lines = await scheduler.read(lambda db: runs.log_lines(db, run_id, limit, cursor))
    link_next(request, response, lines[0].id if len(lines) == limit else None)
    return list(lines)


@router.post("/runs/{run_id}/cancel", tags=["runs"], responses=CONFLICT)
async def cancel_run(
    run_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> CancelledOut:
    """Cancel a run. A waiting run ends at once. A running job is asked to stop, and stopped after a grace period."""
    state = await tried(scheduler.cancel(run_id, by=actor(request, principal)))
    is_running = state == RunState.RUNNING
    message = f"run {run_id} {'has been told to stop' if is_running else 'is cancelled'}"
    return CancelledOut(message=message, state=state)


@router.post("/runs/{run_id}/fail", tags=["runs"], responses=CONFLICT)
async def fail_run(
    run_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Fail a run that waits for a server that knows its job and arguments."""
    await tried(scheduler.operate(operations.fail, None, run_id, actor(request, principal)))
    return DoneOut(message=f"run {run_id} is failed")


@router.post("/runs/{run_id}/retry", tags=["runs"], responses=CONFLICT)
async def retry_run(
    run_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> StartedOut:
    """Retry an ended run as a new run. A run that waits for its due time starts now."""
    again = await tried(scheduler.retry(run_id, by=actor(request, principal)))
    run = await scheduler.read(lambda db: runs.get_run(db, again))
    job = run.job if run is not None else ""
    note = ", which was there already" if again.existing else ""
    return started_out(scheduler, again, job, f"run {run_id} is done as run {again}{note}")


@router.delete("/runs/{run_id}", tags=["runs"], responses=CONFLICT)
async def delete_run(
    run_id: int, request: Request, principal: Admin, scheduler: SchedulerOf
) -> DoneOut:
    """Delete a run with its log and steps. Its attempts stay in c_LoggedJob. Needs the role admin."""
    await tried(scheduler.delete(run_id, by=actor(request, principal)))
    return DoneOut(message=f"run {run_id} is deleted")
