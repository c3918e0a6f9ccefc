"""Runs, as the API shows them; attempts, log lines and steps are shown as ``queries.models`` holds them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from ....core.states import RunState
from ....jobs.definition import JobDefinition, shown_arguments
from ....queries.following.family import Relative
from ....queries.following.line import Line
from ....queries.models import Attempt, LogLine, Run, StateChange, Step
from ....storage.runs.refuse import Refusal
from .base import DoneOut, Schema
from .chains import LineOut, line_out


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
        """Its place on a time line, as :class:`~..queries.models.Run` has it."""
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
    """A run for :class:`RunOut`."""
    took = run.duration
    fields = {name: getattr(run, name) for name in RunOut.model_fields if hasattr(run, name)}
    milliseconds = round(took.total_seconds() * 1000) if took is not None else None
    return {
        **fields,
        "arguments": shown_arguments(definition, run.arguments),
        "duration_ms": milliseconds,
    }


def run_out(run: Run, definition: JobDefinition | None) -> RunOut:
    """A run as the API shows it."""
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
    chain: Line | None,
) -> RunDetailOut:
    """A run with all that is known of it."""
    details: dict[str, Any] = {"life": run.life, "attempts": attempts, "log": log, "steps": steps}
    details |= {"parents": parents, "children": children, "chain": line_out(chain)}
    return RunDetailOut.model_validate({**run_values(run, definition), **details})
