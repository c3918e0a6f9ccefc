"""Read the calendars of the project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from ...kernel.jobs.definition import JobDefinition, project_calendar
from ...project import current
from ...schedules.calendars import WorkingAfterRunSchedule, WorkingSchedule

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
        includes=tuple(included.name for included in calendar.included),
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
    return {member.name for calendar in job.schedule.calendars for member in calendar.family()}
