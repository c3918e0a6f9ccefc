"""Chains of jobs, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from ....core.states import RunState
from ....queries.following.chains import Chain, ChainStep
from ....queries.following.line import Line
from .base import Schema


class ChainStandingOut(Schema):
    """Jobs that follow each other, and how they stand."""

    name: str = Field(description="The name of its first job.", examples=["ImportOrders"])
    jobs: tuple[str, ...] = Field(description="Its jobs, each after those that it follows.")
    state: RunState | None = Field(
        description="Of the newest run that began it, and of what followed from it, the worst: that of `at`; null when it has not run."
    )
    at: str | None = Field(
        description="The job whose run has this state: the first that failed, else that runs, else that waits."
    )
    run_id: int | None = Field(description="That run.")


class ChainStepOut(Schema):
    """A job of a chain."""

    job: str
    after: tuple[str, ...] = Field(description="The jobs of the chain that it follows.")
    run_id: int | None = Field(description="Its run of the newest round; null when there is none.")
    state: RunState | None
    happened_at: datetime | None = Field(description="When it ended, else began, else is due.")


class ChainOut(ChainStandingOut):
    """A chain with its steps."""

    happened_at: datetime | None = Field(description="When something of it happened last.")
    steps: tuple[ChainStepOut, ...]


class LineStepOut(Schema):
    """A run or a batch of the chain of a run."""

    kind: Literal["run", "batch"]
    id: int
    job: str | None = Field(description="The job of a run; null of a batch.")
    state: str | None = Field(description="Null of a batch that is not over.")


class LineOut(Schema):
    """The whole chain of a run, as one thing."""

    state: RunState = Field(
        description="The worst state of its runs: that of `at`. A run that was done again does not count."
    )
    at: str = Field(description="The job of the run that has this state.")
    run_id: int = Field(description="That run: the first that failed, else runs, else waits.")
    levels: tuple[tuple[LineStepOut, ...], ...] = Field(
        description="From the first on; those in one list wait for the same. Of a long chain the part around the run."
    )


def line_out(line: Line | None) -> LineOut | None:
    """The chain of a run; ``None`` when it is alone."""
    if line is None:
        return None
    steps = tuple(tuple(map(LineStepOut.model_validate, level)) for level in line.levels)
    return LineOut(state=line.state, at=line.at.job or "", run_id=line.at.id, levels=steps)


def standing_out(chain: Chain | None) -> ChainStandingOut | None:
    """How a chain stands."""
    if chain is None:
        return None
    at = chain.at
    return ChainStandingOut(
        name=chain.name,
        jobs=chain.jobs,
        state=chain.state,
        at=at.job if at is not None else None,
        run_id=at.run.id if at is not None and at.run is not None else None,
    )


def chain_out(chain: Chain) -> ChainOut:
    """A chain with its steps."""
    standing = standing_out(chain)
    assert standing is not None
    return ChainOut(
        **standing.model_dump(),
        happened_at=chain.happened_at,
        steps=tuple(map(_step_out, chain.steps)),
    )


def _step_out(step: ChainStep) -> ChainStepOut:
    run = step.run
    return ChainStepOut(
        job=step.job,
        after=step.after,
        run_id=run.id if run is not None else None,
        state=run.state if run is not None else None,
        happened_at=run.happened_at if run is not None else None,
    )
