"""Draw the trend of a job as SVG: durations, lateness and success, a column per day."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...core import humanize
from ...core.languages import gettext
from ...web.dashboard.charts import joined, rect
from .history import TrendDay

_TREND_HEIGHT, _TOP = 84, 10
_RATE_HEIGHT = 40


@dataclass(frozen=True, slots=True)
class _Range:
    """A day's median and high value in milliseconds, and the tooltip."""

    day: TrendDay
    middle: int | None
    high: int | None
    said: str


def durations(days: Sequence[TrendDay]) -> Markup:
    """Draw each day's median and 95th percentile duration."""
    ranges = [
        _Range(
            day,
            day.p50_ms,
            day.p95_ms,
            gettext(
                "median %(middle)s, 95%% %(high)s, longest %(longest)s",
                middle=humanize.milliseconds(day.p50_ms),
                high=humanize.milliseconds(day.p95_ms),
                longest=humanize.milliseconds(day.longest_ms),
            ),
        )
        for day in days
    ]
    return _chart(ranges, gettext("Duration by day, median and 95%%"), "took")


def lateness(days: Sequence[TrendDay]) -> Markup:
    """Draw each day's median and maximum lateness: the delay of a run's start after its slot."""
    ranges = [
        _Range(
            day,
            day.late_p50_ms,
            day.late_most_ms,
            gettext(
                "median delay %(middle)s, maximum %(most)s",
                middle=humanize.milliseconds(day.late_p50_ms),
                most=humanize.milliseconds(day.late_most_ms),
            ),
        )
        for day in days
    ]
    return _chart(ranges, gettext("Delay by day, median and maximum"), "late")


def _chart(ranges: Sequence[_Range], name: str, kind: str) -> Markup:
    most = max((day.high or 0 for day in ranges), default=0) or 1
    width = 100 / max(len(ranges), 1)
    drawn = [
        Markup('<line class="k-grid" x1="0" x2="100%" y1="{}" y2="{}"/>').format(y, y)
        for y in (_TOP, _TOP + _TREND_HEIGHT / 2, _TOP + _TREND_HEIGHT)
    ]
    drawn += _line(ranges, most, width, kind)
    drawn += [_trend_day(day, n * width, width, most, kind) for n, day in enumerate(ranges)]
    return Markup(
        '<div class="plot"><div class="axis" aria-hidden="true"><span>{}</span><span>{}</span><span>0</span></div>'
        '<svg class="trend-chart" role="img" aria-label="{}" width="100%" height="{}">{}</svg></div>'
    ).format(
        humanize.milliseconds(most),
        humanize.milliseconds(most // 2),
        name,
        _TOP + _TREND_HEIGHT + 2,
        joined(drawn),
    )


def _y(value: int, most: int) -> float:
    return _TOP + _TREND_HEIGHT * (1 - value / most)


def _line(ranges: Sequence[_Range], most: int, width: float, kind: str) -> Iterator[Markup]:
    """Draw the line through the medians, across days without runs."""
    points = [(n * width + width / 2, day.middle) for n, day in enumerate(ranges)]
    known = [(x, _y(value, most)) for x, value in points if value is not None]
    for (x1, y1), (x2, y2) in itertools.pairwise(known):
        yield Markup(
            '<line class="t-line t-{}" x1="{:.3f}%" x2="{:.3f}%" y1="{:.1f}" y2="{:.1f}"/>'
        ).format(kind, x1, x2, y1, y2)


def _trend_day(day_range: _Range, x: float, width: float, most: int, kind: str) -> Markup:
    parts = [rect("hit", x, 0, width=width, height=_TOP + _TREND_HEIGHT)]
    if day_range.middle is not None and day_range.high is not None:
        low, high = _y(day_range.middle, most), _y(day_range.high, most)
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
    text = day_range.said if day_range.middle is not None else gettext("none")
    return Markup("<g><title>{}</title>{}</g>").format(
        f"{_named(day_range.day)}: {text}", joined(parts)
    )


def success(days: Sequence[TrendDay]) -> Markup:
    """Draw the success rate per day; a full column is 100%."""
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
        rate, runs = humanize.percent(day.success_rate), humanize.count(total, "run")
        text = f"{_named(day)}: {gettext('%(rate)s of %(runs)s', rate=rate, runs=runs)}"
        drawn.append(Markup("<g><title>{}</title>{}</g>").format(text, joined(parts)))
    return Markup(
        '<svg class="trend-chart" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
    ).format(gettext("Success rate by day"), _RATE_HEIGHT, joined(drawn))


def _named(day: TrendDay) -> str:
    return f"{humanize.weekday(day.day)} {humanize.day_and_month(day.day)}"
