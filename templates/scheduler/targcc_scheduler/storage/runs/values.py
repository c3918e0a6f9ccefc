"""The values that describe a run on its way: new, offered, claimed, settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...core.states import RunState

MOST_LOST_WORKERS = 3
"""A run that has cost so many workers is failed, since it probably kills them."""
POISON_AFTER = MOST_LOST_WORKERS - 1
"""A run that has cost so many workers is given a node's worker only while no other such run is there: so it is the one that kills
its workers that is failed, and not another that happened to be beside it."""


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run to be created.

    Args:
        due_at: When it may start.
        scheduled_for: The slot of a recurring job.
        note: Why it came into its state, for its life.
        blocked_by: The run that was in the way of a skipped one.
    """

    job_name: str
    job_type: str
    queue: str
    priority: int
    due_at: datetime
    triggered_by: str
    arguments_json: str | None = None
    scheduled_for: datetime | None = None
    state: RunState = RunState.ENQUEUED
    note: str = ""
    blocked_by: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A run that an engine thinks is next, and its job."""

    run_id: int
    job_name: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that this node holds: running, here, in this attempt."""

    run_id: int
    job_name: str
    job_type: str
    queue: str
    priority: int
    attempt: int
    lost_workers: int
    arguments_json: str | None
    scheduled_for: datetime | None
    created_at: datetime
    due_at: datetime
    triggered_by: str
    server_id: str
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What becomes of a run that this node holds.

    Args:
        claim: The hold; nothing happens if the run is not held by it any more.
        state: What it becomes.
        note: Why, for its life.
        message: The result or error, in one line.
        due_at: For a run that goes on: when.
        counts: Whether the attempt counts; one that is handed back does not.
        history: The row for ``c_LoggedJob``, if the attempt gets one.
        log_lines: Rows for ``c_JobLogLine`` that are not written yet.
        progress: How far it came, if it said so.
    """

    claim: Claim
    state: RunState
    note: str = ""
    message: str | None = None
    due_at: datetime | None = None
    counts: bool = True
    history: Mapping[str, Any] | None = None
    log_lines: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    progress: tuple[float, float | None] | None = None
