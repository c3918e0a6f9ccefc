"""The shadow report: the slots of jobs that only look on here, beside what the old server did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ...scheduler import Scheduler
from ...schedules.base import Schedule
from ...schedules.intervals import AfterRunSchedule, AfterStartSchedule
from ...schedules.zones import naive, resolve
from . import owners
from .old_server import OldRun, OldServer
from .owners import Owner, Ownership

TOLERANCE = timedelta(seconds=90)
"""How much later than its slot the old server may begin a run: it polls, and does one job at a time."""
EARLY = timedelta(seconds=2)
"""How much earlier: the clocks of two machines differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A run that only one side has.

    Args:
        at: The slot here, or the start there.
        here: Whether it is a slot here that nothing was begun for there; else the other way round.
    """

    job: str
    at: datetime
    here: bool


@dataclass(frozen=True, slots=True)
class Day:
    """A day by the old server's clock.

    Args:
        date: Which.
        over: Whether all of it has been compared.
        same: How many slots were begun there.
        differences: What only one side has.
    """

    date: date
    over: bool
    same: int
    differences: tuple[Difference, ...]

    @property
    def clean(self) -> bool:
        """Whether it counts: something was compared, and all of it is the same."""
        return self.over and self.same > 0 and not self.differences


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What the comparison came to.

    Args:
        jobs: The jobs that were compared.
        uncompared: Jobs that look on and cannot be compared: without a schedule, or counted from the end of runs that the log does not tell.
        days: The days, oldest first.
        latest: The longest time from a slot to its start there.
    """

    jobs: tuple[str, ...]
    uncompared: tuple[str, ...]
    days: tuple[Day, ...]
    latest: timedelta

    @property
    def clean_days(self) -> int:
        """How many days in a row were clean up to now; a day on which nothing was due neither counts nor breaks the row."""
        count = 0
        for day in reversed(self.days):
            if day.differences:
                break
            count += day.clean
        return count


async def shadow_report(
    scheduler: Scheduler,
    old: OldServer,
    *,
    tolerance: timedelta = TOLERANCE,
) -> ShadowReport:
    """Compare what both sides have done since all the jobs look on here.

    Args:
        scheduler: This side.
        old: The other side.
        tolerance: See :data:`TOLERANCE`.
    """
    owned = await scheduler.read(owners.load)
    looking = [one for one in owned.values() if one.owner is Owner.SHADOW]
    compared = [one for one in looking if _schedule_of(scheduler, one) is not None]
    rest = [one.job for one in looking if one not in compared]
    now = scheduler.clock.now()
    if not compared:
        return ShadowReport((), tuple(rest), (), timedelta())
    first = old.clock.wall(max(one.since for one in compared)).date() + timedelta(days=1)
    since = _midnight(old, first)
    names = [one.job for one in compared]
    slots = await scheduler.read(lambda db: owners.recorded(db, names, since - tolerance, now))
    earlier = max((_counts_from(scheduler, one) for one in compared), default=timedelta())
    ran = await asyncio.to_thread(_all_runs, old, since - tolerance - earlier, now)
    tally = _Tally(old, since, now - tolerance)
    for one in compared:
        schedule, runs = _schedule_of(scheduler, one), ran.get(str(one.old_key), [])
        if not isinstance(schedule, AfterRunSchedule):
            starts = [run.started for run in runs if run.started >= since - tolerance]
            tally.compare(one.job, slots[one.job], starts, tolerance)
        elif not (isinstance(schedule, AfterStartSchedule) or _ends(runs)):
            rest.append(one.job)
        else:
            tally.compare_intervals(one.job, schedule, runs, tolerance)
    names = [name for name in names if name not in rest]
    return ShadowReport(tuple(names), tuple(rest), tally.days(first), tally.latest)


class _Tally:
    """Counts by day.

    Args:
        old: Whose days.
        since: From here on.
        until: What lies after this may still be begun.
    """

    def __init__(self, old: OldServer, since: datetime, until: datetime) -> None:
        self.latest = timedelta()
        self._old = old
        self._since = since
        self._until = until
        self._same: dict[date, int] = {}
        self._different: dict[date, list[Difference]] = {}

    def compare(
        self,
        job: str,
        slots: Sequence[datetime],
        starts: Sequence[datetime],
        tolerance: timedelta,
    ) -> None:
        """Give each slot, oldest first, the first start that may be its own."""
        left = sorted(starts)
        for slot in slots:
            while left and left[0] < slot - EARLY:
                self._note(job, left.pop(0), here=False)
            if left and left[0] <= slot + tolerance:
                self._count(slot, left.pop(0))
            else:
                self._note(job, slot, here=True)
        for start in left:
            self._note(job, start, here=False)

    def compare_intervals(
        self, job: str, schedule: AfterRunSchedule, runs: Sequence[OldRun], tolerance: timedelta
    ) -> None:
        """Look whether each run, oldest first, began when it would have here after the run before it there."""
        zone = self._old.clock.zone
        due = None
        for run in runs:
            if due is not None:
                if due - EARLY <= run.started <= due + tolerance:
                    self._count(due, run.started)
                elif run.started < due:
                    self._note(job, run.started, here=False)
                else:
                    self._note(job, due, here=True)
            known = run.ended is not None or isinstance(schedule, AfterStartSchedule)
            ended = run.ended or run.started
            due = schedule.following(run.started, ended, zone) if known else None
        if due is not None:  # a later one would have been begun by now
            self._note(job, due, here=True)

    def days(self, first: date) -> tuple[Day, ...]:
        """The days from the first one to the last that has begun."""
        last = self._old.clock.wall(self._until).date()
        found = []
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            different = sorted(self._different.get(day, []), key=lambda one: one.at)
            found.append(Day(day, day < last, self._same.get(day, 0), tuple(different)))
        return tuple(found)

    def _count(self, slot: datetime, start: datetime) -> None:
        if self._since <= slot <= self._until:
            day = self._old.clock.wall(slot).date()
            self._same[day] = self._same.get(day, 0) + 1
            self.latest = max(self.latest, start - slot)

    def _note(self, job: str, at: datetime, *, here: bool) -> None:
        if self._since <= at <= self._until:
            day = self._old.clock.wall(at).date()
            self._different.setdefault(day, []).append(Difference(job, at, here))


def _all_runs(old: OldServer, since: datetime, until: datetime) -> dict[str, list[OldRun]]:
    """The runs of the log, and those that are not over: they are in the log when they have ended."""
    found = old.runs(since, until)
    for key, row in old.rows().items():
        begun, at = found.setdefault(key, []), row.last_run if row.running else None
        before = begun[-1].started if begun else since
        if at is not None and before < at < until:
            begun.append(OldRun(at, None))
    return found


def _ends(runs: Sequence[OldRun]) -> bool:
    """Whether the log says when runs ended; the last one may not be over."""
    return all(run.ended is not None for run in runs[:-1])


def _schedule_of(scheduler: Scheduler, one: Ownership) -> Schedule | None:
    definition = scheduler.definitions.get(one.job)
    return None if definition is None else definition.schedule


def _counts_from(scheduler: Scheduler, one: Ownership) -> timedelta:
    """How long before a day the run may lie from which its first one is counted."""
    schedule = _schedule_of(scheduler, one)
    return schedule.delay if isinstance(schedule, AfterRunSchedule) else timedelta()


def _midnight(old: OldServer, day: date) -> datetime:
    return resolve(naive(day.year, day.month, day.day), old.clock.zone)
