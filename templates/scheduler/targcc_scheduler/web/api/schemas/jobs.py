"""Jobs, as the API shows them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ....project import current
from ....queries.following.chains import Chain
from ....queries.jobs import JobOverview
from ....queries.models import Pause
from ....queries.needs.calendars import SlotChange, calendars_of, changes
from ....schedules import parse_duration
from ....storage.owners.values import Owner
from ....storage.runs.values import On, Otherwise, Quorum
from ....storage.ties.keys.wanted import LONGEST_CALL_KEY
from .base import Schema
from .chains import ChainStandingOut, standing_out
from .overrides import OverrideOut, overrides_out
from .runs import RunOut, run_out


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
    """A job, and the chain that it is in, for :class:`JobOut`."""
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


def job_detail_out(
    job: JobOverview, chain: Chain | None, next_runs: list[datetime], now: datetime
) -> JobDetailOut:
    """A job with its settings."""
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
