"""Downloading a file from a run's page."""

from __future__ import annotations

from fastapi import APIRouter, Response

from ...files.downloading import download, find
from ..page_route import PageRoute
from ..pages.common import SchedulerOf, Viewer

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/runs/{run_id}/files/{file_id}")
async def run_file(_: Viewer, scheduler: SchedulerOf, run_id: int, file_id: str) -> Response:
    """The content of a file."""
    _run, blob = await find(scheduler, run_id, file_id)
    return await download(scheduler, blob)
