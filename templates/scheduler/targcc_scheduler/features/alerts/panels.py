"""Panels of the pages: alerts that go on."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...project import current
from ...web.dashboard.panels import PageSubject
from .model import alerts_now
from .policy import AlertPolicy


async def of_system(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the alerts that go on, and who is on call."""
    on_call = AlertPolicy.of(current()).rota.on_call(page.now)
    return {"alerts": await alerts_now(connection), "on_call": on_call}
