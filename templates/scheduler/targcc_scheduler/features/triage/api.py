"""API routes of triage: inbox, backfills, reasons why a job or run does not run, bulk operations."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.humanize import count
from ...core.identity import Role
from ...core.search_language import joined, write
from ...kernel.queries import runs
from ...scheduler import Scheduler
from ...web.api.common import (
    CONFLICT,
    PROBLEMS,
    SEARCH,
    Limit,
    Operator,
    SchedulerOf,
    Viewer,
    find_job,
    link_older,
    tried,
)
from ...web.api.schema import DoneOut
from ...web.api_route import ApiRoute
from ...web.authentication import actor
from ...web.problems import Problem
from ...web.run_filter import looked_for
from . import bulk_actions, bulk_queries, inbox, why
from .bulk_actions import Wish
from .issues import issues
from .reasons import Answer
from .schemas import (
    AnswerOut,
    BackfillIn,
    BackfillOut,
    BulkIn,
    BulkOut,
    CountOut,
    FailedRunOut,
    FailureActIn,
    FailureOut,
    InboxOut,
    SeenIn,
)

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/inbox", tags=["inbox"])
async def get_inbox(
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    everything: Annotated[
        bool, Query(alias="all", description="Include muted and resolved failures.")
    ] = False,
    q: Annotated[str, Query(description=SEARCH, max_length=2_000)] = "",
) -> InboxOut:
    """List what needs attention: failures by cause, and other problems, worst first."""
    now, definitions = scheduler.clock.now(), list(scheduler.definitions.values())
    lost_after = scheduler.settings.lost_after_seconds
    wanted = looked_for(scheduler, q)

    async def query(db: AsyncConnection) -> InboxOut:
        failures = waiting = await inbox.inbox(db, now)
        if everything or wanted.search.terms:
            failures = await inbox.inbox(db, now, everything=everything, wanted=wanted)
        wrong = await issues(db, definitions, now, lost_after=lost_after, failures=waiting)
        return InboxOut.model_validate({"failures": failures, "concerns": wrong})

    return await scheduler.read(query)


@router.get("/inbox/{cause}", tags=["inbox"])
async def get_failure(cause: str, _: Viewer, scheduler: SchedulerOf) -> FailureOut:
    """Return one failure."""
    now = scheduler.clock.now()
    failure = await tried(scheduler.read(lambda db: inbox.get(db, cause, now)))
    return FailureOut.model_validate(failure)


@router.get("/inbox/{cause}/runs", tags=["inbox"])
async def failed_runs(
    cause: str,
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    limit: Limit = 20,
    cursor: Annotated[int | None, Query(description="Only runs with a lower id.")] = None,
) -> list[FailedRunOut]:
    """List the open runs of a failure, newest first. The header `Link` names the next page."""

    async def query(db: AsyncConnection) -> list[FailedRunOut]:
        failed = await inbox.runs_of(db, cause, limit=limit, before=cursor)
        again = await inbox.done_since(db, failed)
        return [
            FailedRunOut(
                id=run.id,
                job=run.job,
                happened_at=run.happened_at,
                message=run.message,
                done_since=run.id in again,
            )
            for run in failed
        ]

    failed = await scheduler.read(query)
    link_older(request, response, failed, limit)
    return failed


@router.post("/seen", tags=["inbox"])
async def seen(
    request: Request, principal: Operator, scheduler: SchedulerOf, body: SeenIn
) -> DoneOut:
    """Remove a lost server or an undelivered alert from the list of problems."""
    by = actor(request, principal)
    gone = await scheduler.operate(inbox.seen, None, body.subject, body.kind, by)
    return DoneOut(message="it is off the list" if gone else "it was not on the list")


@router.post("/inbox/{cause}", tags=["inbox"], responses=CONFLICT)
async def act_on_failure(
    cause: str, request: Request, principal: Operator, scheduler: SchedulerOf, body: FailureActIn
) -> DoneOut:
    """Acknowledge, discard, mute, reopen, assign or link a failure. To retry its runs, use `POST /api/bulk`."""
    by, ids = actor(request, principal), body.runs or None
    match body.action:
        case "acknowledge":
            number = await tried(
                scheduler.operate(
                    inbox.acknowledge,
                    None,
                    cause,
                    by,
                    note=body.note,
                    until=body.until,
                    run_ids=ids,
                )
            )
            return DoneOut(message=f"{count(number, 'run')} acknowledged")
        case "discard":
            number = await tried(scheduler.operate(inbox.discard, None, cause, by, run_ids=ids))
            return DoneOut(message=f"{count(number, 'run')} discarded")
        case "mute":
            await tried(scheduler.operate(inbox.mute, None, cause, by, note=body.note))
            message = f"{cause} is muted"
        case "reopen":
            await tried(scheduler.operate(inbox.reopen, None, cause, by))
            message = f"{cause} is open"
        case "assign":
            await tried(scheduler.operate(inbox.assign, None, cause, by, body.assignee))
            message = f"assigned to {body.assignee or 'nobody'}"
        case "link":
            await tried(scheduler.operate(inbox.link, None, cause, by, body.ticket))
            message = f"linked to {body.ticket or 'no ticket'}"
    return DoneOut(message=message)


@router.post("/jobs/{name}/backfill", tags=["jobs"], responses=CONFLICT)
async def backfill_job(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf, body: BackfillIn
) -> BackfillOut:
    """Run the past slots of a range that have no run, oldest first. `dry_run` only lists the slots. A run reads its slot from `ctx.scheduled_for`."""
    job, now = find_job(scheduler, name), scheduler.clock.now()
    since, until = body.since, body.until
    look = await tried(scheduler.read(lambda db: bulk_actions.look(db, job, since, until, now)))
    created = 0
    if not body.dry_run:
        by = actor(request, principal)
        created = await tried(
            scheduler.operate(
                bulk_actions.backfill,
                None,
                job,
                since,
                until,
                by,
                rate=body.rate,
                priority=body.priority,
                followers=body.followers,
            )
        )
    return BackfillOut(
        job=job.name,
        slots=len(look.slots),
        there=Counter(map(str, look.there.values())),
        missing=look.missing,
        created=created,
    )


@router.get("/jobs/{name}/why", tags=["jobs"])
async def why_job(name: str, _: Viewer, scheduler: SchedulerOf) -> AnswerOut:
    """Explain when a job runs next, or why it does not run. The deciding reason comes first."""
    key, definitions, now = scheduler.key_of(name), scheduler.definitions, scheduler.clock.now()
    lost_after = scheduler.settings.lost_after_seconds
    broken = scheduler.broken_file_of(key)

    async def query(db: AsyncConnection) -> Answer | None:
        if (lock := await why.barred(db, key, now, lost_after=lost_after)) is not None:
            return lock
        if (
            broken is None
            and key not in definitions
            and not (await runs.recent_runs(db, [key], 1))[key]
        ):
            return None
        return await why.why_job(db, key, definitions, now, lost_after=lost_after, broken=broken)

    answer = await scheduler.read(query)
    if answer is None:
        find_job(scheduler, name)  # raises and suggests similar names
        raise Problem(404, "No such job", f"there is no job {name!r}, and no run of one")
    return AnswerOut.model_validate(answer)


@router.get("/runs/{run_id}/why", tags=["runs"])
async def why_run(run_id: int, _: Viewer, scheduler: SchedulerOf) -> AnswerOut:
    """Explain what a run waits for, or why it ended as it did. The deciding reason comes first."""
    definitions, now = scheduler.definitions, scheduler.clock.now()
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> Answer | None:
        if (lock := await why.barred(db, f"run {run_id}", now, lost_after=lost_after)) is not None:
            return lock
        run = await runs.get_run(db, run_id)
        if run is None:
            return None
        broken = scheduler.broken_file_of(run.job)
        return await why.why_run(db, run, definitions, now, lost_after=lost_after, broken=broken)

    answer = await scheduler.read(query)
    if answer is None:
        raise Problem(404, "No such run", f"there is no run {run_id}")
    return AnswerOut.model_validate(answer)


@router.post("/bulk/count", tags=["bulk"])
async def count_bulk(_: Viewer, scheduler: SchedulerOf, body: BulkIn) -> CountOut:
    """Count the runs of an operation by state and by job. Nothing is changed."""
    matches = await tried(bulk_actions.count(scheduler, _wish(scheduler, body)))
    return CountOut.model_validate(matches)


@router.post("/bulk", tags=["bulk"], responses=CONFLICT, status_code=202)
async def begin_bulk(
    request: Request, principal: Operator, scheduler: SchedulerOf, body: BulkIn
) -> BulkOut:
    """Start an operation on all matching runs; the servers carry it out. `delete` needs the role admin."""
    if body.action == "delete" and not principal.covers_some(Role.ADMIN):
        raise Problem(403, "Not allowed", "deleting runs needs the role admin")
    by = actor(request, principal)
    bulk_id = await tried(_begin(scheduler, body, by))
    await scheduler.operate(bulk_actions.step, None, bulk_id, scheduler.definitions)
    return await get_bulk(bulk_id, principal, scheduler)


@router.get("/bulk", tags=["bulk"])
async def list_bulk(
    request: Request,
    response: Response,
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    limit: Limit = 20,
    cursor: Annotated[int | None, Query(description="Only operations with a lower id.")] = None,
) -> list[BulkOut]:
    """List the last operations, newest first. The header `Link` names the next page."""
    operations = await scheduler.read(lambda db: bulk_queries.latest(db, limit, before=cursor))
    link_older(request, response, operations, limit)
    return [BulkOut.model_validate(operation) for operation in operations]


@router.get("/bulk/{bulk_id}", tags=["bulk"])
async def get_bulk(bulk_id: int, _: Viewer, scheduler: SchedulerOf) -> BulkOut:
    """Return one operation with its progress."""
    operation = await tried(scheduler.read(lambda db: bulk_queries.get(db, bulk_id)))
    return BulkOut.model_validate(operation)


@router.post("/bulk/{bulk_id}/stop", tags=["bulk"], responses=CONFLICT)
async def stop_bulk(
    bulk_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Stop an operation. Completed changes are kept."""
    await tried(scheduler.operate(bulk_actions.stop, None, bulk_id, actor(request, principal)))
    return DoneOut(message=f"operation {bulk_id} is stopped")


@router.post("/bulk/{bulk_id}/undo", tags=["bulk"], responses=CONFLICT, status_code=202)
async def undo_bulk(
    bulk_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> BulkOut:
    """Undo an operation as far as possible. Runs that have started continue."""
    back = await tried(
        scheduler.operate(bulk_actions.undo, None, bulk_id, actor(request, principal))
    )
    await scheduler.operate(bulk_actions.step, None, back, scheduler.definitions)
    return await get_bulk(back, principal, scheduler)


async def _begin(scheduler: Scheduler, body: BulkIn, by: Actor) -> int:
    wish = bulk_actions.check(scheduler, _wish(scheduler, body))
    return await scheduler.operate(bulk_actions.begin, None, wish, by, body.at_most)


def _wish(scheduler: Scheduler, body: BulkIn) -> Wish:
    fields = body.filter
    search = joined(
        fields.q,
        write("state", *fields.states),
        write("job", fields.job),
        write("queue", fields.queue),
        write("cause", fields.cause),
        "is:open" if fields.open else "",
        write("", fields.text),
        write("since", fields.since),
        write("until", fields.until),
        write("run", *fields.runs),
    )
    wanted = looked_for(scheduler, search)
    return Wish(
        action=body.action,
        wanted=wanted,
        queue=body.queue,
        priority=body.priority,
        rate=body.rate,
        newest_first=body.newest_first,
        note=body.note,
    )
