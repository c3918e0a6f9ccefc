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
    parent: int | None = None


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
class Act:
    """What a person or a program did to a run, batch or flow.

    Args:
        kind: Such as ``cancel``, ``retry batch`` or ``start``.
        target: The run, batch or flow that it applied to.
        asked: When the act began.
        at: When its outcome was known; infinite if it never was.
        done: Whether the scheduler confirmed the act.
        refused: Whether the scheduler refused the act, so that it had no effect.
        made: The runs, the batch or the flow that the act made.
        state: The answered state of a cancelled run.
        token: The token of a started run.
        batch: The batch of the target, 0 if it has none; None if the person does not know.
    """

    kind: str
    target: int | None
    asked: float
    at: float = float("inf")
    done: bool = False
    refused: bool = False
    made: tuple[int, ...] = ()
    state: str | None = None
    token: str = ""
    batch: int | None = None


@dataclass(frozen=True)
class Told:
    """Alert that was sent."""

    kind: str
    job: str
    key: str
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
