"""Schemas of jobs, runs, chains and the system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ...core.numbers import MOST_OWN_RETRIES
from ...core.states import On, RunState
from ...core.version import MODE, __version__
from ...kernel.job_owner import Owner
from ...kernel.jobs.definition import JobDefinition, shown_arguments
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.jobs.option_values import shown, value_in
from ...kernel.jobs.slot_changes import SlotChange, calendars_of, changes
from ...kernel.queries.chains import Chain, ChainStep, Lineage, Relative
from ...kernel.queries.jobs import JobOverview, JobWithRuns
from ...kernel.queries.models import Attempt, LogLine, Pause, PoolUse, Queue, Run, StateChange, Step
from ...kernel.runs.eligibility import Refusal
from ...kernel.runs.values import Otherwise, Quorum
from ...kernel.unique import LONGEST_CALL_KEY
from ...project import current
from ...schedules.words import parse_duration
from .schema import DoneOut, Schema

# Chain schemas.


class ChainStandingOut(Schema):
    """A chain of jobs and its state."""

    name: str = Field(description="Name of the chain's first job.", examples=["ImportOrders"])
    jobs: tuple[str, ...] = Field(
        description="Jobs of the chain; each job comes after the jobs that it follows."
    )
    state: RunState | None = Field(
        description="Worst state among the newest first run and the runs that followed: the state of `at`. Null when the chain has not run."
    )
    at: str | None = Field(
        description="Job of the run with this state: the first failed run, else the first running run, else the first waiting run."
    )
    run_id: int | None = Field(description="Id of the run with this state.")


class ChainStepOut(Schema):
    """A job of a chain."""

    job: str
    after: tuple[str, ...] = Field(description="Jobs of the chain that this job follows.")
    run_id: int | None = Field(
        description="Run of this job in the newest pass through the chain; null when the job has no run."
    )
    state: RunState | None
    happened_at: datetime | None = Field(
        description="End time of the run, else its start time, else its due time."
    )


class ChainOut(ChainStandingOut):
    """A chain with its steps."""

    happened_at: datetime | None = Field(description="Time of the last change in the chain.")
    steps: tuple[ChainStepOut, ...]


class LineStepOut(Schema):
    """A run or a batch of the chain of a run."""

    kind: Literal["run", "batch"]
    id: int
    job: str | None = Field(description="Job of the run; null for a batch.")
    state: str | None = Field(
        description="State of the run or batch; null for a batch that has not ended."
    )


class LineOut(Schema):
    """The chain of a run, with one state."""

    state: RunState = Field(
        description="Worst state among the runs of the chain: the state of `at`. Retried runs do not count."
    )
    at: str = Field(description="Job of the run with this state.")
    run_id: int = Field(
        description="Id of the run with this state: the first failed run, else the first running run, else the first waiting run."
    )
    levels: tuple[tuple[LineStepOut, ...], ...] = Field(
        description="Levels of the chain, first level first. Members of one level wait for the same dependencies. A long chain is cut to the part around the run."
    )


def line_out(line: Lineage | None) -> LineOut | None:
    """Return the chain schema for a run; ``None`` for a run without a chain."""
    if line is None:
        return None
    steps = tuple(tuple(map(LineStepOut.model_validate, level)) for level in line.levels)
    return LineOut(state=line.state, at=line.at.job or "", run_id=line.at.id, levels=steps)


def standing_out(chain: Chain | None) -> ChainStandingOut | None:
    """Return the schema for a chain's rollup state; ``None`` without a chain."""
    if chain is None:
        return None
    at = chain.at
    return ChainStandingOut(
        name=chain.name,
        jobs=chain.jobs,
        state=chain.state,
        at=at.job if at is not None else None,
        run_id=at.run.id if at is not None and at.run is not None else None,
    )


def chain_out(chain: Chain) -> ChainOut:
    """Return a chain's schema with its steps."""
    standing = standing_out(chain)
    assert standing is not None
    return ChainOut(
        **standing.model_dump(),
        happened_at=chain.happened_at,
        steps=tuple(map(_step_out, chain.steps)),
    )


def _step_out(step: ChainStep) -> ChainStepOut:
    run = step.run
    return ChainStepOut(
        job=step.job,
        after=step.after,
        run_id=run.id if run is not None else None,
        state=run.state if run is not None else None,
        happened_at=run.happened_at if run is not None else None,
    )


# Run schemas. Attempts, log lines and steps are returned as the classes in ``kernel.queries.models``.


class RunOut(Schema):
    """A run and its current state."""

    id: int
    job: str
    type: str
    state: RunState
    queue: str
    priority: int
    arguments: dict[str, Any] = Field(description="Arguments of the run; secret values are masked.")
    scheduled_for: datetime | None = Field(description="Slot of a recurring job.")
    due_at: datetime
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    attempt: int
    server: str | None
    triggered_by: str
    message: str | None
    blocked_by: int | None = Field(description="Run that caused the slot to be skipped.")
    batch_id: int | None = Field(description="Batch or flow of the run.")
    progress_done: float | None
    progress_total: float | None
    stop_note: str | None = Field(
        description="For a run that still runs after a stop request: time and reason of the request."
    )
    trace_id: str | None = Field(description="Trace id of the caller that enqueued the run.")
    unknown_since: datetime | None = Field(
        description="Since when the run waits for a server that knows its job and arguments."
    )
    refusals: tuple[Refusal, ...] = Field(
        description="Servers that refused the run, with their reasons."
    )
    unique_by: str = Field(
        description="Unique key of the run; a digest replaces secret arguments. Empty: the run is not unique."
    )
    expires_at: datetime | None = Field(
        description="Expiry: a run that has not started by this time is cancelled."
    )

    @property
    def happened_at(self) -> datetime:
        """Return the run's place on a time line, like :class:`Run`."""
        return self.completed_at or self.started_at or self.due_at


class FileOut(Schema):
    """A file of a run."""

    id: str
    name: str = Field(examples=["report.csv"])
    kind: str = Field(
        description="`file`: from the run's arguments; `result`: attached by the job."
    )
    content_type: str = Field(description="Declared content type. Downloads are sent as bytes.")
    size: int = Field(description="Size in bytes.")
    sha256: str
    created_at: datetime


class RunDetailOut(RunOut):
    """A run with its history, log, steps and dependencies."""

    life: tuple[StateChange, ...]
    attempts: tuple[Attempt, ...]
    log: tuple[LogLine, ...]
    steps: tuple[Step, ...]
    parents: tuple[Relative, ...] = Field(
        description="Dependencies of the run, waiting or settled."
    )
    children: tuple[Relative, ...] = Field(description="Dependents of the run, waiting or settled.")
    chain: LineOut | None = Field(
        description="All direct and indirect dependencies and dependents. Null when the run has none, and for a token that may start single jobs only."
    )


class RunsOut(Schema):
    """A page of runs, newest first."""

    runs: list[RunOut]
    next_before: int | None = Field(
        description="Value of `before` for the next page; null on the last page."
    )


class StartedOut(Schema):
    """The started run."""

    run_id: int = Field(examples=[4711])
    job: str = Field(examples=["DailyReport"])
    url: str = Field(
        description="Address of the run's page.",
        examples=["https://jobs.example.com/jobs/runs/4711"],
    )
    message: str = Field(examples=["Daily Report started as run 4711"])
    existing: bool = Field(
        default=False,
        description="Whether an earlier run is returned, because it has the same unique key or idempotency key.",
    )


class CancelledOut(DoneOut):
    """State of a run after a cancel request: `running` until its job has stopped."""

    state: RunState


@cache
def _run_fields() -> tuple[str, ...]:
    """Return the fields of :class:`RunOut` that a run has under the same name."""
    return tuple(name for name in RunOut.model_fields if hasattr(Run, name) and name != "arguments")


def run_values(run: Run, definition: JobDefinition | None) -> dict[str, Any]:
    """Return a run's values for :class:`RunOut`."""
    took = run.duration
    fields = {name: getattr(run, name) for name in _run_fields()}
    milliseconds = round(took.total_seconds() * 1000) if took is not None else None
    return {
        **fields,
        "arguments": shown_arguments(definition, run.arguments),
        "duration_ms": milliseconds,
    }


def run_out(run: Run, definition: JobDefinition | None) -> RunOut:
    """Return a run's schema."""
    return RunOut.model_validate(run_values(run, definition))


def run_detail_out(
    run: Run,
    definition: JobDefinition | None,
    *,
    attempts: tuple[Attempt, ...],
    log: tuple[LogLine, ...],
    steps: tuple[Step, ...],
    parents: tuple[Relative, ...],
    children: tuple[Relative, ...],
    chain: Lineage | None,
) -> RunDetailOut:
    """Return a run's schema with all details."""
    details: dict[str, Any] = {"life": run.life, "attempts": attempts, "log": log, "steps": steps}
    details |= {"parents": parents, "children": children, "chain": line_out(chain)}
    return RunDetailOut.model_validate({**run_values(run, definition), **details})


# Job schemas.


class JobOut(Schema):
    """A job with its next and last run."""

    name: str = Field(examples=["DailyReport"])
    display_name: str = Field(examples=["Daily Report"])
    description: str = Field(examples=["Mails yesterday's sales to the managers"])
    type: str = Field(examples=["Recurring"])
    schedule: str | None = Field(
        description="Schedule as declared; null for a job without a schedule."
    )
    schedule_words: str
    timezone: str
    queue: str
    paused: Pause | None
    owner: str = Field(
        description="Owner of the job: `new` is this scheduler; with `old` and `shadow`, the old server runs the job."
    )
    left_spec: bool = Field(
        description="Whether the job is still in the code after its removal from targcc.yaml."
    )
    flow: bool = Field(
        description="Whether the job is a flow of targcc.yaml: each run starts an instance of the flow."
    )
    next_run: datetime | None
    last_run: RunOut | None
    success_rate: float | None = Field(
        description="Share of successes, from 0 to 1, among the last 24 runs that succeeded, failed, were missed or were cancelled; cancelled runs are left out."
    )
    chain: ChainStandingOut | None = Field(default=None, description="Chain of the job.")


class OverrideOut(Schema):
    """An override: one option of a job that was changed without a deploy."""

    job: str
    field: str
    value: Any
    shown: str = Field(description="The override's value as text for people.")
    code: Any = Field(description="Value in the code.")
    code_shown: str = Field(description="Value in the code as text for people.")
    by: str
    at: datetime
    reason: str
    until: datetime | None
    problem: str | None = Field(
        description="Reason why the override has no effect; null when it has effect."
    )


class JobDetailOut(JobOut):
    """A job with its settings."""

    next_runs: list[datetime]
    owner_by: str | None = Field(
        description="Person or program that set the old server as owner; null when this scheduler runs the job."
    )
    aliases: list[str] = Field(description="Former names of the job.")
    code: str = Field(description="Location of the job in the code.")
    calendars: list[str] = Field(description="Calendars of the job and of its queue.")
    calendar_changes: list[SlotChange] = Field(
        description="Slots that the calendars move or skip, up to the last of `next_runs`. `at` is null for a skipped slot."
    )
    overrides: list[OverrideOut] = Field(
        description="Overrides of the job. All other fields already include them."
    )
    priority: int
    retries: int
    backoff_seconds: float
    backoff_by_rule: bool = Field(
        default=False,
        description="Whether a rule in the job's code sets the wait before each retry. `backoff_seconds` applies where the rule gives no wait.",
    )
    timeout_seconds: float | None
    overlap: str
    misfire: str
    misfire_grace_seconds: float | None
    concurrency: int | None
    isolation: str
    unique: str | None = Field(
        description="Unique key of the job's runs, and the policy for a duplicate."
    )
    limit: str | None = Field(description="Limits of the job: runs at once, and starts in a time.")
    expires_in_seconds: float | None = Field(
        description="Seconds after the due time at which a run that has not started is cancelled."
    )
    memory_limit_mb: int | None
    parameters: dict[str, Any] | None = Field(description="JSON Schema of the job's arguments.")


class OwnerIn(BaseModel):
    """The new owner of a job."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"owner": "shadow", "reason": "two weeks of looking on"}},
    )

    owner: Owner
    reason: Annotated[str, Field(max_length=500)] | None = None
    old_is_off: bool = Field(
        default=False,
        description="Required for `new`: confirms that the job is off at the old server. The old server is not queried.",
    )
    old_key: Annotated[
        str | None, Field(max_length=100, description="Id of the job's row in the old table.")
    ] = None
    runner: Annotated[
        str | None,
        Field(max_length=100, description="Process of the old server that runs the job."),
    ] = None


class OwnerOut(Schema):
    """The owner of a job, and the person or program that set the owner."""

    job: str
    owner: str
    old_key: str | None = Field(description="Id of the job's row in the old table.")
    runner: str | None = Field(description="Process of the old server that runs or ran the job.")
    since: datetime
    by: str
    reason: str | None
    step: str | None = Field(
        description="`taking` or `returning` while a switch is unfinished; null otherwise."
    )
    waiting: int = Field(description="Number of runs of the job that wait in this scheduler.")


def _above_0(text: str) -> str:
    if parse_duration(text) <= timedelta():
        raise ValueError("a duration above 0")
    return text


class TriggerIn(BaseModel):
    """Arguments and options of a new run."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"arguments": {"customer": 42}}},
    )

    arguments: dict[str, Any] = Field(default_factory=dict)
    like: int | None = Field(
        default=None,
        description="Id of an earlier run of the job. Its arguments are the defaults for this run.",
    )
    expires_in: Annotated[str, AfterValidator(_above_0)] | None = Field(
        default=None,
        description="Time to live, such as `10m`: a run that has not started by then is cancelled. Default: the job's own setting.",
    )
    idempotency_key: Annotated[str, Field(min_length=1, max_length=LONGEST_CALL_KEY)] | None = (
        Field(
            default=None,
            description="Idempotency key, shared with `enqueue(…, idempotency_key=…)`: a second call with the same key returns the first run,"
            " while that run is kept. A caller that may not see every job has separate keys.",
        )
    )
    after: tuple[int, ...] = Field(
        default=(), max_length=10_000, description="Ids of the runs that this run depends on."
    )
    on: On = Field(default="success", description="Required outcome of the dependencies.")
    quorum: Quorum = Field(
        default="all",
        description="Whether all dependencies, or any dependency, must have this outcome.",
    )
    otherwise: Otherwise = Field(
        default="discard",
        description="When the dependencies end otherwise: the run is cancelled, or waits for a retry of the dependencies.",
    )
    retries: int | None = Field(
        default=None,
        ge=0,
        le=MOST_OWN_RETRIES,
        description="Retries after a failed attempt of this run. Default: the job's own number.",
    )


def job_values(
    job: JobWithRuns[Any], runs: Mapping[int, Run], chain: ChainStandingOut | None
) -> dict[str, Any]:
    """Return a job's and its chain's values for :class:`JobOut`; ``runs`` has the job's last run, unless the run was removed meanwhile."""
    definition = job.definition
    last = runs.get(job.last.id) if job.last is not None else None
    return {
        "name": definition.name,
        "display_name": definition.display_name,
        "description": definition.description,
        "type": definition.job_type,
        "schedule": definition.schedule_text or None,
        "schedule_words": job.words,
        "timezone": definition.timezone,
        "queue": definition.queue,
        "paused": job.pause,
        "owner": job.owner,
        "left_spec": definition.left_spec,
        "flow": definition.name in current().flows,
        "next_run": job.next_run,
        "last_run": run_out(last, definition) if last is not None else None,
        "success_rate": job.success_rate,
        "chain": chain,
    }


def overrides_out(job: JobDefinition) -> list[OverrideOut]:
    """What people have changed of a job."""
    return [
        OverrideOut(
            job=override.job,
            field=override.field,
            value=override.value,
            shown=override.shown,
            code=value_in(job.coded, override.field),
            code_shown=shown(job.coded, override.field),
            by=override.by,
            at=override.at,
            reason=override.reason,
            until=override.until,
            problem=override.problem or None,
        )
        for override in job.overrides
    ]


def job_detail_out(
    job: JobOverview,
    runs: Mapping[int, Run],
    chain: Chain | None,
    next_runs: list[datetime],
    now: datetime,
) -> JobDetailOut:
    """Return a job's schema with its settings."""
    definition = job.definition
    timeout, model = definition.timeout, definition.parameters
    grace, expires = definition.misfire_grace, definition.expires_in
    return JobDetailOut(
        **job_values(job, runs, standing_out(chain)),
        next_runs=next_runs,
        owner_by=job.elsewhere.by if job.elsewhere is not None else None,
        aliases=list(definition.aliases),
        code=f"{definition.module}.{definition.target.__qualname__}",
        calendars=list(calendars_of(definition)),
        calendar_changes=list(changes(definition, next_runs, now)),
        overrides=overrides_out(definition),
        priority=definition.priority,
        retries=definition.retries,
        backoff_seconds=definition.backoff.total_seconds(),
        backoff_by_rule=definition.backoff_rule is not None,
        timeout_seconds=timeout.total_seconds() if timeout is not None else None,
        overlap=definition.overlap,
        misfire=definition.misfire,
        misfire_grace_seconds=grace.total_seconds() if grace is not None else None,
        concurrency=definition.concurrency,
        isolation=definition.isolation,
        unique=str(definition.unique) if definition.unique is not None else None,
        limit=str(definition.keyed_limit) if definition.keyed_limit is not None else None,
        expires_in_seconds=expires.total_seconds() if expires is not None else None,
        memory_limit_mb=definition.memory_limit,
        parameters=model.model_json_schema() if model is not None else None,
    )


# System schemas. Nodes and the audit are returned as the classes in ``kernel.queries.models``.


class BrokenOut(Schema):
    """A job file that failed to load, or a job that cannot run. The other jobs are used."""

    module: str
    path: str | None
    error: str
    line: int | None = Field(default=None, description="Line of the error in the file, if known.")
    advice: str = Field(default="", description="The way out, if there is a specific one.")


class SystemOut(Schema):
    """The project and the scheduler that serves it."""

    project: str
    package: str
    version: str
    mode: Literal["vendored", "package"]
    timezone: str
    lost_after_seconds: float = Field(
        description="Age in seconds of the last heartbeat at which a server counts as lost."
    )
    broken: list[BrokenOut] = Field(
        description="Job files that failed to load, and jobs that cannot run."
    )


class QueueOut(Schema):
    """A queue with its run counts, pause and limits."""

    name: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    oldest_due: datetime | None
    paused: Pause | None
    maintenance_until: datetime | None
    """Until when none of its runs start, by a maintenance window."""
    limit: int | None
    """How many of its runs may go on at once on all nodes together; null: as many as there are workers."""
    aging_seconds: int | None
    """The seconds of waiting that count as one point of priority; null: waiting counts for nothing."""
    pool: PoolUse | None
    """The pool whose workers it shares; null: it has workers of its own."""


def system_out(broken: Iterable[BrokenModule], lost_after_seconds: float) -> SystemOut:
    """Return this process's schema."""
    project = current()
    return SystemOut(
        project=project.name,
        package=project.package,
        version=__version__,
        mode=MODE,
        timezone=project.timezone,
        lost_after_seconds=lost_after_seconds,
        broken=[BrokenOut.model_validate(module) for module in broken],
    )


class NodeOut(Schema):
    """A server that the request named."""

    id: str
    name: str
    process_id: int


class DrainOut(DoneOut):
    """The servers that changed."""

    servers: list[NodeOut]


class BusyOut(Schema):
    """Number of runs that servers are executing."""

    runs: int


def queue_out(queue: Queue) -> QueueOut:
    """Return a queue's schema."""
    other = {"paused", "maintenance_until"}
    values = {name: getattr(queue, name) for name in QueueOut.model_fields if name not in other}
    window = queue.maintenance
    until = window.ends_at if window is not None else None
    return QueueOut.model_validate({**values, "paused": queue.pause, "maintenance_until": until})
