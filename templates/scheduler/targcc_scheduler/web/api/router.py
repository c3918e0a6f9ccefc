"""The routes of the REST API, in the order in which they are described."""

from __future__ import annotations

from fastapi import APIRouter

from . import jobs, runs, system

router = APIRouter()
for part in (jobs, runs, system):
    router.include_router(part.router)
