"""Room for runs that a claim takes in one statement: that of keys for which nobody waits, and which nobody else holds.

A statement sees what was there when it began, and does not see what others do until it has locked a key. So whoever gives room counts it in the key's ``Version``: a key that
somebody has given room since is as one that is full, and its runs are left to a claim in a transaction (``claims.py``). A key that is new gets its row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from ....core.states import WAITING
from ...dialects.listed import is_found
from ...runs.transition import is_in_state
from ...schema.tied.keys import job_limit
from ...tables import UtcDateTime, job_run
from . import asking, renamed
from .terms import Terms

_run, _seen = job_run.alias("needing_run"), job_limit.alias("seen")
_l = job_limit.c


def terms_of(terms: Mapping[str, Terms]) -> str:
    """The parameter ``terms``: what jobs without a rate say of their keys."""
    return json.dumps(
        [{"job": name, "most": one.most} for name, one in terms.items() if one.interval_ms is None]
    )


def with_room(entries: sa.CTE) -> sa.CompoundSelect[tuple[int]]:
    """The ids of the runs of entries (``run_id``, the most urgent first by ``priority`` and ``entry``) that need room and find it; runs and keys are locked in that order.

    Args:
        entries: A few, of whichever runs.
    """
    needing = (
        sa.select(
            *(_run.c[name] for name in ("Id", "JobName", "LimitKey", "Weight")),
            entries.c.priority,
            entries.c.entry,
        )
        .join(entries, entries.c.run_id == _run.c.Id)
        .where(
            is_found(_run.c.Id, sa.select(entries.c.run_id).scalar_subquery()),
            is_in_state(*sorted(WAITING), of=_run, by_index=False),
            _run.c.LimitKey.is_not(None),
            sa.not_(asking.keeps_room(_run)),
        )
        .with_for_update(of=_run, skip_locked=True)
        .cte("needing")
    )
    before = sa.func.sum(needing.c.Weight).over(
        partition_by=needing.c.LimitKey, order_by=(needing.c.priority.desc(), needing.c.entry)
    )
    wanted = sa.select(needing.c.Id, needing.c.LimitKey, before.label("upto")).cte("wanted")
    # Each key is looked up by itself: of an array of them the planner expects so many that it would read all that there are.
    keys = sa.select(needing.c.LimitKey).distinct().subquery("keys")
    of_key = (
        sa.select(_l.Version, (_l.Most - asking.TAKEN).label("room"))
        .where(_l.LimitKey == keys.c.LimitKey)
        .offset(sa.literal_column("0"))
        .lateral("of_key")
    )
    left = sa.select(keys.c.LimitKey, of_key).join_from(keys, of_key, sa.true()).cte("left_")
    unchanged = (
        sa.select(_seen.c.LimitKey)
        .join(left, sa.and_(left.c.LimitKey == _seen.c.LimitKey, left.c.Version == _seen.c.Version))
        .where(sa.not_(_seen.c.IsAwaited), _seen.c.IntervalMs.is_(None))
        .order_by(_seen.c.LimitKey)
        .with_for_update(of=_seen, skip_locked=True)
        .cte("unchanged")
    )
    held = (
        sa.update(job_limit)
        .where(_l.LimitKey == unchanged.c.LimitKey)
        .values(Version=_l.Version + 1)
        .returning(_l.LimitKey)
        .cte("held")
    )
    new = _new(needing, left)
    with_left = (
        sa.select(wanted.c.Id)
        .join(held, held.c.LimitKey == wanted.c.LimitKey)
        .join(left, left.c.LimitKey == wanted.c.LimitKey)
        .where(sa.or_(left.c.room.is_(None), wanted.c.upto <= left.c.room))
    )
    with_new = (
        sa.select(wanted.c.Id)
        .join(new, new.c.LimitKey == wanted.c.LimitKey)
        .where(sa.or_(new.c.Most.is_(None), wanted.c.upto <= new.c.Most))
    )
    return with_left.union_all(with_new)


def _new(needing: sa.CTE, left: sa.CTE) -> sa.CTE:
    """Makes rows of keys that have none, so that no run of them is under way, unless the keys of their job begin with another name."""
    from sqlalchemy.dialects.postgresql import insert  # nobody else needs it

    given = (
        sa.func.json_to_recordset(sa.cast(sa.bindparam("terms", type_=sa.Text), sa.JSON))
        .table_valued(sa.column("job", sa.Text), sa.column("most", sa.Integer), name="given")
        .render_derived(with_types=True)
    )
    there = job_limit.alias("there")
    begins = sa.func.starts_with(needing.c.LimitKey, given.c.job + " ")
    moved = renamed.MARK + needing.c.JobName
    rows = (
        sa.select(
            needing.c.LimitKey, given.c.job, given.c.most, sa.bindparam("now", type_=UtcDateTime)
        )
        .distinct()
        .join(given, given.c.job == needing.c.JobName)
        .where(
            sa.or_(needing.c.LimitKey == given.c.job, begins),
            needing.c.LimitKey.not_in(sa.select(left.c.LimitKey)),
            ~sa.exists().where(there.c.LimitKey == moved),
        )
        .order_by(needing.c.LimitKey)
    )
    return (
        insert(job_limit)
        .from_select(["LimitKey", "JobName", "Most", "UpdatedAt"], rows, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(_l.LimitKey, _l.Most)
        .cte("new_keys")
    )
