"""Dependencies, problems and helpers shared by API endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Query, Request, Response

from ...core.actor import everything_visible
from ...core.error_codes import code_of
from ...core.errors import (
    ArgumentsError,
    BatchError,
    BulkError,
    IdempotencyError,
    OverrideError,
    PauseError,
    RunStateError,
    UnknownBatch,
    UnknownBulk,
    UnknownFailure,
    UnknownFlow,
    UnknownJob,
    UnknownQueue,
    UnknownRelease,
    UnknownRun,
    UnknownServer,
    UnknownWebhook,
    WebhookError,
)
from ...core.identity import Principal, Role
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries import runs
from ...kernel.queries.models import Run
from ...kernel.runs.values import RunId
from ...scheduler import Scheduler
from ..authentication import actor, api_needs
from ..problems import Problem
from ..state import get_scheduler
from .schema import ProblemOut
from .schemas import RunOut, StartedOut, TriggerIn, run_out

T = TypeVar("T")


class Numbered(Protocol):
    """Row of a list in which newer rows have higher ids."""

    @property
    def id(self) -> int:
        """Return the row's id."""


Cursor = Annotated[
    str | None, Query(description="Cursor from the `Link` header of the previous page.")
]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemOut, "description": "The request body is unreadable"},
    401: {"model": ProblemOut, "description": "The token is missing or unknown"},
    403: {"model": ProblemOut, "description": "The token's role does not allow it"},
    404: {"model": ProblemOut, "description": "The job or run does not exist"},
    413: {"model": ProblemOut, "description": "The body is too large or has no Content-Length"},
    421: {
        "model": ProblemOut,
        "description": "The Host of the request is not allowed",
    },
    422: {"model": ProblemOut, "description": "A value is malformed or out of range"},
    503: {"model": ProblemOut, "description": "The database or the scheduler does not answer"},
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ProblemOut, "description": "The state of the run does not allow it"}
}
Viewer = Annotated[Principal, Depends(api_needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(api_needs(Role.OPERATOR))]
Starter = Annotated[Principal, Depends(api_needs(Role.OPERATOR, one_job=True))]
"""Principal who may start some job; the route calls :func:`require_job` for the job of the request."""
Looker = Annotated[Principal, Depends(api_needs(Role.VIEWER, one_job=True))]
"""Principal who may see some job's runs; the route calls :func:`require_job` for the job of the request."""
Admin = Annotated[Principal, Depends(api_needs(Role.ADMIN))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
SEARCH = 'Search for runs: `job:Daily* state:failed since:yesterday arg.customer:42 "timeout" node:web-2 took:>5m`.'
Limit = Annotated[int, Query(ge=1, le=500, description="Maximum number of rows.")]


def find_job(scheduler: Scheduler, name: str) -> JobDefinition:
    """Return a job by name.

    Raises:
        Problem: the job does not exist (404).
    """
    try:
        return scheduler.find(name)
    except UnknownJob as error:
        raise Problem(404, "No such job", str(error)) from None


def no_such_run(run_id: int) -> Problem:
    """Return the problem for an unknown run id."""
    return Problem(404, "No such run", f"there is no run {run_id}; old ones are removed in time")


def no_such_batch(batch_id: int) -> Problem:
    """Return the problem for an unknown batch id."""
    return Problem(404, "No such batch", f"there is no batch {batch_id}")


def no_such_flow(flow_id: int) -> Problem:
    """Return the problem for an unknown flow id."""
    return Problem(404, "No such flow", f"there is no flow {flow_id}")


def link_next(request: Request, response: Response, cursor: object | None) -> None:
    """Set the header ``Link`` (RFC 8288) to the next page; no cursor sets no header."""
    if cursor is not None:
        url = request.url.include_query_params(cursor=str(cursor))
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'


def link_older(
    request: Request, response: Response, numbered: Sequence[Numbered], limit: int
) -> None:
    """Set the header ``Link`` to the page of older rows if ``numbered`` holds ``limit`` rows."""
    link_next(request, response, numbered[-1].id if len(numbered) == limit else None)


_PROBLEM_OF: dict[type[Exception], tuple[int, str]] = {
    UnknownJob: (404, "No such job"),
    UnknownRun: (404, "No such run"),
    UnknownServer: (404, "No such server"),
    UnknownRelease: (404, "No such release"),
    UnknownFlow: (404, "No such flow"),
    UnknownBatch: (404, "No such batch"),
    UnknownFailure: (404, "No such failure"),
    UnknownBulk: (404, "No such operation"),
    UnknownWebhook: (404, "No such webhook"),
    WebhookError: (422, "No such webhook is possible"),
    IdempotencyError: (422, "Key of another call"),
    RunStateError: (409, "Not in this state"),
    BatchError: (409, "It cannot be done"),
    BulkError: (409, "It cannot be done"),
    OverrideError: (422, "It cannot be overridden so"),
    UnknownQueue: (422, "No such queue"),
    PauseError: (422, "A pause ends later"),
}


async def tried(action: Awaitable[T]) -> T:
    """Await an operator's action and turn its errors into problems.

    Raises:
        Problem: the action failed with an expected error.
    """
    try:
        return await action
    except ArgumentsError as error:
        errors = str(error).splitlines()
        raise Problem(422, "The arguments do not fit", "; ".join(errors), errors=errors) from None
    except tuple(_PROBLEM_OF) as error:
        status, title = next(
            problem for kind, problem in _PROBLEM_OF.items() if isinstance(error, kind)
        )
        raise Problem(status, title, str(error), code=code_of(error)) from None


async def trigger(
    request: Request,
    principal: Principal,
    definition: JobDefinition,
    wish: TriggerIn,
    arguments: Mapping[str, Any],
) -> StartedOut:
    """Run a job with the options of a request. The arguments override the arguments of the run ``like``."""
    scheduler, by = get_scheduler(request), actor(request, principal)
    await _may_wait_for(scheduler, principal, wish.after)
    like = {}
    if wish.like is not None:
        like = await tried(scheduler.arguments_of(definition, wish.like))
    run_id = await tried(
        scheduler.trigger(
            definition,
            {**like, **arguments},
            by=by,
            expires_in=wish.expires_in,
            idempotency_key=wish.idempotency_key,
            key_of=None if _sees_every_job(principal) else f"{by.kind} {principal.name}",
            after=wish.after or None,
            on=wish.on if wish.after else "success",
            quorum=wish.quorum if wish.after else "all",
            otherwise=wish.otherwise if wish.after else "discard",
            retries=wish.retries,
        )
    )
    begun = "was there already" if run_id.existing else "started"
    message = f"{definition.display_name} {begun} as run {run_id}"
    if wish.after and not run_id.existing:
        message += f", after {', '.join(str(dependency) for dependency in wish.after)}"
    return started_out(scheduler, run_id, definition.name, message)


def _sees_every_job(principal: Principal) -> bool:
    return principal.grants is None and principal.jobs is None


async def _may_wait_for(
    scheduler: Scheduler, principal: Principal, run_ids: Collection[int]
) -> None:
    """Check that the principal may see the runs to wait for: the fate of the new run would reveal their results.

    Raises:
        Problem: a run belongs to a job outside the principal's role; the text is the same as for an unknown run.
    """
    if not run_ids or _sees_every_job(principal):
        return
    with everything_visible():
        jobs = await scheduler.read(lambda db: runs.jobs_of(db, run_ids))
    visible_ids = {run_id for run_id, job in jobs.items() if principal.covers(Role.VIEWER, job)}
    if jobs.keys() - visible_ids:
        missing = min(set(run_ids) - visible_ids)
        raise Problem(
            404, "No such run", f"there is no run {missing}, so that nothing can wait for it"
        )


def started_out(scheduler: Scheduler, run_id: RunId, job: str, message: str) -> StartedOut:
    """Return the answer for a new or existing run, with the address of the run's page."""
    url = f"{scheduler.settings.dashboard_url}/runs/{run_id}"
    return StartedOut(run_id=run_id, job=job, url=url, message=message, existing=run_id.existing)


def run_out_of(scheduler: Scheduler, run: Run) -> RunOut:
    """Return a run as the API's schema."""
    return run_out(run, scheduler.definitions.get(run.job))
