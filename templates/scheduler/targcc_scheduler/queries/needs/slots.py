"""When a job runs next by its schedule, or why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ...core import humanize
from ...core.languages.reader import gettext
from ...core.states import RunState
from ...jobs.definition import JobDefinition
from ...schedules import AfterRunSchedule, OnceSchedule, Schedule, WorkingSchedule, parse_zone
from ...schedules.clocks.changes import clock_changes
from ...storage import slots
from ...storage.owners import rows as owners
from ...storage.owners.values import Owner
from ...storage.tables import job_run
from .. import runs, system
from ..models import Run
from ..next_run import next_run
from . import calendars, late
from .reasons import Look, Reason, elsewhere, is_alive, locked, no_able_server, of_final


async def of_schedule(look: Look, job: JobDefinition) -> list[Reason]:
    """The reasons, the one that decides first."""
    owned = (await owners.load(look.connection, [job.name])).get(job.name)
    if owned is not None and owned.owner is not Owner.NEW:
        return [elsewhere(look, owned)]
    if job.schedule is None:
        return [Reason("no-schedule", _without_schedule(job))]
    pause = (await system.pauses(look.connection, look.now)).get(job.name)
    if pause is not None:
        held = look.paused(pause)
        text = gettext("It is paused %(held)s. It can be run by hand.", held=held)
        return [Reason("paused", text)]
    ended: Sequence[Run] = ()
    busy: Sequence[int] = ()
    if isinstance(job.schedule, AfterRunSchedule):
        has_ended = job_run.c.StartedAt.is_not(None), job_run.c.CompletedAt.is_not(None)
        ended = (await runs.recent_runs(look.connection, [job.name], 1, *has_ended))[job.name]
        busy = (await slots.busy_runs(look.connection, [job.name]))[job.name]
    coming = next_run(job, now=look.now, pause=None, recent=ended, busy=bool(busy))
    last = await _last_slot(look, job)
    before = await _overlaps(look, last)
    reasons = [*await _no_scheduler(look, job), *before, *_next_slot(look, job, coming, busy)]
    return [*reasons, *([] if before else last)]


async def _overlaps(look: Look, last: Sequence[Reason]) -> list[Reason]:
    """Keep the reason of a skipped slot while the run that was in its way goes on: it decides about the next slot too."""
    reason = next((one for one in last if one.kind == "overlap"), None)
    blocker = None
    if reason is not None and len(reason.runs) > 1:
        blocker = await runs.get_run(look.connection, reason.runs[1])
    return [reason] if reason is not None and blocker is not None and not blocker.final else []


def _without_schedule(job: JobDefinition) -> str:
    """When it runs; which jobs it follows is not for everybody to see."""
    if job.after:
        return gettext(
            "It has no schedule: it runs when the jobs that it follows have succeeded, or when somebody asks."
        )
    return gettext("It has no schedule: it runs when somebody asks.")


async def _no_scheduler(look: Look, job: JobDefinition) -> list[Reason]:
    """Whether a slot has passed that nobody has handled, or no node is up."""
    behind = await late.late_slots(look.connection, [job], (), look.now)
    alive = [one for one in await system.servers(look.connection) if is_alive(look, one)]
    if unable := no_able_server(look, alive):
        return unable
    if behind:
        text = gettext(
            "%(late)s: no server that is up creates runs.", late=humanize.sentence(behind[0].detail)
        )
        return [*await locked(look), Reason("late", text)]
    return []


def _next_slot(
    look: Look, job: JobDefinition, coming: datetime | None, busy: Sequence[int]
) -> list[Reason]:
    if coming is not None:
        own = parse_zone(job.timezone)
        text = gettext("Its next slot is %(when)s.", when=look.at(coming))
        if own != look.zone:
            text = gettext(
                "Its next slot is %(when)s, %(time)s in %(zone)s.",
                when=look.at(coming),
                time=humanize.clock(coming, look.now, own),
                zone=job.timezone,
            )
        calendar = calendars.reasons_of_slot(job, coming, look.now)
        return [Reason("next-slot", text), *calendar, *_clock_change(look, job, coming)]
    if isinstance(job.schedule, AfterRunSchedule):
        text = gettext("Its next slot is counted from the end of its run.")
        return [Reason("after-run", text, tuple(busy))]
    if closed := list(calendars.closed_for_good(job, look.now)):
        return closed
    if isinstance(_alone(job.schedule), OnceSchedule):
        return [Reason("over", gettext("Its only slot has passed."))]
    return [
        Reason(
            "dead-schedule",
            gettext(
                "Its schedule %(schedule)s names no day that ever comes, such as 31 February.",
                schedule=job.schedule_text,
            ),
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
    local = change.at.astimezone(zone)
    day = f"{humanize.weekday(local)} {humanize.day_and_month(local)}"
    if change.size > timedelta(0):
        text = gettext(
            "The clocks of %(zone)s change on %(day)s; an hour is left out:"
            " a time in it comes at the first minute that there is.",
            zone=job.timezone,
            day=day,
        )
    else:
        text = gettext(
            "The clocks of %(zone)s change on %(day)s; an hour comes twice:"
            " a fixed time in it runs once, in the first of them.",
            zone=job.timezone,
            day=day,
        )
    return [Reason("clock-change", text)]


async def _last_slot(look: Look, job: JobDefinition) -> list[Reason]:
    """What became of its last slot, if it had no run."""
    newest = await runs.recent_runs(
        look.connection, [job.name], 1, job_run.c.ScheduledFor.is_not(None)
    )
    last = next(iter(newest[job.name]), None)
    if last is None or last.state not in {RunState.SKIPPED, RunState.MISSED}:
        return []
    [reason] = of_final(look, last, job)
    slot = look.at(last.scheduled_for or last.due_at)
    text = gettext("Its slot of %(slot)s: %(reason)s", slot=slot, reason=reason.text)
    return [Reason(reason.kind, text, (last.id, *reason.runs))]
