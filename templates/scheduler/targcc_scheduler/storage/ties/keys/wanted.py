"""What a job, and whoever asks for a run of it, say of how often the run may be there, and until when it may start."""

from __future__ import annotations

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


def call_key(job: JobDefinition, arguments_json: str | None, key: str | None) -> CallKey | None:
    """What a caller named a call.

    Raises:
        IdempotencyError: the name is empty or too long.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_CALL_KEY:
        raise IdempotencyError(f"an idempotency key has 1 to {LONGEST_CALL_KEY} characters")
    plain = job.signature.plain(arguments_json)
    former = tuple(digest_of([name, plain]) for name in job.aliases)
    return CallKey(key, digest_of([job.name, plain]), former)
