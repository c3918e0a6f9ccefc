"""Runs as they are asked for: what a call says of them, and what that makes them, before there is anything of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..core.actor import Actor
from ..core.kept.limits import MOST_BYTES
from ..core.numbers import PRIORITIES, is_priority
from ..core.states import RunState
from ..engine import creating
from ..jobs.definition import JobDefinition, JobType
from ..jobs.hooks.tracing import TRACING
from ..schedules import parse_duration
from ..storage.runs.values import After, NewRun
from ..storage.ties.keys.wanted import call_key, expiry, unique_key
from ..storage.ties.tie import Tie


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
    then = creating.runs_after(definition, by, now)
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
        "ties": creating.ties_of(then) | delays,
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
