"""The calendar: what comes in a week or on a day, which minutes are crowded, what the clock changes do."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from .....jobs.definition import JobDefinition
from .....queries.models import Run
from .....queries.next_run import schedule_words
from .....queries.timeline.groups import grouped
from .....queries.timeline.nights import Night, coming_nights, nights
from .....queries.timeline.plan import Crowd, Minute, Plan, plan
from .....schedules import parse_zone
from .....schedules.clocks.changes import Kind
from ...page_route import PageRoute
from ...rendering import render, zone_asked
from ..common import SchedulerOf, Viewer
from .asked import day_asked, days_from, first_of, query_with, queues_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_WEEK = 7
_FURTHEST = timedelta(days=366)
_LISTED_A_WEEK, _LISTED_A_DAY = 8, 24
_LINES, _LINES_A_DAY = 12, 240
_CROWDS = 6
_MOST_NAMES = 60
NIGHT_WORDS = {
    Kind.MOVED: "Its time is left out: it runs once, at the first moment after.",
    Kind.SKIPPED: "Times of it are left out.",
    Kind.ONCE: "Its time comes twice: it runs once.",
    Kind.TWICE: "Times of it come twice: it runs at both.",
    Kind.SHIFTED: "It counts hours that pass, so its time by the clock is another from then on.",
}
"""What a clock change does to jobs, in words."""


@dataclass(frozen=True, slots=True)
class Line:
    """A minute of a day, or an hour where a day has too many of them."""

    at: datetime
    jobs: tuple[str, ...]
    hour: bool = False


@dataclass(frozen=True, slots=True)
class CrowdedTime:
    """The same jobs at the same time of one day or several."""

    crowd: Crowd
    at: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the calendar.

    Args:
        hours: What each hour is called, and how many slots it has.
        lines: What comes, in order.
        waiting: Runs that are due on it: delayed ones and retries.
        nights: The clock changes on it.
    """

    day: date
    hours: tuple[tuple[str, int], ...]
    lines: tuple[Line, ...]
    waiting: tuple[Run, ...]
    nights: tuple[Night, ...]

    @property
    def number(self) -> int:
        """How many slots it has."""
        return sum(number for _, number in self.hours)


@router.get("/calendar")
async def calendar_page(  # noqa: PLR0917 - what may be asked for
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    day: str = "",
    view: str = "week",
    queue: str = "",
) -> Response:
    """What comes in the seven days from ``day``, or on that day with ``view=day``."""
    zone, now = zone_asked(request), scheduler.clock.now()
    today = now.astimezone(zone).date()
    number = 1 if view == "day" else _WEEK
    wanted = min(max(day_asked(day, today), today), today + _FURTHEST)
    days = days_from(wanted, number)
    start, end = first_of(wanted, zone), first_of(days[-1] + timedelta(days=1), zone)
    every = [*scheduler.definitions.values()]
    jobs = grouped(one for one in every if queue in ("", one.queue))
    listed = _LISTED_A_DAY if number == 1 else _LISTED_A_WEEK
    found = await scheduler.read(
        lambda db: plan(db, jobs, now, start=start, end=end, listed=listed)
    )
    changes = nights(jobs, start, end, zone.key)
    coming = changes or coming_nights(jobs, now, zone.key)
    shown = [_day(one, found, changes, zone, merge=number > 1) for one in days]
    return render(
        request,
        "timeline/calendar.html",
        principal,
        plan=found,
        days=shown,
        crowded=_crowded(found, zone),
        most=max((number for one in shown for _, number in one.hours), default=0),
        view="day" if number == 1 else "week",
        today=today,
        queue=queue,
        queues=queues_of(every),
        changes=[one for one in coming if one.jobs or one.zone == zone.key],
        night_words=NIGHT_WORDS,
        frequent=_frequent(found, scheduler.definitions),
        own_clock=partial(_own_clock, jobs=scheduler.definitions, zone=zone),
        link=partial(query_with, request),
        before=wanted - timedelta(days=number) if wanted > today else None,
        after=wanted + timedelta(days=number),
        most_names=_MOST_NAMES,
    )


def _day(day: date, found: Plan, changes: Iterable[Night], zone: ZoneInfo, *, merge: bool) -> Day:
    begins, ends = (first_of(at, zone).astimezone(UTC) for at in (day, day + timedelta(days=1)))
    first, last = (bisect_left(found.minutes, at, key=lambda one: one.at) for at in (begins, ends))
    minutes = found.minutes[first:last]
    most = _LINES if merge else _LINES_A_DAY
    return Day(
        day,
        _hours(found, begins, ends, zone),
        tuple(
            _by_hour(minutes) if len(minutes) > most else [Line(at.at, at.jobs) for at in minutes]
        ),
        tuple(run for run in found.waiting if begins <= run.due_at < ends),
        tuple(one for one in changes if begins <= one.change.at < ends),
    )


def _hours(
    found: Plan, begins: datetime, ends: datetime, zone: ZoneInfo
) -> tuple[tuple[str, int], ...]:
    """The hours of a day by the clock of the zone: 23 or 25 of them where it changes."""
    base = found.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    counts: Counter[datetime] = Counter()
    for n, number in enumerate(found.hours):
        counts[base + n * timedelta(hours=1)] += number
    hours, at = [], begins.astimezone(UTC)
    while at < ends:
        full = at.replace(minute=0)
        hours.append((f"{at.astimezone(zone):%H:%M}", counts[full]))
        at += timedelta(hours=1)
    return tuple(hours)


def _crowded(found: Plan, zone: ZoneInfo) -> list[CrowdedTime]:
    """The crowded minutes, the fullest first; what comes at the same time of several days once."""
    times: dict[tuple[str, tuple[str, ...]], list[Crowd]] = {}
    for one in found.crowded:
        times.setdefault((f"{one.at.astimezone(zone):%H:%M}", one.jobs), []).append(one)
    every = (CrowdedTime(same[0], tuple(one.at for one in same)) for same in times.values())
    return sorted(every, key=lambda one: -one.crowd.number)[:_CROWDS]


def _by_hour(minutes: Sequence[Minute]) -> list[Line]:
    hours: dict[datetime, list[str]] = {}
    for one in minutes:
        hours.setdefault(one.at.replace(minute=0), []).extend(one.jobs)
    return [Line(at, tuple(names), hour=True) for at, names in hours.items()]


def _frequent(found: Plan, definitions: Mapping[str, JobDefinition]) -> list[tuple[str, str, int]]:
    """The jobs that run all day long: their names, when, and how often."""
    return [
        (name, schedule_words(definitions[name]), number)
        for name, number in found.frequent.items()
        if name in definitions
    ]


def _own_clock(
    at: datetime, name: str, *, jobs: Mapping[str, JobDefinition], zone: ZoneInfo
) -> str:
    """The time in the job's own zone, where that is another by the clock."""
    job = jobs.get(name)
    if job is None or job.timezone == zone.key:
        return ""
    own = at.astimezone(parse_zone(job.timezone))
    here = at.astimezone(zone)
    if own.utcoffset() == here.utcoffset():
        return ""
    text = f"{own:%H:%M}" if own.date() == here.date() else f"{own:%a %H:%M}"
    return f"{text} {job.timezone.rpartition('/')[2].replace('_', ' ')}"
