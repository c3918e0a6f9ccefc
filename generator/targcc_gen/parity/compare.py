"""Would each job still run when it used to? The old runner, simulated from its own rules, beside the new schedule, for thirteen months."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.base import Schedule
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.intervals import EverySchedule, OnceSchedule

from targcc_gen.parity.classic_shape import ClassicParity
from targcc_gen.parity.cron_shape import cron_differences
from targcc_gen.parity.difference import Difference
from targcc_gen.sources.c_job.tables import Shape, shape_of
from targcc_gen.sources.model import Import, ImportedJob, Rejection
from targcc_gen.sources.past import RunLog
from targcc_gen.spec import JobSpec

__all__ = ["MODEL", "Difference", "compared", "differences", "horizon", "next_runs", "schedule_of"]

MODEL = (
    "The old runner is simulated from its own rules, row by row, on the wall clock of its machine, and compared slot by slot. Rows of"
    " TARGCC 4 run when NextRunTime has passed: a time in the gap runs right after it, and cycles stand still in the repeated hour. Rows"
    " with a cron text are looked at once a minute. A run takes as long as half of its runs in the history did at the most."
)
_MONTHS = 13


def horizon(start: datetime) -> datetime:
    """Thirteen months later."""
    month = start.month - 1 + _MONTHS
    year, month = start.year + month // 12, month % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return start.replace(year=year, month=month, day=day)


def schedule_of(spec: JobSpec, zone: ZoneInfo) -> Schedule | None:
    """The new schedule of a job; None if nothing but an event or its own last run starts it."""
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
    return [] if schedule is None else list(islice(schedule.iter(now, zone), count))


def differences(result: Import) -> list[Difference]:
    """Where jobs would not run exactly as before over the next thirteen months: of each kind of difference the first witness."""
    options = result.options
    start, end = options.now, horizon(options.now)
    classic = [job for job in result.all_jobs if _is_classic(job)]
    pairs = [(job, schedule_of(job.spec, options.zone)) for job in classic]
    found: list[Difference] = []
    if pairs:
        logs = {job.key: log for job in classic if (log := _log_of(result, job)) is not None}
        refused = [one for one in result.rejected if _held_a_runner(one)]
        found += ClassicParity(pairs, options, start, end, logs=logs, refused=refused).differences()
    for job in _with_cron(result):
        log = _log_of(result, job)
        length = (log.usual() if log is not None else None) or timedelta(0)
        found += cron_differences(job, options, start, end, length)
    order = {job.key: place for place, job in enumerate(result.all_jobs)}
    return sorted(found, key=lambda one: (order[one.job.key], one.at))


def compared(result: Import) -> int:
    """How many jobs have a schedule that can be compared."""
    classic = sum(job.old.managed for job in result.all_jobs if _is_classic(job))
    return classic + sum(1 for _ in _with_cron(result))


def _log_of(result: Import, job: ImportedJob) -> RunLog | None:
    past = result.history.of(job.old.id, job.old.name)
    return past.log if past is not None else None


def _held_a_runner(rejection: Rejection) -> bool:
    """Whether the old runner took a row that became no job."""
    row = rejection.row
    return row is not None and not rejection.deleted and shape_of(row.values) is Shape.CLASSIC


def _is_classic(job: ImportedJob) -> bool:
    return shape_of(job.row.values.keys()) is Shape.CLASSIC


def _with_cron(result: Import) -> Iterator[ImportedJob]:
    return (job for job in result.all_jobs if not _is_classic(job) and job.spec.cron is not None)
