"""Which steps of a flow go next, and how it stands; no statements here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from .graph import On


class StepState(StrEnum):
    """How a step stands; of a flow all but ``waiting`` and ``skipped``."""

    WAITING = "waiting"  # for the steps before it
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = (
        "cancelled"  # a run of it was, or it is not done because of how a step before it ended
    )
    SKIPPED = (
        "skipped"  # its condition did not hold, or it was for another end of the steps before it
    )


OVER = frozenset(StepState) - {StepState.WAITING, StepState.RUNNING}
_BAD = (StepState.FAILED, StepState.CANCELLED)


class Verdict(NamedTuple):
    """What becomes of a step, and why; ``running``: it goes."""

    state: StepState
    why: str = ""


def verdict(on: On, before: Mapping[str, StepState]) -> Verdict:
    """What becomes of a step once those before it are over.

    Args:
        on: How they must have ended.
        before: Those that it is after, and how they ended.
    """
    bad = next(((name, state) for name, state in before.items() if state in _BAD), None)
    if on == "success":
        if bad is not None:
            return Verdict(StepState.CANCELLED, f"step {bad[0]} {_was(bad[1])}")
        if before and all(state == StepState.SKIPPED for state in before.values()):
            return Verdict(StepState.SKIPPED, f"skipped with step {next(iter(before))}")
    if on == "failure" and bad is None:
        return Verdict(StepState.SKIPPED, "no step before it failed")
    return Verdict(StepState.RUNNING)


def _was(state: StepState) -> str:
    return "failed" if state == StepState.FAILED else "was cancelled"


def outcome(states: Mapping[str, int]) -> StepState:
    """How a step ended whose runs ended so: states of runs, and how many are in each."""
    if states.get("failed"):
        return StepState.FAILED
    return StepState.CANCELLED if states.get("cancelled") else StepState.SUCCEEDED


def flow_state(steps: Iterable[StepState], *, cancelled: bool) -> StepState:
    """How a flow stands by its steps; ``cancelled``: somebody wanted that."""
    states = list(steps)
    if any(state not in OVER for state in states):
        return StepState.RUNNING
    if cancelled:
        return StepState.CANCELLED
    return StepState.FAILED if any(state in _BAD for state in states) else StepState.SUCCEEDED
