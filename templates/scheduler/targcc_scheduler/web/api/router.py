"""The routes of the REST API, in the order in which they are described."""

from __future__ import annotations

from fastapi import APIRouter

from . import audit, jobs, oncall, overrides, owners, runs, sessions, system
from .calendars import routes as calendars

PARTS = tuple(
    part.router
    for part in (jobs, overrides, owners, runs, oncall, calendars, system, audit, sessions)
)
router = APIRouter()
for part in PARTS:
    router.include_router(part)
