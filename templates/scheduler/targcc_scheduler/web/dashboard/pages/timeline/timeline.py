"""The timeline: a night or another range, planned against real, by queue and job."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from .....queries.jobs import display_names
from .....queries.timeline.gantt import gantt
from ...charts.gantt import MARK_WORDS, PATTERNS, GanttChart
from ...flash import base_path
from ...page_route import PageRoute
from ...rendering import render, zone_asked
from ..common import SchedulerOf, Viewer
from .asked import instant_asked, query_with, queues_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_HOURS = (3, 6, 12, 24, 48)
_NIGHT = (time(20), 12)
"""Last night: from when in the evening, and how many hours."""


@router.get("/timeline")
async def timeline_page(  # noqa: PLR0917 - what may be asked for
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    since: str = "",
    hours: str = "",
    queue: str = "",
    job: str = "",
) -> Response:
    """What ran and what comes in some hours from ``since``; without one, up to one hour from now."""
    zone, now = zone_asked(request), scheduler.clock.now()
    span = int(hours) if hours in map(str, _HOURS) else 12
    length = timedelta(hours=span)
    full = now.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    start = instant_asked(since, zone) or full + timedelta(hours=2) - length
    key = scheduler.key_of(job) if job else None
    definitions = scheduler.definitions
    view = await scheduler.read(
        lambda db: gantt(
            db,
            definitions.values(),
            now,
            since=start,
            until=start + length,
            queue=queue or None,
            job=key,
        )
    )
    return render(
        request,
        "timeline/timeline.html",
        principal,
        view=view,
        chart=GanttChart(view, zone, base_path(request), display_names(definitions)),
        patterns=PATTERNS,
        mark_words=MARK_WORDS,
        hours=span,
        choices=_HOURS,
        queue=queue,
        job=job,
        queues=queues_of(definitions.values()),
        link=partial(query_with, request),
        earlier=_text(start - length, zone),
        later=_text(start + length, zone),
        since=_text(start, zone),
        night=_text(last_night(now, zone), zone),
        night_hours=_NIGHT[1],
        at_end=start + length >= now,
    )


def last_night(now: datetime, zone: ZoneInfo) -> datetime:
    """When the last night began that is over or goes on: at eight in the evening, before noon that of yesterday."""
    local = now.astimezone(zone)
    day = local.date() - timedelta(days=local.time() < _NIGHT[0])
    return datetime.combine(day, _NIGHT[0], tzinfo=zone)


def _text(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%dT%H:%M}"
