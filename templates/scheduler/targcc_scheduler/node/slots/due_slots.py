"""Which slots of a schedule are due, and which were missed. No database, no clock: only what the rules say.

* A slot older than the job's grace (a day unless said otherwise, and there may be no limit) is missed, under any policy.
* ``run_once``: of several slots that wait, the newest runs and the others are missed.
* ``run_all``: each runs.
* ``skip``: a slot that is more than a minute late is missed.
* At most 100 missed slots are recorded at a time; the oldest of them says how many more there were before it.

The work is bounded: a job of every second costs no more after a year of downtime than after an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from ...jobs.definition import JobDefinition
from ...schedules import Schedule

MOST_MISSED = 100
"""Missed slots that are recorded at a time."""
MOST_RUNS = 500
"""Slots of ``run_all`` that are run at a time; the rest follow at once."""
ON_TIME = timedelta(minutes=1)
"""A slot that is later than this is late."""

_COUNTED = 1000
_INSTANT = timedelta(microseconds=1)
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class DueSlots:
    """What to do about the slots that have come.

    Args:
        run: Slots to run, oldest first.
        missed: Slots to record as missed, oldest first.
        last: Everything up to here is handled by this.
        earlier: How many were missed before those.
        counted: Whether ``earlier`` is exact; else there were at least so many.
    """

    run: tuple[datetime, ...]
    missed: tuple[datetime, ...]
    last: datetime
    earlier: int = 0
    counted: bool = True


def due_slots(definition: JobDefinition, last: datetime, now: datetime) -> DueSlots | None:
    """The slots in ``(last, now]``, and what becomes of them; ``None`` when there are none.

    Args:
        definition: A job with a schedule.
        last: Everything up to here is handled.
        now: The present instant.
    """
    schedule, zone = definition.schedule, definition.timezone
    if schedule is None:
        return None
    first = schedule.next(last, zone)
    if first is None or first > now:
        return None
    newest = schedule.previous(now + _INSTANT, zone)
    if newest is None or newest < first:
        newest = first
    from_here = _first_to_run(definition, newest, now)
    run = _between(schedule, max(from_here, first), now, zone)
    missed, earlier, counted = _missed(schedule, first, from_here, newest, zone)
    done = run[-1] if len(run) == MOST_RUNS else newest
    return DueSlots(run, missed, done, earlier, counted)


def _first_to_run(definition: JobDefinition, newest: datetime, now: datetime) -> datetime:
    """Slots from this instant on run, those before are missed."""
    oldest = _EVER if definition.misfire_grace is None else now - definition.misfire_grace
    if definition.misfire == "run_all":
        return oldest
    if definition.misfire == "skip":
        return max(oldest, now - ON_TIME)
    return max(oldest, newest)


def _between(schedule: Schedule, start: datetime, end: datetime, zone: str) -> tuple[datetime, ...]:
    slots = schedule.iter(start - _INSTANT, zone)
    return tuple(islice(takewhile(lambda slot: slot <= end, slots), MOST_RUNS))


def _missed(
    schedule: Schedule, first: datetime, before: datetime, newest: datetime, zone: str
) -> tuple[tuple[datetime, ...], int, bool]:
    """The newest slots in ``[first, before)``, and how many there were before them."""
    slots: list[datetime] = []
    slot: datetime | None = newest if newest < before else schedule.previous(before, zone)
    while slot is not None and slot >= first and len(slots) < MOST_MISSED:
        slots.append(slot)
        slot = schedule.previous(slot, zone)
    slots.reverse()
    if not slots or slot is None or slot < first:
        return tuple(slots), 0, True
    oldest = slots[0]
    rest = takewhile(lambda item: item < oldest, schedule.iter(first - _INSTANT, zone))
    earlier = sum(1 for _ in islice(rest, _COUNTED))
    return tuple(slots), earlier, earlier < _COUNTED
