"""Panels of the pages: the flow of a run."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...web.dashboard.panels import PageSubject
from .queries import flow_of_run


async def of_run(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the flow of a run."""
    assert page.run is not None
    return {"flow": await flow_of_run(connection, page.run.id)}
