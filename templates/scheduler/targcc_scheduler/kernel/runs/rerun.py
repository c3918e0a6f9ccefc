"""Doing runs again because a person wants it: the new run stands where the old one stood.

In the batch of the old one, for the runs that still wait for it, and for those that were discarded because of it: these come again too,
and wait for the new run. What has begun because of the old run is not done a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ...db.dialects import known
from ...db.tables import job_link, job_run
from ...features.batches import effects as batch_effects
from ...features.batches import model as batch_model
from .. import deferred_keys, dependencies, row_locks
from ..effects import Effects, Ready
from .operate import again
from .values import After, NewRun, RunId, Settlement, Tie

_r = job_run.c
_WAS_DISCARDED = sa.and_(
    _r.State == RunState.CANCELLED, _r.Message.startswith(dependencies.DISCARDED, autoescape=True)
)


@dataclass(kw_only=True)
class Reruns:
    """What came of runs that are done again.

    Args:
        ids: For each the new run, or the one that stands for it.
        new: The runs that were created, with those that wait for them again.
        moved: Runs that stand for others, and wait until another time.
        settled: Runs that are over by it.
    """

    ids: list[RunId] = field(default_factory=list)
    new: list[tuple[int, NewRun]] = field(default_factory=list)
    moved: list[Ready] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)

    @property
    def consequences(self) -> Effects:
        """What it means for others, besides that the new runs wait."""
        return Effects(ready=self.moved, settled=self.settled)


@dataclass(frozen=True, slots=True)
class _Child:
    """A run that was discarded, and what it waited for."""

    row: Any
    links: Sequence[dependencies.Link]


async def rerun(
    connection: AsyncConnection, runs: Sequence[NewRun], by: str, now: datetime
) -> Reruns:
    """Create runs that do others again, each in the place of the one that it does again.

    Args:
        connection: The transaction.
        runs: As :func:`..runs.operate.again` makes them.
        by: Who wants it.
        now: The present instant.
    """
    followed = [run.retry_of for run in runs if run.retry_of and run.ties & Tie.FOLLOWED]
    if followed:
        await _hold(connection, followed)
    done = Reruns()
    done.ids = await _create(connection, runs, now, done)
    level = _places(runs, done.ids)
    while level:
        for old, (new, _) in level.items():
            await _take_place(connection, old, new)
        children = await _discarded(connection, level)
        copies = await _copies(connection, children, level, by, now)
        level = _places(copies, await _create(connection, copies, now, done))
    return done


async def waiting(connection: AsyncConnection, runs: Sequence[NewRun]) -> list[NewRun]:
    """Runs that do cancelled ones again, as they are to be created where that is taken back: one that waited for others waits for them again."""
    old = [run.retry_of for run in runs if run.retry_of is not None]
    found = await dependencies.links_of(connection, old)
    return [
        (
            replace(run, after=_after(found[run.retry_of], {}))
            if run.retry_of in found and dependencies.verdict(found[run.retry_of]) != "goes"
            else run
        )
        for run in runs
    ]


def _places(runs: Sequence[NewRun], ids: Sequence[RunId]) -> dict[int, tuple[RunId, NewRun]]:
    """The new run that stands where an old one stood, of those that others waited for."""
    return {
        run.retry_of: (run_id, run)
        for run, run_id in zip(runs, ids, strict=True)
        if run.retry_of is not None and run.ties & Tie.FOLLOWED
    }


async def _create(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime, done: Reruns
) -> list[RunId]:
    """Create runs in the batches of those that they do again, and note what came of it."""
    if not runs:
        return []
    ended = await dependencies.outcomes(connection, runs)
    runs = [dependencies.prepared(run, ended) for run in await batch_model.rejoin(connection, runs)]
    made = await deferred_keys.insert_many(connection, runs, now)
    left = await batch_effects.stood_for(connection, runs, made.ids, now)
    done.new += made.new
    done.moved += [*made.moved, *left.ready]
    done.settled += [*left.settled, *await dependencies.tie(connection, made.new, ended, now)]
    return made.ids


async def _hold(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs, those that wait or waited for them, and what these wait for besides: before any batch is locked, as everybody does."""
    waits = sa.or_(_WAS_DISCARDED, row_locks.AWAITS)
    held = await row_locks.with_children(connection, run_ids, waits)
    parents = sa.select(job_link.c.ParentId)
    held |= await row_locks.linked(connection, parents, job_link.c.ChildId, held)
    await row_locks.lock(connection, held)


async def _take_place(connection: AsyncConnection, old_id: int, new_id: int) -> None:
    """Let a run that does another again, or stands for one that would, stand in its place, for the children that wait for that."""
    await dependencies.outcomes_of(
        connection, dependencies.RUN, [new_id]
    )  # it is followed from here on
    c = job_link.c
    retried = sa.select(_r.Id).where(_r.RetryOf == old_id, _r.State.in_(sorted(FINAL)))
    of_old = sa.and_(
        c.ParentKind == dependencies.RUN,
        sa.or_(c.ParentId == old_id, c.ParentId.in_(retried)),
        c.Outcome.is_not(None),
    )
    found = await connection.execute(sa.select(c.ChildId, c.ParentId).where(of_old))
    places = {(row.ChildId, row.ParentId) for row in found}
    children = await dependencies.locked(connection, sorted({child for child, _ in places}))
    all_links = await dependencies.links_of(connection, [row.Id for row in children])
    for row in children:
        mine = all_links[row.Id]
        left = [one.ParentId for one in mine if _stopped(one) and (row.Id, one.ParentId) in places]
        is_one = sa.and_(c.ChildId == row.Id, c.ParentKind == dependencies.RUN)
        there = any((one.ParentKind, one.ParentId) == (dependencies.RUN, new_id) for one in mine)
        if left and not there:
            moved = sa.update(job_link).where(is_one, c.ParentId == left.pop(0))
            await connection.execute(moved.values(ParentId=new_id, Outcome=None))
        if left:  # the one run stands for several that it waited for
            among = known.of(connection).among(c.ParentId, left)
            await connection.execute(sa.delete(job_link).where(is_one, among))


async def _discarded(connection: AsyncConnection, old: Collection[int]) -> list[_Child]:
    """The runs that were discarded because of these, and that nobody has had done again."""
    among = known.of(connection).among(job_link.c.ParentId, sorted(old))
    because = sa.select(job_link.c.ChildId).where(job_link.c.ParentKind == dependencies.RUN, among)
    found = await connection.execute(
        sa.select(job_run).where(_WAS_DISCARDED, _r.Id.in_(because)).order_by(_r.Id)
    )
    rows = {row.Id: row for row in found}
    if not rows:
        return []
    repeated = await _repeated(connection, list(rows))
    all_links = await dependencies.links_of(connection, list(rows))
    return [
        _Child(row, all_links[row.Id])
        for row in rows.values()
        if row.Id not in repeated
        and any(one.ParentId in old for one in all_links[row.Id] if _stopped(one))
    ]


def _stopped(link: dependencies.Link) -> bool:
    """Whether a run is among what a child was discarded for."""
    return (
        link.ParentKind == dependencies.RUN
        and link.Outcome is not None
        and not dependencies.is_met(link)
    )


async def _repeated(connection: AsyncConnection, run_ids: Sequence[int]) -> set[int]:
    """Those of which a person has had another run made, that was not discarded."""
    among = known.of(connection).among(_r.RetryOf, sorted(run_ids))
    query = sa.select(_r.RetryOf).where(_r.State.in_(sorted(RunState)), among, ~_WAS_DISCARDED)
    found = await connection.execute(query)
    return {run_id for run_id in found.scalars() if run_id is not None}


async def _copies(
    connection: AsyncConnection,
    children: Sequence[_Child],
    places: Mapping[int, tuple[RunId, NewRun]],
    by: str,
    now: datetime,
) -> list[NewRun]:
    """The runs that wait instead of discarded ones; without those that would be discarded again at once."""
    instead = {old: int(new) for old, (new, _) in places.items()}
    stopped = {one.ParentId for child in children for one in child.links if _stopped(one)}
    instead = await _latest(connection, stopped - instead.keys()) | instead
    copies = [_copy(child, instead, by, now) for child in children]
    ended = await dependencies.outcomes(connection, copies)
    wanted = []
    for child, copy in zip(children, copies, strict=True):
        assert copy.after is not None
        if dependencies.is_discarded(copy.after, ended):
            continue
        if not await _joins(connection, child, copy, places):
            wanted.append(copy)
    return wanted


def _copy(child: _Child, instead: Mapping[int, int], by: str, now: datetime) -> NewRun:
    row = child.row
    due_at = dependencies.due_after(row.DueAt, row.CreatedAt, row.Ties, now)
    return replace(
        again(row, by, now),
        due_at=due_at,
        state=RunState.SCHEDULED if due_at > now else RunState.ENQUEUED,
        ties=row.Ties & (Tie.FOLLOWED | Tie.DELAYED),
        after=_after(child.links, instead),
    )


def _after(waited_for: Sequence[dependencies.Link], instead: Mapping[int, int]) -> After:
    """What a run is to wait for that does one again with these links; of what stopped that one, for others ``instead``."""
    first = waited_for[0]
    parents = [
        (one.ParentKind, instead.get(one.ParentId, one.ParentId) if _stopped(one) else one.ParentId)
        for one in waited_for
    ]
    return After(tuple(parents), first.Condition, first.Quorum, first.Otherwise)


async def _joins(
    connection: AsyncConnection,
    child: _Child,
    copy: NewRun,
    places: Mapping[int, tuple[RunId, NewRun]],
) -> bool:
    """Whether there is a run already that waits for one of each of several jobs: it waits for the new run too."""
    if not any(one.ParentKind == dependencies.JOB for one in child.links):
        return False
    joined = False
    for one in child.links:
        if one.ParentKind == dependencies.RUN and one.ParentId in places:
            new, parent = places[one.ParentId]
            joined = await dependencies.joined(connection, copy, parent, new)
    return joined


async def _latest(connection: AsyncConnection, run_ids: Collection[int]) -> dict[int, int]:
    """For runs that were done again the last run that did so."""
    found = {run_id: run_id for run_id in run_ids}
    while found:
        among = known.of(connection).among(_r.RetryOf, sorted(set(found.values())))
        query = sa.select(_r.RetryOf, sa.func.max(_r.Id)).where(
            _r.State.in_(sorted(RunState)), among
        )
        newer = {row[0]: row[1] for row in await connection.execute(query.group_by(_r.RetryOf))}
        if not newer:
            break
        found = {old: newer.get(new, new) for old, new in found.items()}
    return found
