"""What the ends of runs mean for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .runs.values import Settlement, Tie


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that may go from now on, for the engine; ``asks``: it asks for its keys before that; ``first``: before others that are as urgent."""

    run_id: int
    queue: str
    priority: int
    due_at: datetime
    asks: bool = False
    first: bool = False


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What came of ends.

    Args:
        ready: Runs that may go.
        settled: Runs that were discarded, or created and over at once: their ends have consequences too.
    """

    ready: Sequence[Ready] = ()
    settled: Sequence[Settlement] = ()


def over(settled: Sequence[Settlement], tie: Tie) -> dict[int, str]:
    """The runs that are over and have this tie: how each ended, by its id."""
    return {
        item.claim.run_id: str(item.state) for item in settled if item.is_final and item.ties & tie
    }


def together(found: Sequence[Effects]) -> Effects:
    """Several consequences as one."""
    return Effects(
        ready=[one for each in found for one in each.ready],
        settled=[one for each in found for one in each.settled],
    )
