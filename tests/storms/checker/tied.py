"""Runs that wait for others, and batches: what the application asked for, and what the tables have of it."""

from __future__ import annotations

from dataclasses import dataclass


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
