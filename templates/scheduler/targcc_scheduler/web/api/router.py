"""The routes of the REST API, in the order in which they are described."""

from __future__ import annotations

from fastapi import APIRouter

from . import audit, jobs, oncall, overrides, owners, runs, sessions, system
from .batches import routes as batches
from .calendars import routes as calendars
from .files import routes as files
from .flows import routes as flows
from .limits import routes as limits
from .live import events, webhooks
from .timeline import routes as timeline

PARTS = tuple(
    part.router
    for part in (
        *(
            jobs,
            overrides,
            owners,
            runs,
            files,
            flows,
            batches,
            limits,
            events,
            timeline,
            oncall,
            calendars,
        ),
        *(system, webhooks, audit, sessions),
    )
)
router = APIRouter()
for part in PARTS:
    router.include_router(part)
