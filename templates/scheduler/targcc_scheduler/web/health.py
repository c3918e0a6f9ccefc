"""Probes for orchestrators and monitors: ``health/live``, ``health/ready`` and ``metrics`` below the prefix.

Health checks need no sign-in and hold only check names with ok or failed. The metrics name jobs, so ``metrics`` needs the role viewer:
give Prometheus a token (``targcc token create prometheus``, then ``authorization: {credentials: …}`` in its scrape configuration).
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import DatabaseClock
from ..core.errors import SchedulerOff, SchemaError
from ..core.identity import Principal, Role
from ..core.numbers import CLOCK_OFF_MS
from ..db.migrations.upgrade import works_with
from ..db.tables import job_server
from ..kernel import job_owner as owners
from ..scheduler import Scheduler
from .api_route import ApiRoute
from .authentication import api_needs
from .metrics import Metrics
from .state import Web, get_web


class HealthRoute(ApiRoute):
    """Route for orchestrators and monitors. Accepts every ``Host``; each route is either public or needs a token."""

    checks_host = False


router = APIRouter(route_class=HealthRoute, include_in_schema=False)

_PATIENCE = 3.0
"""Seconds that the database may take to answer."""
_DO_NOT_COUNT = ("clock", "cutover")


@router.get("/health/live")
async def live() -> Response:
    """Liveness: the process answers and needs no restart."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready")
async def ready(web: Annotated[Web, Depends(get_web)]) -> Response:
    """Readiness: status 200 when this server can take work, else 503.

    A ready server reaches the database, has current tables, has started the scheduler, and has a recent heartbeat.
    The check ``clock`` does not count: a server whose clock is off uses the database's clock. The check ``cutover`` does not count either: it
    is present while the switch of a job from or to the old server is unfinished.
    """
    checks = await _checks(web.scheduler)
    if web.trouble:
        checks["scheduler"] = False
    fit = all(good for name, good in checks.items() if name not in _DO_NOT_COUNT)
    body = {
        "status": "ready" if fit else "not ready",
        "checks": {name: "ok" if good else "failed" for name, good in checks.items()},
    }
    return JSONResponse(body, 200 if fit else 503)


@router.get("/metrics")
async def metrics(
    _: Annotated[Principal, Depends(api_needs(Role.VIEWER))], web: Annotated[Web, Depends(get_web)]
) -> Response:
    """Figures for Prometheus."""
    return Response(await web.metrics.text(), media_type=Metrics.CONTENT_TYPE)


async def _checks(scheduler: Scheduler) -> dict[str, bool]:
    checks = {"database": False, "migrations": False}
    node = scheduler.node
    if node is not None:
        checks["node"] = False
    try:
        async with asyncio.timeout(_PATIENCE):
            fits = await scheduler.read(lambda db: db.run_sync(works_with))
            checks["database"] = True
            checks["migrations"] = fits
            if fits and await _is_switching(scheduler):
                checks["cutover"] = False
            if node is not None:
                checks["clock"] = abs(_clock_off(scheduler)) <= CLOCK_OFF_MS
                checks["node"] = await scheduler.read(lambda db: _beats(db, scheduler, node.id))
    except (sa.exc.SQLAlchemyError, OSError, TimeoutError, SchemaError, SchedulerOff):
        pass  # a check that could not be made stays failed
    return checks


async def _is_switching(scheduler: Scheduler) -> bool:
    """Return whether a job is on neither side of a cut-over."""
    now = scheduler.clock.now()
    return bool(await scheduler.read(lambda db: owners.unfinished(db, now)))


def _clock_off(scheduler: Scheduler) -> float:
    """Return the difference between this machine's clock and the database's, in milliseconds."""
    clock = scheduler.clock
    return clock.offset.total_seconds() * 1000 if isinstance(clock, DatabaseClock) else 0


async def _beats(connection: AsyncConnection, scheduler: Scheduler, node_id: str) -> bool:
    statement = sa.select(job_server.c.HeartbeatAt).where(job_server.c.Id == node_id)
    beat = (await connection.execute(statement)).scalar()
    if beat is None:
        return False
    age = (scheduler.clock.now() - beat).total_seconds()
    return bool(age <= scheduler.settings.lost_after_seconds)
