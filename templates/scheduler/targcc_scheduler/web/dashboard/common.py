"""What the pages share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Response

from ...features.accounts.roles import Principal, Role
from ...kernel.jobs.definition import JobDefinition
from ...scheduler import Scheduler
from ..state import get_scheduler
from .page_route import page_needs

Viewer = Annotated[Principal, Depends(page_needs(Role.VIEWER))]
Every = Annotated[int, Query(ge=0, le=3600)]
"""After how many seconds a page is loaded again, for those without scripts."""
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
_MOST_DIGITS = 18  # a larger number is no id that a database has given


def find_job(scheduler: Scheduler, name: str) -> tuple[JobDefinition | None, str]:
    """A job and its key; ``None`` for one that is not in the code any more."""
    key = scheduler.key_of(name)
    return scheduler.definitions.get(key), key


def id_of(text: str) -> int | None:
    """A row's id, ``None`` for anything else."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def reloading(page: Response, every: int) -> Response:
    """The page, which the browser is told to load again after so many seconds; not if they are 0."""
    if every:
        page.headers["Refresh"] = str(every)
    return page
