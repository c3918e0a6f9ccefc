"""Panels of the pages: reasons of a job and of a run, issues, and bulk operations."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...web.dashboard.panels import PageSubject
from . import bulk_queries, why
from .issues import worst_issues

_MOST_ISSUES = 12
"""Number of issues on the overview."""


async def of_job(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the reasons why a job does not run."""
    scheduler = page.scheduler
    answer = await why.why_job(
        connection,
        page.job,
        scheduler.definitions,
        page.now,
        lost_after=scheduler.settings.lost_after_seconds,
        broken=scheduler.broken_file_of(page.job),
    )
    return {"why": answer}


async def of_run(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the reasons why a run does not start."""
    scheduler, run = page.scheduler, page.run
    assert run is not None
    answer = await why.why_run(
        connection,
        run,
        scheduler.definitions,
        page.now,
        lost_after=scheduler.settings.lost_after_seconds,
        broken=scheduler.broken_file_of(run.job),
    )
    return {"why": answer}


async def of_runs(_: AsyncConnection, _page: PageSubject) -> dict[str, Any]:
    """Return the actions of bulk operations."""
    return {"actions": bulk_queries.ACTIONS}


async def of_overview(connection: AsyncConnection, page: PageSubject) -> dict[str, Any]:
    """Return the first current issues, and the number of all issues."""
    problems, number = await worst_issues(
        connection,
        page.scheduler.definitions.values(),
        page.now,
        lost_after=page.scheduler.settings.lost_after_seconds,
        most=_MOST_ISSUES,
    )
    return {"problems": problems, "problem_count": number}
