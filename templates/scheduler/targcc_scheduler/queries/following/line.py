"""The whole chain of one run: what it waited for, and what waits for it, down to the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...storage.tables import job_link, job_run
from ...storage.ties.links import RUN
from ..models import Run
from .standing import worst

_MOST_LEVELS, _MOST = 30, 200
_RUN, _LINK = job_run.c, job_link.c
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_PARENTS = (
    sa.select(_LINK.ParentKind, _LINK.ParentId, _LINK.Outcome)
    .add_columns(_RUN.JobName, _RUN.State, _RUN.RetryOf)
    .select_from(
        job_link.outerjoin(job_run, sa.and_(_LINK.ParentKind == RUN, _RUN.Id == _LINK.ParentId))
    )
    .where(_LINK.ChildId.in_(_IDS), _LINK.ParentKind != "job")
    .order_by(_LINK.ParentKind.desc(), _LINK.ParentId)
    .limit(_MOST)
)
_CHILDREN = (
    sa.select(_RUN.Id, _RUN.JobName, _RUN.State, _RUN.RetryOf)
    .join(job_link, _LINK.ChildId == _RUN.Id)
    .where(_LINK.ParentKind == RUN, _LINK.ParentId.in_(_IDS))
    .order_by(_RUN.Id)
    .limit(_MOST)
)
"""Built once: they are asked again for each step of a chain."""


@dataclass(frozen=True, slots=True)
class LineStep:
    """A run or a batch of a chain.

    Args:
        kind: ``run`` or ``batch``.
        id: Of the run or batch.
        job: The run's job; ``None`` of a batch.
        state: Its state; of a batch that is not over none.
        retry_of: The run that it does again, if it does one.
    """

    kind: str
    id: int
    job: str | None
    state: str | None
    retry_of: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """The chain of a run, as one thing.

    Args:
        levels: Runs and batches from the first on; those beside each other wait for the same.
    """

    levels: tuple[tuple[LineStep, ...], ...]

    @property
    def at(self) -> LineStep:
        """The run that is worst off: the first that failed, else that runs, else that waits. One that was done again does not count."""
        steps = [step for level in self.levels for step in level if step.kind == RUN]
        again = {step.retry_of for step in steps}
        return worst([step for step in steps if step.id not in again], lambda step: step.state)

    @property
    def state(self) -> RunState:
        """Its state: that of the run which is worst off."""
        return RunState(self.at.state or "")


_Look = Callable[[AsyncConnection, Collection[int]], Awaitable[list[LineStep]]]


async def line(connection: AsyncConnection, run: Run) -> Line | None:
    """The chain of a run; ``None`` when it is alone. Of a very long one the part around the run."""
    before = await _walk(connection, run.id, _parents)
    after = await _walk(connection, run.id, _children)
    if not before and not after:
        return None
    here = LineStep(RUN, run.id, run.job, run.state, run.retry_of)
    return Line((*reversed(before), (here,), *after))


async def _walk(
    connection: AsyncConnection, run_id: int, look: _Look
) -> tuple[tuple[LineStep, ...], ...]:
    """What is reached from a run, by how many steps it takes on the longest way."""
    away: dict[tuple[str, int], tuple[int, LineStep]] = {}
    frontier: Collection[int] = [run_id]
    for distance in range(1, _MOST_LEVELS + 1):
        found = await look(connection, frontier)
        away |= {(one.kind, one.id): (distance, one) for one in found}
        frontier = sorted({one.id for one in found if one.kind == RUN})
        if not frontier or len(away) >= _MOST:
            break
    levels: dict[int, list[LineStep]] = defaultdict(list)
    for distance, one in away.values():
        levels[distance].append(one)
    return tuple(tuple(levels[distance]) for distance in sorted(levels))


async def _parents(connection: AsyncConnection, ids: Collection[int]) -> list[LineStep]:
    found = await connection.execute(_PARENTS, {"ids": ids})
    return [
        LineStep(row.ParentKind, row.ParentId, row.JobName, row.State or row.Outcome, row.RetryOf)
        for row in found
        if row.JobName is not None or row.ParentKind != RUN  # removed, or not to be seen
    ]


async def _children(connection: AsyncConnection, ids: Collection[int]) -> list[LineStep]:
    found = await connection.execute(_CHILDREN, {"ids": ids})
    return [LineStep(RUN, row.Id, row.JobName, row.State, row.RetryOf) for row in found]
