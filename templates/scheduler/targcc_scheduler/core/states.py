"""The states of a run and the allowed transitions between states."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class RunState(StrEnum):
    """The state of a run."""

    AWAITING = "awaiting"  # waits for other runs, for a unique key, or for capacity under a limit
    SCHEDULED = "scheduled"  # due later
    ENQUEUED = "enqueued"  # due, waits for a worker
    RUNNING = "running"
    RETRYING = "retrying"  # failed, waits for its next attempt and holds no worker
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"  # the job was still busy at the slot
    MISSED = "missed"  # no node could start the run at its slot


WAITING = frozenset({RunState.SCHEDULED, RunState.ENQUEUED, RunState.RETRYING})
"""The states in which an engine offers a run to workers, now or later."""
UNBEGUN = WAITING | {RunState.AWAITING}
"""The states in which no worker has the run, so that a cancellation takes effect at once."""
ACTIVE = UNBEGUN | {RunState.RUNNING}
FINAL = frozenset(RunState) - ACTIVE

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.AWAITING: frozenset(
        {RunState.ENQUEUED, RunState.SCHEDULED, RunState.CANCELLED, RunState.FAILED}
    ),
    RunState.SCHEDULED: frozenset(
        {
            RunState.ENQUEUED,
            RunState.RUNNING,
            RunState.CANCELLED,
            RunState.FAILED,
            RunState.AWAITING,  # due, and its limit has no capacity
        }
    ),
    RunState.ENQUEUED: frozenset(
        {
            RunState.RUNNING,
            RunState.CANCELLED,
            RunState.FAILED,
            RunState.AWAITING,  # its limit has no capacity
        }
    ),
    RunState.RUNNING: frozenset(
        {
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.RETRYING,
            RunState.CANCELLED,
            RunState.ENQUEUED,  # released at shutdown, or its worker was lost
        }
    ),
    RunState.RETRYING: frozenset(
        {
            RunState.ENQUEUED,
            RunState.RUNNING,
            RunState.CANCELLED,
            RunState.FAILED,
            RunState.AWAITING,  # due, and its limit has no capacity
        }
    ),
} | {state: frozenset() for state in FINAL}

On = Literal["success", "failure", "finish"]
"""Required end of the parents of a run."""


def sources_of(target: RunState) -> frozenset[RunState]:
    """Return the states from which a run may become ``target``."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)
