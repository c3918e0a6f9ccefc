"""Chains, batches and flows of the bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...db.tables import job_batch, job_link, job_run
from ...kernel.dependencies import BATCH, RUN
from ...kernel.queries.chains import worst
from ..flows.model import KIND as FLOW
from ..flows.model import FlowRow, flow_of
from ..flows.queries import steps_before
from .bars import Bar

# Relatives of runs: dependencies and dependents, read in a few statements for all runs.

_MOST_ROUNDS, _MOST_LINKS, _MOST_RUNS = 8, 500, 1_000
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_LINKS = sa.select(job_link.c.ChildId, job_link.c.ParentKind, job_link.c.ParentId)
_BEFORE = _LINKS.where(job_link.c.ChildId.in_(_IDS), job_link.c.ParentKind.in_((BATCH, RUN)))
_AFTER = _LINKS.where(job_link.c.ParentKind == RUN, job_link.c.ParentId.in_(_IDS))
_AROUND = sa.union_all(
    *(sa.select(query.limit(_MOST_LINKS).subquery()) for query in (_BEFORE, _AFTER))
)
"""Select dependencies with a given run at either end; each end has its own index. Built once, executed for each step of a chain."""
_RUNS = sa.select(
    job_run.c.Id,
    job_run.c.JobName,
    job_run.c.State,
    job_run.c.RetryOf,
    job_run.c.BatchId,
    job_run.c.Step,
).where(job_run.c.Id.in_(_IDS))
_BATCHES = sa.select(job_batch).where(job_batch.c.Id.in_(_IDS))


@dataclass(frozen=True, slots=True)
class Link:
    """A dependency: the child waits for the parent, a run or a batch by ``kind``."""

    child: int
    kind: str
    parent: int


@dataclass(frozen=True, slots=True)
class Relatives:
    """Relatives of some runs.

    Args:
        runs: Rows of the runs by id, including the given runs.
        links: Dependencies between the runs, and of runs on batches.
        batches: Rows by id: batches and flows that contain the runs, and batches that the runs wait for.
    """

    runs: dict[int, Any]
    links: frozenset[Link]
    batches: dict[int, Any]


async def kin_of(
    connection: AsyncConnection, ids: Collection[int], batches: Collection[int]
) -> Relatives:
    """Return the relatives of the given runs, and the rows for the given batches and flows. A very long chain is cut around the given runs."""
    links, seen = await _links(connection, ids)
    if not links and not batches:
        return Relatives({}, frozenset(), {})
    wanted = {link.parent for link in links if link.kind == BATCH} | set(batches)
    runs = await _asked(connection, _RUNS, seen)
    rows = await _asked(connection, _BATCHES, wanted) if wanted else ()
    return Relatives({row.Id: row for row in runs}, links, {row.Id: row for row in rows})


async def _links(
    connection: AsyncConnection, ids: Collection[int]
) -> tuple[frozenset[Link], set[int]]:
    """Follow dependencies from the given runs. Return the dependencies, and the runs at their ends."""
    links: set[Link] = set()
    seen, frontier = set(ids), set(ids)
    for _ in range(_MOST_ROUNDS):
        if not frontier or len(seen) > _MOST_RUNS:
            break
        new_links = {Link(*row) for row in await _asked(connection, _AROUND, frontier)}
        links |= new_links
        ends = {link.child for link in new_links} | {
            link.parent for link in new_links if link.kind == RUN
        }
        frontier = ends - seen
        seen |= frontier
    return frozenset(links), seen


async def _asked(
    connection: AsyncConnection, statement: sa.Executable, ids: Collection[int]
) -> Sequence[Any]:
    return (await connection.execute(statement, {"ids": sorted(ids)})).all()


# Groups of related bars: a chain of runs, a batch or a flow, each with a single state.

_NOT_OVER = datetime.max.replace(tzinfo=UTC)
_STARTER = ""
"""Stand-in step name for the run that started a flow."""
Node = tuple[str, int]
"""Kind and id of a run, batch or flow."""


@dataclass(frozen=True, slots=True, order=True)
class Tie:
    """A pair of runs: the second run waited for the first run. Of several dependencies, the first run is the last that ended.

    Args:
        before: Id of the first run.
        run: Id of the second run.
    """

    before: int
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """Related runs: a flow, a batch, or runs that follow each other.

    Args:
        kind: Kind of the relation: a flow, a batch, or a chain.
        id: Id of the flow or batch; for a chain, id of the first run.
        name: Name of the flow or batch; for a chain, the job of the first run.
        state: Worst state of all members, drawn or not.
        at: Job of the run with this state; ``None`` if the flow or batch has this state.
        runs: Members with bars.
        ties: Pairs of members: a run, and the run that followed.
    """

    kind: Literal["run", "batch", "flow"]
    id: int
    name: str
    state: str
    at: str | None
    runs: tuple[int, ...]
    ties: tuple[Tie, ...]


async def chained(connection: AsyncConnection, bars: Iterable[Bar]) -> tuple[Chained, ...]:
    """Return the chains, batches and flows of the bars."""
    ends: dict[int, datetime] = {}
    batches: set[int] = set()
    for bar in bars:
        if bar.run is not None:
            ends[bar.run] = max(bar.end or _NOT_OVER, ends.get(bar.run, bar.start))
            batches |= {bar.batch} if bar.batch is not None else set()
    if not ends:
        return ()
    kin = await kin_of(connection, ends, batches)
    ties = sorted(set(_ties(kin, ends)))
    return tuple(
        sorted(
            (_one(kin, nodes, ends, ties) for nodes in _together(kin) if _is_drawn(nodes, ends)),
            key=lambda one: one.runs,
        )
    )


def _is_drawn(nodes: Collection[Node], drawn: Collection[int]) -> bool:
    """Return whether a group has several nodes and at least one drawn run."""
    return len(nodes) > 1 and any(kind == RUN and key in drawn for kind, key in nodes)


def _together(kin: Relatives) -> Iterable[set[Node]]:
    """Group connected runs, batches and flows (union of sets)."""
    sets: dict[Node, set[Node]] = {}
    for item, other in _pairs(kin):
        larger, smaller = (sets.get(node) or {node} for node in (item, other))
        if larger is smaller:
            continue
        if len(larger) < len(smaller):
            larger, smaller = smaller, larger
        larger |= smaller
        sets |= dict.fromkeys((*smaller, item, other), larger)
    return {id(item): item for item in sets.values()}.values()


def _pairs(kin: Relatives) -> Iterator[tuple[Node, Node]]:
    for link in kin.links:
        known: Mapping[int, Any] = kin.runs if link.kind == RUN else kin.batches
        if link.child in kin.runs and link.parent in known:
            yield (RUN, link.child), (link.kind, link.parent)
    for run in kin.runs.values():
        if run.BatchId in kin.batches:
            yield (RUN, run.Id), (BATCH, run.BatchId)
    for batch in kin.batches.values():
        if batch.ParentId in kin.batches:
            yield (BATCH, batch.Id), (BATCH, batch.ParentId)


def _one(
    kin: Relatives, nodes: Collection[Node], drawn: Collection[int], ties: Iterable[Tie]
) -> Chained:
    runs = sorted(key for kind, key in nodes if kind == RUN)
    batches = [kin.batches[key] for kind, key in nodes if kind == BATCH]
    again = {kin.runs[key].RetryOf for key in runs}
    counted = [key for key in runs if key not in again and kin.runs[key].BatchId not in kin.batches]
    at = worst([*batches, *(kin.runs[key] for key in counted)], lambda row: row.State)
    head = min(batches, key=lambda row: (row.Kind != FLOW, row.Id), default=None)
    began = kin.runs[_first(kin, runs)]
    return Chained(
        kind="run" if head is None else head.Kind,
        id=began.Id if head is None else head.Id,
        name=began.JobName if head is None else head.Name,
        state=at.State,
        at=getattr(at, "JobName", None),
        runs=tuple(key for key in runs if key in drawn),
        ties=tuple(tie for tie in ties if (RUN, tie.run) in nodes),
    )


def _first(kin: Relatives, runs: Collection[int]) -> int:
    """Return the chain's first run: a run without a dependency within the chain."""
    followed = {link.child for link in kin.links if link.kind == RUN and link.parent in kin.runs}
    return min(runs, key=lambda key: (key in followed, key))


def _ties(kin: Relatives, ends: Mapping[int, datetime]) -> Iterator[Tie]:
    """Yield the lines between drawn runs."""
    members: dict[int, list[int]] = defaultdict(list)
    for key in ends:
        batch = kin.runs[key].BatchId if key in kin.runs else None
        while batch in kin.batches:
            members[batch].append(key)
            outer = kin.batches[batch].ParentId
            batch = (
                outer if outer is not None and outer < batch else None
            )  # inner batches have larger ids
    for link in kin.links:
        if link.child not in ends:
            continue
        if link.kind == BATCH:
            yield from _after_last(members[link.parent], [link.child], ends)
        elif link.parent in ends:
            yield Tie(link.parent, link.child)
    for row in kin.batches.values():
        if row.Kind == FLOW:
            yield from _of_steps(flow_of(row), (kin.runs[key] for key in members[row.Id]), ends)


def _of_steps(flow: FlowRow, runs: Iterable[Any], ends: Mapping[int, datetime]) -> Iterator[Tie]:
    """Yield the lines between a flow's steps, for the last rerun of each step."""
    run_ids: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        step = flow.steps.get(run.Step)
        if run.Step is None:
            run_ids[_STARTER].append(run.Id)
        elif step is not None and step.first is not None and run.Id >= step.first:
            run_ids[run.Step].append(run.Id)
    for name, step in flow.steps.items():
        for before in steps_before(step) or (_STARTER,):
            yield from _after_last(run_ids[before], run_ids[name], ends)


def _after_last(
    before: Collection[int], runs: Iterable[int], ends: Mapping[int, datetime]
) -> Iterator[Tie]:
    """Yield a line to each run from the last ended run of ``before``."""
    last = max(before, key=lambda key: (ends[key], key), default=None)
    for run in runs:
        if last is not None and last != run:
            yield Tie(last, run)
