"""Room for runs that a claim takes in one statement: that of keys for which nobody waits, and which nobody else holds.

A statement sees what was there when it began, and does not see what others do until it has locked a key. So whoever gives room counts it in the key's ``Version``: a key that
somebody has given room since is as one that is full, and its runs are left to a claim in a transaction (``claims.py``).
"""

from __future__ import annotations

import sqlalchemy as sa

from ....core.states import WAITING
from ...dialects.listed import is_found
from ...runs.transition import is_in_state
from ...schema.tied.keys import job_limit
from ...tables import job_run
from . import asking

_run, _seen = job_run.alias("needing_run"), job_limit.alias("seen")
_l = job_limit.c


def with_room(entries: sa.CTE) -> sa.Select[tuple[int]]:
    """The ids of the runs of entries (``run_id``, the most urgent first by ``priority`` and ``entry``) that need room and find it; runs and keys are locked in that order.

    Args:
        entries: A few, of whichever runs.
    """
    needing = (
        sa.select(_run.c.Id, _run.c.LimitKey, _run.c.Weight, entries.c.priority, entries.c.entry)
        .join(entries, entries.c.run_id == _run.c.Id)
        .where(
            is_found(_run.c.Id, sa.select(entries.c.run_id).scalar_subquery()),
            is_in_state(*sorted(WAITING), of=_run),
            _run.c.LimitKey.is_not(None),
            _run.c.RoomAt.is_(None),
        )
        .with_for_update(of=_run, skip_locked=True)
        .cte("needing")
    )
    before = sa.func.sum(needing.c.Weight).over(
        partition_by=needing.c.LimitKey, order_by=(needing.c.priority.desc(), needing.c.entry)
    )
    wanted = sa.select(needing.c.Id, needing.c.LimitKey, before.label("upto")).cte("wanted")
    left = (
        sa.select(_l.LimitKey, _l.Version, (_l.Most - asking.TAKEN).label("room"))
        .where(
            is_found(_l.LimitKey, sa.select(needing.c.LimitKey).scalar_subquery()),
            _l.IntervalMs.is_(None),
        )
        .cte("left_")
    )
    unchanged = (
        sa.select(_seen.c.LimitKey)
        .join(left, sa.and_(left.c.LimitKey == _seen.c.LimitKey, left.c.Version == _seen.c.Version))
        .where(sa.not_(_seen.c.IsAwaited))
        .order_by(_seen.c.LimitKey)
        .with_for_update(of=_seen, skip_locked=True)
    )
    held = (
        sa.update(job_limit)
        .where(is_found(_l.LimitKey, unchanged.scalar_subquery()))
        .values(Version=_l.Version + 1)
        .returning(_l.LimitKey)
        .cte("held")
    )
    return (
        sa.select(wanted.c.Id)
        .join(held, held.c.LimitKey == wanted.c.LimitKey)
        .join(left, left.c.LimitKey == wanted.c.LimitKey)
        .where(sa.or_(left.c.room.is_(None), wanted.c.upto <= left.c.room))
    )
