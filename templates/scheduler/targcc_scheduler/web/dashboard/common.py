"""Dependencies and helpers shared by pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query, Response

from ...core.identity import Principal, Role
from ...kernel.jobs.definition import JobDefinition
from ...project import current
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from ..state import get_scheduler
from .page_route import page_needs

Viewer = Annotated[Principal, Depends(page_needs(Role.VIEWER))]
Every = Annotated[int, Query(ge=0, le=3600)]
"""Seconds after which the browser reloads a page, for browsers without scripts; 0 turns that off."""
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
_MOST_DIGITS = 18  # a longer number exceeds every database id


def find_job(scheduler: Scheduler, name: str) -> tuple[JobDefinition | None, str]:
    """Return a job's definition and its key; the definition is ``None`` if the job is no longer in the code."""
    key = scheduler.key_of(name)
    return scheduler.definitions.get(key), key


def id_of(text: str) -> int | None:
    """Parse a row's id; ``None`` if the text is no id."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def reloading(page: Response, every: int) -> Response:
    """Set the ``Refresh`` header of a page to ``every`` seconds; 0 sets no header."""
    if every:
        page.headers["Refresh"] = str(every)
    return page


def local_time(text: str) -> datetime:
    """Parse a ``datetime-local`` input as a time in the project's zone.

    Raises:
        ValueError: The text is no time.
    """
    return datetime.fromisoformat(text).replace(tzinfo=parse_zone(current().timezone))
