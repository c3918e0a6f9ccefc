"""Runs, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from ....core.secrets import MASK
from ....core.states import RunState
from ....jobs.definition import JobDefinition
from ....queries.models import Attempt, LogLine, Run, Step
from .base import Schema


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


class StartedOut(Schema):
    """The run that has been started."""

    run_id: int
    message: str


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


def attempt_out(attempt: Attempt) -> AttemptOut:
    """An attempt as the API shows it."""
    return AttemptOut.model_validate(attempt)
