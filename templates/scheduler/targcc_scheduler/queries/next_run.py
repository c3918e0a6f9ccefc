"""When a job runs next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..jobs.definition import JobDefinition
from ..schedules import AfterRunSchedule, parse_zone
from .models import Pause, Run


def next_run(
    definition: JobDefinition,
    *,
    now: datetime,
    pause: Pause | None,
    recent: Iterable[Run] = (),
    busy: bool = False,
) -> datetime | None:
    """When ``definition`` runs next by its schedule; ``None`` if it has none, has ended, or is paused with no end in sight.

    Args:
        definition: The job.
        now: The instant it is.
        pause: Whether it is paused.
        recent: Its last runs, newest first; a schedule that counts from the last run needs them.
        busy: Whether an older run goes on or waits; a schedule that counts from the last run waits for its end.
    """
    if definition.schedule is None or (pause is not None and pause.until is None):
        return None
    after = max(now, pause.until) if pause is not None and pause.until is not None else now
    if isinstance(definition.schedule, AfterRunSchedule):
        if busy or any(not run.final for run in recent):
            return None  # known when that run ends
        last = next((run for run in recent if run.completed_at is not None), None)
        if last is None or last.completed_at is None:
            return after
        started = last.started_at or last.completed_at
        due = definition.schedule.following(started, last.completed_at, definition.timezone)
        return None if due is None else max(due, after)
    return definition.schedule.next(after, parse_zone(definition.timezone))


def schedule_words(definition: JobDefinition) -> str:
    """When a job runs, in words; which jobs it follows is not for everybody to see."""
    if definition.schedule is not None:
        return definition.schedule.describe()
    if definition.after:
        return f"after {'another job' if len(definition.after) == 1 else 'other jobs'}"
    return "only when asked"
