"""What a job, and whoever asks for a run of it, say of how often the run may be there, and until when it may start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ....core.errors import IdempotencyError
from ....jobs.definition import JobDefinition
from ....jobs.options.unique import digest_of
from ....schedules import parse_duration
from ...runs.values import CallKey, UniqueKey

LONGEST_CALL_KEY = 200
"""Characters of an idempotency key."""


def expiry(
    job: JobDefinition, due_at: datetime, expires_in: timedelta | str | None = None
) -> datetime | None:
    """Until when a run may start; ``None``: however late.

    Args:
        job: Its job, which says so where nobody else does.
        due_at: When it is due.
        expires_in: How long after that.

    Raises:
        ValueError: that is no duration above 0.
    """
    limit = parse_duration(expires_in) if isinstance(expires_in, str) else expires_in
    if limit is None:
        limit = job.expires_in
    if limit is None:
        return None
    if limit <= timedelta():
        raise ValueError("expires_in is a duration above 0")
    return due_at + limit


def unique_key(job: JobDefinition, arguments_json: str | None) -> UniqueKey | None:
    """What a run is unique by; ``None``: nothing."""
    rule = job.unique
    key = None if rule is None else rule.key(job.signature, arguments_json)
    return None if key is None else UniqueKey(key, rule)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a run.

    Args:
        unique: What it is unique by.
        limit_key: The key of the limit under which it takes room.
        weight: How much room.
    """

    unique: UniqueKey | None
    limit_key: str | None
    weight: int


def has_keys(job: JobDefinition) -> bool:
    """Whether runs of a job may have keys."""
    return job.unique is not None or job.keyed_limit is not None


def keys_of(job: JobDefinition, arguments_json: str | None) -> Keys:
    """The keys of a run whose arguments were filled in by a flow.

    Raises:
        ArgumentsError: they do not fit the job, or the key of its limit cannot be made of them.
        JobError: its unique key cannot be.
    """
    signature = job.signature
    whole = signature.check(
        signature.plain(arguments_json)
    )  # with the defaults, and as its types have it
    return Keys(unique_key(job, whole), **job.room(whole))


def call_key(
    job: JobDefinition, arguments_json: str | None, key: str | None, caller: str | None = None
) -> CallKey | None:
    """What a caller named a call.

    Args:
        job: The job of the run.
        arguments_json: The arguments of the run.
        key: The name.
        caller: The caller whose own the name is; ``None``: all callers share it.

    Raises:
        IdempotencyError: the name is empty or too long.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_CALL_KEY:
        raise IdempotencyError(f"an idempotency key has 1 to {LONGEST_CALL_KEY} characters")
    plain = job.signature.plain(arguments_json)
    former = tuple(digest_of([name, plain]) for name in job.aliases)
    kept = key if caller is None else digest_of([caller, key])
    return CallKey(kept, digest_of([job.name, plain]), key, former)
