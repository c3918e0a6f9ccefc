"""The heat map: which hours of the week are busy, and in which things go wrong."""

from __future__ import annotations

import math

from fastapi import APIRouter, Request, Response

from .....queries.timeline.heat import DAYS, HOURS, Heat, heat
from ....state import get_web
from ...page_route import PageRoute
from ...rendering import render, zone_asked
from ..common import SchedulerOf, Viewer, find_job

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_WEEKS = (1, 4, 8)
_SHADES, _CURVE = 6, 0.75


@router.get("/heatmap")
async def heatmap_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, weeks: str = "", job: str = ""
) -> Response:
    """The hours of the last weeks."""
    zone, now, kept = zone_asked(request), scheduler.clock.now(), get_web(request).day_counts
    number = int(weeks) if weeks in map(str, _WEEKS) else 4
    key = find_job(scheduler, job)[1] if job else None
    found = await scheduler.read(
        lambda db: heat(db, now, weeks=number, zone=zone, job=key, kept=kept)
    )
    return render(
        request,
        "timeline/heatmap.html",
        principal,
        heat=found,
        cells=_cells(found),
        busiest=sorted(found.hours, key=lambda one: -one.number)[:3] if found.total else [],
        worst=[one for one in sorted(found.hours, key=lambda one: -one.bad)[:3] if one.bad],
        weeks=number,
        choices=_WEEKS,
        job=job,
        weekdays=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    )


def _cells(found: Heat) -> list[list[tuple[int, int, int]]]:
    """By the hour: for each day of the week the number of runs, how many went wrong, and the shade from 0."""
    return [
        [
            (one.number, one.bad, _shade(one.number, found.most))
            for one in (found.day(weekday)[hour] for weekday in range(DAYS))
        ]
        for hour in range(HOURS)
    ]


def _shade(number: int, most: int) -> int:
    """A little more than its share, so that a quiet hour is not white beside a full one."""
    return math.ceil(_SHADES * (number / most) ** _CURVE) if number else 0
