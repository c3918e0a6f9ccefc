"""What a keepalive process says in the database; it has a driver and no SQLAlchemy, so these are texts."""

from __future__ import annotations


def speak_for(given: str, *, now: str, since: str) -> str:
    """Beat for a node that is stuck, and say since when and where.

    Args:
        given: How the driver marks a parameter, such as ``:{}``; they are ``id``, ``seconds`` and ``where``.
        now: The present instant.
        since: The instant ``seconds`` ago.
    """
    return (
        f"UPDATE c_JobServer SET HeartbeatAt = {now}, StuckSince = coalesce(StuckSince, {since}),"  # noqa: S608
        f" StuckIn = {given.format('where')} WHERE Id = {given.format('id')}"
    )


def running(given: str) -> str:
    """Which runs a node has."""
    return (
        "SELECT Id, JobName FROM c_JobRun WHERE State = 'running'"  # noqa: S608
        f" AND ServerId = {given.format('id')} ORDER BY Id LIMIT 10"
    )
