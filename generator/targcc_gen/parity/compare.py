"""Would each job still run when it used to? The old server's reading of its row beside the new schedule, for thirteen months.

The old server is modelled as a program that looks once a minute whether a row is due, by the wall clock of its machine. What it really
did in the night when clocks change is not known; the model says: a minute that the clock skips in spring never comes, a minute that
comes twice in autumn is due twice.
"""

from __future__ import annotations

import calendar
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules import (
    CronError,
    CronSchedule,
    EverySchedule,
    OnceSchedule,
    Schedule,
)

from targcc_gen.parity.clock_changes import ClockChange, clock_changes
from targcc_gen.parity.readings import read_as
from targcc_gen.sources.model import Import, ImportedJob, OldJob, OldSchedule
from targcc_gen.spec import JobSpec

MODEL = (
    "The old server is modelled as cron in its local wall time, polled once a minute: a minute skipped in spring never"
    " comes, a minute repeated in autumn comes twice."
)
_MONTHS = 13
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the old and the new schedule part for the first time.

    ``kind`` is ``spring``, ``autumn``, ``day and weekday``, ``seconds`` or ``calendar``; ``old`` and ``new`` say what happens
    then, in words.
    """

    job: ImportedJob
    kind: str
    at: datetime
    old: str
    new: str


def horizon(start: datetime) -> datetime:
    """Thirteen months later."""
    month = start.month - 1 + _MONTHS
    year, month = start.year + month // 12, month % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return start.replace(year=year, month=month, day=day)


def schedule_of(spec: JobSpec, zone: ZoneInfo) -> Schedule | None:
    """The new schedule of a job; None if nothing but an event or its own end starts it."""
    if spec.cron is not None:
        return CronSchedule.parse(spec.cron)
    if spec.every is not None and spec.after is None:
        return EverySchedule(spec.every, spec.anchor)
    if spec.at is not None:
        return OnceSchedule(spec.at if spec.at.tzinfo else spec.at.replace(tzinfo=zone))
    return None


def next_runs(spec: JobSpec, zone: ZoneInfo, now: datetime, count: int) -> list[datetime]:
    """The next times a job would run, were it not paused."""
    schedule = schedule_of(spec, zone)
    if schedule is None:
        return []
    moments = schedule.iter(now, zone)
    return [moment for moment, _ in zip(moments, range(count), strict=False)]


def differences(result: Import) -> list[Difference]:
    """The jobs that would not run exactly as before over the next thirteen months, each with its first witness."""
    options = result.options
    found = (difference(job, options.zone, options.now) for job in result.all_jobs)
    return [one for one in found if one is not None]


def compared(result: Import) -> int:
    """How many jobs have a schedule that can be compared."""
    return sum(
        job.spec.cron is not None and job.old.schedule is not OldSchedule.NONE
        for job in result.all_jobs
    )


def difference(job: ImportedJob, zone: ZoneInfo, start: datetime) -> Difference | None:
    """The first moment of the next thirteen months at which old and new part; None if they never do, or nothing can be said.

    Args:
        job: The job.
        zone: The old server's zone.
        start: From when; aware.
    """
    if job.spec.cron is None or job.old.schedule is OldSchedule.NONE:
        return None
    new = CronSchedule.parse(job.spec.cron)
    end = horizon(start)
    if job.old.schedule is OldSchedule.CRON:
        found = _seconds(job, new, zone, start) or _either_day(job, new, zone, start, end)
        return found or _clock_changes(job, new, zone, start, end)
    old = _CALENDARS[job.old.schedule](job.old, start.astimezone(zone).replace(tzinfo=None))
    first = _first_apart(job, old, new, start.astimezone(zone), end)
    return first or _clock_changes(job, new, zone, start, end)


# --- The same expression on both sides: only clock changes and readings can differ -----------------------------------


def _seconds(
    job: ImportedJob, new: CronSchedule, zone: ZoneInfo, start: datetime
) -> Difference | None:
    if new.second == 1:
        return None
    first = new.next(start, zone)
    assert first is not None
    text = "once in that minute, as the old server looked once a minute"
    return Difference(job, "seconds", first, text, "at the second it names")


def _either_day(
    job: ImportedJob, new: CronSchedule, zone: ZoneInfo, start: datetime, end: datetime
) -> Difference | None:
    """Day and weekday both given: classic cron runs on either, Cronos on both."""
    try:
        either = read_as(job.old.schedule_text, "vixie").schedules
    except CronError:  # written for another reader
        return None
    if len(either) == 1:
        return None
    for moment in heapq.merge(*(schedule.iter(start, zone) for schedule in either)):
        if moment >= end:
            return None
        if not new.matches(moment):
            old = "runs, if the old server read day OR weekday, as classic cron does"
            none = "does not run: day AND weekday must match"
            return Difference(job, "day and weekday", moment, old, none)
    return None


def _clock_changes(
    job: ImportedJob, new: CronSchedule, zone: ZoneInfo, start: datetime, end: datetime
) -> Difference | None:
    """Away from a clock change, equal expressions agree; so only the days around one are compared."""
    for night in _nights(zone, start, end):
        low, high = night.at - _DAY, night.at + _DAY
        old = _wall_minutes(new, zone, low, high)
        mine = set(new.between(low, high, zone))
        apart = sorted(old ^ mine)
        if apart:
            return _at_change(job, apart[0].astimezone(zone), new, night, ran=apart[0] in old)
    return None


def _at_change(
    job: ImportedJob,
    at: datetime,
    new: CronSchedule,
    night: ClockChange,
    *,
    ran: bool,
) -> Difference:
    """``at`` is in the old server's zone; ``ran``: the old server ran the job then."""
    clock = f"{at:%H:%M}"
    if night.size > timedelta(0):
        wall = _first_skipped(new, night)
        skipped = f"nothing at {wall:%H:%M}: " if wall else "did not run: "
        return Difference(
            job, "spring", at, f"{skipped}{night}", f"runs at {clock}, right after the gap"
        )
    if ran:
        text = f"ran a second time at {clock}: {night}"
        return Difference(job, "autumn", at, text, f"runs once, at the first {clock}")
    return Difference(job, "autumn", at, f"did not run: {night}", f"runs at {clock}")


def _first_skipped(schedule: CronSchedule, night: ClockChange) -> datetime | None:
    """The first matching time of the wall clock that a spring night leaves out."""
    skipped = schedule.between(night.at + night.before, night.at + night.after, UTC)
    return next(iter(skipped), None)


def _wall_minutes(
    schedule: CronSchedule, zone: ZoneInfo, low: datetime, high: datetime
) -> set[datetime]:
    """Every instant between two at which the wall clock shows a time that matches."""
    first = low.astimezone(zone).replace(tzinfo=UTC, fold=0) - _DAY / 4
    last = high.astimezone(zone).replace(tzinfo=UTC, fold=0) + _DAY / 4
    found: set[datetime] = set()
    for shown in schedule.between(first, last, UTC):
        found.update(moment for moment in _instants(shown, zone) if low <= moment < high)
    return found


def _instants(shown: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants at which the zone's clocks show a wall time: none in a gap, two where it comes twice."""
    wall = shown.replace(tzinfo=None)
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return [m for m in sorted(both) if m.astimezone(zone).replace(tzinfo=None, fold=0) == wall]


@lru_cache(maxsize=8)
def _nights(zone: ZoneInfo, start: datetime, end: datetime) -> tuple[ClockChange, ...]:
    return tuple(clock_changes(zone, start, end))


# --- Calendars of the classic runner ----------------------------------------------------------------------------------


def _daily(old: OldJob, start: datetime) -> Iterator[datetime]:
    assert old.when is not None
    moment = datetime.combine(start.date(), old.when.time().replace(second=0, microsecond=0))
    while True:
        yield moment
        moment += _DAY


def _monthly(old: OldJob, start: datetime) -> Iterator[datetime]:
    """A month is added each time; a day that was clipped stays clipped."""
    assert old.when is not None
    moment = _on_day(start, old.when.day, old.when)
    while True:
        yield moment
        after = (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
        moment = _on_day(after, moment.day, old.when)


def _annually(old: OldJob, start: datetime) -> Iterator[datetime]:
    assert old.when is not None
    for year in range(start.year, start.year + 3):
        yield _on_day(start.replace(year=year, month=old.when.month, day=1), old.when.day, old.when)


def _on_day(month: datetime, day: int, clock: datetime) -> datetime:
    last = calendar.monthrange(month.year, month.month)[1]
    return month.replace(
        day=min(day, last), hour=clock.hour, minute=clock.minute, second=0, microsecond=0
    )


_CALENDARS: dict[OldSchedule, Callable[[OldJob, datetime], Iterator[datetime]]] = {
    OldSchedule.DAILY: _daily,
    OldSchedule.MONTHLY: _monthly,
    OldSchedule.ANNUALLY: _annually,
}


def _first_apart(
    job: ImportedJob, old: Iterator[datetime], new: CronSchedule, start: datetime, end: datetime
) -> Difference | None:
    """Compare days by the wall clock; what clock changes do to a day is for ``_clock_changes``.

    ``start`` is in the old server's zone.
    """
    zone = start.tzinfo
    low, high = start.replace(tzinfo=None), end.astimezone(zone).replace(tzinfo=None)
    olds = {moment for moment in takewhile(lambda moment: moment < high, old) if moment > low}
    wall = new.between(low.replace(tzinfo=UTC), high.replace(tzinfo=UTC), UTC)
    news = {moment.replace(tzinfo=None) for moment in wall if moment.replace(tzinfo=None) > low}
    apart = sorted(olds ^ news)
    if not apart:
        return None
    at = apart[0].replace(tzinfo=zone)
    if apart[0] in olds:
        return Difference(job, "calendar", at, f"ran ({job.old.schedule_text})", "does not run")
    return Difference(job, "calendar", at, f"did not run ({job.old.schedule_text})", "runs")
