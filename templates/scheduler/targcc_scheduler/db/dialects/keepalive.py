"""SQL texts for a keepalive process, which has a driver and no SQLAlchemy."""

from __future__ import annotations


def speak_for(given: str, *, now: str, since: str) -> str:
    """Return the SQL that beats for a stuck node and records since when and where the node is stuck.

    Args:
        given: The driver's form of a parameter, such as ``:{}``; the parameters are ``id``, ``seconds`` and ``where``.
        now: The SQL expression of the current instant.
        since: The SQL expression of the instant ``seconds`` ago.
    """
    return (
        f"UPDATE c_JobServer SET HeartbeatAt = {now}, StuckSince = coalesce(StuckSince, {since}),"  # noqa: S608
        f" StuckIn = {given.format('where')} WHERE Id = {given.format('id')}"
    )


def running(given: str) -> str:
    """Return the SQL that lists up to ten running runs of a node."""
    return (
        "SELECT Id, JobName FROM c_JobRun WHERE State = 'running'"  # noqa: S608
        f" AND ServerId = {given.format('id')} ORDER BY Id LIMIT 10"
    )
