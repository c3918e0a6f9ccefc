"""Preview, set and reset overrides of a deployed job."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...core.actor import Actor
from ...core.errors import ArgumentsError, OverrideError
from ...core.languages import Localized
from ...kernel.audit import audit
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.option_values import shown
from ...kernel.jobs.overrides import FIELDS, Override, read_value
from ...kernel.node import slots
from ...kernel.node.releases import schedule_of
from ...kernel.queries.system import check_queue
from ...operations import Call
from ...project import current
from ...scheduler import Scheduler
from ...schedules.base import Schedule
from ...schedules.intervals import AfterRunSchedule
from . import rows
from .effective import checked_arguments, effective

_LAST_YEAR = 9000
"""Latest year of an override's end, as for a pause: far from the last year that ``datetime`` supports."""
FIRES = 5
"""Number of next slots in a preview."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A requested override.

    Args:
        values: Maps options to values; see :func:`~.model.read_value`.
        reason: Reason for the change.
        until: End of the override; ``None`` until a reset.
    """

    values: Mapping[str, Any]
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An option in a preview: value in the code, current value, value with the override, each as text for people."""

    field: str
    code: str
    now: str
    then: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Effect of an override, before the override is saved.

    Args:
        changes: The changed options.
        fires_now: Next slots without the override.
        fires_then: Next slots with the override; slots after its end follow the code.
    """

    changes: tuple[Change, ...]
    fires_now: tuple[datetime, ...]
    fires_then: tuple[datetime, ...]

    @property
    def moves(self) -> bool:
        """Return whether the override changes the next slots."""
        return self.fires_now != self.fires_then


def preview(scheduler: Scheduler, job: JobDefinition, wish: Wish) -> Preview:
    """Return the effect of an override. Writes nothing.

    Raises:
        OverrideError: the override is invalid.
        UnknownQueue: no queue has this name.
    """
    now = scheduler.clock.now()
    then = _wanted(scheduler, job, _overrides(job, wish, "", now))
    return Preview(
        tuple(
            Change(field, shown(job.coded, field), shown(job, field), shown(then, field))
            for field in sorted(wish.values, key=FIELDS.index)
        ),
        _fires(job, now),
        _fires(then, now),
    )


async def override(
    scheduler: Scheduler, job: JobDefinition, wish: Wish, by: Actor
) -> JobDefinition:
    """Override options of a job on all servers, and return the job's new definition.

    Raises:
        OverrideError: the override is invalid.
        UnknownQueue: no queue has this name.
    """
    added = _overrides(job, wish, str(by), scheduler.clock.now())
    then = _wanted(scheduler, job, added)
    await scheduler.operate(_put, None, job, then, added, by)
    await scheduler.look_at_overrides()
    return scheduler.find(job.name)


async def reset(
    scheduler: Scheduler, job: JobDefinition, fields: Collection[str], by: Actor
) -> list[str]:
    """Remove overrides of a job, so that the code's values apply again.

    Args:
        scheduler: The scheduler.
        job: The job.
        fields: The options; empty for all options.
        by: Author of the change, for the audit.

    Returns:
        The options that were overridden.

    Raises:
        OverrideError: an option cannot be overridden.
    """
    if unknown := [name for name in fields if name not in FIELDS]:
        raise OverrideError(f"{unknown[0]!r} cannot be overridden: {', '.join(FIELDS)} can")
    gone = await scheduler.operate(_remove, None, job, fields or FIELDS, by)
    await scheduler.look_at_overrides()
    return gone


def _overrides(job: JobDefinition, wish: Wish, by: str, now: datetime) -> list[Override]:
    if not wish.values:
        raise OverrideError(f"say what is to be different: {', '.join(FIELDS)}")
    if not wish.reason.strip():
        raise OverrideError(Localized("say why: whoever finds the job changed will want to know"))
    if wish.until is not None and not now < wish.until < now.replace(year=_LAST_YEAR, day=1):
        raise OverrideError(
            Localized("an override ends in the future; leave the end out for one without")
        )
    return [
        Override(
            job.name,
            field,
            json.dumps(_value(job, field, value), ensure_ascii=False),
            by,
            now,
            wish.reason.strip(),
            wish.until,
        )
        for field, value in wish.values.items()
    ]


def _value(job: JobDefinition, field: str, given: Any) -> Any:
    value = read_value(field, given)
    if field != "arguments":
        return value
    try:
        return checked_arguments(job, value)
    except ArgumentsError as error:
        raise OverrideError(f"arguments: {'; '.join(str(error).splitlines())}") from None


def _wanted(scheduler: Scheduler, job: JobDefinition, added: list[Override]) -> JobDefinition:
    """Apply the new overrides to a definition.

    Raises:
        OverrideError: a new override does not fit the job.
        UnknownQueue: no queue has this name.
    """
    new = {item.field: item for item in added}
    if "queue" in new:
        definitions = scheduler.definitions.values()
        check_queue(new["queue"].value, [item.coded for item in definitions])
    kept = [item for item in job.overrides if item.field not in new]
    then = effective(job.coded, [*kept, *added], current())
    for item in then.overrides:
        if item.problem and item.field in new:
            raise OverrideError(f"{item.field}: {item.problem}")
    return then


def _fires(job: JobDefinition, now: datetime) -> tuple[datetime, ...]:
    """Return the next slots. When an override of schedule or zone ends, slots by the remaining definition follow."""
    ends = [
        option.until
        for option in job.overrides
        if option.field in {"schedule", "timezone"}
        and not option.problem
        and option.until is not None
    ]
    if not ends:
        return tuple(itertools.islice(_slots(job.schedule, now, job.timezone), FIRES))
    end = min(ends)
    first_slots = itertools.takewhile(
        lambda slot: slot <= end, _slots(job.schedule, now, job.timezone)
    )
    left = [option for option in job.overrides if option.until is None or option.until > end]
    after = effective(job.coded, left, current())
    return (*itertools.islice(first_slots, FIRES), *_fires(after, max(now, end)))[:FIRES]


def _slots(schedule: Schedule | None, after: datetime, zone: str) -> Iterator[datetime]:
    """Yield the slots after an instant. A schedule that counts from a run's end has no known slots."""
    if schedule is None or isinstance(schedule, AfterRunSchedule):
        return iter(())
    return schedule.iter(after, zone)


async def _put(
    call: Call, job: JobDefinition, then: JobDefinition, added: Collection[Override], by: Actor
) -> None:
    await rows.put(call.connection, list(added))
    await _restart(call, job, then)
    for option in added:
        until = f"; until {option.until.isoformat(timespec='minutes')}" if option.until else ""
        detail = f"{option.field} is {option.shown}, was {shown(job, option.field)}; {option.reason}{until}"
        await audit(call.connection, by, "override", call.now, job_name=job.name, detail=detail)


async def _remove(call: Call, job: JobDefinition, fields: Collection[str], by: Actor) -> list[str]:
    gone = await rows.remove(call.connection, job.name, fields)
    left = [option for option in job.overrides if option.field not in gone]
    then = effective(job.coded, left, current())
    await _restart(call, job, then)
    for field in gone:
        detail = f"{field} is {shown(then, field)} again, was {shown(job, field)}"
        await audit(
            call.connection, by, "reset override", call.now, job_name=job.name, detail=detail
        )
    return gone


async def _restart(call: Call, job: JobDefinition, then: JobDefinition) -> None:
    """Restart a job's slots from now on if the schedule changes.

    The same transaction writes the override, so no server creates a slot by the old schedule afterwards.
    """
    text = schedule_of(then)
    row = (await slots.load(call.connection, [job.name])).get(job.name)
    if row is None or row.last_slot is None or text == schedule_of(job):
        return
    await slots.restart(call.connection, job.name, text, call.now, row.release or "")
