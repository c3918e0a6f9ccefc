"""Rerun: create a new run in the place of an old run, at a person's request.

The rerun takes the place of the old run in its batch and for its dependents. Dependents that still wait, wait for the rerun. Discarded
dependents are created again and wait for the rerun too. Dependents that have begun are not repeated.
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
from .. import deferred_keys, dependencies
from ..feature import AtRerun, Rejoining, load
from .values import After, Effects, NewRun, Ready, RunId, Settlement, Tie, rerun_of, together

_r = job_run.c
_WAS_DISCARDED = sa.and_(
    _r.State == RunState.CANCELLED, _r.Message.startswith(dependencies.DISCARDED, autoescape=True)
)


@dataclass(kw_only=True)
class Reruns:
    """Result of :func:`rerun`.

    Args:
        ids: For each old run, the id of its rerun, or of an existing run with the same key.
        new: The created runs: reruns, and new runs of discarded dependents.
        moved: Runs to submit to the engine: existing runs that stand for a rerun and got a new due time, and runs that a batch made ready.
        settled: Runs that ended as a result.
    """

    ids: list[RunId] = field(default_factory=list)
    new: list[tuple[int, NewRun]] = field(default_factory=list)
    moved: list[Ready] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)

    @property
    def consequences(self) -> Effects:
        """Return the effects on other runs. The new runs are not part of these effects."""
        return Effects(ready=self.moved, settled=self.settled)


@dataclass(frozen=True, slots=True)
class _Child:
    """A discarded run with its dependencies."""

    row: Any
    links: Sequence[dependencies.Link]


async def rerun(
    connection: AsyncConnection, runs: Sequence[NewRun], by: str, now: datetime
) -> Reruns:
    """Create reruns, each in the place of its old run.

    Args:
        connection: The transaction.
        runs: The reruns, built by :func:`.values.rerun_of`.
        by: The person requesting the reruns.
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
    """Restore dependencies in reruns of cancelled runs, to undo the cancellation.

    If the old run still has an unmet dependency, the rerun waits for the same parents.
    """
    old = [run.retry_of for run in runs if run.retry_of is not None]
    links = await dependencies.links_of(connection, old)
    return [
        (
            replace(run, after=_after(links[run.retry_of], {}))
            if run.retry_of in links and dependencies.verdict(links[run.retry_of]) != "goes"
            else run
        )
        for run in runs
    ]


def _places(runs: Sequence[NewRun], ids: Sequence[RunId]) -> dict[int, tuple[RunId, NewRun]]:
    """Map each replaced run that has dependents to its rerun."""
    return {
        run.retry_of: (run_id, run)
        for run, run_id in zip(runs, ids, strict=True)
        if run.retry_of is not None and run.ties & Tie.FOLLOWED
    }


async def _create(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime, done: Reruns
) -> list[RunId]:
    """Insert reruns in the places of their old runs, and add the results to ``done``."""
    if not runs:
        return []
    ended = await dependencies.outcomes(connection, runs)
    features: Sequence[Rejoining] = load(AtRerun)
    for feature in features:
        runs = await feature.rejoin(connection, runs)
    runs = [dependencies.prepared(run, ended) for run in runs]
    made = await deferred_keys.insert_many(connection, runs, now)
    left = together(
        [await feature.stood_for(connection, runs, made.ids, now) for feature in features]
    )
    done.new += made.new
    done.moved += [*made.moved, *left.ready]
    done.settled += [*left.settled, *await dependencies.tie(connection, made.new, ended, now)]
    return made.ids


async def _hold(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs, their waiting or discarded dependents, and the other parents of those dependents.

    Lock order: runs before batches, as in every transaction.
    """
    waits = sa.or_(_WAS_DISCARDED, dependencies.AWAITS)
    held = await dependencies.with_children(connection, run_ids, waits)
    parents = sa.select(job_link.c.ParentId)
    held |= await dependencies.linked(connection, parents, job_link.c.ChildId, held)
    await dependencies.lock(connection, held)


async def _take_place(connection: AsyncConnection, old_id: int, new_id: int) -> None:
    """Point the links of waiting children from an old run to its rerun, or to the existing run that stands for the rerun."""
    await dependencies.outcomes_of(
        connection, dependencies.RUN, [new_id]
    )  # marks the new run as having dependents
    c = job_link.c
    retried = sa.select(_r.Id).where(_r.RetryOf == old_id, _r.State.in_(sorted(FINAL)))
    of_old = sa.and_(
        c.ParentKind == dependencies.RUN,
        sa.or_(c.ParentId == old_id, c.ParentId.in_(retried)),
        c.Outcome.is_not(None),
    )
    rows = await connection.execute(sa.select(c.ChildId, c.ParentId).where(of_old))
    places = {(row.ChildId, row.ParentId) for row in rows}
    children = await dependencies.locked(connection, sorted({child for child, _ in places}))
    all_links = await dependencies.links_of(connection, [row.Id for row in children])
    for row in children:
        links = all_links[row.Id]
        left = [
            link.ParentId for link in links if _stopped(link) and (row.Id, link.ParentId) in places
        ]
        is_one = sa.and_(c.ChildId == row.Id, c.ParentKind == dependencies.RUN)
        has_link = any(
            (link.ParentKind, link.ParentId) == (dependencies.RUN, new_id) for link in links
        )
        if left and not has_link:
            moved = sa.update(job_link).where(is_one, c.ParentId == left.pop(0))
            await connection.execute(moved.values(ParentId=new_id, Outcome=None))
        if left:  # one rerun replaces several parents of the child
            among = known.of(connection).among(c.ParentId, left)
            await connection.execute(sa.delete(job_link).where(is_one, among))


async def _discarded(connection: AsyncConnection, old: Collection[int]) -> list[_Child]:
    """Return the runs that were discarded because of the old runs and have no rerun yet."""
    among = known.of(connection).among(job_link.c.ParentId, sorted(old))
    because = sa.select(job_link.c.ChildId).where(job_link.c.ParentKind == dependencies.RUN, among)
    result = await connection.execute(
        sa.select(job_run).where(_WAS_DISCARDED, _r.Id.in_(because)).order_by(_r.Id)
    )
    rows = {row.Id: row for row in result}
    if not rows:
        return []
    repeated = await _repeated(connection, list(rows))
    all_links = await dependencies.links_of(connection, list(rows))
    return [
        _Child(row, all_links[row.Id])
        for row in rows.values()
        if row.Id not in repeated
        and any(link.ParentId in old for link in all_links[row.Id] if _stopped(link))
    ]


def _stopped(link: dependencies.Link) -> bool:
    """Return whether the parent of a link is a run whose end made the child's condition fail."""
    return (
        link.ParentKind == dependencies.RUN
        and link.Outcome is not None
        and not dependencies.is_met(link)
    )


async def _repeated(connection: AsyncConnection, run_ids: Sequence[int]) -> set[int]:
    """Return the ids of the runs that have a rerun. A rerun that was discarded does not count."""
    among = known.of(connection).among(_r.RetryOf, sorted(run_ids))
    query = sa.select(_r.RetryOf).where(_r.State.in_(sorted(RunState)), among, ~_WAS_DISCARDED)
    result = await connection.execute(query)
    return {run_id for run_id in result.scalars() if run_id is not None}


async def _copies(
    connection: AsyncConnection,
    children: Sequence[_Child],
    places: Mapping[int, tuple[RunId, NewRun]],
    by: str,
    now: datetime,
) -> list[NewRun]:
    """Build the runs that replace discarded children. Leave out children that would be discarded again at once or join an existing run."""
    instead = {old: int(new) for old, (new, _) in places.items()}
    stopped = {link.ParentId for child in children for link in child.links if _stopped(link)}
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
        rerun_of(row, by, now),
        due_at=due_at,
        state=RunState.SCHEDULED if due_at > now else RunState.ENQUEUED,
        ties=row.Ties & (Tie.FOLLOWED | Tie.DELAYED),
        after=_after(child.links, instead),
    )


def _after(waited_for: Sequence[dependencies.Link], instead: Mapping[int, int]) -> After:
    """Build a rerun's dependencies from the old run's links. ``instead`` maps parents with unmet conditions to their replacements."""
    first = waited_for[0]
    parents = [
        (
            link.ParentKind,
            instead.get(link.ParentId, link.ParentId) if _stopped(link) else link.ParentId,
        )
        for link in waited_for
    ]
    return After(tuple(parents), first.Condition, first.Quorum, first.Otherwise)


async def _joins(
    connection: AsyncConnection,
    child: _Child,
    copy: NewRun,
    places: Mapping[int, tuple[RunId, NewRun]],
) -> bool:
    """Let an existing run of the same job, with dependencies on several jobs, wait for the new parent; return whether there is such a run."""
    if not any(link.ParentKind == dependencies.JOB for link in child.links):
        return False
    joined = False
    for link in child.links:
        if link.ParentKind == dependencies.RUN and link.ParentId in places:
            new, parent = places[link.ParentId]
            joined = await dependencies.joined(connection, copy, parent, new)
    return joined


async def _latest(connection: AsyncConnection, run_ids: Collection[int]) -> dict[int, int]:
    """Map each run that has reruns to the latest rerun in its chain of reruns; a run without reruns maps to itself."""
    latest = {run_id: run_id for run_id in run_ids}
    while latest:
        among = known.of(connection).among(_r.RetryOf, sorted(set(latest.values())))
        query = sa.select(_r.RetryOf, sa.func.max(_r.Id)).where(
            _r.State.in_(sorted(RunState)), among
        )
        newer = {row[0]: row[1] for row in await connection.execute(query.group_by(_r.RetryOf))}
        if not newer:
            break
        latest = {old: newer.get(new, new) for old, new in latest.items()}
    return latest
