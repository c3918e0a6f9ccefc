"""Chains: jobs that follow each other, and how the newest of their runs that belong together stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...jobs.definition import JobDefinition
from ...jobs.following import chains as graphs
from ...storage.tables import job_link, job_run
from ...storage.ties.links import RUN
from ..models import Run, run_of
from ..runs import recent_runs
from .standing import worst

_MOST_ROUNDS, _MOST_RUNS = 30, 1_000


@dataclass(frozen=True, slots=True)
class ChainStep:
    """A job of a chain.

    Args:
        definition: The job.
        after: The jobs of the chain that it follows; none of the first.
        run: Its run of the newest round; ``None`` when there is none.
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
    """Jobs that follow each other, as one thing: the newest run that began it, and what followed from that run.

    Args:
        steps: The jobs, each after those that it follows.
    """

    steps: tuple[ChainStep, ...]

    @property
    def name(self) -> str:
        """The key of its first job, by which it is named."""
        return self.steps[0].job

    @property
    def jobs(self) -> tuple[str, ...]:
        """The keys of its jobs."""
        return tuple(step.job for step in self.steps)

    @property
    def levels(self) -> tuple[tuple[ChainStep, ...], ...]:
        """The steps in the order of a line: each beyond those it follows, and one that follows none right before the first that follows it."""
        place: dict[str, int] = {}
        for step in self.steps:
            place[step.job] = max((place[one] + 1 for one in step.after), default=0)
        for step in self.steps:
            if not step.after:
                place[step.job] = (
                    min(place[one.job] for one in self.steps if step.job in one.after) - 1
                )
        every = range(max(place.values()) + 1)
        return tuple(tuple(s for s in self.steps if place[s.job] == level) for level in every)

    @property
    def at(self) -> ChainStep | None:
        """The step that is worst off: the first that failed, else that runs, else that waits; ``None``: it has not run."""
        runs = [step for step in self.steps if step.run is not None]
        return worst(runs, lambda step: step.run.state if step.run else None) if runs else None

    @property
    def state(self) -> RunState | None:
        """Its state: that of the step which is worst off; ``None``: it has not run."""
        at = self.at
        return at.run.state if at is not None and at.run is not None else None

    @property
    def happened_at(self) -> datetime | None:
        """When something of it happened last; ``None``: it has not run."""
        return max((_happened(step.run) for step in self.steps if step.run), default=None)


def _happened(run: Run) -> datetime:
    return run.completed_at or run.started_at or run.created_at


async def chains(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], *, of: str | None = None
) -> tuple[Chain, ...]:
    """Every chain of these jobs, in a few statements for all of them, however many runs there are; with ``of`` the one that this job is in.

    A chain begins with the newest run of its first job that was no retry and not skipped. A run that does another of them again stands in
    its place.
    """
    every = graphs.chains(definitions)
    wanted = [jobs for jobs in every if of is None or of in {job.name for job in jobs}]
    names = frozenset(job.name for jobs in wanted for job in jobs)
    found = await _runs(connection, wanted, names)
    return tuple(
        Chain(
            tuple(
                ChainStep(job, tuple(one for one in job.after if one in names), found.get(job.name))
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
    """The run of each job that belongs to the newest round of its chain."""
    first = [job.name for jobs in wanted for job in jobs if not names.intersection(job.after)]
    begun = await recent_runs(
        connection, first, 1, job_run.c.State != RunState.SKIPPED, job_run.c.RetryOf.is_(None)
    )
    found = {run.id: run for newest in begun.values() for run in newest}
    frontier: Collection[int] = list(found)
    for _ in range(_MOST_ROUNDS):
        if not frontier:
            break
        followed = await _followed(connection, frontier, names)
        frontier = [run.id for run in followed if run.id not in found]
        found |= {run.id: run for run in followed}
    return {run.job: run for run in sorted(found.values(), key=lambda run: run.id)}


async def _followed(
    connection: AsyncConnection, ids: Collection[int], names: frozenset[str]
) -> list[Run]:
    """The runs of these jobs that wait, or waited, for one of these runs, or do one of them again."""
    link, c = job_link.c, job_run.c
    waiting = sa.select(link.ChildId).where(link.ParentKind == RUN, link.ParentId.in_(ids))
    again = sa.select(c.Id).where(c.RetryOf.in_(ids), c.State.in_(sorted(RunState)))
    either = sa.union_all(waiting, again).subquery()
    query = (
        sa.select(job_run)
        .where(c.Id.in_(sa.select(either.c[0])), c.JobName.in_(sorted(names)))
        .order_by(c.Id.desc())
        .limit(_MOST_RUNS)
    )
    return [run_of(row) for row in await connection.execute(query)]
