"""The routes of the REST API, in the order in which they are described."""

from __future__ import annotations

from fastapi import APIRouter

from . import jobs, oncall, owners, runs, system

router = APIRouter()
for part in (jobs, owners, runs, oncall, system):
    router.include_router(part.router)
