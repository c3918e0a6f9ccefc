"""Explain the effect of calendars on a job's slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from operator import attrgetter

from ...core import humanize
from ...core.languages import gettext
from ...kernel.jobs.definition import JobDefinition, project_calendar
from ...kernel.queries.models import Run
from ...project import current
from ...schedules.calendars import Handling, WorkingAfterRunSchedule, WorkingSchedule
from ...schedules.zones import parse_zone
from ..triage.reasons import Reason

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SlotChange:
    """A slot that a calendar moved or skipped.

    Args:
        planned: Time of the slot by the schedule alone.
        at: New time of the slot; ``None`` if skipped.
        why: The day off or blackout, with its calendar.
        text: Description, with times in the job's time zone.
        there: Description for the slot at the new time; empty if skipped.
    """

    planned: datetime
    at: datetime | None
    why: str
    text: str
    there: str


def calendars_of(job: JobDefinition) -> tuple[str, ...]:
    """Return the names of a job's calendars: its own calendars and its queue's calendars."""
    if isinstance(job.schedule, WorkingSchedule | WorkingAfterRunSchedule):
        return tuple(calendar.name for calendar in job.schedule.calendars)
    return ()


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


def changes(job: JobDefinition, slots: Iterable[datetime], now: datetime) -> tuple[SlotChange, ...]:
    """Return the moved and skipped slots of a job in order, from ``now`` to the last slot in ``slots``.

    Args:
        job: The job.
        slots: The job's next slots.
        now: The current time.
    """
    schedule, zone, coming = job.schedule, parse_zone(job.timezone), list(slots)
    if not isinstance(schedule, WorkingSchedule) or not coming:
        return ()
    moved = [one for slot in coming for one in _moved(job, slot)]
    skipped = [_change(one, job) for one in schedule.skipped(now, coming[-1], zone)]
    return tuple(sorted([*moved, *skipped], key=attrgetter("planned")))


def moved_there(job: JobDefinition, slot: datetime) -> str:
    """Describe the slot that a calendar moved to this slot's time, and the reason. Return an empty text if no slot was moved."""
    return next((one.there for one in _moved(job, slot)), "")


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


def _moved(job: JobDefinition, slot: datetime) -> list[SlotChange]:
    """Return the changes of slots that calendars moved to ``slot``."""
    schedule, zone = job.schedule, parse_zone(job.timezone)
    if not isinstance(schedule, WorkingSchedule):
        return []
    own = schedule.has_own(slot, zone)
    return [_change(one, job, own=own) for one in schedule.moved_to(slot, zone)]


def _change(one: Handling, job: JobDefinition, *, own: bool = False) -> SlotChange:
    """Describe a moved or skipped slot. ``own`` tells whether the schedule alone has a slot at the new time, too."""
    slot, why = _clock(one.planned, job), one.why
    if one.at is None:
        text = gettext("%(slot)s is skipped: %(why)s", slot=slot, why=why)
        return SlotChange(one.planned, None, why, text, "")
    at = _clock(one.at, job)
    text = gettext("%(slot)s is moved to %(at)s: %(why)s", slot=slot, at=at, why=why)
    if own:
        there = gettext("also for the slot of %(time)s: %(why)s", time=slot, why=why)
    else:
        there = gettext("moved from %(time)s: %(why)s", time=slot, why=why)
    return SlotChange(one.planned, one.at, why, text, there)


def _clock(slot: datetime, job: JobDefinition) -> str:
    return f"{slot.astimezone(parse_zone(job.timezone)):%Y-%m-%d %H:%M}"
