"""The trend of a job: durations, lateness and success, a place for each day."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ....core import humanize
from ....queries.timeline.trend import TrendDay
from .base import joined, rect

_HEIGHT, _TOP = 84, 10
_RATE_HEIGHT = 40


@dataclass(frozen=True, slots=True)
class _Range:
    """A day's middle and high value in milliseconds, and what is said of them."""

    day: TrendDay
    middle: int | None
    high: int | None
    said: str


def durations(days: Sequence[TrendDay]) -> Markup:
    """From the median to what 95 of 100 runs do not exceed, day by day."""
    ranges = [
        _Range(
            day,
            day.p50_ms,
            day.p95_ms,
            f"median {humanize.milliseconds(day.p50_ms)}, 95% {humanize.milliseconds(day.p95_ms)}, "
            f"longest {humanize.milliseconds(day.longest_ms)}",
        )
        for day in days
    ]
    return _chart(ranges, "Duration by day, median and 95%", "took")


def lateness(days: Sequence[TrendDay]) -> Markup:
    """From the median to the most that runs began after their slots, day by day."""
    ranges = [
        _Range(
            day,
            day.late_p50_ms,
            day.late_most_ms,
            f"median {humanize.milliseconds(day.late_p50_ms)} late, at most {humanize.milliseconds(day.late_most_ms)}",
        )
        for day in days
    ]
    return _chart(ranges, "Lateness by day, median and most", "late")


def _chart(ranges: Sequence[_Range], name: str, kind: str) -> Markup:
    most = max((one.high or 0 for one in ranges), default=0) or 1
    width = 100 / max(len(ranges), 1)
    drawn = [
        Markup('<line class="k-grid" x1="0" x2="100%" y1="{}" y2="{}"/>').format(y, y)
        for y in (_TOP, _TOP + _HEIGHT / 2, _TOP + _HEIGHT)
    ]
    drawn += _line(ranges, most, width, kind)
    drawn += [_day(one, n * width, width, most, kind) for n, one in enumerate(ranges)]
    return Markup(
        '<div class="plot"><div class="axis" aria-hidden="true"><span>{}</span><span>{}</span><span>0</span></div>'
        '<svg class="trend-chart" role="img" aria-label="{}" width="100%" height="{}">{}</svg></div>'
    ).format(
        humanize.milliseconds(most),
        humanize.milliseconds(most // 2),
        name,
        _TOP + _HEIGHT + 2,
        joined(drawn),
    )


def _y(value: int, most: int) -> float:
    return _TOP + _HEIGHT * (1 - value / most)


def _line(ranges: Sequence[_Range], most: int, width: float, kind: str) -> Iterator[Markup]:
    """The medians, joined across days without runs."""
    points = [(n * width + width / 2, one.middle) for n, one in enumerate(ranges)]
    known = [(x, _y(value, most)) for x, value in points if value is not None]
    for (x1, y1), (x2, y2) in itertools.pairwise(known):
        yield Markup(
            '<line class="t-line t-{}" x1="{:.3f}%" x2="{:.3f}%" y1="{:.1f}" y2="{:.1f}"/>'
        ).format(kind, x1, x2, y1, y2)


def _day(one: _Range, x: float, width: float, most: int, kind: str) -> Markup:
    parts = [rect("hit", x, 0, width=width, height=_TOP + _HEIGHT)]
    if one.middle is not None and one.high is not None:
        low, high = _y(one.middle, most), _y(one.high, most)
        parts.append(
            rect(
                f"span t-{kind}",
                x + width * 0.25,
                high,
                width=width * 0.5,
                height=max(low - high, 2),
            )
        )
        parts.append(
            Markup('<circle class="t-dot t-{}" cx="{:.3f}%" cy="{:.1f}" r="2.5"/>').format(
                kind, x + width / 2, low
            )
        )
    said = one.said if one.middle is not None else "none"
    return Markup("<g><title>{}</title>{}</g>").format(f"{_named(one.day)}: {said}", joined(parts))


def success(days: Sequence[TrendDay]) -> Markup:
    """The share of good runs, day by day: a full column is every one."""
    width = 100 / max(len(days), 1)
    drawn = []
    for n, day in enumerate(days):
        x, inner = n * width + width * 0.1, width * 0.8
        if day.success_rate is None:
            parts = [rect("none", x, _RATE_HEIGHT - 1, width=inner, height=1)]
        else:
            bad = 0.0 if day.success_rate == 1 else max(3.0, _RATE_HEIGHT * (1 - day.success_rate))
            parts = [
                rect("succeeded", x, bad, width=inner, height=_RATE_HEIGHT - bad),
                rect("failed", x, 0, width=inner, height=bad),
            ]
        total = day.succeeded + day.failed + day.missed
        said = (
            f"{_named(day)}: {humanize.percent(day.success_rate)} of {humanize.count(total, 'run')}"
        )
        drawn.append(Markup("<g><title>{}</title>{}</g>").format(said, joined(parts)))
    return Markup(
        '<svg class="trend-chart" role="img" aria-label="Success rate by day" width="100%" height="{}">{}</svg>'
    ).format(_RATE_HEIGHT, joined(drawn))


def _named(day: TrendDay) -> str:
    return f"{day.day:%a} {day.day.day} {day.day:%b}"
