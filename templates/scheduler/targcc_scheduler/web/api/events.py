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
Resumed = Annotated[str, Header(alias="Last-Event-ID", description="The id of the last event that was read.")]  # fmt: skip
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
    """A run as it happens, as server-sent events: `run` (its state and progress), `log` (a line, with its id), `end` (the run, over).

    It begins with the first line of the log, or after the one that `Last-Event-ID` names.
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
    job: Annotated[list[str] | None, Query(description="Of these, or by patterns: Daily*.")] = None,
    queue: Annotated[list[str] | None, Query(description="Of runs of these queues.")] = None,
    state: Annotated[list[RunState] | None, Query(description="To these states.")] = None,
    last_event_id: Resumed = "",  # noqa: ARG001 - described here, read by the stream
) -> Response:
    """The changes of states of all runs as server-sent events: `run`, each with an id.

    A reader that comes back with `Last-Event-ID` gets what it has missed in the last hour, some of it twice; `gap` says that there was more.
    Whoever needs each end of a run uses a webhook.
    """
    wanted = Wanted(job or (), queue or (), state or ())
    return change_events(request, principal, wanted)


@router.get("/runs/{run_id}/log.txt", tags=["runs"], responses=_TEXT)
async def whole_log(run_id: int, principal: Looker, scheduler: SchedulerOf) -> Response:
    """The whole log of a run as plain text, as it was written: with the codes of colours, if the job wrote such."""
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
