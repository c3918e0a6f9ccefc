"""Compare the new schedule of each job with a simulation of its old runner over thirteen months."""

from __future__ import annotations

import calendar
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.base import Schedule
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.intervals import EverySchedule, OnceSchedule

from targcc_gen.parity.entries import entry_differences
from targcc_gen.parity.shapes import ClassicParity, Difference, cron_differences
from targcc_gen.sources.c_job.tables import Shape, shape_of
from targcc_gen.sources.model import Import, ImportedJob, Rejection, Simulation
from targcc_gen.sources.past_runs import RunLog
from targcc_gen.spec import JobSpec

# The comparison.

__all__ = ["Difference", "compared", "differences", "horizon", "next_runs", "schedule_of"]

_C_JOB_MODEL = (
    "The old runner is simulated from its own rules, row by row, on the wall clock of its machine, and compared slot by slot. Rows of"
    " TARGCC 4 run when NextRunTime has passed: a time in the gap runs right after it, and cycles stand still in the repeated hour. Rows"
    " with a cron text are looked at once a minute. A run takes as long as half of its runs in the history did at the most."
)
_MONTHS = 13


def horizon(start: datetime) -> datetime:
    """Return the time thirteen months after ``start``."""
    month = start.month - 1 + _MONTHS
    year, month = start.year + month // 12, month % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return start.replace(year=year, month=month, day=day)


def schedule_of(spec: JobSpec) -> Schedule | None:
    """Return the new schedule of a job, by the clock of ``zone_of``; None if only an event or its own last run starts the job."""
    if spec.cron is not None:
        return CronSchedule.parse(spec.cron)
    if spec.every is not None and spec.after is None:
        return EverySchedule(spec.every, spec.anchor)
    if spec.at is not None:
        return OnceSchedule(spec.at)
    return None


def zone_of(spec: JobSpec, zone: ZoneInfo) -> ZoneInfo:
    """Return the zone of a job's schedule; default: the old server's zone."""
    return ZoneInfo(spec.timezone) if spec.timezone else zone


def next_runs(spec: JobSpec, zone: ZoneInfo, now: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` run times of a job, as if not paused."""
    schedule = schedule_of(spec)
    return [] if schedule is None else list(islice(schedule.iter(now, zone_of(spec, zone)), count))


def model_of(result: Import) -> str:
    """Return the rules by which the old runner is simulated."""
    return _C_JOB_MODEL if result.simulation is None else result.simulation.model


def differences(result: Import) -> list[Difference]:
    """Return the differences between old and new runs over the next thirteen months: the first moment of each kind, for each job."""
    start, end = result.options.now, horizon(result.options.now)
    found = (
        _of_c_job(result, start, end)
        if result.simulation is None
        else _simulated(result, result.simulation, start, end)
    )
    order = {job.key: place for place, job in enumerate(result.all_jobs)}
    return sorted(found, key=lambda item: (order[item.job.key], item.at))


def compared(result: Import) -> int:
    """Count the jobs whose schedules can be compared."""
    if result.simulation is not None:
        return sum(schedule_of(job.spec) is not None for job in result.all_jobs)
    classic = sum(job.old.managed for job in result.all_jobs if _is_classic(job))
    return classic + sum(1 for _ in _with_cron(result))


def _simulated(
    result: Import, simulation: Simulation, start: datetime, end: datetime
) -> Iterator[Difference]:
    """Yield the differences of each entry of the old scheduler, whose jobs together have its starts."""
    entries: dict[str, list[ImportedJob]] = {}
    for job in result.all_jobs:
        entries.setdefault(job.row.place, []).append(job)
    for jobs in entries.values():
        schedules = [
            (
                job,
                schedule_of(job.spec),
                zone_of(job.spec, result.options.zone),
            )
            for job in jobs
        ]
        yield from entry_differences(schedules, partial(simulation.starts, jobs[0]), start, end)


def _of_c_job(result: Import, start: datetime, end: datetime) -> list[Difference]:
    options = result.options
    classic = [job for job in result.all_jobs if _is_classic(job)]
    pairs = [(job, schedule_of(job.spec)) for job in classic]
    all_differences: list[Difference] = []
    if pairs:
        logs = {job.key: log for job in classic if (log := _log_of(result, job)) is not None}
        refused = [item for item in result.rejected if _held_a_runner(item)]
        all_differences += ClassicParity(
            pairs, options, start, end, logs=logs, refused=refused
        ).differences()
    for job in _with_cron(result):
        log = _log_of(result, job)
        length = (log.usual() if log is not None else None) or timedelta(0)
        all_differences += cron_differences(job, options, start, end, length)
    return all_differences


def _log_of(result: Import, job: ImportedJob) -> RunLog | None:
    past = result.history.of(job.old.id, job.old.name)
    return past.log if past is not None else None


def _held_a_runner(rejection: Rejection) -> bool:
    """Return whether the old runner took a row that became no job."""
    row = rejection.row
    return row is not None and not rejection.deleted and shape_of(row.values) is Shape.CLASSIC


def _is_classic(job: ImportedJob) -> bool:
    return shape_of(job.row.values.keys()) is Shape.CLASSIC


def _with_cron(result: Import) -> Iterator[ImportedJob]:
    return (job for job in result.all_jobs if not _is_classic(job) and job.spec.cron is not None)


# Jobs of the same old runner that can now run side by side. The old runner ran one job at a time, and procedures may rely on that.

SPAN = timedelta(days=35)
"""The period of the check: long enough for a month's end and every weekday."""
_MOST_SLOTS = 2000


@dataclass(frozen=True, slots=True)
class Meeting:
    """A start that meets a run of another job of the same runner.

    Attributes:
        at: The start's due time.
        job: The job that is due.
        other: The job that still runs, or begins at the same time.
    """

    at: datetime
    job: ImportedJob
    other: ImportedJob


@dataclass(frozen=True, slots=True)
class RunnerQueue:
    """An old runner's jobs and their queue.

    Attributes:
        runner: The runner.
        queue: The queue of the runner's jobs.
        workers: The number of concurrent jobs of the queue.
        jobs: The number of active jobs.
        meetings: The number of starts in the next five weeks that meet a run of another job; runs take their longest known duration.
        first: The first meeting.
        longest_wait: The longest wait of a start.
    """

    runner: str
    queue: str
    workers: int
    jobs: int
    meetings: int = 0
    first: Meeting | None = None
    longest_wait: timedelta = timedelta(0)


def runner_queues(result: Import) -> list[RunnerQueue]:
    """Return each old runner's queue, with the starts that meet another run."""
    jobs: dict[str, list[ImportedJob]] = {}
    for job in result.jobs:
        if job.old.runner and job.spec.queue in result.queues:
            jobs.setdefault(job.spec.queue, []).append(job)
    return [_used(result, queue, members) for queue, members in jobs.items()]


def _used(result: Import, queue: str, jobs: list[ImportedJob]) -> RunnerQueue:
    now = result.options.now
    free_at, holder, started = now, jobs[0], now - SPAN
    meetings, first, longest = 0, None, timedelta(0)
    slots = (_slots(result, job, place) for place, job in enumerate(jobs))
    for at, place in heapq.merge(*slots):
        job = jobs[place]
        if job is not holder and (at < free_at or at == started):
            meetings += 1
            first = first or Meeting(at, job, holder)
            longest = max(longest, free_at - at)
        started, holder = at, job
        free_at = max(free_at, at) + longest_run(result, job)
    runner, workers = jobs[0].old.runner, result.queues[queue]
    return RunnerQueue(runner, queue, workers, len(jobs), meetings, first, longest)


def _slots(result: Import, job: ImportedJob, place: int) -> Iterator[tuple[datetime, int]]:
    """Return the due times of a job in the next five weeks, with the job's place."""
    return ((slot, place) for slot in islice(due_times(result, job), _MOST_SLOTS))


def due_times(result: Import, job: ImportedJob) -> Iterator[datetime]:
    """Return the due times of a job in the next five weeks, in UTC, as if nothing delays the job."""
    options = result.options
    schedule = schedule_of(job.spec)
    if job.spec.every is not None and job.spec.after is not None:
        schedule = EverySchedule(job.spec.every, options.now)
    if schedule is None:
        return iter(())
    slots = schedule.between(options.now, options.now + SPAN, zone_of(job.spec, options.zone))
    return (slot.astimezone(UTC) for slot in slots)


def longest_run(result: Import, job: ImportedJob) -> timedelta:
    """Return the longest known duration of a job's runs; zero without a history."""
    past = result.history.of(job.old.id, job.old.name)
    return past.longest if past is not None else timedelta(0)
