"""How many slots begin in each hour of a day."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ....core import humanize
from .base import joined, rect, scaled

_HEIGHT = 34
_LABELLED = 6


def load(hours: Sequence[tuple[str, int]], most: int, name: str) -> Markup:
    """A column for each hour.

    Args:
        hours: What each is called by the clock, such as ``02:00``, and how many slots it has.
        most: The number that a column of full height stands for.
        name: What the chart is of.
    """
    width = 100 / max(len(hours), 1)
    drawn = []
    for n, (label, number) in enumerate(hours):
        height = scaled(number, max(most, 1), _HEIGHT) or 1
        bar = rect(
            "plan" if number else "none",
            n * width + width * 0.08,
            _HEIGHT - height,
            width=width * 0.84,
            height=height,
        )
        title = f"{label}: {humanize.count(number, 'run')}"
        drawn.append(Markup("<g><title>{}</title>{}</g>").format(title, bar))
        if n % _LABELLED == 0:
            drawn.append(
                Markup('<text class="k-label" x="{:.3f}%" y="{}">{}</text>').format(
                    n * width, _HEIGHT + 13, label[:2]
                )
            )
    total = sum(number for _, number in hours)
    return Markup(
        '<svg class="load" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
    ).format(f"{name}: {humanize.count(total, 'run')}", _HEIGHT + 16, joined(drawn))
