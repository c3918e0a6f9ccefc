# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What orchestrators and monitors ask: ``/health/live``, ``/health/ready`` and ``/metrics``.

The health checks are open to everybody and tell nothing but names and ok. The metrics name jobs, so they need the role viewer:
give Prometheus a token (``targcc token create prometheus``, then ``authorization: {credentials: …}`` in its scrape configuration).
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from .access import read
from .auth import Principal, Role
from .database import migrations_dir
from .metrics import Metrics
from .scheduler import Scheduler
from .tables import job_server
from .web import ApiRoute, Web, api_needs, get_scheduler, get_web

router = APIRouter(route_class=ApiRoute, include_in_schema=False)

_PATIENCE = 3.0
"""Seconds that the database may take to answer."""


@router.get("/health/live")
async def live() -> Response:
    """The process answers: it need not be started again."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready")
async def ready(scheduler: Annotated[Scheduler, Depends(get_scheduler)]) -> Response:
    """Whether to send work here: the database answers, its tables are current, this node's heart beats. Else status 503."""
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
            current = await read(scheduler, _version)
            checks["database"] = True
            checks["migrations"] = current == _head(scheduler)
            if node is not None:
                checks["node"] = await read(scheduler, lambda db: _beats(db, scheduler, node.id))
    except (sa.exc.SQLAlchemyError, OSError, TimeoutError):
        pass  # what could not be found out stays failed
    return checks


async def _version(connection: AsyncConnection) -> str | None:
    result = await connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    return result.scalar()


async def _beats(connection: AsyncConnection, scheduler: Scheduler, node_id: str) -> bool:
    wanted = sa.select(job_server.c.HeartbeatAt).where(job_server.c.Id == node_id)
    beat = (await connection.execute(wanted)).scalar()
    if beat is None:
        return False
    age = (scheduler.clock.now() - beat).total_seconds()
    return bool(age <= scheduler.settings.lost_after_seconds)


def _head(scheduler: Scheduler) -> str | None:
    return _head_of(str(scheduler.settings.migrations_dir or migrations_dir()))


@cache
def _head_of(directory: str) -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(directory).get_current_head()
