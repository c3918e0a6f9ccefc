"""What a job's definition says of the keys of its limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job's definition says of its keys.

    Args:
        most: The weight of runs of a key that may be under way at once; ``None``: any.
        interval_ms: Milliseconds between two tokens; ``None``: no rate.
        burst: Tokens that are saved up at most.
    """

    most: int | None = None
    interval_ms: float | None = None
    burst: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The columns."""
        return {"Most": self.most, "IntervalMs": self.interval_ms, "Burst": self.burst}
