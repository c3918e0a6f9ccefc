"""The API of queues, nodes and the audit."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request

from ...queries import overview, system
from ...scheduler import Scheduler
from ..authentication import actor
from ..problems import ApiRoute, Problem
from .common import PROBLEMS, Limit, Operator, SchedulerOf, Viewer, tried
from .jobs import pause_of
from .schemas.base import DoneOut, PauseIn
from .schemas.system import AuditOut, QueueOut, ServerOut, audit_out, queue_out, server_out

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/queues", tags=["system"])
async def list_queues(_: Viewer, scheduler: SchedulerOf) -> list[QueueOut]:
    """The queues: what waits in each, what runs from it, whether it is paused."""
    now = scheduler.clock.now()
    names = overview.queue_names(scheduler.definitions.values())
    found = await scheduler.read(lambda db: system.queues(db, names, now))
    return [queue_out(queue) for queue in found]


@router.post("/queues/{name}/pause", tags=["system"])
async def pause_queue(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[PauseIn | None, Body()] = None,
) -> DoneOut:
    """Let no worker take runs from a queue."""
    reason, until = pause_of(body)
    _queue(scheduler, name)
    by = actor(request, principal)
    await tried(scheduler.pause_queue(name, by=by, reason=reason, until=until))
    return DoneOut(message=f"the queue {name} is paused")


@router.post("/queues/{name}/resume", tags=["system"])
async def resume_queue(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Let workers take runs from a queue again."""
    _queue(scheduler, name)
    await scheduler.resume_queue(name, by=actor(request, principal))
    return DoneOut(message=f"the queue {name} goes on")


def _queue(scheduler: Scheduler, name: str) -> None:
    known = overview.queue_names(scheduler.definitions.values())
    if name not in known:
        raise Problem(404, "No such queue", f"there is no queue {name!r}: {', '.join(known)}")


@router.get("/servers", tags=["system"])
async def list_servers(_: Viewer, scheduler: SchedulerOf) -> list[ServerOut]:
    """The nodes that are up, and when each last said so."""
    return [server_out(server) for server in await scheduler.read(system.servers)]


@router.get("/audit", tags=["system"])
async def list_audit(
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    job: str | None = None,
    run_id: int | None = None,
    before: int | None = None,
    limit: Limit = 50,
) -> list[AuditOut]:
    """Who did what, when, from where; newest first."""
    entries = await scheduler.read(
        lambda db: system.audit(db, job=job, run_id=run_id, before=before, limit=limit),
    )
    return [audit_out(entry) for entry in entries]
