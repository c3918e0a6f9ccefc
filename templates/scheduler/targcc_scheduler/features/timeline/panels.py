"""Panels of the pages: the trend of a job."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...project import current
from ...schedules.zones import parse_zone
from ...web.dashboard.panels import PageSubject
from . import trend_charts
from .history import trend

_DAYS = 30


async def of_job(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the trend of a job, and the functions that draw its charts."""
    job = page.definition
    zone = parse_zone(job.timezone if job is not None else current().timezone)
    days = await trend(connection, page.job, page.now, days=_DAYS, zone=zone)
    return {"trend": days, "trend_charts": trend_charts}
