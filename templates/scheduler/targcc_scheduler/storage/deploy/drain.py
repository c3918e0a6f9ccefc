"""Draining: a node claims nothing more, because somebody asked for it, until somebody lets it go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..tables import job_run, job_server


@dataclass(frozen=True, slots=True)
class Found:
    """A node that a person named."""

    id: str
    name: str
    process_id: int


async def find(connection: AsyncConnection, name: str) -> list[Found]:
    """The nodes that a person means: by id, by ``NAME:PROCESS``, or all that have a name."""
    c = job_server.c
    rows = await connection.execute(sa.select(c.Id, c.Name, c.ProcessId).order_by(c.StartedAt))
    nodes = [Found(*row) for row in rows]
    exact = [one for one in nodes if name in {one.id, f"{one.name}:{one.process_id}"}]
    return exact or [one for one in nodes if one.name == name]


async def drain(connection: AsyncConnection, ids: Sequence[str], by: str, now: datetime) -> None:
    """Let nodes claim nothing from the end of this transaction on; a first request stays as it is."""
    await connection.execute(
        sa.update(job_server)
        .where(job_server.c.Id.in_(ids), job_server.c.DrainRequestedAt.is_(None))
        .values(DrainRequestedBy=by[:100], DrainRequestedAt=now)
    )


async def resume(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Let nodes claim again."""
    await connection.execute(
        sa.update(job_server)
        .where(job_server.c.Id.in_(ids))
        .values(DrainRequestedBy=None, DrainRequestedAt=None)
    )


async def busy(connection: AsyncConnection, ids: Sequence[str]) -> int:
    """How many runs nodes have."""
    found = await connection.scalar(
        sa.select(sa.func.count())
        .select_from(job_run)
        .where(job_run.c.State == RunState.RUNNING, job_run.c.ServerId.in_(ids))
    )
    return int(found or 0)
