"""API of run events as streams, and of a run's whole log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from ...core.identity import Principal, Role
from ...core.states import RunState
from ...kernel.queries import runs
from ...kernel.queries.models import Run
from ...scheduler import Scheduler
from ..api_route import ApiRoute
from ..authentication import require_job
from ..streams import Wanted, change_events, log_as_text, run_events
from .common import PROBLEMS, Looker, SchedulerOf, Viewer, no_such_run
from .schema import ProblemOut

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},  # a schema would describe an event
    429: {"model": ProblemOut, "description": "Too many streams are open"},
}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
Resumed = Annotated[str, Header(alias="Last-Event-ID", description="Id of the last event that the client read.")]  # fmt: skip
_MOST_DIGITS = 18

router = APIRouter(
    prefix="/api", route_class=ApiRoute, responses=PROBLEMS, default_response_class=Response
)


@router.get("/runs/{run_id}/events", tags=["runs"], responses=STREAM)
async def follow_run(
    run_id: int,
    request: Request,
    principal: Looker,
    scheduler: SchedulerOf,
    last_event_id: Resumed = "",
) -> Response:
    """Stream a run as server-sent events: `run` (state and progress), `log` (a line with its id), `end` (the run, after its end).

    The stream begins with the first line of the log, or after the line with the id in `Last-Event-ID`.
    """
    run = await _run(scheduler, run_id, principal)
    known = last_event_id.isdecimal() and len(last_event_id) <= _MOST_DIGITS
    after = int(last_event_id) if known else 0
    return run_events(request, principal, run_id, run.job, after=after)


@router.get("/events", tags=["runs"], responses=STREAM)
async def follow_all(
    request: Request,
    principal: Viewer,
    *,
    job: Annotated[
        list[str] | None,
        Query(description="Only runs of these jobs: names or patterns such as `Daily*`."),
    ] = None,
    queue: Annotated[list[str] | None, Query(description="Only runs of these queues.")] = None,
    state: Annotated[
        list[RunState] | None, Query(description="Only changes to these states.")
    ] = None,
    last_event_id: Resumed = "",  # noqa: ARG001 - described here, read by the stream
) -> Response:
    """Stream the state changes of all runs as server-sent events: `run`, each with an id.

    After a reconnect with `Last-Event-ID`, the client gets the events of the last hour that it missed; some come twice. `gap` reports that older events are lost.
    Use a webhook to receive the end of every run.
    """
    wanted = Wanted(job or (), queue or (), state or ())
    return change_events(request, principal, wanted)


@router.get("/runs/{run_id}/log.txt", tags=["runs"], responses=_TEXT)
async def whole_log(run_id: int, principal: Looker, scheduler: SchedulerOf) -> Response:
    """Return the whole log of a run as plain text. Colour codes that the job wrote are kept."""
    await _run(scheduler, run_id, principal)
    return log_as_text(scheduler, run_id)


async def _run(scheduler: Scheduler, run_id: int, principal: Principal) -> Run:
    """Return a run that the principal may see.

    Raises:
        Problem: the run does not exist, or the principal may not see its job.
    """
    run = await scheduler.read(lambda db: runs.get_run(db, run_id))
    if run is None:
        raise no_such_run(run_id)
    require_job(principal, Role.VIEWER, run.job)
    return run
