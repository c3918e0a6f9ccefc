"""Panels of the pages: overrides of a job."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...kernel.jobs.option_values import shown
from ...web.dashboard.panels import PageSubject
from .effective import code_lines


async def of_job(_: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the code lines that make the overrides of a job permanent."""
    lines = code_lines(page.definition) if page.definition is not None else None
    return {"lines": lines, "shown": shown}
