"""What the charts share."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from ....core.states import RunState

STACK = (  # from the base line up: what needs eyes stands where they look first
    ("failed", frozenset({RunState.FAILED})),
    ("missed", frozenset({RunState.MISSED})),
    ("other", frozenset({RunState.CANCELLED, RunState.SKIPPED})),
    ("active", frozenset({RunState.RUNNING, RunState.RETRYING, RunState.ENQUEUED})),
    ("succeeded", frozenset({RunState.SUCCEEDED})),
)


def rect(kind: str, x: float, y: float, *, width: float, height: float, unit: str = "%") -> Markup:
    """A rectangle whose class is the state it stands for; heights are pixels."""
    return Markup(
        '<rect class="k-{}" x="{:.3f}{}" y="{:.1f}" width="{:.3f}{}" height="{:.1f}"/>'
    ).format(kind, x, unit, y, width, unit, height)


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts of a chart after one another."""
    return Markup("").join(parts)


def scaled(number: int, most: int, height: float) -> float:
    """The height of a column: by square root, so that a single run still shows beside a thousand."""
    return max(3.0, height * math.sqrt(number / most)) if number else 0.0
