"""Runs that wait for others, batches, keys and flows: what the application asked for, and what the tables have of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AskedChild:
    """A run that was asked for, to wait for others."""

    run: int
    parents: tuple[int, ...]
    on: str
    quorum: str


@dataclass(frozen=True)
class AskedBatch:
    """A batch of which the application was told that it exists; ``tokens`` are those of its runs."""

    id: int
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """A row of ``c_JobLink``: a run waits for a run or a batch."""

    child: int
    kind: str
    parent: int
    condition: str
    quorum: str = "all"
    outcome: str | None = None


@dataclass(frozen=True)
class Batch:
    """A row of ``c_JobBatch``, and the ids of the runs that are in it."""

    id: int
    state: str
    total: int
    pending: int
    failed: int
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class AskedKey:
    """A call for a run that is unique by a key.

    Args:
        run: What it was told: a run that was made, or one that was there (``existing``) and stands for it.
        asked: When it began.
        at: When it was answered, and its transaction was committed.
    """

    run: int
    job: str
    key: str
    token: str
    asked: float
    at: float
    existing: bool = False


@dataclass(frozen=True)
class Refused:
    """A call that ended with an error, so that nobody knows what became of it."""

    job: str
    error: str
    asked: float
    at: float


@dataclass(frozen=True)
class AskedFlow:
    """A flow of which the application was told that it has begun."""

    id: int
    token: str


@dataclass(frozen=True)
class Flow:
    """A row of ``c_JobBatch`` that is a flow.

    Args:
        token: What it was started with.
        count: How many parts it is to have.
        bad: Which of them is refused; 0 for none.
        steps: The state of each step.
    """

    id: int
    state: str
    pending: int
    failed: int
    token: str
    count: int
    bad: int
    steps: Mapping[str, str] = field(default_factory=dict)
