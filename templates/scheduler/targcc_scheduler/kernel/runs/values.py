"""Values that describe a run on its way: new, offered, claimed, settled."""

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
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import sqlalchemy as sa

from ...core.pools import Turns
from ...core.states import FINAL, WAITING, RunState
from ...db.tables import job_run
from ..jobs.files import Content
from ..jobs.limits import LimitPolicy
from ..jobs.unique import Unique

if TYPE_CHECKING:
    from ..effects import Ready


# The values that describe a run on its way: new, offered, claimed, settled.

MOST_LOST_WORKERS = 3
"""A run that has cost so many workers is failed, since it probably kills them."""
POISON_AFTER = MOST_LOST_WORKERS - 1
"""A run that has cost so many workers is a poison run: it gets a worker of a node only while no other such run is there. So the run
that kills its workers is failed, and not another that happened to be beside it."""


On = Literal["success", "failure", "finish"]
Quorum = Literal["all", "any"]
Otherwise = Literal["discard", "wait"]


@dataclass(frozen=True, slots=True)
class After:
    """What a run waits for.

    Args:
        parents: Kind (``run``, ``batch``) and id of each.
        on: How a parent has to end.
        quorum: Whether ``all`` of them have to, or ``any`` is enough.
        otherwise: What becomes of the run when they ended otherwise: it is discarded, or waits until a person has them done again.
        jobs: Of a run that its job's ``after`` asks for: the jobs of which it waits for one run each.
    """

    parents: tuple[tuple[str, int], ...]
    on: On = "success"
    quorum: Quorum = "all"
    otherwise: Otherwise = "discard"
    jobs: tuple[str, ...] = ()


class RunId(int):
    """The id of a run that was asked for.

    Attributes:
        existing: Whether the run was there already, and stands for the one that was asked for.
    """

    existing: bool = False

    @classmethod
    def of(cls, run_id: int, *, existing: bool) -> RunId:
        """An id, and whether the run was there already."""
        made = cls(run_id)
        made.existing = existing
        return made


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """What a run is unique by.

    Args:
        key: Two runs of a job with the same key are duplicates.
        rule: What becomes of them; ``None``: a run that is over is done again, whoever had the key before.
        waits: No other run stands for this one: while another has the key, it waits.
    """

    key: str
    rule: Unique | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class CallKey:
    """What a caller named a call, so that it is made once however often it is repeated.

    Args:
        key: The name, as it is kept: of a caller who may not see every job, a digest that no other caller has.
        digest: Of the job and the arguments.
        shown: The name as the caller wrote it.
        former: The digests under the names that the job had before.
    """

    key: str
    digest: str
    shown: str
    former: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A run to be created.

    Args:
        due_at: When it may start.
        scheduled_for: The slot of a recurring job.
        note: Why it came into its state, for its state history.
        blocked_by: The run that was in the way of a skipped one.
        retry_of: The run that a person has done again by this one.
        cause: Of a missed slot that a person should hear of.
        ties: What hangs on it: a :class:`~..ties.tie.Tie`.
        limit_key: The key of the limit under which it takes room.
        weight: How much room.
        batch_id: The batch or flow that it is of.
        step: Its step in a flow.
        expires_at: It is not to start after this.
        trace: The W3C ``traceparent`` of who enqueued it.
        contents: What its arguments refer to.
        contents_of: The run whose content they refer to: it gets the same.
        unique: What it is unique by.
        call: What its caller named the call.
        after: What it waits for.
        then: The runs of jobs that follow its job; each waits for it.
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


Then = Callable[[str], tuple[NewRun, ...]]
"""The runs of the jobs that follow a job, by its name."""


@dataclass(frozen=True, slots=True)
class OfferedRun:
    """A run that an engine's own queue says is next, its job and that queue."""

    run_id: int
    job_name: str
    arguments_json: str | None = None
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who refuses runs, for the others and for people.

    Args:
        fingerprint: Stands for the jobs and arguments that the node knows; empty for one that takes whatever it is offered.
        node: Its name.
        release: The release it runs.
    """

    fingerprint: str = ""
    node: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A run that a node cannot perform, as the job that it was offered as, and why."""

    run_id: int
    job_name: str
    why: str


def fits_always(job_name: str, arguments_json: str | None, run_id: int) -> str | None:
    """For whoever performs whatever it claims."""
    del job_name, arguments_json, run_id
    return None


@dataclass(frozen=True, slots=True)
class Shared:
    """Workers that are free in a pool, and whose turn it is there."""

    turns: Turns
    free: int


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What an engine has for a worker.

    Args:
        wanted: So many of the next runs of each queue, whichever they are: highest priority, then longest due, then oldest.
        shared: Likewise, of the queues of each pool.
        aging: For some queues, the seconds of waiting that count as one point of priority.
        runs: These runs, the most urgent first; for engines with a queue of their own.
    """

    wanted: Mapping[str, int] = field(default_factory=dict)
    shared: Sequence[Shared] = ()
    aging: Mapping[str, int] = field(default_factory=dict)
    runs: Sequence[OfferedRun] = ()

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of which runs are wanted."""
        return (*self.wanted, *(queue for one in self.shared for queue in one.turns.pool.queues))


@dataclass(frozen=True, kw_only=True)
class ClaimTerms:
    """Who claims, and what it minds.

    Args:
        server_id: The node.
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        poison_here: Whether the node has a poison run (see :data:`POISON_AFTER`).
        now: The present instant.
        tell: Tells it anew, as a claim may have waited for what others decide about a limit; ``None``: ``now`` stands.
        queue_limits: How many runs of a queue may be running at once, on all nodes together; a queue that is not named has no limit.
        keyed: What jobs say of the keys of their limits.
        identity: Who it is, for the runs that it refuses.
        fits: Says of a job's name, a run's arguments and its id why the node cannot perform it; ``None``: it can. It must not raise.
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
    """A run that belongs to a node: running, there, in this attempt.

    Args:
        server_id: The node; ``None`` for a run that waits, which belongs to nobody (see :class:`Settlement`).
        ties: What hung on it when it was claimed.
        trace: The W3C ``traceparent`` of who enqueued it.
        limit: How many runs of its job may be running at once; ``None``: as many as there are workers.
        queue_limit: How many runs of its queue may be, on all nodes together.
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
        """What tells it from every other claim, also of the same run."""
        return self.run_id, self.attempt, self.started_at


ClaimKey = tuple[int, int, datetime]
"""The run, its attempt, and when it began: an attempt that is released does not count, so that the next has its number."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of an offer.

    Args:
        claims: The runs that are the node's now, the most urgent first.
        misfits: Those that it cannot perform; they are as they were.
        expired: Those whose time is over; they are as they were, too: see ``ties/expiry.py``.
        ready: Runs that have been let go under their limits, and those that are to be offered again a little later.
        crowded: The queues in which runs found no room under theirs: there may be others in their place.
    """

    claims: Sequence[Claim]
    misfits: Sequence[Misfit] = ()
    expired: Sequence[int] = ()
    ready: Sequence[Ready] = ()
    crowded: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """How an attempt ended, as ``c_LoggedJob`` keeps it; ``history.py`` makes the row."""

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
    """What hangs on a run: its ties, a :class:`~..ties.tie.Tie`, the key of its limit, and whether others wait for that."""

    ties: int
    limit_key: str | None
    is_awaited: bool | None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What becomes of a run. A message queue's consumer *settles* a message: completes it, puts it back, gives it up; so here.

    Args:
        claim: The run, and to whom it belongs; nothing happens if that is not so any more.
        state: What it becomes.
        source: What it is until then.
        note: Why, for its state history.
        message: The result or error, in one line.
        due_at: For a run that goes on: when.
        counts: Whether the attempt counts; one that is released does not.
        cost_a_worker: Whether the attempt's worker was lost.
        cancelled_by: Who cancelled a run that waited.
        attempt: How the attempt ended, if it gets a row of history.
        log_lines: Rows for ``c_JobLogLine`` that are not written yet.
        progress: How far it came, if it said so.
        ties: What hung on the run when it was written; see :mod:`..ties.ended`.
        limit_key: The key of its limit, then.
        is_awaited: Whether others waited for that key; ``None``: nobody has looked, and it is not locked.
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
        """Whether the run is over."""
        return self.state in FINAL

    @property
    def goes_on(self) -> bool:
        """Whether the run waits again."""
        return self.state in WAITING


# The kinds of ties, as the column ``Ties`` of ``c_JobRun`` has them.


class Tie(IntFlag):
    """What hangs on a run: its end, or its way there, has consequences for others."""

    FOLLOWED = 1  # runs wait for it
    FOLLOWS = 2  # it waits, or has waited, for others
    LIMITED = 8  # it takes room under a limit
    BATCH = 16  # it is of a batch or a flow
    DELAYED = 64  # its delay counts from when it may go
    ASKS = 128  # it waits, or has waited, for its unique key, or for room under its limit, and for no other run to end as it asks
    KEYED = 256  # runs wait, or have waited, for its unique key, or it has waited for that


ANY_TIE = -1
"""All ties, also those of later releases."""
LIMITED, NO_LIMIT = int(Tie.LIMITED), ~int(Tie.LIMITED)
"""That of a limit, and all others; as numbers, since each run is asked for them, and flags take microseconds."""


# What stands in the column ``LimitKey`` of a run that asks for its keys, until it has them.
#
# No limit key begins so, as these begin with the name of a job: no claim takes such a run, and no limit counts it.

ASKS = "\x1e"
"""The run asks for its keys once it is due."""
IS_LIMIT = sa.func.substr(job_run.c.LimitKey, 1, 1) != sa.literal_column(f"'{ASKS}'")
"""That a run has the key of a limit."""


def has_its_keys(run: sa.FromClause = job_run) -> sa.ColumnElement[bool]:
    """That a run does not ask for its keys: it has none, or has them."""
    begins = sa.func.substr(run.c.LimitKey, 1, 1)
    return sa.or_(run.c.LimitKey.is_(None), begins != sa.literal_column(f"'{ASKS}'"))


def waits_for(unique_key: str) -> str:
    """What stands there while the run waits for this unique key: the index of limits finds those that wait for one, the most urgent first."""
    return ASKS + unique_key


def is_mark(limit_key: str | None) -> bool:
    """Whether it is no key of a limit, but what stands there instead."""
    return limit_key is not None and limit_key.startswith(ASKS)


# Classes of durations, from which percentiles follow within five per cent.
#
# Class ``n`` up to 20 holds ``n`` milliseconds; above that, class ``20 + n`` holds what is more than ``20 * GROWTH ** (n - 1)`` and at most
# ``20 * GROWTH ** n``. So a class is the same on every node and in every quarter of an hour: counts of the same class are added, and nothing
# is lost by that. The logarithmic mapping is that of DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019).

GROWTH = 1.09
"""The ratio of a logarithmic class's bounds: its middle is at most 4.4 % from each duration in it, 5 % as whole milliseconds."""
NO_DURATION = -1
"""The class of what has no duration."""

_EXACT = 20
_STEP = math.log(GROWTH)


def bucket_of(milliseconds: int | None) -> int:
    """The class of a duration."""
    if milliseconds is None:
        return NO_DURATION
    if milliseconds <= _EXACT:
        return max(milliseconds, 0)
    return _EXACT + math.ceil(math.log(milliseconds / _EXACT) / _STEP)


def duration_of(bucket: int) -> int:
    """The milliseconds that stand for a class: where the error is the same share at both bounds."""
    if bucket <= _EXACT:
        return max(bucket, 0)
    return round(2 * _EXACT * GROWTH ** (bucket - _EXACT) / (GROWTH + 1))


# What the statistics count: runs that ended, and attempts after which another one follows.

QUARTER = timedelta(minutes=15)
"""How long one row counts. Every zone of today begins its days at a whole quarter of an hour."""
_SHARDS = 1000
HISTORY_SHARD = _SHARDS
"""The shard of what is counted afterwards: rows of an earlier release, and imported ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A run that ended, or an attempt after which the run goes on.

    Args:
        job: The job.
        at: When the attempt began; of a run without one, its slot or the instant of its end.
        outcome: The state that the run ended in; ``retrying`` for an attempt after which it goes on.
        duration_ms: How long the attempt took, if it succeeded.
        retried: Whether it was not the run's first attempt.
    """

    job: str
    at: datetime
    outcome: RunState
    duration_ms: int | None = None
    retried: bool = False

    @property
    def begins_at(self) -> datetime:
        """The quarter of an hour it counts in."""
        return quarter_of(self.at)

    @property
    def bucket(self) -> int:
        """The class of its duration."""
        return bucket_of(self.duration_ms)


def quarter_of(instant: datetime) -> datetime:
    """The beginning of the quarter of an hour that an instant is in; the same in every zone."""
    return instant - timedelta(
        minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond
    )


def added_up(endings: Iterable[Ending], shard: int) -> list[dict[str, Any]]:
    """The rows of ``c_JobStat`` that count these, in the order of their keys: who writes several locks them in the same order."""
    rows: dict[tuple[str, datetime, str, int], dict[str, Any]] = {}
    for one in endings:
        key = (one.job, one.begins_at, str(one.outcome), one.bucket)
        names = ("JobName", "BeginsAt", "Outcome", "Bucket")
        fresh = {"Shard": shard, "Count": 0, "Retried": 0, "SumMs": 0, "MaxMs": 0}
        row = rows.setdefault(key, dict(zip(names, key, strict=True)) | fresh)
        row["Count"] += 1
        row["Retried"] += one.retried
        row["SumMs"] += one.duration_ms or 0
        row["MaxMs"] = max(row["MaxMs"], one.duration_ms or 0)
    return [rows[key] for key in sorted(rows)]


def shard_of_process() -> int:
    """The shard of this process: two nodes write rows of their own, so that neither waits for the other."""
    return _shard(os.getpid())


@functools.cache
def _shard(process_id: int) -> int:
    return zlib.crc32(f"{platform.node()}/{process_id}".encode()) % _SHARDS
