"""Questions to the owner of a ``c_Job`` table, and advice about settings that were kept from the old server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from targcc_scheduler.schedules.words import format_duration

from targcc_gen.readers import rows as reader_rows
from targcc_gen.sources.c_job.tables import Shape, shape_of
from targcc_gen.sources.model import Import

_WEEKLY = (
    "Was csTaskManager.vb changed in your copy? The original drops the weekday of Weekly, hangs at month ends and on 29 February, and counts"
    " minutes and seconds from a run's start. --weekly says how your copy reads Weekly."
)
_CLAIM = (
    "Does c_JobUpdateSetToInProcess write the start of a run into LastRunTime? The runner's source reads it so, and cycles are compared as"
    " though it did; the procedure's text says it (sp_helptext)."
)
_ALWAYS_ON = (
    "Is AlwaysOn set for each TaskManager, or does the Windows Task Scheduler start it? Then its jobs ran on that task's grid, not on their"
    " own."
)
_POLLING = (
    "Does TaskManager hold the cron text against the minute of the clock, or compute NextRun and wait until it has passed? They differ in the"
    " nights when clocks change: --polling."
)
_ADVICE = (
    "Retries: the old server had none, so the jobs say retries: 0. Raise it where a second attempt does no harm.",
    "Timeouts: the old server stopped nothing, so the jobs have none. Give timeout: to those that must not hold up their queue.",
    (
        "After a downtime each job runs once, however late, as before (misfire: {policy: run_once, grace: none}). Give a grace to those that are"
        " of no use later."
    ),
)
_ONE_AT_A_TIME = (
    "The jobs of one old runner wait for each other, as before. Widen a queue (workers, concurrency) where its jobs do not mind to run side by"
    " side."
)


def questions(result: Import) -> list[str]:
    """Return the questions about facts that the export leaves open and the parity check assumes."""
    shapes = {shape_of(job.row.values.keys()) for job in result.all_jobs}
    texts = [_WEEKLY, _CLAIM, _ALWAYS_ON] if Shape.CLASSIC in shapes else []
    return [*texts, _POLLING] if Shape.CRON in shapes else texts


def advice(result: Import) -> list[str]:
    """Return settings that were kept from the old server and that the owner may want to change."""
    if not result.all_jobs:
        return []
    return [*_ADVICE, *([_ONE_AT_A_TIME] if result.queues else []), *_late(result)]


def _late(result: Import) -> Iterator[str]:
    """Yield advice about late jobs: the limit of ``ScanJobs`` for each runner, and its replacement here."""
    limits: dict[str, int] = {}
    for job in result.jobs:
        if shape_of(job.row.values.keys()) is Shape.CLASSIC and job.old.managed:
            seconds = max(reader_rows.readable(reader_rows.integer, job.row, "timeoutsec") or 0, 0)
            limits[job.old.runner] = limits.get(job.old.runner, 0) + seconds
    if not limits:
        return
    shown = [
        f"{runner or 'no runner'}: {format_duration(timedelta(seconds=seconds))}"
        for runner, seconds in sorted(limits.items())
    ]
    yield (
        'Late jobs: ScanJobs mailed "Job Missed" once for each active row that was later than the sum of TimeOutSec of its runner\'s active'
        f" rows ({', '.join(shown)}), whether SendAlarmOnMissed was set or not. No job here mails that it is late, since it runs however late. Where"
        " somebody has to know, give it a grace (misfire: {policy: run_once, grace: 1h}) and alerts: {on: [failure, missed]}, or watch"
        " targcc_job_last_success_timestamp_seconds of /metrics."
    )
