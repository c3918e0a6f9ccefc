"""The API of the system: version, queues, nodes, audit."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request

from ...core.errors import UnknownQueue
from ...queries import system
from ...queries.models import AuditEntry, Server
from ...queries.system import check_queue, queue_names
from ...scheduler import Scheduler
from ..authentication import actor
from ..problems import ApiRoute, Problem
from .common import PROBLEMS, Limit, Operator, SchedulerOf, Viewer, tried
from .jobs import pause_of
from .schemas.base import DoneOut, PauseIn
from .schemas.system import QueueOut, SystemOut, queue_out, system_out

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/system", tags=["system"])
async def get_system(_: Viewer) -> SystemOut:
    """The project, the version of the scheduler, and how the project has it: vendored or as a package."""
    return system_out()


@router.get("/queues", tags=["system"])
async def list_queues(_: Viewer, scheduler: SchedulerOf) -> list[QueueOut]:
    """The queues: what waits in each, what runs from it, whether it is paused."""
    now = scheduler.clock.now()
    names = queue_names(scheduler.definitions.values())
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
    _check_queue(scheduler, name)
    by = actor(request, principal)
    await tried(scheduler.pause_queue(name, by=by, reason=reason, until=until))
    return DoneOut(message=f"the queue {name} is paused")


@router.post("/queues/{name}/resume", tags=["system"])
async def resume_queue(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Let workers take runs from a queue again."""
    _check_queue(scheduler, name)
    await scheduler.resume_queue(name, by=actor(request, principal))
    return DoneOut(message=f"the queue {name} goes on")


def _check_queue(scheduler: Scheduler, name: str) -> None:
    try:
        check_queue(name, scheduler.definitions.values())
    except UnknownQueue as error:
        raise Problem(404, "No such queue", str(error)) from None


@router.get("/servers", tags=["system"])
async def list_servers(_: Viewer, scheduler: SchedulerOf) -> list[Server]:
    """The nodes that are up, and when each last said so."""
    return list(await scheduler.read(system.servers))


@router.get("/audit", tags=["system"])
async def list_audit(
    _: Viewer,
    scheduler: SchedulerOf,
    *,
    job: str | None = None,
    run_id: int | None = None,
    before: int | None = None,
    limit: Limit = 50,
) -> list[AuditEntry]:
    """Who did what, when, from where; newest first."""
    entries = await scheduler.read(
        lambda db: system.audit(db, job=job, run_id=run_id, before=before, limit=limit),
    )
    return list(entries)
