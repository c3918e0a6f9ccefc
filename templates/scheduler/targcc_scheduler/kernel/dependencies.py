"""Dependencies between runs: what the end of a run or batch means for its dependents.

The transaction that ends a parent holds the lock of the parent's row. The transaction that creates a dependent takes the same lock first
(see :func:`outcomes`). So either the end finds the link, or the creator of the link finds the end. The transaction that decides about a
child locks the child's row and reads the links of the child after that. When two parents end at once, the second transaction sees the
outcome that the first has written.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import UnknownRun
from ..core.states import FINAL, RunState
from ..db.dialects import known
from ..db.dialects.frequent import changed
from ..db.tables import job_batch, job_link, job_run, logged_job
from .runs.claim import claim_of
from .runs.settle import settle
from .runs.transition import is_in_state, state_line, transition
from .runs.values import After, Effects, NewRun, Ready, Settlement, Tie, is_mark, over, together

# Dependencies between runs: what the end of a run or batch means for its dependents.

# Resolving: decide about the dependents of runs and batches that ended.

Link = Any
"""A row of ``c_JobLink``."""
Verdict = Literal["goes", "waits", "discarded"]

RUN, BATCH, JOB = "run", "batch", "job"
"""The kinds of parents; ``job`` stands for a run of a job that does not exist yet."""
DELETED = "deleted"
"""Outcome of a parent that was removed and cannot be rerun.

The parent was removed before its end, or after an end that its child does not accept.
"""
DISCARDED = "discarded: "
"""Beginning of the message of a run that was discarded because of the outcomes of its parents."""
_WANTED = {"success": {RunState.SUCCEEDED}, "failure": {RunState.FAILED}}
_IS_UNMET = sa.and_(
    job_link.c.Outcome != DELETED,
    *(
        sa.or_(job_link.c.Condition != condition, job_link.c.Outcome.not_in(sorted(wanted)))
        for condition, wanted in _WANTED.items()
    ),
    job_link.c.Condition != "finish",
)
"""Condition on a link: the parent ended with an outcome that the child does not accept, and may be rerun. False without an outcome."""
_MOST_SWEPT = 500


def is_met(link: Link) -> bool:
    """Return whether the outcome of a parent that is over meets the condition of its child."""
    return link.Condition == "finish" or link.Outcome in _WANTED[link.Condition]


def verdict(links: Sequence[Link]) -> Verdict:
    """Decide from all links of a child whether the child goes, waits or is discarded."""
    ended_ = [link for link in links if link.Outcome is not None]
    met = [link for link in ended_ if is_met(link)]
    first = links[0]
    wanted = 1 if first.Quorum == "any" else len(links)
    if len(met) >= wanted:
        return "goes"
    can_come = len(links) - len(ended_) + len(met)
    if first.Otherwise == "wait":  # unmet parents that still exist may be rerun
        can_come += sum(not is_met(link) and link.Outcome != DELETED for link in ended_)
    return "waits" if can_come >= wanted else "discarded"


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Let the dependents of final runs go, wait on or be discarded."""
    return await resolve(connection, RUN, over(settled, Tie.FOLLOWED), now)


async def resolve(
    connection: AsyncConnection, kind: str, outcomes: Mapping[int, str], now: datetime
) -> Effects:
    """Write the outcomes of parents, and decide about their children.

    Args:
        connection: The transaction that ends the parents, and holds the locks of their rows.
        kind: ``run`` or ``batch``.
        outcomes: The final state of each parent, by id.
        now: The present instant.
    """
    if not outcomes:
        return Effects()
    among = known.of(connection).among
    of_them = sa.and_(
        job_link.c.ParentKind == kind,
        among(job_link.c.ParentId, sorted(outcomes)),
        job_link.c.Outcome.is_(None),
    )
    rows = await connection.execute(sa.select(job_link.c.ChildId).where(of_them).distinct())
    child_ids = sorted(rows.scalars())
    if not child_ids:
        return Effects()
    children = await locked(connection, child_ids)
    for outcome in sorted(set(outcomes.values())):
        ids = sorted(parent_id for parent_id, how in outcomes.items() if how == outcome)
        ending = sa.update(job_link).where(of_them, among(job_link.c.ParentId, ids))
        await connection.execute(ending.values(Outcome=outcome))
    return await _decide(connection, children, now)


async def locked(connection: AsyncConnection, child_ids: Sequence[int]) -> list[Any]:
    """Lock children in id order; return the children that still wait for parents, and not for a unique key or capacity."""
    among = known.of(connection).among(job_run.c.Id, child_ids)
    rows = await connection.execute(
        sa.select(job_run).where(among).order_by(job_run.c.Id).with_for_update()
    )
    return [row for row in rows if row.State == RunState.AWAITING and not row.Ties & Tie.ASKS]


async def links_of(
    connection: AsyncConnection, child_ids: Collection[int]
) -> dict[int, list[Link]]:
    """Return the links of children, grouped by child."""
    among = known.of(connection).among(job_link.c.ChildId, sorted(child_ids))
    query = sa.select(job_link).where(among).order_by(job_link.c.ParentKind, job_link.c.ParentId)
    links: dict[int, list[Link]] = defaultdict(list)
    for link in await connection.execute(query):
        links[link.ChildId].append(link)
    return links


async def _decide(connection: AsyncConnection, children: Sequence[Any], now: datetime) -> Effects:
    links = await links_of(connection, [row.Id for row in children])
    verdicts = {row.Id: verdict(links[row.Id]) for row in children}
    going = [row for row in children if verdicts[row.Id] == "goes"]
    dropped = [row for row in children if verdicts[row.Id] == "discarded"]
    ready = await _let_go(connection, going, links, now)
    settled = await discard(connection, dropped, links, now)
    return Effects(ready=ready, settled=settled)


@dataclass(frozen=True, slots=True)
class _Going:
    """State, times and note of runs that stop waiting; runs with the same values change in one statement."""

    state: RunState
    due_at: datetime
    expires_at: datetime | None
    note: str


async def _let_go(
    connection: AsyncConnection,
    rows: Sequence[Any],
    links: Mapping[int, Sequence[Link]],
    now: datetime,
) -> list[Ready]:
    alike: dict[_Going, list[Any]] = defaultdict(list)
    for row in rows:
        alike[_going(row, links[row.Id], now)].append(row)
    for how, some in alike.items():
        goes = transition(
            how.state,
            known.of(connection).among(job_run.c.Id, [row.Id for row in some]),
            sources=[RunState.AWAITING],
            DueAt=how.due_at,
            ExpiresAt=how.expires_at,
        )
        await connection.execute(goes, {"line": state_line(now, how.state, how.note)})
    return [
        Ready(row.Id, row.Queue, row.Priority, how.due_at)
        for how, some in alike.items()
        for row in some
    ]


def _going(row: Any, links: Sequence[Link], now: datetime) -> _Going:
    due_at = due_after(row.DueAt, row.CreatedAt, row.Ties, now)
    expires_at = None if row.ExpiresAt is None else row.ExpiresAt + (due_at - row.DueAt)
    asks = is_mark(row.LimitKey)  # its keys are decided at the next staging
    state = RunState.SCHEDULED if due_at > now or asks else RunState.ENQUEUED
    note = "after " + _listed(links, only=[link for link in links if link.Outcome is not None])
    return _Going(state, due_at, expires_at, note)


def due_after(due_at: datetime, created_at: datetime, ties: int, now: datetime) -> datetime:
    """Return when a run that may go now is due: a relative delay counts from now, and a due time in the future stays."""
    delay = due_at - created_at if ties & Tie.DELAYED else timedelta()
    return max(now + delay, now if ties & Tie.DELAYED else due_at)


async def discard(
    connection: AsyncConnection,
    rows: Sequence[Any],
    links: Mapping[int, Sequence[Link]],
    now: datetime,
) -> list[Settlement]:
    """Cancel runs whose parents ended with outcomes that the runs do not accept; the message lists these parents."""
    if not rows:
        return []
    unmet = {
        row.Id: [link for link in links[row.Id] if link.Outcome is not None and not is_met(link)]
        for row in rows
    }
    settlements = [
        Settlement(
            claim=claim_of(row, {}),
            source=RunState.AWAITING,
            state=RunState.CANCELLED,
            note=(why := f"{DISCARDED}{_reasons(unmet[row.Id])}"),
            message=why,
        )
        for row in rows
    ]
    return await settle(connection, settlements, now)


def _reasons(links: Iterable[Link]) -> str:
    """Return why a child is discarded, without job names: a viewer of the child may lack the right to see the parents' jobs."""
    return "; ".join(
        f"{link.ParentKind} {link.ParentId}"
        f" {'was ' if link.Outcome in {'cancelled', 'skipped', DELETED} else ''}{link.Outcome}"
        for link in links
    )


def _listed(links: Sequence[Link], only: Sequence[Link]) -> str:
    """Format up to five of the links ``only`` for people."""
    shown = ", ".join(f"{link.ParentKind} {link.ParentId}" for link in only[:5])
    rest = len(only) - 5
    more = f" and {rest} others" if rest > 0 else ""
    return shown + more + (f" of {len(links)}" if len(only) < len(links) else "")


async def removed(connection: AsyncConnection, parents: Sequence[Any], now: datetime) -> Effects:
    """Decide about the children of runs that a person removed.

    A removed run that was not over has no other end, and a removed run that was over cannot be rerun.

    Args:
        connection: The transaction that has removed the runs.
        parents: The rows of the runs as they were, locked.
        now: The present instant.
    """
    followed = [row for row in parents if row.Ties & Tie.FOLLOWED]
    ended_ = [row.Id for row in followed if row.State in FINAL]
    open_ = {row.Id: DELETED for row in followed if row.State not in FINAL}
    return together(
        [await lost(connection, ended_, now), await resolve(connection, RUN, open_, now)]
    )


async def lost(connection: AsyncConnection, parent_ids: Sequence[int], now: datetime) -> Effects:
    """Decide about children that wait for a rerun of a parent which was over and is removed now: the rerun cannot come."""
    if not parent_ids:
        return Effects()
    among = known.of(connection).among
    of_them = sa.and_(
        job_link.c.ParentKind == RUN, among(job_link.c.ParentId, sorted(parent_ids)), _IS_UNMET
    )
    rows = await connection.execute(sa.select(job_link.c.ChildId).where(of_them).distinct())
    children = await locked(connection, sorted(rows.scalars()))
    if not children:
        return Effects()
    waiting = among(job_link.c.ChildId, [row.Id for row in children])
    gone = sa.update(job_link).where(of_them, waiting)
    await connection.execute(gone.values(Outcome=DELETED))
    return await _decide(connection, children, now)


_parent = job_run.alias("parent")
_UNTOLD = sa.and_(
    job_link.c.Outcome.is_(None), sa.or_(_parent.c.Id.is_(None), _parent.c.State.in_(sorted(FINAL)))
)
_IN_VAIN = sa.and_(_IS_UNMET, _parent.c.Id.is_(None))
_MISSED = (
    sa.select(job_link.c.ParentId, _parent.c.State, job_link.c.Outcome)
    .join(job_run, job_run.c.Id == job_link.c.ChildId)
    .outerjoin(_parent, _parent.c.Id == job_link.c.ParentId)
    .where(is_in_state(RunState.AWAITING), job_run.c.Ties.bitwise_and(int(Tie.FOLLOWS)) != 0)
    .where(job_link.c.ParentKind == RUN, sa.or_(_UNTOLD, _IN_VAIN))
)


async def any_missed(connection: AsyncConnection) -> bool:
    """Return whether a parent is over or gone and a child does not know."""
    return (await connection.execute(_MISSED.limit(1))).first() is not None


async def sweep(connection: AsyncConnection, now: datetime) -> Effects:
    """Resolve parents that are over or gone and whose children do not know: a node of an earlier release ended or removed the parents."""
    rows = (await connection.execute(_MISSED.limit(_MOST_SWEPT))).all()
    outcomes = {row.ParentId: str(row.State or DELETED) for row in rows if row.Outcome is None}
    gone = [row.ParentId for row in rows if row.Outcome is not None]
    return together(
        [await resolve(connection, RUN, outcomes, now), await lost(connection, gone, now)]
    )


async def outcomes_of(
    connection: AsyncConnection, kind: str, ids: Sequence[int]
) -> dict[int, str | None]:
    """Lock parents in the lock order of all transactions, and return their outcomes; ``None`` for a parent that is not over.

    Parents of kind ``run`` get the flag ``Tie.FOLLOWED``.
    """
    if kind == BATCH:
        result = await connection.execute(
            sa.select(job_batch.c.Id, job_batch.c.State, job_batch.c.CompletedAt)
            .where(known.of(connection).among(job_batch.c.Id, ids))
            .order_by(job_batch.c.Id.desc())  # lock order: inner batches first
            .with_for_update()
        )
        return {row.Id: None if row.CompletedAt is None else row.State for row in result}
    among = known.of(connection).among(job_run.c.Id, ids)
    result = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.State, job_run.c.Ties)
        .where(among)
        .order_by(job_run.c.Id)
        .with_for_update()
    )
    rows = result.all()
    if any(not row.Ties & Tie.FOLLOWED for row in rows):
        marked = job_run.c.Ties.bitwise_or(int(Tie.FOLLOWED))
        await connection.execute(sa.update(job_run).where(among).values(Ties=marked))
    return {row.Id: str(row.State) if row.State in FINAL else None for row in rows}


# Reading the parents of a run.

_METADATA = (
    sa.select(logged_job.c.MetadataJson)
    .where(logged_job.c.JobId == sa.cast(job_run.c.Id, sa.String))
    .order_by(logged_job.c.ID.desc())
    .limit(1)
    .scalar_subquery()
)
_PARENTS = (
    sa.select(
        job_run.c.Id, job_run.c.JobName, job_run.c.State, job_run.c.Message, _METADATA.label("Data")
    )
    .join(job_link, sa.and_(job_link.c.ParentKind == "run", job_link.c.ParentId == job_run.c.Id))
    .where(job_link.c.ChildId == sa.bindparam("run_id"))
    .order_by(job_run.c.Id)
)


async def load(connection: AsyncConnection, run_id: int) -> Sequence[Any]:
    """Return the parents of a run that still exist: Id, JobName, State, Message, and Data (metadata as JSON)."""
    return (await connection.execute(_PARENTS, {"run_id": run_id})).all()


# Creating runs that wait for parents.

Parent = tuple[str, int]
"""Kind and id of a parent."""
Outcomes = Mapping[Parent, str | None]


@dataclass(frozen=True, slots=True)
class _Link:
    """A link that is not written yet; its fields are named after the columns of ``c_JobLink``."""

    ParentKind: str
    ParentId: int
    Condition: str
    Quorum: str
    Otherwise: str
    Outcome: str | None


async def outcomes(connection: AsyncConnection, runs: Sequence[NewRun]) -> Outcomes:
    """Lock the parents of new runs and return the outcomes so far; no parent ends before this transaction does.

    Raises:
        UnknownRun: a parent does not exist.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        for kind, parent_id in run.after.parents if run.after is not None else ():
            wanted[kind].add(parent_id)
    by_parent: dict[Parent, str | None] = {}
    for kind in sorted(wanted, reverse=True):  # runs before batches
        if kind == JOB:
            by_parent |= {(kind, parent_id): None for parent_id in wanted[kind]}
            continue
        states = await outcomes_of(connection, kind, sorted(wanted[kind]))
        for missing in sorted(wanted[kind] - states.keys()):
            raise UnknownRun(f"there is no {kind} {missing}, so that nothing can wait for it")
        by_parent |= {(kind, parent_id): state for parent_id, state in states.items()}
    return by_parent


def prepared(run: NewRun, known_outcomes: Outcomes) -> NewRun:
    """Return the run in its first state: ``awaiting``, unless parents that are over meet the condition already."""
    if run.after is None:
        return run
    ties = run.ties | Tie.FOLLOWS
    decided = verdict(_links(run.after, known_outcomes))
    if decided == "goes":
        return replace(run, ties=ties)
    kinds = ", ".join(f"{kind} {parent_id}" for kind, parent_id in run.after.parents if kind != JOB)
    note = f"after {kinds}, {run.note}"
    return replace(run, ties=ties, state=RunState.AWAITING, note=note)


async def tie(
    connection: AsyncConnection,
    created: Sequence[tuple[int, NewRun]],
    known_outcomes: Outcomes,
    now: datetime,
) -> list[Settlement]:
    """Write the links of new runs.

    Returns:
        The settlements of runs that are discarded at once, because their parents ended with outcomes that the runs do not accept.
    """
    rows = [
        {
            "ChildId": run_id,
            "ParentKind": link.ParentKind,
            "ParentId": link.ParentId,
            "Condition": link.Condition,
            "Quorum": link.Quorum,
            "Otherwise": link.Otherwise,
            "Outcome": link.Outcome,
        }
        for run_id, run in created
        if run.after is not None
        for link in _links(run.after, known_outcomes)
    ]
    if rows:
        await connection.execute(sa.insert(job_link), rows)
    dropped = {
        run_id: _links(run.after, known_outcomes)
        for run_id, run in created
        if run.after is not None and is_discarded(run.after, known_outcomes)
    }
    if not dropped:
        return []
    among = known.of(connection).among(job_run.c.Id, sorted(dropped))
    result = await connection.execute(sa.select(job_run).where(among).order_by(job_run.c.Id))
    return await discard(connection, result.all(), dropped, now)


def is_discarded(after: After, known_outcomes: Outcomes) -> bool:
    """Return whether the outcomes of the parents already discard a new run."""
    return verdict(_links(after, known_outcomes)) == "discarded"


def _links(after: After, known_outcomes: Outcomes) -> list[_Link]:
    return [
        _Link(
            kind,
            parent_id,
            after.on,
            after.quorum,
            after.otherwise,
            known_outcomes[kind, parent_id],
        )
        for kind, parent_id in sorted(set(after.parents))
    ]


def place_of(job: str) -> Parent:
    """Return the parent that stands for a run of a job that does not exist yet."""
    return JOB, zlib.crc32(job.encode())


async def joined(
    connection: AsyncConnection, child: NewRun, parent: NewRun, parent_id: int
) -> bool:
    """Let a waiting run of a job that follows several jobs wait for this run of one of these jobs too.

    At most one run of the job still waits for a run of another job. A newer run of the same parent job replaces an older run.

    Returns:
        Whether there is such a waiting run already.
    """
    await known.of(connection).lock_job(connection, f"after/{child.job_name}")
    open_ = sa.exists().where(job_link.c.ChildId == job_run.c.Id, job_link.c.ParentKind == JOB)
    waiting = await connection.scalar(
        sa.select(job_run.c.Id)
        .where(job_run.c.JobName == child.job_name, is_in_state(RunState.AWAITING), open_)
        .order_by(job_run.c.Id)
        .limit(1)
        .with_for_update()
    )
    if waiting is None:
        return False
    kind, place = place_of(parent.job_name)
    older = sa.select(job_run.c.Id).where(job_run.c.JobName == parent.job_name)
    same_job = sa.or_(
        sa.and_(job_link.c.ParentKind == kind, job_link.c.ParentId == place),
        sa.and_(job_link.c.ParentKind == RUN, job_link.c.ParentId.in_(older)),
    )
    replaced = sa.update(job_link).where(job_link.c.ChildId == waiting, same_job)
    to = {"ParentKind": RUN, "ParentId": parent_id, "Outcome": None}
    return await changed(connection, replaced.values(to)) > 0


# Lock runs and their dependents, in id order, before writing about any of the runs.
#
# A transaction that settles several runs, or discards the dependents of a run, comes to runs with smaller ids than runs that the transaction
# has locked already. Locking all rows first, in id order, keeps two such transactions from a deadlock.

_r = job_run.c
AWAITS = is_in_state(RunState.AWAITING)


async def lock_rows(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs and their direct and indirect dependents that still wait; on SQLite, where nobody else writes, do nothing.

    A dependent that is added meanwhile is locked by the transaction that decides about that dependent.
    """
    if not known.of(connection).many_writers:
        return  # no other transaction writes
    await lock(connection, await with_children(connection, run_ids, AWAITS))


async def with_children(
    connection: AsyncConnection, run_ids: Collection[int], which: sa.ColumnElement[bool]
) -> set[int]:
    """Return the given run ids and the ids of their direct and indirect dependents, following only dependents that match ``which``."""
    all_ids, level = set[int](), set(run_ids)
    query = sa.select(job_link.c.ChildId).join(job_run, _r.Id == job_link.c.ChildId).where(which)
    while level:
        all_ids |= level
        level = await linked(connection, query, job_link.c.ParentId, level) - all_ids
    return all_ids


async def linked(
    connection: AsyncConnection,
    query: sa.Select[Any],
    column: sa.Column[Any],
    ids: Collection[int],
) -> set[int]:
    """Run a query over links between runs, limited to links with ``column`` among ``ids``; return the selected ids."""
    among = known.of(connection).among(column, sorted(ids))
    result = await connection.scalars(query.where(job_link.c.ParentKind == RUN, among))
    return set(result.all())


async def lock(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs in id order."""
    among = known.of(connection).among(_r.Id, sorted(run_ids))
    await connection.execute(sa.select(_r.Id).where(among).order_by(_r.Id).with_for_update())
