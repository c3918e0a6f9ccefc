"""Slots of a job that calendars move or skip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from ...core.languages import gettext
from ...schedules.calendars import Handling, WorkingAfterRunSchedule, WorkingSchedule
from ...schedules.zones import parse_zone
from .definition import JobDefinition


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
    moved = [change for slot in coming for change in _moved(job, slot)]
    skipped = [_change(change, job) for change in schedule.skipped(now, coming[-1], zone)]
    return tuple(sorted([*moved, *skipped], key=attrgetter("planned")))


def moved_there(job: JobDefinition, slot: datetime) -> str:
    """Describe the slot that a calendar moved to this slot's time, and the reason. Return an empty text if no slot was moved."""
    return next((change.there for change in _moved(job, slot)), "")


def _moved(job: JobDefinition, slot: datetime) -> list[SlotChange]:
    """Return the changes of slots that calendars moved to ``slot``."""
    schedule, zone = job.schedule, parse_zone(job.timezone)
    if not isinstance(schedule, WorkingSchedule):
        return []
    own = schedule.has_own(slot, zone)
    return [_change(handling, job, own=own) for handling in schedule.moved_to(slot, zone)]


def _change(handling: Handling, job: JobDefinition, *, own: bool = False) -> SlotChange:
    """Describe a moved or skipped slot. ``own`` tells whether the schedule alone has a slot at the new time, too."""
    slot, why = _clock(handling.planned, job), handling.why
    if handling.at is None:
        text = gettext("%(slot)s is skipped: %(why)s", slot=slot, why=why)
        return SlotChange(handling.planned, None, why, text, "")
    at = _clock(handling.at, job)
    text = gettext("%(slot)s is moved to %(at)s: %(why)s", slot=slot, at=at, why=why)
    if own:
        target_text = gettext("also for the slot of %(time)s: %(why)s", time=slot, why=why)
    else:
        target_text = gettext("moved from %(time)s: %(why)s", time=slot, why=why)
    return SlotChange(handling.planned, handling.at, why, text, target_text)


def _clock(slot: datetime, job: JobDefinition) -> str:
    return f"{slot.astimezone(parse_zone(job.timezone)):%Y-%m-%d %H:%M}"
