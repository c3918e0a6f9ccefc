"""Explain the effect of calendars on a job's slots."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from ...core import humanize
from ...core.languages import gettext
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.slot_changes import calendars_of, changes, moved_there
from ...kernel.queries.models import Run
from ...schedules.calendars import WorkingSchedule
from ...schedules.zones import parse_zone
from .reasons import Reason

_SHOWN = 3


def reasons_of_slot(job: JobDefinition, coming: datetime, now: datetime) -> list[Reason]:
    """Return reasons for the moved and skipped slots from ``now`` to the job's next slot, at most three."""
    slot_changes = list(islice(changes(job, [coming], now), _SHOWN))
    return [
        Reason(
            "calendar-moved" if change.at else "calendar-skipped",
            gettext("The slot of %(change)s.", change=change.text),
        )
        for change in slot_changes
    ]


def reasons_of_run(job: JobDefinition | None, run: Run) -> list[Reason]:
    """Return a reason if a calendar moved the run's slot."""
    if job is None or run.scheduled_for is None:
        return []
    moved = moved_there(job, run.scheduled_for)
    return (
        [Reason("calendar-moved", gettext("The slot is %(moved)s.", moved=moved))] if moved else []
    )


def closed_for_good(job: JobDefinition, now: datetime) -> Iterator[Reason]:
    """Yield a reason for a job without next slot, if the schedule alone has slots and the calendars leave none."""
    if isinstance(job.schedule, WorkingSchedule):
        first = job.schedule.base.next(now, parse_zone(job.timezone))
        if first is not None:
            names = humanize.listed(list(calendars_of(job)), most=_SHOWN * 3)
            text = gettext(
                "The schedule %(schedule)s has no time at which %(calendars)s is open.",
                schedule=job.schedule_text,
                calendars=names,
            )
            yield Reason("calendar-closed", text)
