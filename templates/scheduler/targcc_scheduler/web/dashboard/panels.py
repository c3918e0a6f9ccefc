"""Values and templates of features for the pages of a job, a run, the runs, the overview and the system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from ...kernel.feature import Panel, parts
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries.models import Run
from ...scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class PageSubject:
    """What a page shows.

    Args:
        scheduler: The app's scheduler.
        now: The current instant.
        job: Key of the page's job, or of the run's job; empty on other pages.
        run: The run of the page of a run.
    """

    scheduler: Scheduler
    now: datetime
    job: str = ""
    run: Run | None = None

    @property
    def definition(self) -> JobDefinition | None:
        """Return the definition of the job; ``None`` if the job is no longer in the code."""
        return self.scheduler.definitions.get(self.job)


async def panels(
    page: Literal["job", "run", "runs", "overview", "system"],
    connection: AsyncConnection,
    subject: PageSubject,
) -> dict[str, Any]:
    """Return the values that features add to a page; ``fragments`` names the templates to show at its end."""
    values: dict[str, Any] = {"fragments": []}
    for feature, part in parts(Panel):
        if part.page == page:
            values |= await feature.load(part)(connection, subject)
            if part.template:
                values["fragments"].append(f"{feature.name}/{part.template}")
    return values
