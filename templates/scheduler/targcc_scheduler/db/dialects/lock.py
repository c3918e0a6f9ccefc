"""A lock of another session or process that keeps the scheduler waiting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that blocks writers.

    Args:
        holder: The session or process, for display: ``session 77 (psql, user dana)``.
        on: The locked tables, or the file.
        since: The start of the holder's transaction; ``None`` if unknown.
        waiting: The number of sessions that wait for the holder.
        is_strong: Whether the lock blocks every writer.
        is_total: Whether the lock blocks readers, too.
    """

    holder: str
    on: str
    since: datetime | None = None
    waiting: int = 0
    is_strong: bool = False
    is_total: bool = False
