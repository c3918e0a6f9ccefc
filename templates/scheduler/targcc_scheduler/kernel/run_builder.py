"""Build `NewRun` values from the arguments of an enqueue call. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, get_args, runtime_checkable

from ..core.actor import Actor
from ..core.numbers import PRIORITIES, is_priority
from ..core.states import RunState
from ..core.stored_values import MOST_BYTES
from ..schedules.words import parse_duration
from .dependencies import BATCH, RUN
from .engine import submit
from .jobs.definition import JobDefinition, JobType
from .jobs.tracing import TRACING
from .runs.values import After, NewRun, On, Otherwise, Quorum, Tie
from .unique import call_key, expiry, unique_key

# Building runs: job, arguments and options of a call.


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
    """

    after: After | None = None
    queue: str | None = None
    priority: int | None = None
    expires_in: timedelta | str | None = None
    idempotency_key: str | None = None
    due_at: datetime | None = None
    delayed: bool = False
    key_of: str | None = None

    def __post_init__(self) -> None:
        if self.priority is not None and not is_priority(self.priority):
            raise ValueError(f"{PRIORITIES}, not {self.priority!r:.40}")


def new_runs(
    definition: JobDefinition,
    job_type: JobType,
    many: Iterable[Mapping[str, Any]],
    by: Actor,
    now: datetime,
    *,
    options: Options = Options(),
    most_bytes: int = MOST_BYTES,
) -> list[NewRun]:
    """Build a run of a job for each set of arguments.

    Raises:
        ArgumentsError: the arguments do not fit the job.
        FileError: a file among the arguments cannot be read, or something is too large.
        IdempotencyError: the idempotency key is empty or too long.
    """
    common, key = _common(definition, job_type, str(by), now, options), options.idempotency_key
    return [
        NewRun(
            arguments_json=arguments_json,
            contents=contents,
            trace=TRACING.created(definition.name, common["queue"]) if TRACING.is_on else None,
            unique=unique_key(definition, arguments_json) if definition.unique else None,
            call=(
                call_key(definition, arguments_json, key, options.key_of)
                if key is not None
                else None
            ),
            **definition.room(arguments_json),
            **common,
        )
        for arguments in many
        for arguments_json, contents in [definition.take(arguments, most_bytes)]
    ]


def _common(
    definition: JobDefinition, job_type: JobType, by: str, now: datetime, options: Options
) -> dict[str, Any]:
    """Return the values that all runs of a call share."""
    due_at, expires_in = options.due_at or now, options.expires_in
    expires = expires_in is not None or definition.expires_in is not None
    then = submit.runs_after(definition, by, now)
    delays = Tie.DELAYED if options.delayed and options.after is not None else 0
    return {
        "job_name": definition.name,
        "job_type": job_type,
        "queue": options.queue or definition.queue,
        "priority": definition.priority if options.priority is None else options.priority,
        "due_at": due_at,
        "triggered_by": by,
        "state": RunState.SCHEDULED if due_at > now else RunState.ENQUEUED,
        "note": f"by {by}",
        "expires_at": expiry(definition, due_at, expires_in) if expires else None,
        "after": options.after,
        "then": then,
        "ties": submit.dependencies_of(then) | delays,
    }


def due_instant(delay: timedelta | str | None, at: datetime | None, now: datetime) -> datetime:
    """Return when a delayed run is due.

    Raises:
        ValueError: neither or both of ``delay`` and ``at`` are given, or ``at`` has no zone.
    """
    if (delay is None) == (at is None):
        raise ValueError("say either delay= or at=")
    if at is None:
        wait = parse_duration(delay) if isinstance(delay, str) else delay
        return now + (wait or timedelta())
    if at.tzinfo is None:
        raise ValueError(f"an instant needs a time zone: {at!r}")
    return at


# Parents: the arguments ``after``, ``on``, ``quorum`` and ``otherwise`` of ``enqueue``.

MOST_WAITING = 10_000
"""Maximum number of waiting runs of a call or batch: all of them go, or are discarded, in the transaction that ends their parent."""
MOST_LINKS = 100_000
"""Maximum number of links of a call: one row for each waiting run and each parent of that run."""


@runtime_checkable
class HasBatchId(Protocol):
    """A batch that runs can wait for."""

    @property
    def batch_id(self) -> int:
        """The id of the batch."""


Parents = int | HasBatchId | Iterable[int | HasBatchId]
"""Parents of a run: the id of a run, a batch, or several ids and batches."""


def after_of(
    parents: Parents | None,
    on: On = "success",
    quorum: Quorum = "all",
    otherwise: Otherwise = "discard",
) -> After | None:
    """Return the parents and conditions of a run; ``None`` if the run has no parents.

    Raises:
        ValueError: ``on``, ``quorum`` or ``otherwise`` has an unknown value or is given without ``parents``, or ``parents`` is empty.
    """
    for name, value, words in (
        ("on", on, get_args(On)),
        ("quorum", quorum, get_args(Quorum)),
        ("otherwise", otherwise, get_args(Otherwise)),
    ):
        if value not in words:
            raise ValueError(f"{name}= is {', '.join(words[:-1])} or {words[-1]}, not {value!r}")
    if parents is None:
        if (on, quorum, otherwise) != ("success", "all", "discard"):
            raise ValueError("on=, quorum= and otherwise= belong to after=")
        return None
    given = [parents] if isinstance(parents, int | HasBatchId) else list(parents)
    if not given:
        raise ValueError("after= names no run")
    return After(
        tuple((RUN, one) if isinstance(one, int) else (BATCH, one.batch_id) for one in given),
        on,
        quorum,
        otherwise,
    )


def check_size(after: After | None, runs: int) -> None:
    """Refuse a call that creates too many waiting runs.

    Args:
        after: The parents of the runs; ``None``: the runs do not wait.
        runs: Number of runs.

    Raises:
        ValueError: there are more than :data:`MOST_WAITING` runs, or more than :data:`MOST_LINKS` links.
    """
    if after is None:
        return
    if runs > MOST_WAITING:
        raise ValueError(
            f"a call has at most {MOST_WAITING} runs that wait, not {runs}: make several"
        )
    parents = len(set(after.parents))
    if runs * parents > MOST_LINKS:
        raise ValueError(
            f"{runs} runs that wait for {parents} are more than {MOST_LINKS} links: let them wait for a batch of these"
        )
