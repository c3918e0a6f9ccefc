"""When a job runs next by its schedule, or why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ...core import humanize
from ...core.states import RunState
from ...jobs.definition import JobDefinition
from ...schedules import AfterRunSchedule, OnceSchedule, Schedule, WorkingSchedule, parse_zone
from ...schedules.clocks.changes import clock_changes
from ...storage.owners import rows as owners
from ...storage.owners.values import Owner
from .. import runs, system
from ..models import Run
from ..next_run import next_run
from . import calendars, late
from .reasons import Look, Reason, elsewhere, is_alive, of_final


async def of_schedule(look: Look, job: JobDefinition) -> list[Reason]:
    """The reasons, the one that decides first."""
    owned = (await owners.load(look.connection, [job.name])).get(job.name)
    if owned is not None and owned.owner is not Owner.NEW:
        return [elsewhere(look, owned)]
    if job.schedule is None:
        return [Reason("no-schedule", "It has no schedule: it runs when somebody asks.")]
    pause = (await system.pauses(look.connection, look.now)).get(job.name)
    if pause is not None:
        return [Reason("paused", f"It is paused {look.paused(pause)}. It can be run by hand.")]
    recent = (await runs.recent_runs(look.connection, [job.name], 24))[job.name]
    coming = next_run(job, now=look.now, pause=None, recent=recent)
    reasons = [*await _no_scheduler(look, job), *_next_slot(look, job, coming, recent)]
    return [*reasons, *_last_slot(look, job, recent)]


async def _no_scheduler(look: Look, job: JobDefinition) -> list[Reason]:
    """Whether a slot has passed that nobody has handled, or no node is up."""
    behind = await late.late_slots(look.connection, [job], (), look.now)
    alive = [one for one in await system.servers(look.connection) if is_alive(look, one)]
    if not alive:
        return [Reason("no-server", "No server is up: nothing runs until one is (targcc worker).")]
    if behind:
        text = f"{humanize.sentence(behind[0].detail)}: no server that is up creates runs."
        return [Reason("late", text)]
    return []


def _next_slot(
    look: Look, job: JobDefinition, coming: datetime | None, recent: Sequence[Run]
) -> list[Reason]:
    if coming is not None:
        own = parse_zone(job.timezone)
        text = f"Its next slot is {look.at(coming)}"
        if own != look.zone:
            text += f", {humanize.clock(coming, look.now, own)} in {job.timezone}"
        calendar = calendars.reasons_of_slot(job, coming, look.now)
        return [Reason("next-slot", f"{text}."), *calendar, *_clock_change(look, job, coming)]
    if isinstance(job.schedule, AfterRunSchedule):
        active = tuple(run.id for run in recent if not run.final)
        return [Reason("after-run", "Its next slot is counted from the end of its run.", active)]
    if closed := list(calendars.closed_for_good(job, look.now)):
        return closed
    if isinstance(_alone(job.schedule), OnceSchedule):
        return [Reason("over", "Its only slot has passed.")]
    return [
        Reason(
            "dead-schedule",
            f"Its schedule {job.schedule_text} names no day that ever comes, such as 31 February.",
        )
    ]


def _alone(schedule: Schedule | None) -> Schedule | None:
    """A schedule without its calendars."""
    return schedule.base if isinstance(schedule, WorkingSchedule) else schedule


def _clock_change(look: Look, job: JobDefinition, coming: datetime) -> list[Reason]:
    """What a change of the clock between the slot before and the next one does to them."""
    zone = parse_zone(job.timezone)
    change = next(clock_changes(zone, look.now - timedelta(days=1), coming), None)
    if change is None:
        return []
    day = change.at.astimezone(zone).strftime("%A %d %B")
    if change.size > timedelta(0):
        rule = "an hour is left out: a time in it comes at the first minute that there is"
    else:
        rule = "an hour comes twice: a fixed time in it runs once, in the first of them"
    return [Reason("clock-change", f"The clocks of {job.timezone} change on {day}; {rule}.")]


def _last_slot(look: Look, job: JobDefinition, recent: Sequence[Run]) -> list[Reason]:
    """What became of its last slot, if it had no run."""
    last = next((run for run in recent if run.scheduled_for is not None), None)
    if last is None or last.state not in {RunState.SKIPPED, RunState.MISSED}:
        return []
    [reason] = of_final(look, last, job)
    slot = look.at(last.scheduled_for or last.due_at)
    return [Reason(reason.kind, f"Its slot of {slot}: {reason.text}", (last.id,))]
