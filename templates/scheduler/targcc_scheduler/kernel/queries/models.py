"""Rows from the scheduler's tables as frozen values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from ...core.humanize import node_trouble
from ...core.states import FINAL, WAITING, RunState
from ..jobs.tracing import trace_id_of
from ..pauses import Window
from ..runs.eligibility import Refusal, refusals_of

# Rows as frozen values. Instants are timezone-aware, in UTC.


@dataclass(frozen=True, slots=True)
class StateChange:
    """A state change of a run: time, new state and reason."""

    at: datetime
    state: str
    note: str


class StateAndTimes:
    """The properties of a run that follow from its state and its times."""

    __slots__ = ()
    state: RunState
    due_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def final(self) -> bool:
        """Whether the run has ended: its state no longer changes."""
        return self.state in FINAL

    @property
    def happened_at(self) -> datetime:
        """The run's place on a time line: the end, else the start, else the due time."""
        return self.completed_at or self.started_at or self.due_at

    @property
    def duration(self) -> timedelta | None:
        """The last attempt's duration; ``None`` before its end."""
        if self.started_at is None or self.completed_at is None:
            return None
        return self.completed_at - self.started_at


class RunInState(NamedTuple):
    """A run's id, state and time. A list of a thousand jobs reads 24,000 runs, but few of their times.

    Args:
        at: The time as the database wrote it.
    """

    id: int
    state: RunState
    at: str

    @property
    def happened_at(self) -> datetime:
        """The run's place on a time line, see :attr:`StateAndTimes.happened_at`."""
        at = datetime.fromisoformat(self.at)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at


@dataclass(frozen=True, slots=True)
class RecentRun(StateAndTimes):
    """A run's state and times. A list of jobs reads thousands, and :class:`Run` has thirty columns more."""

    id: int
    job: str
    state: RunState
    due_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(StateAndTimes):
    """A run with its present state: a row in c_JobRun."""

    id: int
    job: str
    type: str
    state: RunState
    queue: str
    priority: int
    arguments_json: str | None
    scheduled_for: datetime | None
    due_at: datetime
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    attempt: int
    lost_workers: int
    server: str | None
    triggered_by: str
    message: str | None
    blocked_by: int | None
    progress_done: float | None
    progress_total: float | None
    cancel_requested_by: str | None
    stop_note: str | None
    unknown_since: datetime | None = None
    refused_by: str | None = None
    cause: str | None = None
    handled_at: datetime | None = None
    handled_by: str | None = None
    handling: str | None = None
    retry_of: int | None = None
    batch_id: int | None = None
    trace: str | None = None
    unique_key: str | None = None
    expires_at: datetime | None = None
    life_log: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments as stored. Secret arguments are included: mask the arguments before display."""
        return _json_object(self.arguments_json)

    @property
    def life(self) -> tuple[StateChange, ...]:
        """The state history, oldest change first."""
        return tuple(life_of(self.life_log))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The nodes that refused the run; empty unless the run waits for a node that knows its job."""
        return refusals_of(self.refused_by) if self.unknown_since is not None else ()

    @property
    def trace_id(self) -> str | None:
        """The trace id from the code that enqueued the run; ``None`` without a trace."""
        return trace_id_of(self.trace)

    @property
    def unique_by(self) -> str:
        """The unique key's readable part; the digest's start if the arguments are secret; empty without a key."""
        digest, _, shown = (self.unique_key or "").partition(" ")
        return shown or digest[:12]

    @property
    def progress(self) -> float | None:
        """The progress from 0 to 1; ``None`` unless the job reported progress with a total."""
        if self.progress_done is None or not self.progress_total:
            return None
        return min(max(self.progress_done / self.progress_total, 0.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
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


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log line of a run."""

    id: int
    attempt: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """A finished durable step."""

    name: str
    attempt: int
    completed_at: datetime
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a job or queue: actor, time, reason and end."""

    by: str
    at: datetime
    reason: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is up, or was up at its last heartbeat."""

    id: str
    name: str
    process_id: int
    queues: tuple[str, ...]
    workers: int
    running: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    stopping_at: datetime | None
    release: str | None = None
    fingerprint: str | None = None
    drain_requested_by: str | None = None
    drain_requested_at: datetime | None = None
    clock_offset_ms: int | None = None
    """The node machine's clock minus the database's clock."""
    stuck_since: datetime | None = None
    stuck_in: str | None = None
    """The cause when the event loop is blocked: the job in the first line, then the stack."""
    role: Literal["active", "standby"] | None = None
    """On a database where one node at a time runs jobs: whether this node is the active one. ``None`` elsewhere, where each node is."""

    @property
    def takes_runs(self) -> bool:
        """Whether the node claims new runs: the node is neither stopping nor being drained."""
        return self.stopping_at is None and self.drain_requested_at is None

    @property
    def trouble(self) -> str:
        """The node's problems in one line; empty without problems."""
        return node_trouble(self.stuck_since, self.stuck_in, self.clock_offset_ms)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Use of a pool by one of its queues: the pool's order, the queue's weight, and the number of busy workers on all servers."""

    name: str
    order: str
    weight: int | None
    busy: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue with its run counts by state, its pause and its limits."""

    name: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    oldest_due: datetime | None
    pause: Pause | None
    limit: int | None = None
    """Maximum concurrent runs from the queue, on all nodes together; ``None``: only workers limit the queue."""
    maintenance: Window | None = None
    """The current maintenance window, in which none of the queue's runs start; ``None`` outside a window."""
    aging_seconds: int | None = None
    """The seconds that a run waits to gain one priority point; ``None``: waiting adds no priority."""
    pool: PoolUse | None = None
    """The pool whose workers the queue shares; ``None`` for a queue with its own workers."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An audit row: actor, action, time and origin, with its place in the hash chain, if any."""

    id: int
    at: datetime
    actor: str
    action: str
    job: str | None
    run_id: int | None
    detail: str | None
    remote: str | None
    seq: int | None = None
    hash: str | None = None
    sentence: str = ""
    """Actor, act, object and place in English, such as ``night paused queue mail through the API``."""


def run_of(row: sa.Row[Any]) -> Run:
    """Convert a row from c_JobRun."""
    return Run(
        id=row.Id,
        job=row.JobName,
        type=row.JobType,
        state=RunState(row.State),
        queue=row.Queue,
        priority=row.Priority,
        arguments_json=row.ArgumentsJson,
        scheduled_for=row.ScheduledFor,
        due_at=row.DueAt,
        created_at=row.CreatedAt,
        started_at=row.StartedAt,
        completed_at=row.CompletedAt,
        attempt=row.Attempt,
        lost_workers=row.LostWorkers,
        server=row.ServerId,
        triggered_by=row.TriggeredBy,
        message=row.Message,
        blocked_by=row.BlockedBy,
        progress_done=row.ProgressDone,
        progress_total=row.ProgressTotal,
        cancel_requested_by=row.CancelRequestedBy,
        stop_note=row.StopNote,
        unknown_since=row.UnknownSince if row.State in WAITING else None,
        refused_by=row.RefusedBy,
        cause=row.Cause,
        handled_at=row.HandledAt,
        handled_by=row.HandledBy,
        handling=row.Handling,
        retry_of=row.RetryOf,
        batch_id=row.BatchId,
        trace=row.Trace,
        unique_key=row.UniqueKey,
        expires_at=row.ExpiresAt,
        life_log=row.LifeLog,
    )


def attempt_of(row: sa.Row[Any]) -> Attempt:
    """Convert a row from c_LoggedJob."""
    return Attempt(
        id=row.ID,
        job=row.JobName,
        run_id=row.JobId,
        type=row.JobType,
        started_at=row.StartedAt,
        completed_at=row.CompletedAt,
        duration_ms=row.DurationMs,
        success=row.Success,
        message=row.ResultMessage,
        error=row.ErrorMessage,
        traceback=row.StackTrace,
        server=row.ServerName,
        triggered_by=row.TriggeredBy,
        memory_mb=row.MemoryUsedMB,
        cpu_ms=row.CpuTimeMs,
        number=row.Attempt,
        scheduled_for=row.ScheduledFor,
        metadata=_json_object(row.MetadataJson),
    )


def pause_of(row: sa.Row[Any], now: datetime) -> Pause | None:
    """Return the pause in a row of c_JobSchedule or c_JobQueue; ``None`` without a pause, or if the pause ended before ``now``."""
    if row.PausedAt is None or (row.PausedUntil is not None and row.PausedUntil <= now):
        return None
    return Pause(row.PausedBy or "", row.PausedAt, row.PauseReason, row.PausedUntil)


_DECODER = json.JSONDecoder(parse_constant=str)  # JSON has no NaN
"""Decoder of stored values; ``json.loads`` with an option makes a decoder for each text, which takes longer than the text."""


def _json_object(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    value = _DECODER.decode(text)
    return value if isinstance(value, dict) else {"value": value}


def life_of(text: str) -> Iterator[StateChange]:
    """Parse a run's state history (the column ``LifeLog``); yield the changes, oldest first, and skip other lines."""
    for line in text.splitlines():
        at, _, rest = line.partition(" ")
        state, _, note = rest.partition(" ")
        try:
            yield StateChange(datetime.fromisoformat(at), state, note)
        except ValueError:  # not a line of a state history
            continue
