"""What the charts share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from ....core.states import RunState

STACK = (  # from the base line up, the states that need attention first
    ("failed", frozenset({RunState.FAILED})),
    ("missed", frozenset({RunState.MISSED})),
    ("other", frozenset({RunState.CANCELLED, RunState.SKIPPED})),
    ("active", frozenset({RunState.RUNNING, RunState.RETRYING, RunState.ENQUEUED})),
    ("succeeded", frozenset({RunState.SUCCEEDED})),
)


@dataclass(frozen=True, slots=True)
class Axis:
    """Instants as per cent of the width."""

    start: datetime
    end: datetime

    def x(self, instant: datetime) -> float:
        """Where an instant is."""
        return 100 * (instant - self.start) / (self.end - self.start)

    def width(self, span: timedelta) -> float:
        """How wide a time is."""
        return 100 * span / (self.end - self.start)


def rect(kind: str, x: float, y: float, *, width: float, height: float, unit: str = "%") -> Markup:
    """A rectangle whose class is the state it stands for; heights are pixels."""
    return Markup(
        '<rect class="k-{}" x="{:.3f}{}" y="{:.1f}" width="{:.3f}{}" height="{:.1f}"/>'
    ).format(kind, x, unit, y, width, unit, height)


def joined(parts: Iterable[Markup]) -> Markup:
    """The parts of a chart, joined."""
    return Markup("").join(parts)


def scaled(number: int, most: int, height: float) -> float:
    """The height of a column, by square root, so that one run is still visible beside a thousand."""
    return max(3.0, height * math.sqrt(number / most)) if number else 0.0
