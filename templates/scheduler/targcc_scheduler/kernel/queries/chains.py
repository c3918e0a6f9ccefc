"""Read job chains and run lineage, each with a rolled-up state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import visibility
from ...core.states import RunState
from ...db.dialects.frequent import is_among, listed
from ...db.tables import job_link, job_run
from ..dependencies import RUN, place_of
from ..jobs import chains as job_chains
from ..jobs.definition import JobDefinition
from ..runs.transition import is_in_state
from .models import Run, run_of
from .runs import recent_runs

# A run's dependencies and dependents.

_MOST = 100


@dataclass(frozen=True, slots=True)
class Relative:
    """A dependency or a dependent of a run.

    Args:
        kind: ``run``, ``batch``, or ``job`` for a run of a job that does not exist yet.
        id: Id of the run or batch; ``None`` if the run does not exist yet.
        job: Job of the run, if known.
        state: State of the run or batch; for a removed run, its final state.
        on: Required outcome of the dependency: ``success``, ``failure`` or ``finish``.
    """

    kind: str
    id: int | None
    job: str | None
    state: str | None
    on: str


async def parents(
    connection: AsyncConnection, run_id: int, after: tuple[str, ...] = ()
) -> tuple[Relative, ...]:
    """Return a run's dependencies, met or not; at most 100.

    Args:
        connection: The database.
        run_id: The run.
        after: The jobs that the run's job follows; they name dependencies on runs that do not exist yet.
    """
    is_run = sa.and_(job_link.c.ParentKind == "run", job_run.c.Id == job_link.c.ParentId)
    rows = await connection.execute(
        sa.select(job_link, job_run.c.JobName, job_run.c.State)
        .select_from(job_link.outerjoin(job_run, is_run))
        .where(job_link.c.ChildId == run_id)
        .order_by(job_link.c.ParentKind.desc(), job_link.c.ParentId)
        .limit(_MOST)
    )
    allowed = visibility.get()
    to_come = {place_of(job): job for job in after if allowed is None or job in allowed.seen}
    return tuple(
        Relative(
            row.ParentKind,
            None if row.ParentKind == "job" else row.ParentId,
            row.JobName or to_come.get((row.ParentKind, row.ParentId)),
            row.State or row.Outcome,
            row.Condition,
        )
        for row in rows
    )


async def children(
    connection: AsyncConnection, parent_id: int, kind: str = "run"
) -> tuple[Relative, ...]:
    """Return a run's or batch's dependents, waiting or not; at most 100."""
    rows = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.JobName, job_run.c.State, job_link.c.Condition)
        .join(job_link, job_link.c.ChildId == job_run.c.Id)
        .where(job_link.c.ParentKind == kind, job_link.c.ParentId == parent_id)
        .order_by(job_run.c.Id)
        .limit(_MOST)
    )
    return tuple(Relative("run", row.Id, row.JobName, row.State, row.Condition) for row in rows)


# Roll up connected runs' states: the worst state counts.

T = TypeVar("T")
_WORST_FIRST = (
    RunState.FAILED,
    RunState.MISSED,
    RunState.CANCELLED,
    RunState.RUNNING,
    RunState.RETRYING,
    RunState.ENQUEUED,
    RunState.SCHEDULED,
    RunState.AWAITING,
    RunState.SKIPPED,
    RunState.SUCCEEDED,
)
_RANKS: dict[str, int] = {state: rank for rank, state in enumerate(_WORST_FIRST)}


def worst(things: Iterable[T], state: Callable[[T], str | None]) -> T:
    """Return the first item with the worst state: failed before running before waiting before succeeded.

    Raises:
        ValueError: There are no items.
    """
    return min(things, key=lambda one: _RANKS.get(state(one) or "", len(_RANKS)))


# Chains: jobs that follow each other, with the newest round's runs.

_MOST_ROUNDS, _MOST_RUNS = 30, 1_000


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A job in a chain.

    Args:
        definition: The job.
        after: The jobs in the chain that this job follows; empty for a first job.
        run: The job's run in the newest round; ``None`` without a run.
    """

    definition: JobDefinition
    after: tuple[str, ...]
    run: Run | None

    @property
    def job(self) -> str:
        """The job's key."""
        return self.definition.name


@dataclass(frozen=True, slots=True)
class Chain:
    """Jobs that follow each other, with the newest round: a first job's newest run, and the runs that followed.

    Args:
        steps: The jobs; a job comes after every job that it follows.
    """

    steps: tuple[ChainStep, ...]

    @property
    def name(self) -> str:
        """The chain's name: its first job's key."""
        return self.steps[0].job

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs' keys."""
        return tuple(step.job for step in self.steps)

    @property
    def levels(self) -> tuple[tuple[ChainStep, ...], ...]:
        """The steps by level, for a picture: a step's level is beyond every step it follows. A first step is one level before its first follower."""
        place: dict[str, int] = {}
        for step in self.steps:
            place[step.job] = max((place[neighbour] + 1 for neighbour in step.after), default=0)
        for step in self.steps:
            if not step.after:
                place[step.job] = (
                    min(
                        place[neighbour.job]
                        for neighbour in self.steps
                        if step.job in neighbour.after
                    )
                    - 1
                )
        every = range(max(place.values()) + 1)
        return tuple(tuple(s for s in self.steps if place[s.job] == level) for level in every)

    @property
    def at(self) -> ChainStep | None:
        """The step with the worst state: the first failed step, else running, else waiting; ``None`` before the first run."""
        runs = [step for step in self.steps if step.run is not None]
        return worst(runs, lambda step: step.run.state if step.run else None) if runs else None

    @property
    def state(self) -> RunState | None:
        """The rolled-up state: the worst step's state; ``None`` before the first run."""
        at = self.at
        return at.run.state if at is not None and at.run is not None else None

    @property
    def happened_at(self) -> datetime | None:
        """The newest event's instant; ``None`` before the first run."""
        return max((_happened(step.run) for step in self.steps if step.run), default=None)


def _happened(run: Run) -> datetime:
    return run.completed_at or run.started_at or run.created_at


async def chains(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], *, of: str | None = None
) -> tuple[Chain, ...]:
    """Return the chains of these jobs, in a few statements for all chains, however many runs there are.

    A round begins with the first job's newest run that is no rerun and was not skipped. A rerun replaces the run that it repeats.

    Args:
        connection: The database.
        definitions: The jobs.
        of: Return only the chain that contains this job. Default: all chains.
    """
    every = job_chains.chains(definitions)
    wanted = [jobs for jobs in every if of is None or of in {job.name for job in jobs}]
    names = frozenset(job.name for jobs in wanted for job in jobs)
    runs = await _runs(connection, wanted, names)
    return tuple(
        Chain(
            tuple(
                ChainStep(
                    job,
                    tuple(parent for parent in job.after if parent in names),
                    runs.get(job.name),
                )
                for job in jobs
            )
        )
        for jobs in wanted
    )


async def _runs(
    connection: AsyncConnection,
    wanted: Iterable[Sequence[JobDefinition]],
    names: frozenset[str],
) -> dict[str, Run]:
    """Map each job to its run in the chain's newest round."""
    first = [job.name for jobs in wanted for job in jobs if not names.intersection(job.after)]
    begun = await recent_runs(
        connection, first, 1, job_run.c.State != RunState.SKIPPED, job_run.c.RetryOf.is_(None)
    )
    runs_by_id = {run.id: run for newest in begun.values() for run in newest}
    frontier: Collection[int] = list(runs_by_id)
    for _ in range(_MOST_ROUNDS):
        if not frontier:
            break
        followed = await _followed(connection, frontier, names)
        frontier = [run.id for run in followed if run.id not in runs_by_id]
        runs_by_id |= {run.id: run for run in followed}
    return {run.job: run for run in sorted(runs_by_id.values(), key=lambda run: run.id)}


_WAITING = sa.select(job_link.c.ChildId.label("id")).where(
    job_link.c.ParentKind == RUN, is_among(job_link.c.ParentId, listed("ids", sa.BigInteger))
)
_AGAIN = sa.select(job_run.c.Id).where(
    is_among(job_run.c.RetryOf, listed("ids", sa.BigInteger)),
    is_in_state(*RunState),
)
_FOLLOWED = (
    sa.select(job_run)
    .where(
        job_run.c.Id.in_(sa.select(sa.union_all(_WAITING, _AGAIN).subquery().c.id)),
        is_among(job_run.c.JobName, listed("names", sa.Text)),
    )
    .order_by(job_run.c.Id.desc())
    .limit(_MOST_RUNS)
)
"""Built once, with its lists as one parameter each: a page executes it for each level of the longest chain, and PostgreSQL keeps its plan."""


async def _followed(
    connection: AsyncConnection, ids: Collection[int], names: frozenset[str]
) -> list[Run]:
    """Return these runs' dependents and reruns, limited to the jobs in ``names``."""
    parameters = {"ids": list(ids), "names": sorted(names)}
    return [run_of(row) for row in await connection.execute(_FOLLOWED, parameters)]


# A run's lineage: dependencies and dependents, direct and indirect.

_MOST_LEVELS, _MOST_IN_LINE = 30, 200
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
    .limit(_MOST_IN_LINE)
)
_CHILDREN = (
    sa.select(_RUN.Id, _RUN.JobName, _RUN.State, _RUN.RetryOf)
    .join(job_link, _LINK.ChildId == _RUN.Id)
    .where(_LINK.ParentKind == RUN, _LINK.ParentId.in_(_IDS))
    .order_by(_RUN.Id)
    .limit(_MOST_IN_LINE)
)
"""Both statements are built once, since every lineage level executes the statements again."""


@dataclass(frozen=True, slots=True)
class LineStep:
    """A run or a batch in a lineage.

    Args:
        kind: ``run`` or ``batch``.
        id: The run's or batch's id.
        job: The run's job; ``None`` for a batch.
        state: The state; ``None`` for a batch that has not ended.
        retry_of: The run that this run repeats; ``None`` unless this run is a rerun.
    """

    kind: str
    id: int
    job: str | None
    state: str | None
    retry_of: int | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """A run's dependencies and dependents, by level.

    Args:
        levels: Runs and batches, from the first dependency to the last dependent; a level is the longest distance from the run.
    """

    levels: tuple[tuple[LineStep, ...], ...]

    @property
    def at(self) -> LineStep:
        """The run with the worst state: the first failed run, else running, else waiting. A run that a rerun repeats does not count."""
        steps = [step for level in self.levels for step in level if step.kind == RUN]
        again = {step.retry_of for step in steps}
        return worst([step for step in steps if step.id not in again], lambda step: step.state)

    @property
    def state(self) -> RunState:
        """The rolled-up state: the worst run's state."""
        return RunState(self.at.state or "")


_Look = Callable[[AsyncConnection, Collection[int]], Awaitable[list[LineStep]]]


async def lineage(connection: AsyncConnection, run: Run) -> Lineage | None:
    """Return a run's lineage; ``None`` for a run without relatives. A very long lineage is cut to the part around the run."""
    before = await _walk(connection, run.id, _parents)
    after = await _walk(connection, run.id, _children)
    if not before and not after:
        return None
    here = LineStep(RUN, run.id, run.job, run.state, run.retry_of)
    return Lineage((*reversed(before), (here,), *after))


async def _walk(
    connection: AsyncConnection, run_id: int, look: _Look
) -> tuple[tuple[LineStep, ...], ...]:
    """Group the relatives in one direction by the longest distance from a run."""
    away: dict[tuple[str, int], tuple[int, LineStep]] = {}
    frontier: Collection[int] = [run_id]
    for distance in range(1, _MOST_LEVELS + 1):
        steps = await look(connection, frontier)
        away |= {(step.kind, step.id): (distance, step) for step in steps}
        frontier = sorted({step.id for step in steps if step.kind == RUN})
        if not frontier or len(away) >= _MOST_IN_LINE:
            break
    levels: dict[int, list[LineStep]] = defaultdict(list)
    for distance, step in away.values():
        levels[distance].append(step)
    return tuple(tuple(levels[distance]) for distance in sorted(levels))


async def _parents(connection: AsyncConnection, ids: Collection[int]) -> list[LineStep]:
    rows = await connection.execute(_PARENTS, {"ids": ids})
    return [
        LineStep(row.ParentKind, row.ParentId, row.JobName, row.State or row.Outcome, row.RetryOf)
        for row in rows
        if row.JobName is not None or row.ParentKind != RUN  # removed, or not visible to the caller
    ]


async def _children(connection: AsyncConnection, ids: Collection[int]) -> list[LineStep]:
    rows = await connection.execute(_CHILDREN, {"ids": ids})
    return [LineStep(RUN, row.Id, row.JobName, row.State, row.RetryOf) for row in rows]
