"""Helpers of the audit's page and API: job names and file export."""

from __future__ import annotations

from fastapi.responses import StreamingResponse

from ...scheduler import Scheduler
from .queries import Filter, Format, export

_MEDIA = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def names_of(scheduler: Scheduler, job: str) -> tuple[str, ...]:
    """Return the current and former names of a job, as audit rows hold them."""
    key = scheduler.key_of(job)
    definition = scheduler.definitions.get(key)
    return (key, *(definition.aliases if definition is not None else ()))


def file_of(scheduler: Scheduler, which: Filter, kind: Format) -> StreamingResponse:
    """Return the matching rows as a streamed file attachment."""
    headers = {"Content-Disposition": f'attachment; filename="audit.{kind}"'}
    text = export(scheduler.read, which, kind)
    return StreamingResponse(text, media_type=_MEDIA[kind], headers=headers)
