"""Explain the effect of calendars on a job's slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

from ...core import humanize
from ...core.languages import gettext
from ...kernel.jobs.definition import JobDefinition, project_calendar
from ...kernel.jobs.slot_changes import calendars_of, changes, moved_there
from ...kernel.queries.models import Run
from ...project import current
from ...schedules.calendars import WorkingAfterRunSchedule, WorkingSchedule
from ...schedules.zones import parse_zone
from ..triage.reasons import Reason

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DayOff:
    """A day off and its name."""

    day: date
    name: str


@dataclass(frozen=True, slots=True)
class CalendarYear:
    """A calendar in one year.

    Args:
        name: The calendar's name.
        description: One sentence.
        includes: Names of included calendars.
        weekly: Names of weekdays that are off each week.
        days: Other days off.
        blackouts: Times in which no slot starts, in each job's time zone.
    """

    name: str
    description: str
    includes: tuple[str, ...]
    weekly: tuple[str, ...]
    days: tuple[DayOff, ...]
    blackouts: tuple[str, ...]


def calendar_year(name: str, year: int) -> CalendarYear:
    """Return a calendar of the project for one year.

    Raises:
        CronError: no calendar has this name, or the calendar is invalid.
    """
    project = current()
    calendar = project_calendar(project, name)
    weekly = dict(calendar.weekly())
    first = date(year, 1, 1)
    every = (first + timedelta(days=turn) for turn in range(366))
    offs = ((day, calendar.day_off(day)) for day in every if day.year == year)
    return CalendarYear(
        name=name,
        description=calendar.description,
        includes=tuple(one.name for one in calendar.included),
        weekly=tuple(dict.fromkeys(weekly.values())),
        days=tuple(DayOff(day, off) for day, off in offs if off is not None and off not in weekly),
        blackouts=tuple(calendar.blackout_texts(year)),
    )


def users_of(name: str, definitions: Iterable[JobDefinition]) -> list[str]:
    """Return the names of jobs that a calendar affects: directly, through the queue, or as an included calendar."""
    return sorted(job.name for job in definitions if name in _with_included(job))


def _with_included(job: JobDefinition) -> set[str]:
    if not isinstance(job.schedule, WorkingSchedule | WorkingAfterRunSchedule):
        return set()
    return {one.name for calendar in job.schedule.calendars for one in calendar.family()}


def reasons_of_slot(job: JobDefinition, coming: datetime, now: datetime) -> list[Reason]:
    """Return reasons for the moved and skipped slots from ``now`` to the job's next slot, at most three."""
    found = list(islice(changes(job, [coming], now), _SHOWN))
    return [
        Reason(
            "calendar-moved" if one.at else "calendar-skipped",
            gettext("Its slot of %(change)s.", change=one.text),
        )
        for one in found
    ]


def reasons_of_run(job: JobDefinition | None, run: Run) -> list[Reason]:
    """Return a reason if a calendar moved the run's slot."""
    if job is None or run.scheduled_for is None:
        return []
    moved = moved_there(job, run.scheduled_for)
    return (
        [Reason("calendar-moved", gettext("Its slot is %(moved)s.", moved=moved))] if moved else []
    )


def closed_for_good(job: JobDefinition, now: datetime) -> Iterator[Reason]:
    """Yield a reason for a job without next slot, if the schedule alone has slots and the calendars leave none."""
    if isinstance(job.schedule, WorkingSchedule):
        first = job.schedule.base.next(now, parse_zone(job.timezone))
        if first is not None:
            names = humanize.listed(list(calendars_of(job)), most=_SHOWN * 3)
            text = gettext(
                "Its schedule %(schedule)s names no time at which %(calendars)s is open.",
                schedule=job.schedule_text,
                calendars=names,
            )
            yield Reason("calendar-closed", text)
