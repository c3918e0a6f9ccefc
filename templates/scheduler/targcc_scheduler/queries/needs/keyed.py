"""That a run waits for its unique key, for room under a limit by key, or for a token: what its key has, and who has it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ...core import humanize
from ...core.languages.reader import gettext
from ...core.states import RunState
from ...storage.schema.tied.keys import job_limit, job_unique
from ...storage.tables import job_run
from ...storage.ties.keys.marks import IS_LIMIT
from ...storage.ties.limit_keys import asking
from ...storage.ties.tie import Tie
from .reasons import Look, Reason

_SHOWN = 5
_WAITS = RunState.AWAITING, RunState.SCHEDULED
"""For room, and for the next token."""


async def for_key(look: Look, run_id: int) -> list[Reason]:
    """Which run has the unique key that a run waits for; empty when it waits for none."""
    r, u, holder = job_run.c, job_unique.c, job_run.alias("holder")
    query = (
        sa.select(holder.c.Id, holder.c.JobName, r.State.label("mine"), r.DueAt)
        .select_from(job_run)
        .join(job_unique, sa.and_(u.JobName == r.JobName, u.UniqueKey == r.UniqueKey))
        .join(holder, holder.c.Id == u.RunId)
        .where(r.Id == run_id, r.LimitKey.is_not(None), sa.not_(IS_LIMIT))
    )
    found = (await look.connection.execute(query)).one_or_none()
    if found is None:
        return []
    who = {"id": found.Id, "job": found.JobName}
    if found.mine == RunState.AWAITING:
        text = gettext("It waits for its unique key, which run %(id)s (%(job)s) has.", **who)
    else:
        text = gettext(
            "It waits for its unique key, which run %(id)s (%(job)s) has until %(when)s.",
            **who,
            when=look.at(found.DueAt),
        )
    return [Reason("unique", text, (found.Id,))]


async def for_room(look: Look, run_id: int) -> list[Reason]:
    """What its limit says of a run that waits; empty when it has no limit, or waits for something else."""
    c: Any = job_run.c
    run = (
        await look.connection.execute(
            sa.select(c.State, c.Ties, c.LimitKey).where(c.Id == run_id, c.LimitKey.is_not(None))
        )
    ).one_or_none()
    if run is None or not run.Ties & Tie.ASKS or run.State not in _WAITS:
        return []
    limit = (
        await look.connection.execute(
            sa.select(job_limit).where(job_limit.c.LimitKey == run.LimitKey)
        )
    ).one_or_none()
    if limit is None:
        return []
    under_way = sa.select(c.Id, c.Weight).where(
        c.LimitKey == run.LimitKey,
        asking.has_room(job_run),
        c.CompletedAt.is_(None),
    )
    there = (await look.connection.execute(under_way.order_by(c.Id))).all()
    found = []
    if limit.Most is not None and there:
        found.append(
            gettext(
                "It waits for room: %(key)s has %(used)s of %(most)s under way: %(runs)s.",
                key=run.LimitKey,
                used=sum(one.Weight for one in there),
                most=limit.Most,
                runs=humanize.listed([gettext("run %(id)s", id=one.Id) for one in there], _SHOWN),
            )
        )
    if limit.IntervalMs is not None and limit.NextAt is not None and limit.NextAt > look.now:
        found.append(
            gettext(
                "It waits for a token of %(key)s: all that were saved up are there again at %(when)s.",
                key=run.LimitKey,
                when=look.at(limit.NextAt),
            )
        )
    return [Reason("limit", text, tuple(one.Id for one in there)) for text in found]
