# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What the REST API answers and takes. Instants are ISO 8601 in UTC; durations are milliseconds unless their name says otherwise."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from .arguments import MASK
from .job import JobDefinition
from .overview import JobOverview
from .records import Attempt, AuditEntry, LogLine, Pause, Queue, Run, Server, Step
from .states import RunState
from .stats import JobStats


class Schema(BaseModel):
    """What all of them share: they are read from the values of ``records.py`` by attribute."""

    model_config = ConfigDict(from_attributes=True)


class PauseOut(Schema):
    """Who paused it, when, why, until when."""

    by: str
    at: datetime
    reason: str | None
    until: datetime | None


class RunOut(Schema):
    """A run and its state now."""

    id: int
    job: str
    type: str
    state: RunState
    queue: str
    priority: int
    arguments: dict[str, Any] = Field(description="Secret ones are masked.")
    scheduled_for: datetime | None = Field(description="The slot of a recurring job.")
    due_at: datetime
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    attempt: int
    server: str | None
    triggered_by: str
    message: str | None
    blocked_by: int | None = Field(description="The run that was in the way of a skipped slot.")
    progress_done: float | None
    progress_total: float | None


class AttemptOut(Schema):
    """A finished attempt: a row of c_LoggedJob."""

    id: int
    job: str
    run_id: str | None
    type: str
    number: int
    started_at: datetime
    completed_at: datetime | None
    duration_ms: int | None
    success: bool
    message: str | None
    error: str | None
    traceback: str | None
    server: str | None
    triggered_by: str | None
    memory_mb: int | None
    cpu_ms: int | None
    scheduled_for: datetime | None
    metadata: dict[str, Any]


class LogLineOut(Schema):
    """A line that a run wrote."""

    attempt: int
    at: datetime
    level: str
    message: str


class StepOut(Schema):
    """A finished durable step."""

    name: str
    attempt: int
    completed_at: datetime
    duration_ms: int


class LifeEntryOut(Schema):
    """A transition of a run."""

    at: datetime
    state: str
    note: str


class RunDetailOut(RunOut):
    """A run with all that is known of it."""

    life: list[LifeEntryOut]
    attempts: list[AttemptOut]
    log: list[LogLineOut]
    steps: list[StepOut]


class RunsOut(Schema):
    """Runs, newest first."""

    runs: list[RunOut]
    next_before: int | None = Field(
        description="Ask with before= this for the next page; null on the last."
    )


class JobOut(Schema):
    """A job and how it stands."""

    name: str
    display_name: str
    description: str
    type: str
    schedule: str | None = Field(description="As it was written; null when it runs only if asked.")
    schedule_words: str
    timezone: str
    queue: str
    paused: PauseOut | None
    next_run: datetime | None
    last_run: RunOut | None
    success_rate: float | None = Field(description="Of its last 24 runs, from 0 to 1.")


class JobDetailOut(JobOut):
    """A job with its settings."""

    next_runs: list[datetime]
    priority: int
    retries: int
    backoff_seconds: float
    timeout_seconds: float | None
    overlap: str
    misfire: str
    misfire_grace_seconds: float
    concurrency: int | None
    parameters: dict[str, Any] | None = Field(description="The JSON Schema of its arguments.")


class DayOut(Schema):
    """One day of the job's zone."""

    day: date
    succeeded: int
    failed: int


class StatsOut(Schema):
    """How a job has done."""

    job: str
    since: datetime
    runs: int
    succeeded: int
    failed: int
    retried: int
    success_rate: float | None
    average_ms: int | None
    p50_ms: int | None
    p95_ms: int | None
    longest_ms: int | None
    days: list[DayOut]


class ServerOut(Schema):
    """A node."""

    id: str
    name: str
    process_id: int
    queues: list[str]
    workers: int
    running: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    stopping_at: datetime | None


class QueueOut(Schema):
    """A queue."""

    name: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    oldest_due: datetime | None
    paused: PauseOut | None


class AuditOut(Schema):
    """Who did what."""

    id: int
    at: datetime
    actor: str
    action: str
    job: str | None
    run_id: int | None
    detail: str | None
    remote: str | None


class TriggerIn(BaseModel):
    """What to run a job with."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, Any] = Field(default_factory=dict)


class PauseIn(BaseModel):
    """Why, and until when."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=500)] | None = None
    until: datetime | None = Field(
        default=None, description="With a zone; null is until it is resumed."
    )


class StartedOut(Schema):
    """The run that has been started."""

    run_id: int
    message: str


class DoneOut(Schema):
    """What has been done."""

    message: str


class ProblemOut(Schema):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def run_values(run: Run, definition: JobDefinition | None) -> dict[str, Any]:
    """A run for :class:`RunOut`; without a definition nobody knows which arguments are secret, so all are masked."""
    names = run.arguments if definition is None else definition.signature.secrets
    shown = {name: MASK if name in names else value for name, value in run.arguments.items()}
    took = run.duration
    fields = {name: getattr(run, name) for name in RunOut.model_fields if hasattr(run, name)}
    milliseconds = round(took.total_seconds() * 1000) if took is not None else None
    return {**fields, "arguments": shown, "duration_ms": milliseconds}


def run_out(run: Run, definition: JobDefinition | None) -> RunOut:
    """A run as the API shows it."""
    return RunOut.model_validate(run_values(run, definition))


def run_detail_out(
    run: Run,
    definition: JobDefinition | None,
    attempts: tuple[Attempt, ...],
    log: tuple[LogLine, ...],
    steps: tuple[Step, ...],
) -> RunDetailOut:
    """A run with all that is known of it."""
    details = {"life": run.life, "attempts": attempts, "log": log, "steps": steps}
    return RunDetailOut.model_validate({**run_values(run, definition), **details})


def job_values(job: JobOverview) -> dict[str, Any]:
    """A job for :class:`JobOut`."""
    definition = job.definition
    return {
        "name": definition.name,
        "display_name": definition.display_name,
        "description": definition.description,
        "type": definition.job_type,
        "schedule": definition.schedule_text or None,
        "schedule_words": job.words,
        "timezone": definition.timezone,
        "queue": definition.queue,
        "paused": _pause_out(job.pause),
        "next_run": job.next_run,
        "last_run": run_out(job.last, definition) if job.last is not None else None,
        "success_rate": job.success_rate,
    }


def job_detail_out(job: JobOverview, next_runs: list[datetime]) -> JobDetailOut:
    """A job with its settings."""
    definition = job.definition
    timeout, model = definition.timeout, definition.parameters
    return JobDetailOut(
        **job_values(job),
        next_runs=next_runs,
        priority=definition.priority,
        retries=definition.retries,
        backoff_seconds=definition.backoff.total_seconds(),
        timeout_seconds=timeout.total_seconds() if timeout is not None else None,
        overlap=definition.overlap,
        misfire=definition.misfire,
        misfire_grace_seconds=definition.misfire_grace.total_seconds(),
        concurrency=definition.concurrency,
        parameters=model.model_json_schema() if model is not None else None,
    )


def _pause_out(pause: Pause | None) -> PauseOut | None:
    return PauseOut.model_validate(pause) if pause is not None else None


def queue_out(queue: Queue) -> QueueOut:
    """A queue as the API shows it."""
    names = [name for name in QueueOut.model_fields if name != "paused"]
    values = {name: getattr(queue, name) for name in names}
    return QueueOut.model_validate({**values, "paused": _pause_out(queue.pause)})


def attempt_out(attempt: Attempt) -> AttemptOut:
    """An attempt as the API shows it."""
    return AttemptOut.model_validate(attempt)


def stats_out(figures: JobStats) -> StatsOut:
    """Figures as the API shows them."""
    return StatsOut.model_validate(figures)


def server_out(server: Server) -> ServerOut:
    """A node as the API shows it."""
    return ServerOut.model_validate(server)


def audit_out(entry: AuditEntry) -> AuditOut:
    """An audit entry as the API shows it."""
    return AuditOut.model_validate(entry)
