"""API of the system: version, queues, nodes, releases."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from ... import operations
from ...core.errors import UnknownQueue, UnknownServer
from ...kernel import releases
from ...kernel.queries import system
from ...kernel.queries.models import Server
from ...kernel.queries.system import Release, check_queue, queue_names
from ...scheduler import Scheduler
from ..api_route import ApiRoute
from ..authentication import actor
from ..problems import Problem
from .common import PROBLEMS, Operator, SchedulerOf, Viewer, tried
from .jobs import pause_of
from .schema import DoneOut, PauseIn
from .schemas import BusyOut, DrainOut, NodeOut, QueueOut, SystemOut, queue_out, system_out

router = APIRouter(prefix="/api", route_class=ApiRoute, responses=PROBLEMS)


@router.get("/system", tags=["system"])
async def get_system(_: Viewer, scheduler: SchedulerOf) -> SystemOut:
    """Return the project, the scheduler's version, and its mode: vendored or package."""
    return system_out(scheduler.broken, scheduler.settings.lost_after_seconds)


@router.get("/queues", tags=["system"])
async def list_queues(_: Viewer, scheduler: SchedulerOf) -> list[QueueOut]:
    """List the queues with the number of waiting and running runs, and the pause of each."""
    now = scheduler.clock.now()
    names = queue_names(scheduler.definitions.values())
    lost_after = scheduler.settings.lost_after_seconds
    queues = await scheduler.read(lambda db: system.queues(db, names, now, lost_after=lost_after))
    return [queue_out(queue) for queue in queues]


@router.get("/queues/{name}", tags=["system"])
async def get_queue(name: str, _: Viewer, scheduler: SchedulerOf) -> QueueOut:
    """Return one queue."""
    _check_queue(scheduler, name)
    now = scheduler.clock.now()
    lost_after = scheduler.settings.lost_after_seconds
    queues = await scheduler.read(lambda db: system.queues(db, [name], now, lost_after=lost_after))
    return queue_out(next(queue for queue in queues if queue.name == name))


@router.post("/queues/{name}/pause", tags=["system"])
async def pause_queue(
    name: str,
    request: Request,
    principal: Operator,
    scheduler: SchedulerOf,
    body: Annotated[PauseIn | None, Body()] = None,
) -> DoneOut:
    """Pause a queue: workers claim no runs from it."""
    reason, until = pause_of(body)
    _check_queue(scheduler, name)
    by = actor(request, principal)
    await tried(scheduler.pause_queue(name, by=by, reason=reason, until=until))
    return DoneOut(message=f"the queue {name} is paused")


@router.post("/queues/{name}/resume", tags=["system"])
async def resume_queue(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Resume a queue: workers claim runs from it again."""
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
    """List the servers that are up, with the time of each last heartbeat."""
    return list(await scheduler.read(system.read_servers))


@router.get("/servers/{name}/busy", tags=["system"])
async def busy_servers(name: str, _: Viewer, scheduler: SchedulerOf) -> BusyOut:
    """Return the number of runs on a server that is up or draining. `name` has the same forms as for `drain`."""

    async def query(db: AsyncConnection) -> int:
        nodes = await releases.find(db, name)
        if not nodes:
            raise UnknownServer(f"there is no server {name!r}")
        return await releases.busy(db, [node.id for node in nodes])

    return BusyOut(runs=await tried(scheduler.read(query)))


@router.post("/servers/{name}/drain", tags=["system"])
async def drain_server(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DrainOut:
    """Drain a server: it claims no new runs and completes its running runs. `name` is an id, NAME:PROCESS, or the NAME that all servers of one machine share."""
    by = actor(request, principal)
    nodes = await tried(scheduler.operate(operations.drain, None, name, by))
    return _told(nodes, "drained")


@router.post("/servers/{name}/resume", tags=["system"])
async def resume_server(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DrainOut:
    """End the draining of a server: it claims runs again."""
    by = actor(request, principal)
    nodes = await tried(scheduler.operate(operations.resume_server, None, name, by))
    return _told(nodes, "resumed")


def _told(checks: list[releases.Found], what: str) -> DrainOut:
    names = ", ".join(f"{node.name}:{node.process_id}" for node in checks)
    message = f"{names} {'is' if len(checks) == 1 else 'are'} {what}"
    return DrainOut(message=message, servers=[NodeOut.model_validate(node) for node in checks])


@router.get("/releases", tags=["system"])
async def list_releases(_: Viewer, scheduler: SchedulerOf) -> list[Release]:
    """List the releases whose servers have registered, newest first. `decides` marks the release whose schedules are in use; `differences` compares the other releases with it."""
    return list(await scheduler.read(system.releases))


@router.post("/releases/{name}/use", tags=["system"])
async def use_release(
    name: str, request: Request, principal: Operator, scheduler: SchedulerOf
) -> DoneOut:
    """Use the schedules of a release, even when a newer release exists. The name `newest` returns to the newest release."""
    by, release = actor(request, principal), None if name == "newest" else name
    chosen = await tried(scheduler.operate(operations.use_release, None, release, by))
    which = f"release {chosen}" if chosen else "the newest release"
    return DoneOut(message=f"the schedules of {which} are in force")
