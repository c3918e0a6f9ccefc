"""The audit for the page and the API: under which names it has a job, and its rows as a file."""

from __future__ import annotations

from fastapi.responses import StreamingResponse

from ...scheduler import Scheduler
from .queries import Filter, Format, export

_MEDIA = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def names_of(scheduler: Scheduler, job: str) -> tuple[str, ...]:
    """The names under which the audit has a job: its own, and those that it had before."""
    key = scheduler.key_of(job)
    definition = scheduler.definitions.get(key)
    return (key, *(definition.aliases if definition is not None else ()))


def file_of(scheduler: Scheduler, which: Filter, kind: Format) -> StreamingResponse:
    """The rows as a file to keep."""
    headers = {"Content-Disposition": f'attachment; filename="audit.{kind}"'}
    text = export(scheduler.read, which, kind)
    return StreamingResponse(text, media_type=_MEDIA[kind], headers=headers)
