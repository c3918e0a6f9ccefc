"""Dependents, batches, unique keys and flows: the application's requests, and the rows of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AskedChild:
    """Request for a run that waits for other runs."""

    run: int
    parents: tuple[int, ...]
    on: str
    quorum: str


@dataclass(frozen=True)
class AskedBatch:
    """Batch acknowledged to the application; ``tokens`` belong to its runs."""

    id: int
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """Row of ``c_JobLink``: a run waits for a run or a batch."""

    child: int
    kind: str
    parent: int
    condition: str
    quorum: str = "all"
    outcome: str | None = None


@dataclass(frozen=True)
class Batch:
    """Row of ``c_JobBatch`` with the ids of its runs."""

    id: int
    state: str
    total: int
    pending: int
    failed: int
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class AskedKey:
    """Call for a unique run.

    Args:
        run: The returned run: a new run, or an ``existing`` run.
        asked: When the call began.
        at: When the call returned and its transaction was committed.
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
    """Call that ended with an error, with unknown effect."""

    job: str
    error: str
    asked: float
    at: float


@dataclass(frozen=True)
class AskedFlow:
    """Flow acknowledged to the application."""

    id: int
    token: str


@dataclass(frozen=True)
class Flow:
    """Row of ``c_JobBatch`` that is a flow.

    Args:
        token: The token of the start.
        count: The number of its parts.
        bad: The number of the refused part; 0 for none.
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
