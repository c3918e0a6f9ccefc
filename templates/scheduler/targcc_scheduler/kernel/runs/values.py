"""Values that describe a run in each phase: new, offered, claimed, settled; and the effects of settled runs."""

from __future__ import annotations

import functools
import math
import os
import platform
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntFlag
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from ...core.numbers import MOST_OWN_RETRIES, PRIORITIES, is_priority
from ...core.pools import Turns
from ...core.states import FINAL, WAITING, On, RunState
from ...core.stored_values import may_refer
from ...db.tables import job_run
from ..jobs.files import Content
from ..jobs.options import LimitPolicy, Unique

# Values that describe a run in each phase: new, offered, claimed, settled.

# Values that describe a run in each phase: new, offered, claimed, settled.

MOST_LOST_WORKERS = 3
"""Number of lost workers at which a run fails, since the run probably kills its workers."""
POISON_AFTER = MOST_LOST_WORKERS - 1
"""Number of lost workers at which a run counts as a poison run. A node runs at most one poison run at a time, so that the run that kills
its workers fails, and not a run beside it."""


_NEVER_RAN = frozenset({RunState.MISSED, RunState.SKIPPED})

Quorum = Literal["all", "any"]
Otherwise = Literal["discard", "wait"]


@dataclass(frozen=True, slots=True)
class After:
    """Dependencies of a run.

    Args:
        parents: Kind (``run``, ``batch``) and id of each parent.
        on: The required end of a parent.
        quorum: Whether ``all`` parents have to end this way, or ``any`` parent is enough.
        otherwise: Fate of the run if the parents end differently: ``discard``, or ``wait`` until a person reruns the parents.
        jobs: For a run created by its job's ``after``: the jobs; the run waits for one run of each job.
    """

    parents: tuple[tuple[str, int], ...]
    on: On = "success"
    quorum: Quorum = "all"
    otherwise: Otherwise = "discard"
    jobs: tuple[str, ...] = ()


class RunId(int):
    """The id of a requested run.

    Attributes:
        existing: Whether the run existed before and stands for the requested run.
    """

    existing: bool = False

    @classmethod
    def of(cls, run_id: int, *, existing: bool) -> RunId:
        """Build an id; ``existing`` tells whether the run existed before."""
        made = cls(run_id)
        made.existing = existing
        return made


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """Unique key of a run.

    Args:
        key: The key; two runs of a job with the same key are duplicates.
        rule: The job's rule for duplicates; ``None`` for a rerun: a run that is over no longer holds the key.
        waits: Wait while another run holds the key, instead of letting the other run stand for this run.
    """

    key: str
    rule: Unique | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class CallKey:
    """Idempotency key of a call: repeated calls with the same key create one run.

    Args:
        key: The stored key. For a caller with access to some jobs only, a digest that no other caller can produce.
        digest: A digest of the job and the arguments.
        shown: The key as the caller wrote it.
        former: The digests under the job's former names.
    """

    key: str
    digest: str
    shown: str
    former: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an enqueue call besides the job and its arguments.

    Args:
        after: The parents of the runs.
        queue: Queue in place of the job's own.
        priority: Priority in place of the job's own.
        expires_in: How long after their due time the runs may begin, in place of the job's own limit.
        idempotency_key: Idempotency key of the call.
        due_at: When the runs are due; ``None``: at once.
        delayed: Whether the delay counts from the moment when the runs may go.
        key_of: The caller that owns the key; ``None``: all callers share the key.
        retries: Retries after a failed attempt, in place of the job's own.
    """

    after: After | None = None
    queue: str | None = None
    priority: int | None = None
    expires_in: timedelta | str | None = None
    idempotency_key: str | None = None
    due_at: datetime | None = None
    delayed: bool = False
    key_of: str | None = None
    retries: int | None = None

    def __post_init__(self) -> None:
        if self.retries is not None and not 0 <= self.retries <= MOST_OWN_RETRIES:
            raise ValueError(
                f"retries is a number from 0 to {MOST_OWN_RETRIES}, not {self.retries}"
            )
        if self.priority is not None and not is_priority(self.priority):
            raise ValueError(f"{PRIORITIES}, not {self.priority!r:.40}")

    def as_given(self) -> dict[str, Any]:
        """Return the options that are fields of :class:`NewRun` without a change."""
        return {"after": self.after}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A run to be created.

    Args:
        due_at: The earliest start.
        scheduled_for: The slot of a recurring job.
        note: The reason for the state, for the state history.
        blocked_by: For a skipped run: the run that blocked the slot.
        retry_of: For a rerun: the old run.
        cause: For a missed slot that needs attention: the key of its error group.
        ties: Bits of :class:`Tie`.
        limit_key: The key of the limit that counts the run.
        weight: The capacity that the run takes under the limit.
        batch_id: The batch or flow of the run.
        step: The run's step in a flow.
        expires_at: The latest start.
        trace: The W3C ``traceparent`` of the enqueueing caller.
        contents: The files that the arguments refer to.
        contents_of: The run whose files the arguments refer to; the files are copied.
        unique: The unique key.
        call: The idempotency key of the call.
        after: The dependencies.
        then: The runs of jobs that follow the run's job; each waits for the run.
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
    retry_of: int | None = None
    cause: str | None = None
    ties: int = 0
    limit_key: str | None = None
    weight: int = 1
    batch_id: int | None = None
    step: str | None = None
    expires_at: datetime | None = None
    trace: str | None = None
    contents: Sequence[Content] = ()
    contents_of: int | None = None
    unique: UniqueKey | None = None
    call: CallKey | None = None
    after: After | None = None
    then: tuple[NewRun, ...] = ()

    def columns(self, now: datetime) -> dict[str, Any]:
        """Return the values of the run's row, except for the state: see :func:`.transition.first_state`."""
        is_over = self.state in FINAL
        return {
            "JobName": self.job_name,
            "JobType": self.job_type,
            "Queue": self.queue,
            "Priority": self.priority,
            "ArgumentsJson": self.arguments_json,
            "ScheduledFor": self.scheduled_for,
            "DueAt": self.due_at,
            "CreatedAt": now,
            "CompletedAt": now if is_over else None,
            "TriggeredBy": self.triggered_by,
            "Message": self.note if is_over else None,
            "BlockedBy": self.blocked_by,
            "RetryOf": self.retry_of,
            "Cause": self.cause,
            "Ties": self.ties if self.limit_key is None else self.ties | Tie.LIMITED,
            "LimitKey": self.limit_key,
            "Weight": self.weight,
            "BatchId": self.batch_id,
            "Step": self.step,
            "ExpiresAt": self.expires_at,
            "Trace": self.trace,
            "UniqueKey": None if self.unique is None else self.unique.key,
        }


Then = Callable[[str], tuple[NewRun, ...]]
"""Build the runs of the jobs that follow a job; the argument is the name of the job."""


def rerun_of(row: Any, by: str, now: datetime, then: Then = lambda _job: ()) -> NewRun:
    """Build the rerun of a run that is over, with the same job and arguments. Writes nothing.

    Args:
        row: The row of the run that is over.
        by: The person requesting the rerun.
        now: The present instant.
        then: Builds the runs of the jobs that follow a job. Called only for a missed or skipped slot, since such a slot created no
            dependents; existing dependents of any other run wait for the rerun.
    """
    followers = then(row.JobName) if row.State in _NEVER_RAN else ()
    asks = is_mark(row.LimitKey)
    return NewRun(
        job_name=row.JobName,
        job_type=row.JobType if row.JobType != "Recurring" else "Manual",
        queue=row.Queue,
        priority=row.Priority,
        arguments_json=row.ArgumentsJson,
        contents_of=row.Id if may_refer(row.ArgumentsJson) else None,
        due_at=now,
        triggered_by=by,
        note=f"run {row.Id} again",
        retry_of=row.Id,
        unique=None if asks or row.UniqueKey is None else UniqueKey(row.UniqueKey),
        then=followers,
        ties=row.Ties & Tie.FOLLOWED | (Tie.FOLLOWED if followers else 0),
        limit_key=ASKS if asks else row.LimitKey,
        weight=row.Weight,
    )


@dataclass(frozen=True, slots=True)
class OfferedRun:
    """A run that an engine's own queue offers as next, with its job and queue."""

    run_id: int
    job_name: str
    arguments_json: str | None = None
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a node in its refusals, for other nodes and for people.

    Args:
        fingerprint: Identifies the jobs and arguments that the node knows; empty for a node that accepts every run.
        node: The node's name.
        release: The node's release.
    """

    fingerprint: str = ""
    node: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A run that a node cannot perform: the run, its job at the time of the offer, and the reason."""

    run_id: int
    job_name: str
    why: str


def fits_always(job_name: str, arguments_json: str | None, run_id: int) -> str | None:
    """Accept every run: the default of ``ClaimTerms.fits``."""
    del job_name, arguments_json, run_id
    return None


@dataclass(frozen=True, slots=True)
class Shared:
    """Free workers of a pool, with the turns of its queues."""

    turns: Turns
    free: int


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An engine's offer to a worker.

    Args:
        wanted: How many of the next runs to claim from each queue: highest priority first, then longest due, then oldest.
        shared: The same for the queues of each pool.
        aging: For queues with ageing, the waiting seconds that count as one priority point.
        runs: Specific runs, the most urgent first; for engines with a queue of their own.
    """

    wanted: Mapping[str, int] = field(default_factory=dict)
    shared: Sequence[Shared] = ()
    aging: Mapping[str, int] = field(default_factory=dict)
    runs: Sequence[OfferedRun] = ()

    @property
    def queues(self) -> tuple[str, ...]:
        """Return the queues of ``wanted`` and ``shared``."""
        return (
            *self.wanted,
            *(queue for share in self.shared for queue in share.turns.pool.queues),
        )


@dataclass(frozen=True, kw_only=True)
class ClaimTerms:
    """The node that claims, with its limits.

    Args:
        server_id: The node.
        limits: How many runs of a job may be running at once; a job without an entry has no limit.
        poison_here: Whether the node has a poison run (see :data:`POISON_AFTER`).
        now: The present instant.
        tell: Returns the present instant again after the claim has waited for locks of limits; ``None``: use ``now``.
        queue_limits: How many runs of a queue may be running at once, on all nodes together; a queue without an entry has no limit.
        keyed: The limit policies of jobs with a limit by key.
        identity: The node's identity in refusals.
        fits: Takes a job's name, a run's arguments and a run's id; returns the reason why the node cannot perform the run, or ``None``.
            Must not raise.
    """

    server_id: str
    limits: Mapping[str, int]
    poison_here: bool
    now: datetime
    tell: Callable[[], datetime] | None = None
    queue_limits: Mapping[str, int] = field(default_factory=dict)
    keyed: Mapping[str, LimitPolicy] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    fits: Callable[[str, str | None, int], str | None] = fits_always


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that belongs to a node: running on the node, in this attempt.

    Args:
        server_id: The node; ``None`` for a waiting run, which belongs to no node (see :class:`Settlement`).
        ties: The run's :class:`Tie` bits at the claim.
        trace: The W3C ``traceparent`` of the enqueueing caller.
        limit: How many runs of the job may be running at once; ``None``: no limit but the number of workers.
        queue_limit: How many runs of the queue may be running at once, on all nodes together; ``None``: no limit.
    """

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
    server_id: str | None
    started_at: datetime
    ties: int = 0
    trace: str | None = None
    limit: int | None = None
    queue_limit: int | None = None

    @property
    def key(self) -> ClaimKey:
        """Return the key that identifies the claim among all claims, including other claims of the same run."""
        return self.run_id, self.attempt, self.started_at


ClaimKey = tuple[int, int, datetime]
"""Run, attempt and start. The start is part of the key since a released attempt does not count: the next attempt has the same number."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Result of a claim.

    Args:
        claims: The runs that the node claimed, the most urgent first.
        misfits: The runs that the node cannot perform; left unchanged.
        expired: The runs that have expired; left unchanged, see ``kernel/on_settled.py``.
        ready: Runs admitted under their limits, and runs to offer again a little later.
        crowded: The queues in which runs found no capacity under their limits: later runs of these queues may still fit.
    """

    claims: Sequence[Claim]
    misfits: Sequence[Misfit] = ()
    expired: Sequence[int] = ()
    ready: Sequence[Ready] = ()
    crowded: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """Outcome of an attempt, for its row in ``c_LoggedJob``; ``settle.py`` builds the row."""

    ended_at: datetime
    success: bool
    server: str
    message: str | None = None
    stack_trace: str | None = field(default=None, repr=False)
    duration_ms: int | None = None
    memory_mb: int | None = None
    cpu_ms: int | None = None
    metadata_json: str | None = field(default=None, repr=False)


class Tied(NamedTuple):
    """Ties of a settled run: its :class:`Tie` bits, its limit key, and whether other runs wait for that key."""

    ties: int
    limit_key: str | None
    is_awaited: bool | None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """The next state of a run.

    The name comes from message queues: a consumer *settles* a message by completing, returning or abandoning the message.

    Args:
        claim: The run and its node. If the run no longer belongs to the node, the settlement has no effect.
        state: The new state.
        source: The expected current state.
        note: The reason, for the state history.
        message: The result or error, in one line.
        due_at: For a run that waits again: its new due time.
        counts: Whether the attempt counts; a released attempt does not count.
        cost_a_worker: Whether the attempt's worker was lost.
        cancelled_by: The person cancelling a waiting run.
        attempt: The outcome of the attempt, if the attempt gets a history row.
        log_lines: Rows for ``c_JobLogLine`` not written yet.
        progress: The reported progress (done, total), if any.
        ties: The run's :class:`Tie` bits when the settlement was written; see :mod:`..on_settled`.
        limit_key: The run's limit key at that time.
        is_awaited: Whether other runs waited for the limit key; ``None``: not checked, and the key is not locked.
    """

    claim: Claim
    state: RunState
    source: RunState = RunState.RUNNING
    note: str = ""
    message: str | None = None
    due_at: datetime | None = None
    counts: bool = True
    cost_a_worker: bool = False
    cancelled_by: str | None = None
    attempt: AttemptRecord | None = None
    log_lines: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    progress: tuple[float, float | None] | None = None
    ties: int = 0
    limit_key: str | None = None
    is_awaited: bool | None = False

    @property
    def is_final(self) -> bool:
        """Return whether the run is over."""
        return self.state in FINAL

    @property
    def goes_on(self) -> bool:
        """Return whether the run waits again."""
        return self.state in WAITING


# Ties: the bits of the column ``Ties`` of ``c_JobRun``.


class Tie(IntFlag):
    """Relations of a run to other runs, limits and batches: the run's end, or an earlier transition, has effects there."""

    FOLLOWED = 1  # has dependents
    FOLLOWS = 2  # waits, or has waited, for parents
    LIMITED = 8  # takes capacity under a limit
    BATCH = 16  # belongs to a batch or a flow
    DELAYED = 64  # the delay counts from the end of the run's parents
    ASKS = 128  # waits, or has waited, for its unique key or for capacity under its limit, and not for parents
    KEYED = 256  # other runs wait, or have waited, for its unique key, or the run itself has waited for the key


_OWN_RETRIES_BIT, _OWN_RETRIES_MASK = 16, MOST_OWN_RETRIES + 1


def own_retries_tie(retries: int | None) -> int:
    """Return the bits of ``Ties`` for a run with its own number of retries; ``None``: the job's number, no bits."""
    return 0 if retries is None else (retries + 1) << _OWN_RETRIES_BIT


def own_retries(ties: int) -> int | None:
    """Return a run's own number of retries; ``None``: the job's number."""
    plus_1 = ties >> _OWN_RETRIES_BIT & _OWN_RETRIES_MASK
    return plus_1 - 1 if plus_1 else None


ANY_TIE = -1
"""All ties, including bits of later releases."""
LIMITED, NO_LIMIT = int(Tie.LIMITED), ~int(Tie.LIMITED)
"""The tie of a limit, and all other ties. Plain numbers, since every run is checked and operations on flags take microseconds."""


# Deferred keys: a mark in the column ``LimitKey`` of a run that asks for its keys, until the run has its keys.
#
# A limit key begins with the name of a job and not with a mark. So no claim takes a run with a mark, and no limit counts the run.

ASKS = "\x1e"
"""Mark of a run that asks for its keys once due."""
IS_LIMIT = sa.func.substr(job_run.c.LimitKey, 1, 1) != sa.literal_column(f"'{ASKS}'")
"""Match runs with the key of a limit."""


def has_its_keys(run: sa.FromClause = job_run) -> sa.ColumnElement[bool]:
    """Match runs without deferred keys: runs that have their keys, and runs without keys."""
    begins = sa.func.substr(run.c.LimitKey, 1, 1)
    return sa.or_(run.c.LimitKey.is_(None), begins != sa.literal_column(f"'{ASKS}'"))


def waits_for(unique_key: str) -> str:
    """Return the mark of a run that waits for this unique key. The index of limits finds the runs that wait for a key, the most urgent first."""
    return ASKS + unique_key


def is_mark(limit_key: str | None) -> bool:
    """Return whether a value of ``LimitKey`` is a mark and not the key of a limit."""
    return limit_key is not None and limit_key.startswith(ASKS)


# Duration buckets: percentiles computed from buckets are within five per cent.
#
# Bucket ``n`` up to 20 holds ``n`` milliseconds. Above that, bucket ``20 + n`` holds durations of more than ``20 * GROWTH ** (n - 1)`` and at
# most ``20 * GROWTH ** n``. A bucket is the same on every node and in every quarter of an hour, so counts of the same bucket add up without
# loss. The logarithmic mapping comes from DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019).

GROWTH = 1.09
"""Ratio of a logarithmic bucket's bounds: the middle is at most 4.4 % from each duration in the bucket, 5 % in whole milliseconds."""
NO_DURATION = -1
"""The bucket of entries without a duration."""

_EXACT = 20
_STEP = math.log(GROWTH)


def bucket_of(milliseconds: int | None) -> int:
    """Return the bucket of a duration."""
    if milliseconds is None:
        return NO_DURATION
    if milliseconds <= _EXACT:
        return max(milliseconds, 0)
    return _EXACT + math.ceil(math.log(milliseconds / _EXACT) / _STEP)


def duration_of(bucket: int) -> int:
    """Return the milliseconds that represent a bucket: the relative error is equal at both bounds."""
    if bucket <= _EXACT:
        return max(bucket, 0)
    return round(2 * _EXACT * GROWTH ** (bucket - _EXACT) / (GROWTH + 1))


# Statistics entries: ended runs, and attempts before a retry.

QUARTER = timedelta(minutes=15)
"""Time span of one statistics row. In every zone of today, days begin at a whole quarter of an hour."""
_SHARDS = 1000
HISTORY_SHARD = _SHARDS
"""The shard of entries counted afterwards: rows of an earlier release, and imported rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Statistics entry: a run that ended, or an attempt before a retry.

    Args:
        job: The job.
        at: Start of the attempt; for a run without an attempt, its slot or the instant of its end.
        outcome: The final state of the run; ``retrying`` for an attempt before a retry.
        duration_ms: Duration of the attempt, if successful.
        retried: Whether the run had earlier attempts.
    """

    job: str
    at: datetime
    outcome: RunState
    duration_ms: int | None = None
    retried: bool = False


def quarter_of(instant: datetime) -> datetime:
    """Return the start of an instant's quarter of an hour; the same in every zone."""
    return instant - timedelta(
        minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond
    )


def added_up(endings: Iterable[Ending], shard: int) -> list[dict[str, Any]]:
    """Build the rows of ``c_JobStat`` that count these entries, in key order: every writer locks rows in the same order."""
    rows: dict[tuple[str, datetime, str, int], dict[str, Any]] = {}
    for ending in endings:
        begins_at, bucket = quarter_of(ending.at), bucket_of(ending.duration_ms)
        key = (ending.job, begins_at, str(ending.outcome), bucket)
        names = ("JobName", "BeginsAt", "Outcome", "Bucket")
        fresh = {"Shard": shard, "Count": 0, "Retried": 0, "SumMs": 0, "MaxMs": 0}
        row = rows.setdefault(key, dict(zip(names, key, strict=True)) | fresh)
        row["Count"] += 1
        row["Retried"] += ending.retried
        row["SumMs"] += ending.duration_ms or 0
        row["MaxMs"] = max(row["MaxMs"], ending.duration_ms or 0)
    return [rows[key] for key in sorted(rows)]


def shard_of_process() -> int:
    """Return the shard of this process. Each node writes rows of its own, so that no node waits for another."""
    return _shard(os.getpid())


@functools.cache
def _shard(process_id: int) -> int:
    return zlib.crc32(f"{platform.node()}/{process_id}".encode()) % _SHARDS


# Effects of settled runs: runs to submit, and further settlements.


@dataclass(frozen=True, slots=True)
class Ready:
    """A run for the engine to submit.

    Args:
        asks: The keys of the run must be decided before a claim takes the run.
        first: The run goes before other runs of the same urgency.
    """

    run_id: int
    queue: str
    priority: int
    due_at: datetime
    asks: bool = False
    first: bool = False


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Result of settling runs.

    Args:
        ready: Runs that may go.
        settled: Runs that were discarded, or created and settled at once; these settlements have effects too.
    """

    ready: Sequence[Ready] = ()
    settled: Sequence[Settlement] = ()


def over(settled: Sequence[Settlement], tie: Tie) -> dict[int, str]:
    """Map each final run that has the flag ``tie`` to its final state, by run id."""
    return {
        item.claim.run_id: str(item.state) for item in settled if item.is_final and item.ties & tie
    }


def together(found: Sequence[Effects]) -> Effects:
    """Merge several effects."""
    return Effects(
        ready=[item for effects in found for item in effects.ready],
        settled=[item for effects in found for item in effects.settled],
    )
