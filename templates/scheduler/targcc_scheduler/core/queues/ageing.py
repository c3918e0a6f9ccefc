"""What waiting is worth: in a queue with ageing, each ``aging`` seconds since a run was due count as one point of priority.

A run of priority P that is due at d has P + (t - d) / aging points at the instant t. Of two runs the same one has more at every instant, so
that the order is P x aging - d: a number that a run has from the beginning, and that nobody has to raise.
"""

from __future__ import annotations

from datetime import UTC, datetime

BEHIND_ALL = -(2**31)
"""The number of an entry for which no run can be claimed yet: whoever takes it looks for runs that ask for their keys."""
MOST_SECONDS = 86_400
"""The longest time that one point may take."""
LEAST_PLAIN = -1_000_000
"""Entries of queues without ageing have numbers from here on, those of queues with ageing lower ones."""
_SINCE = datetime(2024, 1, 1, tzinfo=UTC)
_LEAST = BEHIND_ALL + 1


def entry_priority(priority: int, due_at: datetime, aging: int | None, *, first: bool) -> int:
    """The number by which an engine's entries go, the highest first; entries of one number go by age.

    Args:
        priority: The run's.
        due_at: When it may start.
        aging: The seconds of a point in its queue; ``None``: waiting counts for nothing there.
        first: It had its turn already, and goes before all others of its number.
    """
    if aging is None:
        return 2 * priority + first
    half_seconds = 2 * (priority * aging - int((due_at - _SINCE).total_seconds())) + first
    return min(max(half_seconds, _LEAST), LEAST_PLAIN - 1)
