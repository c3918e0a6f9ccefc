"""Schemas of jobs, runs, chains and the system."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ...core.states import RunState
from ...core.version import MODE, __version__
from ...kernel.job_owner import Owner
from ...kernel.jobs.definition import JobDefinition, shown_arguments
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.jobs.option_values import shown, value_in
from ...kernel.jobs.slot_changes import SlotChange, calendars_of, changes
from ...kernel.queries.chains import Chain, ChainStep, Lineage, Relative
from ...kernel.queries.jobs import JobOverview
from ...kernel.queries.models import Attempt, LogLine, Pause, PoolUse, Queue, Run, StateChange, Step
from ...kernel.runs.eligibility import Refusal
from ...kernel.runs.values import On, Otherwise, Quorum
from ...kernel.unique import LONGEST_CALL_KEY
from ...project import current
from ...schedules.words import parse_duration
from .schema import DoneOut, Schema

# Chain schemas.


class ChainStandingOut(Schema):
    """Jobs that follow each other, and how they stand."""

    name: str = Field(description="The name of its first job.", examples=["ImportOrders"])
    jobs: tuple[str, ...] = Field(description="Its jobs, each after those that it follows.")
    state: RunState | None = Field(
        description="Of the newest run that began it, and of what followed from it, the worst: that of `at`; null when it has not run."
    )
    at: str | None = Field(
        description="The job whose run has this state: the first that failed, else that runs, else that waits."
    )
    run_id: int | None = Field(description="That run.")


class ChainStepOut(Schema):
    """A job of a chain."""

    job: str
    after: tuple[str, ...] = Field(description="The jobs of the chain that it follows.")
    run_id: int | None = Field(description="Its run of the newest round; null when there is none.")
    state: RunState | None
    happened_at: datetime | None = Field(description="When it ended, else began, else is due.")


class ChainOut(ChainStandingOut):
    """A chain with its steps."""

    happened_at: datetime | None = Field(description="When something of it happened last.")
    steps: tuple[ChainStepOut, ...]


class LineStepOut(Schema):
    """A run or a batch of the chain of a run."""

    kind: Literal["run", "batch"]
    id: int
    job: str | None = Field(description="The job of a run; null of a batch.")
    state: str | None = Field(description="Null of a batch that is not over.")


class LineOut(Schema):
    """The whole chain of a run, as one thing."""

    state: RunState = Field(
        description="The worst state of its runs: that of `at`. A run that was done again does not count."
    )
    at: str = Field(description="The job of the run that has this state.")
    run_id: int = Field(description="That run: the first that failed, else runs, else waits.")
    levels: tuple[tuple[LineStepOut, ...], ...] = Field(
        description="From the first on; those in one list wait for the same. Of a long chain the part around the run."
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
    batch_id: int | None = Field(description="The batch or flow that it is of.")
    progress_done: float | None
    progress_total: float | None
    stop_note: str | None = Field(
        description="Of a run that was told to stop and goes on: since when, and why."
    )
    trace_id: str | None = Field(description="The trace of whoever enqueued it.")
    unknown_since: datetime | None = Field(
        description="Since when it waits for a node that knows its job and arguments."
    )
    refusals: tuple[Refusal, ...] = Field(description="The nodes that were asked, and why not.")
    unique_by: str = Field(
        description="What it is unique by; of secret arguments a digest; empty: nothing."
    )
    expires_at: datetime | None = Field(
        description="If it has not begun by then, it is cancelled instead of starting late."
    )

    @property
    def happened_at(self) -> datetime:
        """Return the run's place on a time line, like :class:`Run`."""
        return self.completed_at or self.started_at or self.due_at


class FileOut(Schema):
    """A file of a run."""

    id: str
    name: str = Field(examples=["report.csv"])
    kind: str = Field(description="`file`: of its arguments; `result`: its job attached it.")
    content_type: str = Field(description="What it says it is; it is sent as bytes.")
    size: int = Field(description="Bytes.")
    sha256: str
    created_at: datetime


class RunDetailOut(RunOut):
    """A run with all that is known of it."""

    life: tuple[StateChange, ...]
    attempts: tuple[Attempt, ...]
    log: tuple[LogLine, ...]
    steps: tuple[Step, ...]
    parents: tuple[Relative, ...] = Field(description="What it waits for, or waited for.")
    children: tuple[Relative, ...] = Field(description="The runs that wait for it, or waited.")
    chain: LineOut | None = Field(
        description="All that it waited for and all that waits for it, directly or through others; null when it is alone, and for a token that may start single jobs only."
    )


class RunsOut(Schema):
    """Runs, newest first."""

    runs: list[RunOut]
    next_before: int | None = Field(
        description="Ask with before= this for the next page; null on the last."
    )


class StartedOut(Schema):
    """The run that has been started."""

    run_id: int = Field(examples=[4711])
    job: str = Field(examples=["DailyReport"])
    url: str = Field(description="Its page.", examples=["https://jobs.example.com/jobs/runs/4711"])
    message: str = Field(examples=["Daily Report started as run 4711"])
    existing: bool = Field(
        default=False,
        description="Whether the run was there already: it has the same unique key, or the same idempotency key.",
    )


class CancelledOut(DoneOut):
    """What a run is now that it was cancelled: ``running`` while its job is told to stop."""

    state: RunState


def run_values(run: Run, definition: JobDefinition | None) -> dict[str, Any]:
    """Return a run's values for :class:`RunOut`."""
    took = run.duration
    fields = {name: getattr(run, name) for name in RunOut.model_fields if hasattr(run, name)}
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
    schedule: str | None = Field(description="As it was written; null when it runs only if asked.")
    schedule_words: str
    timezone: str
    queue: str
    paused: Pause | None
    owner: str = Field(
        description="Who runs it: `new` is this scheduler, `old` and `shadow` the old server."
    )
    left_spec: bool = Field(
        description="Whether it is in the code, and targcc.yaml, which had it, has it no more."
    )
    flow: bool = Field(
        description="Whether it is a flow of targcc.yaml: each of its runs starts one."
    )
    next_run: datetime | None
    last_run: RunOut | None
    success_rate: float | None = Field(
        description="Of its last 24 runs that succeeded, failed or were missed or cancelled; from 0 to 1, cancelled runs left out."
    )
    chain: ChainStandingOut | None = Field(
        default=None, description="The chain that it is in: of jobs that follow each other."
    )


class OverrideOut(Schema):
    """One option of a job that a person has changed."""

    job: str
    field: str
    value: Any
    shown: str = Field(description="The value, for people.")
    code: Any = Field(description="What the code says.")
    code_shown: str = Field(description="The same, for people.")
    by: str
    at: datetime
    reason: str
    until: datetime | None
    problem: str | None = Field(description="Why it does not hold; null when it does.")


class JobDetailOut(JobOut):
    """A job with its settings."""

    next_runs: list[datetime]
    owner_by: str | None = Field(
        description="Who said that the old server runs it; null when it runs here."
    )
    aliases: list[str] = Field(description="The names that it had before.")
    code: str = Field(description="Where it is in the code.")
    calendars: list[str] = Field(description="Those that it respects: its own and its queue's.")
    calendar_changes: list[SlotChange] = Field(
        description="What they do to slots up to the last of `next_runs`; `at` is null for a slot that is skipped."
    )
    overrides: list[OverrideOut] = Field(
        description="What people have changed while it is deployed; all else here is with it."
    )
    priority: int
    retries: int
    backoff_seconds: float
    backoff_by_rule: bool = Field(
        default=False,
        description="Whether a rule in its code decides the waits; `backoff_seconds` holds where the rule does not.",
    )
    timeout_seconds: float | None
    overlap: str
    misfire: str
    misfire_grace_seconds: float | None
    concurrency: int | None
    isolation: str
    unique: str | None = Field(
        description="By what its runs are unique, and what becomes of another."
    )
    limit: str | None = Field(
        description="How many of its runs may be under way at once, and may start in a while."
    )
    expires_in_seconds: float | None = Field(
        description="So long after it was due a run that has not begun is cancelled."
    )
    memory_limit_mb: int | None
    parameters: dict[str, Any] | None = Field(description="The JSON Schema of its arguments.")


class OwnerIn(BaseModel):
    """Who runs a job from now on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"owner": "shadow", "reason": "two weeks of looking on"}},
    )

    owner: Owner
    reason: Annotated[str, Field(max_length=500)] | None = None
    old_is_off: bool = Field(
        default=False,
        description="To `new`: that nothing runs the job at the old server any more; it is not asked.",
    )
    old_key: Annotated[
        str | None, Field(max_length=100, description="The ID of its row in the old table.")
    ] = None
    runner: Annotated[
        str | None, Field(max_length=100, description="The old server's process that runs it.")
    ] = None


class OwnerOut(Schema):
    """Who runs a job, and who said so."""

    job: str
    owner: str
    old_key: str | None = Field(description="The ID of its row in the old table.")
    runner: str | None = Field(description="The old server's process that runs or ran it.")
    since: datetime
    by: str
    reason: str | None
    step: str | None = Field(
        description="`taking` or `returning`: a change of sides is unfinished."
    )
    waiting: int = Field(description="Runs that wait here for the job.")


def _above_0(text: str) -> str:
    if parse_duration(text) <= timedelta():
        raise ValueError("a duration above 0")
    return text


class TriggerIn(BaseModel):
    """The arguments to run a job with."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"arguments": {"customer": 42}}},
    )

    arguments: dict[str, Any] = Field(default_factory=dict)
    like: int | None = Field(
        default=None, description="A run of the job whose arguments it has, where none are given."
    )
    expires_in: Annotated[str, AfterValidator(_above_0)] | None = Field(
        default=None,
        description="If it has not begun after so long, such as `10m`, it is cancelled. Default: what the job says.",
    )
    idempotency_key: Annotated[str, Field(min_length=1, max_length=LONGEST_CALL_KEY)] | None = (
        Field(
            default=None,
            description="A name of your own for this call, also known to `enqueue(…, idempotency_key=…)`: as long as the run is kept that it"
            " made, a call with the same name gets that run. The names of a caller who may not see every job are the caller's own.",
        )
    )
    after: tuple[int, ...] = Field(
        default=(), max_length=10_000, description="The runs that it waits for."
    )
    on: On = Field(default="success", description="How they have to end.")
    quorum: Quorum = Field(default="all", description="Whether all of them have to, or any.")
    otherwise: Otherwise = Field(
        default="discard",
        description="When they end otherwise it is cancelled, or waits for a retry of theirs.",
    )


def job_values(job: JobOverview, chain: Chain | None) -> dict[str, Any]:
    """Return a job's and its chain's values for :class:`JobOut`."""
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
        "paused": job.pause,
        "owner": job.owner,
        "left_spec": definition.left_spec,
        "flow": definition.name in current().flows,
        "next_run": job.next_run,
        "last_run": run_out(job.last, definition) if job.last is not None else None,
        "success_rate": job.success_rate,
        "chain": standing_out(chain),
    }


def overrides_out(job: JobDefinition) -> list[OverrideOut]:
    """What people have changed of a job."""
    return [
        OverrideOut(
            job=one.job,
            field=one.field,
            value=one.value,
            shown=one.shown,
            code=value_in(job.coded, one.field),
            code_shown=shown(job.coded, one.field),
            by=one.by,
            at=one.at,
            reason=one.reason,
            until=one.until,
            problem=one.problem or None,
        )
        for one in job.overrides
    ]


def job_detail_out(
    job: JobOverview, chain: Chain | None, next_runs: list[datetime], now: datetime
) -> JobDetailOut:
    """Return a job's schema with its settings."""
    definition = job.definition
    timeout, model = definition.timeout, definition.parameters
    grace, expires = definition.misfire_grace, definition.expires_in
    return JobDetailOut(
        **job_values(job, chain),
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
    """A job file that cannot be used; the others run."""

    module: str
    path: str | None
    error: str


class SystemOut(Schema):
    """The project and the scheduler that serves it."""

    project: str
    package: str
    version: str
    mode: Literal["vendored", "package"]
    timezone: str
    lost_after_seconds: float = Field(
        description="A node whose last heartbeat is older counts as lost."
    )
    broken: list[BrokenOut] = Field(description="Job files that cannot be used.")


class QueueOut(Schema):
    """A queue."""

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
        broken=[BrokenOut.model_validate(one) for one in broken],
    )


class NodeOut(Schema):
    """A node that was named."""

    id: str
    name: str
    process_id: int


class DrainOut(DoneOut):
    """The nodes that were told."""

    servers: list[NodeOut]


class BusyOut(Schema):
    """How many runs nodes have."""

    runs: int


def queue_out(queue: Queue) -> QueueOut:
    """Return a queue's schema."""
    other = {"paused", "maintenance_until"}
    values = {name: getattr(queue, name) for name in QueueOut.model_fields if name not in other}
    window = queue.maintenance
    until = window.ends_at if window is not None else None
    return QueueOut.model_validate({**values, "paused": queue.pause, "maintenance_until": until})
