"""Router of the REST API, in the order of its description: the kernel's routes, then those of the features."""

from __future__ import annotations

from fastapi import APIRouter

from ...kernel.feature import Routes, load
from . import events, files, jobs, limits, runs, system

PARTS = (
    *(part.router for part in (jobs, runs, files, limits, events, system)),
    *load(Routes),
)
router = APIRouter()
for part in PARTS:
    router.include_router(part)
