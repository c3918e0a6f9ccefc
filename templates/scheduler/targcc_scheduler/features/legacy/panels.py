"""Panels of the pages: the owners of a job."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...kernel.job_owner import Owner
from ...web.dashboard.panels import PageSubject


async def of_job(_: AsyncConnection, _page: PageSubject) -> dict[str, Any]:
    """Return the owners that a job can have."""
    return {"owners": [Owner.OLD, Owner.SHADOW, Owner.NEW]}
