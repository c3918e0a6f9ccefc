"""What orchestrators and monitors ask: ``/health/live``, ``/health/ready`` and ``/metrics``.

The health checks are open to everybody and hold only names of checks and ok or failed. The metrics name jobs, so they need the role viewer:
give Prometheus a token (``targcc token create prometheus``, then ``authorization: {credentials: …}`` in its scrape configuration).
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from ..migrations.upgrade import current_revision, head_revision
from ..scheduler import Scheduler
from ..security.roles import Principal, Role
from ..storage.tables import job_server
from .authentication import api_needs
from .metrics import Metrics
from .problems import ApiRoute
from .state import Web, get_scheduler, get_web

router = APIRouter(route_class=ApiRoute, include_in_schema=False)

_PATIENCE = 3.0
"""Seconds that the database may take to answer."""


@router.get("/health/live")
async def live() -> Response:
    """The process answers: it need not be started again."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready")
async def ready(scheduler: Annotated[Scheduler, Depends(get_scheduler)]) -> Response:
    """Whether to send work here: the database answers, its tables are current, this node's heartbeat is recent. Else status 503."""
    checks = await _checks(scheduler)
    fit = all(checks.values())
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
            revision = await scheduler.read(lambda db: db.run_sync(current_revision))
            checks["database"] = True
            checks["migrations"] = revision == head_revision()
            if node is not None:
                checks["node"] = await scheduler.read(lambda db: _beats(db, scheduler, node.id))
    except (sa.exc.SQLAlchemyError, OSError, TimeoutError):
        pass  # a check that could not be made stays failed
    return checks


async def _beats(connection: AsyncConnection, scheduler: Scheduler, node_id: str) -> bool:
    wanted = sa.select(job_server.c.HeartbeatAt).where(job_server.c.Id == node_id)
    beat = (await connection.execute(wanted)).scalar()
    if beat is None:
        return False
    age = (scheduler.clock.now() - beat).total_seconds()
    return bool(age <= scheduler.settings.lost_after_seconds)
