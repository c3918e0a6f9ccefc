"""What every endpoint of the API shares."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Query, Request, Response

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
from ...core.job_scope import everything_visible
from ...features.accounts.roles import Principal, Role
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
    """A row of a list whose newest has the highest number."""

    @property
    def id(self) -> int:
        """Its number."""


Cursor = Annotated[
    str | None, Query(description="The cursor of the Link header of the page before.")
]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemOut, "description": "The body cannot be read"},
    401: {"model": ProblemOut, "description": "No token, or one that is not known"},
    403: {"model": ProblemOut, "description": "The token's role does not allow it"},
    404: {"model": ProblemOut, "description": "There is no such job or run"},
    413: {"model": ProblemOut, "description": "The body is too large, or does not say its length"},
    421: {
        "model": ProblemOut,
        "description": "This site does not answer to the Host of the request",
    },
    422: {"model": ProblemOut, "description": "A value cannot be understood, or does not fit"},
    503: {"model": ProblemOut, "description": "The database or the scheduler does not answer"},
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ProblemOut, "description": "The state of the run does not allow it"}
}
Viewer = Annotated[Principal, Depends(api_needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(api_needs(Role.OPERATOR))]
Starter = Annotated[Principal, Depends(api_needs(Role.OPERATOR, one_job=True))]
"""Somebody who may start a job; the route asks :func:`require_job` which."""
Looker = Annotated[Principal, Depends(api_needs(Role.VIEWER, one_job=True))]
"""Likewise, for somebody who may look at a job's runs."""
Admin = Annotated[Principal, Depends(api_needs(Role.ADMIN))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
SEARCH = 'Which runs: `job:Daily* state:failed since:yesterday arg.customer:42 "timeout" node:web-2 took:>5m`.'
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]


def find_job(scheduler: Scheduler, name: str) -> JobDefinition:
    """A job by its name, or the problem that there is none."""
    try:
        return scheduler.find(name)
    except UnknownJob as error:
        raise Problem(404, "No such job", str(error)) from None


def no_such_run(run_id: int) -> Problem:
    """The problem that there is no run of this id."""
    return Problem(404, "No such run", f"there is no run {run_id}; old ones are removed in time")


def no_such_batch(batch_id: int) -> Problem:
    """The problem that there is no batch of this id."""
    return Problem(404, "No such batch", f"there is no batch {batch_id}")


def no_such_flow(flow_id: int) -> Problem:
    """The problem that there is no flow of this id."""
    return Problem(404, "No such flow", f"there is no flow {flow_id}")


def link_next(request: Request, response: Response, cursor: object | None) -> None:
    """Name the page after this one in the header ``Link`` (RFC 8288); there is none without a cursor."""
    if cursor is not None:
        url = request.url.include_query_params(cursor=str(cursor))
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'


def link_older(request: Request, response: Response, found: Sequence[Numbered], limit: int) -> None:
    """Name the page with what is older than all that was found, if there were as many as asked for."""
    link_next(request, response, found[-1].id if len(found) == limit else None)


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
    """The result of an operator's action, or the problem with it."""
    try:
        return await action
    except ArgumentsError as error:
        errors = str(error).splitlines()
        raise Problem(422, "The arguments do not fit", "; ".join(errors), errors=errors) from None
    except tuple(_PROBLEM_OF) as error:
        status, title = next(said for kind, said in _PROBLEM_OF.items() if isinstance(error, kind))
        raise Problem(status, title, str(error)) from None


async def trigger(
    request: Request,
    principal: Principal,
    definition: JobDefinition,
    wish: TriggerIn,
    arguments: Mapping[str, Any],
) -> StartedOut:
    """Run a job as somebody wishes, with these arguments besides those of the run that it is to be like."""
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
        )
    )
    begun = "was there already" if run_id.existing else "started"
    said = f"{definition.display_name} {begun} as run {run_id}"
    if wish.after and not run_id.existing:
        said += f", after {', '.join(str(one) for one in wish.after)}"
    return started_out(scheduler, run_id, definition.name, said)


def _sees_every_job(principal: Principal) -> bool:
    return principal.grants is None and principal.jobs is None


async def _may_wait_for(
    scheduler: Scheduler, principal: Principal, run_ids: Collection[int]
) -> None:
    """Check that somebody may look at the runs that theirs is to wait for: how it goes on would tell how those end.

    Raises:
        Problem: one of them is of a job that they have no right to; it says what it would say if there were no such run.
    """
    if not run_ids or _sees_every_job(principal):
        return
    with everything_visible():
        jobs = await scheduler.read(lambda db: runs.jobs_of(db, run_ids))
    theirs = {one for one, job in jobs.items() if principal.covers(Role.VIEWER, job)}
    if jobs.keys() - theirs:
        missing = min(set(run_ids) - theirs)
        raise Problem(
            404, "No such run", f"there is no run {missing}, so that nothing can wait for it"
        )


def started_out(scheduler: Scheduler, run_id: RunId, job: str, message: str) -> StartedOut:
    """A run that has been started, or was there already, with the address of its page."""
    url = f"{scheduler.settings.dashboard_url}/runs/{run_id}"
    return StartedOut(run_id=run_id, job=job, url=url, message=message, existing=run_id.existing)


def run_out_of(scheduler: Scheduler, run: Run) -> RunOut:
    """A run as the API shows it."""
    return run_out(run, scheduler.definitions.get(run.job))
