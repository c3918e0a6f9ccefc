"""How things that hang together stand as one: as the worst of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ...core.states import RunState

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
    """The first of those that are worst off: that failed, else that run, else that wait. There is at least one."""
    return min(things, key=lambda one: _RANKS.get(state(one) or "", len(_RANKS)))
