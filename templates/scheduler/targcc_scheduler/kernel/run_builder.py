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

# Runs as they are asked for: what a call says of them, and what that makes them, before there is anything of them.


@dataclass(frozen=True, slots=True)
class Options:
    """What a call says of its runs besides the job and its arguments.

    Args:
        after: What they wait for.
        queue: Instead of the job's own.
        priority: Instead of the job's own.
        expires_in: How long after they are due they may begin. Instead of the job's own.
        idempotency_key: What the caller names the call.
        due_at: When they are due; ``None``: at once.
        delayed: Whether their delay counts from when they may go.
        key_of: The caller whose own the idempotency key is; ``None``: all callers share it.
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
    """A run of a job for each of many sets of arguments.

    Raises:
        ArgumentsError: the arguments do not fit the job.
        FileError: a file among them cannot be read, or something is too large.
        IdempotencyError: the idempotency key is empty or too long.
    """
    common = _common(definition, job_type, str(by), now, options)
    return [
        NewRun(
            arguments_json=arguments_json,
            contents=contents,
            trace=TRACING.created(definition.name, common["queue"]),
            unique=unique_key(definition, arguments_json),
            call=call_key(definition, arguments_json, options.idempotency_key, options.key_of),
            **definition.room(arguments_json),
            **common,
        )
        for arguments in many
        for arguments_json, contents in [definition.take(arguments, most_bytes)]
    ]


def _common(
    definition: JobDefinition, job_type: JobType, by: str, now: datetime, options: Options
) -> dict[str, Any]:
    """What all runs of a call have."""
    due_at = options.due_at or now
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
        "expires_at": expiry(definition, due_at, options.expires_in),
        "after": options.after,
        "then": then,
        "ties": submit.dependencies_of(then) | delays,
    }


def due_instant(delay: timedelta | str | None, at: datetime | None, now: datetime) -> datetime:
    """When a delayed run is due.

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


# What ``enqueue(…, after=…)`` says.

MOST_WAITING = 10_000
"""So many runs of a call, or of a batch, may wait: they go, or are discarded, in the transaction that ends what they wait for."""
MOST_LINKS = 100_000
"""So many rows may say what they wait for, one for each of them and each of its parents."""


@runtime_checkable
class HasBatchId(Protocol):
    """A batch that runs can wait for."""

    @property
    def batch_id(self) -> int:
        """Its id."""


Parents = int | HasBatchId | Iterable[int | HasBatchId]
"""What a run may wait for: the id of a run, a batch, or several of these."""


def after_of(
    parents: Parents | None,
    on: On = "success",
    quorum: Quorum = "all",
    otherwise: Otherwise = "discard",
) -> After | None:
    """What a run waits for; ``None``: nothing.

    Raises:
        ValueError: a word is none of those that there are, or there are no parents.
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
    """Refuse more of what waits than one call makes.

    Args:
        after: What the runs wait for.
        runs: How many there are.

    Raises:
        ValueError: there are too many, or together they wait for too much.
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
