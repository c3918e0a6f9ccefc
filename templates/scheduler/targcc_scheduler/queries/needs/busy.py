"""Why a run waits for a worker: which are busy, with what, and what goes before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ...core import humanize
from ...core.languages.reader import gettext, ngettext
from ...core.queues.pool import Pool, pool_of
from ...core.states import RunState
from ...project import current
from ...storage.schema.elapsed import elapsed
from ...storage.tables import UtcDateTime, job_run
from ..models import Run, Server
from .reasons import Look, Reason, is_able

_SHOWN = 5


async def for_worker(look: Look, run: Run, servers: Sequence[Server]) -> Reason:
    """What a run waits for in whose way nothing is but other runs."""
    pool = pool_of(current().pools, run.queue)
    queues = (run.queue,) if pool is None else pool.queues
    each = current().queues.get(run.queue, 1)
    workers = sum(
        each for one in servers if is_able(one) and not set(queues).isdisjoint(one.queues)
    )
    there = await running(look, job_run.c.Queue.in_(queues))
    if len(there) < workers:
        return Reason("soon", gettext("Nothing is in its way: a worker takes it in a moment."))
    busy = {"busy": len(there), "workers": workers, "runs": named(there)}
    if pool is None:
        text = gettext(
            "It waits for a worker of queue %(queue)s (%(busy)s of %(workers)s busy: %(runs)s)",
            queue=run.queue,
            **busy,
        )
    else:
        text = _of_pool(pool, run, busy)
    ahead = await _ahead(look, run)
    text += (
        ngettext("; %(num)s run goes before it.", "; %(num)s runs go before it.", ahead)
        if ahead
        else gettext("; it is the next.")
    )
    return Reason("busy", " ".join([text, *_age(look, run)]), tuple(there))


def _of_pool(pool: Pool, run: Run, busy: dict[str, Any]) -> str:
    """That queues share the workers, and how."""
    text = gettext(
        "It waits for a worker of pool %(pool)s (%(busy)s of %(workers)s busy: %(runs)s)",
        pool=pool.name,
        **busy,
    )
    if not pool.strict:
        return text + gettext(
            ", of whose starts the queue %(queue)s has %(weight)s of %(total)s while all its queues have work",
            queue=run.queue,
            weight=pool.weights[run.queue],
            total=sum(pool.weights.values()),
        )
    before = list(pool.queues[: pool.queues.index(run.queue)])
    if not before:
        return text
    return text + gettext(
        ", whose queues %(before)s go before %(queue)s",
        before=humanize.listed(before, _SHOWN),
        queue=run.queue,
    )


def _age(look: Look, run: Run) -> list[str]:
    """How its waiting counts."""
    aging = current().queue_aging.get(run.queue)
    if aging is None:
        return []
    return [
        gettext(
            "Waiting counts in this queue: each %(time)s is one point, so that it has %(points)s beside its priority %(priority)s.",
            time=humanize.duration(aging),
            points=f"{max((look.now - run.due_at) / timedelta(seconds=aging), 0):.1f}",
            priority=run.priority,
        )
    ]


async def _ahead(look: Look, run: Run) -> int:
    """How many runs of its queue go before it."""
    c, aging = job_run.c, current().queue_aging.get(run.queue)
    points: sa.ColumnElement[Any] = c.Priority
    mine: Any = run.priority
    if aging is not None:
        points = c.Priority * aging - elapsed(sa.literal(run.due_at, UtcDateTime()), c.DueAt)
        mine = run.priority * aging
    place = sa.or_(
        points > mine,
        sa.and_(points == mine, c.DueAt < run.due_at),
        sa.and_(points == mine, c.DueAt == run.due_at, c.Id < run.id),
    )
    waits = sa.select(sa.func.count()).where(
        c.State == RunState.ENQUEUED, c.Queue == run.queue, place
    )
    return int(await look.connection.scalar(waits) or 0)


async def running(look: Look, where: sa.ColumnElement[bool]) -> list[int]:
    """The runs that go on and of which a condition holds."""
    c: Any = job_run.c
    found = sa.select(c.Id).where(c.State == RunState.RUNNING, where).order_by(c.Id)
    return list(await look.connection.scalars(found))


def named(ids: Sequence[int]) -> str:
    """Runs in a sentence."""
    return humanize.listed([gettext("run %(id)s", id=one) for one in ids], _SHOWN)
