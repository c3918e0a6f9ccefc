"""The log of a run on its page: its end at first, then what is written, as it is written, and earlier parts when they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from ....core.languages.reader import zone_of_reader
from ....project import current
from ....queries import runs
from ....queries.following.runs import lines_after
from ....queries.models import LogLine, Run
from ....scheduler import Scheduler
from ...live.run_events import run_events
from ...live.streams import event, last_event
from ...live.text import log_as_text
from ...problems import Problem
from ..page_route import PageRoute
from ..pages.common import SchedulerOf, Viewer, id_of
from .log_html import lines_html

router = APIRouter(route_class=PageRoute, include_in_schema=False)
MOST_LINES = 1_000
"""Lines of the log in one answer."""


@router.get("/runs/{run_id}/live")
async def live(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    run_id: int,
    after: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The events of a run, with its lines as HTML."""
    run = await _run(scheduler, run_id)
    place = id_of(last_event(request)) or after
    zone = zone_of_reader(current().timezone)  # while it is known who reads
    as_html = partial(_as_html, zone=zone)
    return run_events(request, principal, run_id, run.job, after=place, lines=as_html)


@router.get("/runs/{run_id}/lines")
async def lines(
    _: Viewer,
    scheduler: SchedulerOf,
    run_id: int,
    after: Annotated[int, Query(ge=0)] = 0,
    before: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """The lines after one, or the last ones before one, as HTML."""
    if before is None:
        found = await scheduler.read(lambda db: lines_after(db, run_id, after, MOST_LINES))
    else:
        found = await scheduler.read(lambda db: runs.log_lines(db, run_id, MOST_LINES, before))
    return HTMLResponse(await asyncio.to_thread(shown, found))


@router.get("/runs/{run_id}/log.txt")
async def download(_: Viewer, scheduler: SchedulerOf, run_id: int) -> Response:
    """The whole log as a file."""
    await _run(scheduler, run_id)
    return log_as_text(scheduler, run_id)


async def _run(scheduler: Scheduler, run_id: int) -> Run:
    run = await scheduler.read(lambda db: runs.get_run(db, run_id))
    if run is None:
        raise Problem(404, "No such run", f"There is no run {run_id}.")
    return run


def shown(found: Sequence[LogLine]) -> str:
    """Lines as HTML, in the reader's zone."""
    return lines_html(found, zone_of_reader(current().timezone))


def _as_html(found: Iterable[LogLine], zone: ZoneInfo) -> str:
    lines = list(found)
    return event("log", lines_html(lines, zone), lines[-1].id)
