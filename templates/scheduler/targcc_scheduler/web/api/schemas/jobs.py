"""Jobs, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ....queries.jobs import JobOverview
from ....queries.models import Pause
from .base import Schema
from .runs import RunOut, run_out


class JobOut(Schema):
    """A job with its next and last run."""

    name: str
    display_name: str
    description: str
    type: str
    schedule: str | None = Field(description="As it was written; null when it runs only if asked.")
    schedule_words: str
    timezone: str
    queue: str
    paused: Pause | None
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


class TriggerIn(BaseModel):
    """The arguments to run a job with."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, Any] = Field(default_factory=dict)


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
        "paused": job.pause,
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
