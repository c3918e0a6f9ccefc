"""Dependencies and helpers shared by pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar, get_origin

from fastapi import Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from ...core.identity import Principal, Role
from ...kernel.jobs.definition import JobDefinition
from ...project import current
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from ..state import get_scheduler
from .page_route import page_needs

M = TypeVar("M", bound=BaseModel)
Viewer = Annotated[Principal, Depends(page_needs(Role.VIEWER))]
Every = Annotated[int, Query(ge=0, le=3600)]
"""Seconds after which the browser reloads a page, for browsers without scripts; 0 turns that off."""
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
_MOST_DIGITS = 18  # a longer number exceeds every database id


def query_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """Build a dependency that reads a model from the query of an address; FastAPI itself does so from 0.115 on."""
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}  # fmt: skip

    async def read(request: Request) -> M:
        query = request.query_params
        given = [name for name in model.model_fields if name in query]
        values = {name: query.getlist(name) if name in lists else query[name] for name in given}
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error

    return read


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
