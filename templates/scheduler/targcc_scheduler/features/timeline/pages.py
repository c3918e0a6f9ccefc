"""Pages of the calendar, the timeline and the heat map."""

from __future__ import annotations

import contextlib
import itertools
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import partial
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from ...core import humanize
from ...core.languages import Words, gettext, marked
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries.jobs import display_names, schedule_words
from ...kernel.queries.models import Run
from ...schedules.dst import ClockChange, Kind
from ...schedules.zones import parse_zone
from ...web.dashboard.common import SchedulerOf, Viewer, find_job
from ...web.dashboard.flash import base_path
from ...web.dashboard.page_route import PageRoute
from ...web.dashboard.rendering import render, zone_asked
from ...web.state import get_web
from .history import DAYS, HOURS, Heat, day_counts, heat
from .upcoming import Crowd, Minute, Night, Plan, coming_nights, grouped, nights, plan

# Parameters of the pages, and links between time ranges.


def day_asked(text: str, default: date) -> date:
    """Parse a day such as ``2026-11-26``. Return the default for an invalid text."""
    with contextlib.suppress(ValueError):
        return date.fromisoformat(text)
    return default


def instant_asked(text: str, zone: ZoneInfo) -> datetime | None:
    """Parse an instant such as ``2026-11-26T02:00``, by default in ``zone``. Return ``None`` for an invalid text."""
    with contextlib.suppress(ValueError):
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
    return None


def first_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def days_from(first: date, number: int) -> list[date]:
    """Return consecutive days."""
    return [first + timedelta(days=n) for n in range(number)]


def query_with(request: Request, **changed: object) -> str:
    """Return the page's query string with some values replaced, without empty values."""
    values = {**request.query_params, **{name: str(value) for name, value in changed.items()}}
    return urlencode({name: value for name, value in values.items() if value})


def queues_of(definitions: Iterable[JobDefinition]) -> list[str]:
    """Return the names of the jobs' queues, sorted."""
    return sorted({definition.queue for definition in definitions})


# The calendar: slots of a week or a day, crowded minutes, clock changes.

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_WEEK = 7
_FURTHEST = timedelta(days=366)
_LISTED_A_WEEK, _LISTED_A_DAY = 8, 24
_LINES, _LINES_A_DAY = 12, 240
_CROWDS = 6
_MOST_FREQUENT = 12
_MOST_NAMES = 60
NIGHT_KINDS = Words(
    {
        Kind.MOVED: marked("moved"),
        Kind.SKIPPED: marked("omitted"),
        Kind.ONCE: marked("once"),
        Kind.TWICE: marked("twice"),
        Kind.SHIFTED: marked("shifted"),
    }
)
"""Word for the effect of a clock change."""
NIGHT_WORDS = Words(
    {
        Kind.MOVED: marked(
            "The time does not exist. The job runs once, at the first valid minute."
        ),
        Kind.SKIPPED: marked("Some of the times do not exist."),
        Kind.ONCE: marked("The time occurs twice. The job runs once."),
        Kind.TWICE: marked("Some of the times occur twice. The job runs both times."),
        Kind.SHIFTED: marked(
            "The interval counts elapsed hours, so the clock time of its slots shifts."
        ),
    }
)
"""Sentence for the effect of a clock change."""


@dataclass(frozen=True, slots=True)
class Line:
    """A minute of a day, or an hour if the day has too many minutes with slots."""

    at: datetime
    jobs: tuple[str, ...]
    hour: bool = False


@dataclass(frozen=True, slots=True)
class CrowdedTime:
    """The same jobs at the same time on one or several days."""

    crowd: Crowd
    at: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the calendar.

    Args:
        hours: Label and number of slots of each hour.
        lines: Slots in order.
        waiting: Delayed and retrying runs that are due on this day.
        nights: Clock changes on this day.
    """

    day: date
    hours: tuple[tuple[str, int], ...]
    lines: tuple[Line, ...]
    waiting: tuple[Run, ...]
    nights: tuple[Night, ...]

    @property
    def number(self) -> int:
        """Number of slots."""
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
    definitions = scheduler.definitions
    every = [*definitions.values()]
    jobs = grouped(item for item in every if queue in ("", item.queue))
    listed = _LISTED_A_DAY if number == 1 else _LISTED_A_WEEK
    calendar_plan = await scheduler.read(
        lambda db: plan(db, jobs, now, start=start, end=end, listed=listed)
    )
    changes = nights(jobs, start, end, zone.key)
    coming = changes or coming_nights(jobs, now, zone.key)
    shown = [_day(item, calendar_plan, changes, zone, merge=number > 1) for item in days]
    return render(
        request,
        "timeline/calendar.html",
        principal,
        plan=calendar_plan,
        days=shown,
        crowded=_crowded(calendar_plan, zone),
        most=max((number for item in shown for _, number in item.hours), default=0),
        view="day" if number == 1 else "week",
        today=today,
        queue=queue,
        queues=queues_of(every),
        changes=[item for item in coming if item.jobs or item.zone == zone.key],
        night_words=NIGHT_WORDS,
        night_kinds=NIGHT_KINDS,
        change_words=_change_words,
        frequent=_frequent(calendar_plan, definitions),
        own_clock=partial(_own_clock, jobs=definitions, zone=zone),
        link=partial(query_with, request),
        before=wanted - timedelta(days=number) if wanted > today else None,
        after=wanted + timedelta(days=number),
        most_names=_MOST_NAMES,
    )


def _day(day: date, plan: Plan, changes: Iterable[Night], zone: ZoneInfo, *, merge: bool) -> Day:
    begins, ends = (first_of(at, zone).astimezone(UTC) for at in (day, day + timedelta(days=1)))
    first, last = (bisect_left(plan.minutes, at, key=lambda one: one.at) for at in (begins, ends))
    minutes = plan.minutes[first:last]
    most = _LINES if merge else _LINES_A_DAY
    return Day(
        day,
        _hours(plan, begins, ends, zone),
        tuple(
            _by_hour(minutes) if len(minutes) > most else [Line(at.at, at.jobs) for at in minutes]
        ),
        tuple(run for run in plan.waiting if begins <= run.due_at < ends),
        tuple(one for one in changes if begins <= one.change.at < ends),
    )


def _hours(
    plan: Plan, begins: datetime, ends: datetime, zone: ZoneInfo
) -> tuple[tuple[str, int], ...]:
    """Return the hours of a day in the zone: 23 or 25 hours on days with a clock change."""
    base = plan.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    counts: Counter[datetime] = Counter()
    for n, number in enumerate(plan.hours):
        counts[base + n * timedelta(hours=1)] += number
    hours, at = [], begins.astimezone(UTC)
    while at < ends:
        full = at.replace(minute=0)
        hours.append((f"{at.astimezone(zone):%H:%M}", counts[full]))
        at += timedelta(hours=1)
    return tuple(hours)


def _crowded(plan: Plan, zone: ZoneInfo) -> list[CrowdedTime]:
    """Return the crowded minutes, fullest first. Minutes with equal jobs at the same time of day are merged."""
    times: dict[tuple[str, tuple[str, ...]], list[Crowd]] = {}
    for one in plan.crowded:
        times.setdefault((f"{one.at.astimezone(zone):%H:%M}", one.jobs), []).append(one)
    every = (CrowdedTime(same[0], tuple(one.at for one in same)) for same in times.values())
    return sorted(every, key=lambda one: -one.crowd.number)[:_CROWDS]


def _by_hour(minutes: Sequence[Minute]) -> list[Line]:
    hours: dict[datetime, list[str]] = {}
    for minute in minutes:
        hours.setdefault(minute.at.replace(minute=0), []).extend(minute.jobs)
    return [Line(at, tuple(names), hour=True) for at, names in hours.items()]


def _frequent(plan: Plan, definitions: Mapping[str, JobDefinition]) -> list[tuple[str, str, int]]:
    """Return the first 12 frequent jobs, each with its schedule in words and its number of slots."""
    first = itertools.islice(plan.frequent.items(), _MOST_FREQUENT)
    return [(name, schedule_words(definitions[name]), number) for name, number in first]


def _own_clock(
    at: datetime, name: str, *, jobs: Mapping[str, JobDefinition], zone: ZoneInfo
) -> str:
    """Return the time in the job's own zone; empty if the offsets are equal."""
    job = jobs.get(name)
    if job is None or job.timezone == zone.key:
        return ""
    own = at.astimezone(parse_zone(job.timezone))
    here = at.astimezone(zone)
    if own.utcoffset() == here.utcoffset():
        return ""
    day = "" if own.date() == here.date() else f"{humanize.weekday(own)} "
    return f"{day}{own:%H:%M} {job.timezone.rpartition('/')[2].replace('_', ' ')}"


def _change_words(change: ClockChange) -> str:
    """Return a clock change in words."""
    old, new = (change.at.astimezone(timezone(item)) for item in (change.before, change.after))
    far = abs(change.size) >= timedelta(days=1)
    times = [
        f"{humanize.weekday(item)} {item:%H:%M}" if far else f"{item:%H:%M}" for item in (old, new)
    ]
    values = {
        "day": f"{humanize.weekday(old)} {humanize.day_and_month(old)} {old.year}",
        "before": times[0],
        "after": times[1],
    }
    if change.size > timedelta(0):
        return gettext("on %(day)s clocks jump from %(before)s to %(after)s.", **values)
    return gettext("on %(day)s clocks go back from %(before)s to %(after)s.", **values)


# The heat map page: all runs and bad runs for each hour of the week.

_WEEKS = (1, 4, 8)
_SHADES, _CURVE = 6, 0.75


@router.get("/heatmap")
async def heatmap_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, weeks: str = "", job: str = ""
) -> Response:
    """The hours of the last weeks."""
    zone, now, kept = (
        zone_asked(request),
        scheduler.clock.now(),
        get_web(request).shared(day_counts),
    )
    number = int(weeks) if weeks in map(str, _WEEKS) else 4
    key = find_job(scheduler, job)[1] if job else None
    heatmap = await scheduler.read(
        lambda db: heat(db, now, weeks=number, zone=zone, job=key, kept=kept)
    )
    return render(
        request,
        "timeline/heatmap.html",
        principal,
        heat=heatmap,
        cells=_cells(heatmap),
        busiest=sorted(heatmap.hours, key=lambda one: -one.number)[:3] if heatmap.total else [],
        worst=[one for one in sorted(heatmap.hours, key=lambda one: -one.bad)[:3] if one.bad],
        weeks=number,
        choices=_WEEKS,
        job=job,
        weekdays=humanize.WEEKDAYS,
    )


def _cells(heat: Heat) -> list[list[tuple[int, int, int]]]:
    """Return a row for each hour. A cell for each weekday holds the run count, the bad run count, and the shade from 0."""
    return [
        [
            (cell.number, cell.bad, _shade(cell.number, heat.most))
            for cell in (heat.day(weekday)[hour] for weekday in range(DAYS))
        ]
        for hour in range(HOURS)
    ]


def _shade(number: int, most: int) -> int:
    """Return the shade of a number. The curve raises small numbers, so that quiet hours differ from empty hours."""
    return math.ceil(_SHADES * (number / most) ** _CURVE) if number else 0


# The timeline page: planned and actual runs of a night or another range, by queue and job.

_HOURS = (3, 6, 12, 24, 48)
_NIGHT = (time(20), 12)
"""The night: start time in the evening, and number of hours."""


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
    # Imported late: an idle server needs no charts.
    from .charts import MARK_WORDS, PATTERNS, GanttChart
    from .gantt import gantt

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
    """Return the start of the current or last night: 20:00 today, or 20:00 yesterday if it is earlier now."""
    local = now.astimezone(zone)
    day = local.date() - timedelta(days=local.time() < _NIGHT[0])
    return datetime.combine(day, _NIGHT[0], tzinfo=zone)


def _text(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%dT%H:%M}"
