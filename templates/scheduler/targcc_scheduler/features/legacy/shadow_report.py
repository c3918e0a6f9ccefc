"""Compare recorded slots of jobs in shadow with the runs of the old server, day by day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ...kernel import job_owner as owners
from ...kernel.job_owner import Owner, Ownership
from ...scheduler import Scheduler
from ...schedules.base import Schedule
from ...schedules.intervals import AfterRunSchedule, AfterStartSchedule
from ...schedules.zones import naive, resolve
from .old_server import OldRun, OldServer

TOLERANCE = timedelta(seconds=90)
"""Maximum delay from a slot to the start on the old server, which polls and runs one job at a time."""
EARLY = timedelta(seconds=2)
"""Maximum time by which the old server may start before the slot, since the clocks of two machines differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Slot or start without a counterpart on the other side.

    Args:
        job: Name of the job.
        at: The slot here, or the start on the old server.
        here: ``True``: a slot here without a start on the old server; ``False``: a start on the old server without a slot here.
    """

    job: str
    at: datetime
    here: bool


@dataclass(frozen=True, slots=True)
class Day:
    """Comparison of one day by the old server's clock.

    Args:
        date: The day.
        over: Whether the whole day has been compared.
        same: Number of slots with a matching start on the old server.
        differences: Slots and starts without a counterpart.
    """

    date: date
    over: bool
    same: int
    differences: tuple[Difference, ...]

    @property
    def clean(self) -> bool:
        """Return whether the day is over, has at least one match and has no difference."""
        return self.over and self.same > 0 and not self.differences


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Result of the comparison.

    Args:
        jobs: Compared jobs.
        uncompared: Jobs in shadow that cannot be compared: jobs without a schedule, and jobs whose schedule counts from the end of runs
            while the old log has no end times.
        days: Compared days, oldest first.
        latest: Longest delay from a slot to its start on the old server.
    """

    jobs: tuple[str, ...]
    uncompared: tuple[str, ...]
    days: tuple[Day, ...]
    latest: timedelta

    @property
    def clean_days(self) -> int:
        """Return the number of consecutive clean days up to now; a day without slots neither counts nor ends the sequence."""
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
    """Compare both sides from the first full day on which all compared jobs were in shadow.

    Args:
        scheduler: This scheduler.
        old: The old server.
        tolerance: See :data:`TOLERANCE`.
    """
    owned = await scheduler.read(owners.load)
    looking = [ownership for ownership in owned.values() if ownership.owner is Owner.SHADOW]
    compared = [
        ownership for ownership in looking if _schedule_of(scheduler, ownership) is not None
    ]
    rest = [ownership.job for ownership in looking if ownership not in compared]
    now = scheduler.clock.now()
    if not compared:
        return ShadowReport((), tuple(rest), (), timedelta())
    first = old.clock.wall(max(ownership.since for ownership in compared)).date() + timedelta(
        days=1
    )
    since = _midnight(old, first)
    names = [ownership.job for ownership in compared]
    slots = await scheduler.read(lambda db: owners.recorded(db, names, since - tolerance, now))
    earlier = max(
        (_counts_from(scheduler, ownership) for ownership in compared), default=timedelta()
    )
    ran = await asyncio.to_thread(_all_runs, old, since - tolerance - earlier, now)
    tally = _Tally(old, since, now - tolerance)
    for ownership in compared:
        schedule, runs = _schedule_of(scheduler, ownership), ran.get(str(ownership.old_key), [])
        if not isinstance(schedule, AfterRunSchedule):
            starts = [run.started for run in runs if run.started >= since - tolerance]
            tally.compare(ownership.job, slots[ownership.job], starts, tolerance)
        elif not (isinstance(schedule, AfterStartSchedule) or _ends(runs)):
            rest.append(ownership.job)
        else:
            tally.compare_intervals(ownership.job, schedule, runs, tolerance)
    names = [name for name in names if name not in rest]
    return ShadowReport(tuple(names), tuple(rest), tally.days(first), tally.latest)


class _Tally:
    """Count matches and differences by day.

    Args:
        old: The old server, whose clock defines the days.
        since: Start of the comparison.
        until: End of the comparison; the old server may still start later slots.
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
        """Match each slot, oldest first, with the first start within the tolerance; count matches and differences."""
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
        """Check the start of each run, oldest first: compute the due time from the previous run on the old server, and compare."""
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
        if due is not None:  # the next run should have started by now
            self._note(job, due, here=True)

    def days(self, first: date) -> tuple[Day, ...]:
        """Return the days from ``first`` to the day of the comparison's end."""
        last = self._old.clock.wall(self._until).date()
        days = []
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            different = sorted(self._different.get(day, []), key=lambda one: one.at)
            days.append(Day(day, day < last, self._same.get(day, 0), tuple(different)))
        return tuple(days)

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
    """Return the runs of the old log by row ID, and the running runs, which the log contains only after their end."""
    runs = old.runs(since, until)
    for key, row in old.rows().items():
        begun, at = runs.setdefault(key, []), row.last_run if row.running else None
        before = begun[-1].started if begun else since
        if at is not None and before < at < until:
            begun.append(OldRun(at, None))
    return runs


def _ends(runs: Sequence[OldRun]) -> bool:
    """Return whether the log has the end of every run except the last, which may still be running."""
    return all(run.ended is not None for run in runs[:-1])


def _schedule_of(scheduler: Scheduler, owner: Ownership) -> Schedule | None:
    definition = scheduler.definitions.get(owner.job)
    return None if definition is None else definition.schedule


def _counts_from(scheduler: Scheduler, owner: Ownership) -> timedelta:
    """Return the schedule's delay after the previous run: the day's first run may count from a run that much earlier."""
    schedule = _schedule_of(scheduler, owner)
    return schedule.delay if isinstance(schedule, AfterRunSchedule) else timedelta()


def _midnight(old: OldServer, day: date) -> datetime:
    return resolve(naive(day.year, day.month, day.day), old.clock.zone)
