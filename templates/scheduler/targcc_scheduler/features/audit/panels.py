"""Panels of the pages: audit entries of a run, and the newest entries."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...web.dashboard.panels import PageSubject
from . import queries

_COMING_AND_GOING = ("sign in", "sign out", "sign-in refused")


async def of_run(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the entries of a run."""
    assert page.run is not None
    entries = await queries.audit(connection, queries.Filter(run_id=page.run.id), limit=20)
    return {"audit": entries}


async def of_overview(connection: AsyncConnection, _: PageSubject) -> dict[str, Any]:
    """Return the newest entries of people."""
    return {"audit": await queries.latest(connection, limit=6, without=_COMING_AND_GOING)}
