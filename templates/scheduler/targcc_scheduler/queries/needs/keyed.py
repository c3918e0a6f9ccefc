"""That a run waits for its unique key, for room under a limit by key, or for a token: what its key has, and who has it."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from ...core import humanize
from ...core.languages.reader import gettext, ngettext
from ...core.states import RunState
from ...storage.schema.tied.keys import job_limit, job_unique
from ...storage.tables import job_run
from ...storage.ties.keys.marks import IS_LIMIT
from ...storage.ties.limit_keys import asking
from ...storage.ties.limit_keys.room import Room
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


async def for_token(look: Look, run_id: int) -> list[Reason]:
    """Say when the next token of a rate comes to the run that is due then; empty for any other run."""
    c: Any = job_run.c
    query = (
        sa.select(job_limit.c.LimitKey, job_limit.c.IntervalMs, c.DueAt)
        .select_from(job_run)
        .join(job_limit, sa.and_(job_limit.c.LimitKey == c.LimitKey, job_limit.c.WakeId == c.Id))
        .where(c.Id == run_id, c.State == RunState.SCHEDULED, job_limit.c.IntervalMs.is_not(None))
    )
    row = (await look.connection.execute(query)).one_or_none()
    return [] if row is None else [Reason("limit", _token(look, row, row.DueAt))]


def _token(look: Look, limit: Any, at: datetime, ahead: int = 0) -> str:
    """Say that a run waits for a token of a rate."""
    text = gettext(
        "It waits for a token of %(key)s, which gives one every %(interval)s",
        key=limit.LimitKey,
        interval=humanize.duration(limit.IntervalMs / 1000),
    )
    if ahead:
        text += ngettext(
            "; %(num)s run goes before it", "; %(num)s runs go before it", ahead, num=ahead
        )
    return text + gettext("; its own comes at %(when)s.", when=look.at(at))


async def for_room(look: Look, run_id: int) -> list[Reason]:
    """Say what the limit of a waiting run lacks, room or a token; empty when the run has no limit, or waits for something else."""
    c: Any = job_run.c
    run = (
        await look.connection.execute(
            sa.select(c.Id, c.State, c.Ties, c.LimitKey, c.Weight, c.Priority, c.DueAt).where(
                c.Id == run_id, c.LimitKey.is_not(None)
            )
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
    under_way = sa.select(c.Id, c.Weight, c.State).where(
        c.LimitKey == run.LimitKey,
        asking.has_room(job_run),
        c.CompletedAt.is_(None),
    )
    taken = (await look.connection.execute(under_way.order_by(c.Id))).all()
    used = sum(row.Weight for row in taken)
    reasons = []
    if limit.Most is not None and taken and used + run.Weight > limit.Most:
        reasons.append(
            gettext(
                "It waits for room: %(key)s has %(used)s of %(most)s under way: %(runs)s.",
                key=run.LimitKey,
                used=used,
                most=limit.Most,
                runs=humanize.listed([gettext("run %(id)s", id=row.Id) for row in taken], _SHOWN),
            )
        )
    if limit.IntervalMs is not None:
        terms = SimpleNamespace(
            Most=limit.Most,
            IntervalMs=limit.IntervalMs,
            Burst=limit.Burst,
            NextAt=limit.NextAt,
            taken=used,
        )
        unbegun = sum(row.State == RunState.ENQUEUED for row in taken)
        room = Room(terms, unbegun, look.now)
        ahead = await _ahead(look, run, limit.WakeId)
        if room.token_at is not None and room.tokens <= ahead:
            at = room.token_at + timedelta(milliseconds=limit.IntervalMs) * (
                ahead - max(int(room.tokens), 0)
            )
            reasons.append(_token(look, limit, at, ahead))
    return [Reason("limit", text, tuple(row.Id for row in taken)) for text in reasons]


async def _ahead(look: Look, run: Any, wake_id: int | None) -> int:
    """Count the runs of a key that get room before a run: the one that is due at the next token, and the more urgent ones."""
    c: Any = job_run.c
    before = sa.or_(
        c.Priority > run.Priority,
        sa.and_(c.Priority == run.Priority, c.DueAt < run.DueAt),
        sa.and_(c.Priority == run.Priority, c.DueAt == run.DueAt, c.Id < run.Id),
    )
    urgent = sa.and_(*asking.asks(job_run), before)
    is_woken = sa.and_(c.Id == wake_id, c.State == RunState.SCHEDULED)
    count = sa.select(sa.func.count()).where(
        c.LimitKey == run.LimitKey, c.Id != run.Id, sa.or_(urgent, is_woken)
    )
    return int(await look.connection.scalar(count) or 0)
