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
    """A rectangle whose class is the state it stands for, as the code names it; heights are pixels."""
    return drawn(
        f'<rect class="k-{kind}" x="{x:.3f}{unit}" y="{y:.1f}" width="{width:.3f}{unit}" height="{height:.1f}"/>'
    )


def drawn(shape: str) -> Markup:
    """A shape of numbers, the code's own words and escaped ones: a page has thousands, and ``Markup.format`` takes ten times as long."""
    return Markup(shape)  # noqa: S704 - whoever calls escapes what people wrote


def table(label: str, heads: Iterable[str], rows: Iterable[tuple[object, ...]]) -> Markup:
    """The figures behind a chart, for who cannot see it.

    Args:
        label: What the table is about.
        heads: Of its columns.
        rows: One each; the first cell says what the row is about.
    """
    head = joined(Markup('<th scope="col">{}</th>').format(one) for one in heads)
    lines = (
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            first, joined(Markup("<td>{}</td>").format(one) for one in rest)
        )
        for first, *rest in rows
    )
    return Markup(
        '<table class="hidden"><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(label, head, joined(lines))


def joined(parts: Iterable[Markup]) -> Markup:
    """The parts of a chart, joined."""
    return Markup("").join(parts)


def scaled(number: int, most: int, height: float) -> float:
    """The height of a column, by square root, so that one run is still visible beside a thousand."""
    return max(3.0, height * math.sqrt(number / most)) if number else 0.0
