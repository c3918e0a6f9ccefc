"""Effects of settled runs: runs to submit, and further settlements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .runs.values import Settlement, Tie


@dataclass(frozen=True, slots=True)
class Ready:
    """A run for the engine to submit.

    Args:
        asks: The keys of the run must be decided before a claim takes the run.
        first: The run goes before other runs of the same urgency.
    """

    run_id: int
    queue: str
    priority: int
    due_at: datetime
    asks: bool = False
    first: bool = False


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Result of settling runs.

    Args:
        ready: Runs that may go.
        settled: Runs that were discarded, or created and settled at once; these settlements have effects too.
    """

    ready: Sequence[Ready] = ()
    settled: Sequence[Settlement] = ()


def over(settled: Sequence[Settlement], tie: Tie) -> dict[int, str]:
    """Map each final run that has the flag ``tie`` to its final state, by run id."""
    return {
        item.claim.run_id: str(item.state) for item in settled if item.is_final and item.ties & tie
    }


def together(found: Sequence[Effects]) -> Effects:
    """Merge several effects."""
    return Effects(
        ready=[one for each in found for one in each.ready],
        settled=[one for each in found for one in each.settled],
    )
