"""REST API of notes: list and add entries."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field
from targcc_scheduler.web.api.common import (
    PROBLEMS,
    Operator,
    SchedulerOf,
    Viewer,
    find_job,
)
from targcc_scheduler.web.api.schema import DoneOut, Schema
from targcc_scheduler.web.api_route import ApiRoute

from . import model

router = APIRouter(prefix="/api/notes", route_class=ApiRoute, responses=PROBLEMS, tags=["notes"])


class EntryOut(Schema):
    """An entry."""

    job: str
    text: str
    author: str
    created_at: datetime
    until: datetime | None


class EntryIn(BaseModel):
    """A new entry."""

    job: str
    text: Annotated[str, Field(min_length=1, max_length=500)]
    until: datetime | None = None


@router.get("", operation_id="list_notes")
async def list_entries(_: Viewer, scheduler: SchedulerOf) -> list[EntryOut]:
    """The entries of all jobs, newest first."""
    return [EntryOut.model_validate(row) for row in await scheduler.read(model.entries)]


@router.post("", operation_id="add_notes")
async def add_entry(principal: Operator, scheduler: SchedulerOf, body: EntryIn) -> DoneOut:
    """Add an entry to a job."""
    job, now = find_job(scheduler, body.job).name, scheduler.clock.now()
    await scheduler.change(
        lambda connection: model.add(
            connection,
            job=job,
            text=body.text,
            author=principal.name,
            now=now,
            until=body.until,
        )
    )
    return DoneOut(message=f"{job} has a new entry")
