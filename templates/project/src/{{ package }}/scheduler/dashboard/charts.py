# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Charts as SVG, drawn on the server. Colours come from the style sheet by the class of the state."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ..overview import Overview
from ..records import Run
from ..states import RunState
from ..stats import Day
from . import words

_STRIP_BIN = timedelta(minutes=15)
_STRIP_HEIGHT = 56
_STRIP_BASE = 60  # where the bars stand, in pixels from the top
_SPARK_BAR, _SPARK_STEP, _SPARK_HEIGHT = 4, 6, 22
_DAYS_HEIGHT = 64

_STACK = (  # from the base line up: what needs eyes stands where they look first
    ("failed", frozenset({RunState.FAILED})),
    ("missed", frozenset({RunState.MISSED})),
    ("other", frozenset({RunState.CANCELLED, RunState.SKIPPED})),
    ("active", frozenset({RunState.RUNNING, RunState.RETRYING, RunState.ENQUEUED})),
    ("succeeded", frozenset({RunState.SUCCEEDED})),
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Instants as per cent of the width."""

    start: datetime
    end: datetime

    def x(self, instant: datetime) -> float:
        return 100 * (instant - self.start) / (self.end - self.start)

    def width(self, span: timedelta) -> float:
        return 100 * span / (self.end - self.start)


def _rect(kind: str, x: float, y: float, *, width: float, height: float, unit: str = "%") -> Markup:
    return Markup(
        '<rect class="k-{}" x="{:.3f}{}" y="{:.1f}" width="{:.3f}{}" height="{:.1f}"/>'
    ).format(kind, x, unit, y, width, unit, height)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def strip(view: Overview, zone: ZoneInfo, runs_url: str) -> Markup:
    """The last day and the hours to come as one strip: a column each quarter of an hour, failures at its foot.

    Args:
        view: What there is.
        zone: Of the labels.
        runs_url: The page that lists runs; each column links to its own.
    """
    start = _floor(view.since)
    axis = _Axis(start, _floor(view.horizon) + _STRIP_BIN)
    bins: dict[int, Counter[RunState]] = {}
    for _, state, at in view.window:
        bins.setdefault((at - start) // _STRIP_BIN, Counter())[state] += 1
    slots = Counter((at - start) // _STRIP_BIN for at in view.slots)
    most = max([*(total.total() for total in bins.values()), *slots.values(), 1])
    columns = _Columns(axis, most, zone, runs_url)
    drawn = [
        *(_hour(axis, at, zone) for at in _hours(axis, zone)),
        *(columns.runs(n, bins[n]) for n in sorted(bins) if n >= 0),
        *(columns.slots(n, slots[n]) for n in sorted(slots) if n >= 0),
        _now_mark(axis, view.now),
    ]
    label = _strip_label(view)
    return Markup(
        '<svg class="strip" role="img" aria-label="{}" width="100%" height="82">{}</svg>'
    ).format(label, _joined(drawn))


def _floor(instant: datetime) -> datetime:
    return instant - timedelta(
        minutes=instant.minute % 15, seconds=instant.second, microseconds=instant.microsecond
    )


def _strip_label(view: Overview) -> str:
    counts = Counter(state for _, state, _ in view.window)
    said = [f"{counts[state]} {words.STATE_WORDS[state]}" for state in RunState if counts[state]]
    return (
        f"The last 24 hours: {', '.join(said) or 'no runs'}; {len(view.slots)} to come in 6 hours"
    )


def _scaled(number: int, most: int, height: float) -> float:
    """The height of a column: by square root, so that a single run still shows beside a thousand."""
    return max(3.0, height * math.sqrt(number / most)) if number else 0.0


@dataclass(frozen=True, slots=True)
class _Columns:
    """Draws the columns of the strip; ``n`` counts quarters of an hour from its beginning."""

    axis: _Axis
    most: int
    zone: ZoneInfo
    runs_url: str

    def runs(self, n: int, states: Counter[RunState]) -> Markup:
        start = self.axis.start + n * _STRIP_BIN
        end = start + _STRIP_BIN
        whole = _scaled(states.total(), self.most, _STRIP_HEIGHT)
        x, width, base = self.axis.x(start), self.axis.width(_STRIP_BIN), float(_STRIP_BASE)
        parts = [_rect("hit", x, 0, width=width, height=_STRIP_BASE)]
        for kind, members in _STACK:
            number = sum(states[state] for state in members)
            if number:
                height = max(3.0, whole * number / states.total())
                base -= height
                parts.append(self._bar(kind, x, base, height))
        said = ", ".join(f"{states[s]} {words.STATE_WORDS[s]}" for s in RunState if states[s])
        query = urlencode({"since": start.isoformat(), "until": end.isoformat()})
        return Markup('<a href="{}?{}" tabindex="-1"><title>{}</title>{}</a>').format(
            self.runs_url, query, f"{_span(start, end, self.zone)}: {said}", _joined(parts)
        )

    def slots(self, n: int, number: int) -> Markup:
        start = self.axis.start + n * _STRIP_BIN
        height = _scaled(number, self.most, _STRIP_HEIGHT)
        span = _span(start, start + _STRIP_BIN, self.zone)
        return Markup("<g><title>{}</title>{}</g>").format(
            f"{span}: {words.count(number, 'run')} to come",
            self._bar("slot", self.axis.x(start), _STRIP_BASE - height, height),
        )

    def _bar(self, kind: str, x: float, y: float, height: float) -> Markup:
        width = self.axis.width(_STRIP_BIN)
        return _rect(kind, x + width * 0.08, y, width=width * 0.84, height=height)


def _span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    return f"{start.astimezone(zone):%a %H:%M}-{end.astimezone(zone):%H:%M}"


def _hours(axis: _Axis, zone: ZoneInfo) -> Iterable[datetime]:
    """Every third full hour of the zone inside the axis."""
    at = axis.start.replace(minute=0) + timedelta(hours=1)
    while at < axis.end:
        if at.astimezone(zone).hour % 3 == 0:
            yield at
        at += timedelta(hours=1)


def _hour(axis: _Axis, at: datetime, zone: ZoneInfo) -> Markup:
    local = at.astimezone(zone)
    x = axis.x(at)
    midnight = local.hour == 0
    text = f"{local:%a %d}" if midnight else f"{local:%H:%M}"
    minor = "" if local.hour % 6 == 0 else " minor"
    return Markup(
        '<line class="k-grid{}" x1="{:.3f}%" x2="{:.3f}%" y1="0" y2="64"/>'
        '<text class="k-label{}" x="{:.3f}%" y="77" text-anchor="middle">{}</text>'
    ).format(" midnight" if midnight else "", x, x, minor, x, text)


def _now_mark(axis: _Axis, now: datetime) -> Markup:
    x = axis.x(now)
    return Markup(
        '<line class="k-base" x1="0" x2="100%" y1="60.5" y2="60.5"/>'
        '<line class="k-now" x1="{:.3f}%" x2="{:.3f}%" y1="0" y2="66"/>'
    ).format(x, x)


def spark(runs: Sequence[Run], most: int = 24) -> Markup:
    """The last runs of a job, the newest on the right: height is duration, colour is outcome.

    Args:
        runs: Newest first.
        most: How many to show; fewer leave room on the left.
    """
    shown = list(reversed(runs[:most]))
    longest = max([run.duration.total_seconds() for run in shown if run.duration] or [1.0]) or 1.0
    offset = most - len(shown)
    bars = [
        _spark_bar(run, (offset + index) * _SPARK_STEP, longest) for index, run in enumerate(shown)
    ]
    counts = Counter(run.state for run in shown)
    said = ", ".join(f"{counts[s]} {words.STATE_WORDS[s]}" for s in RunState if counts[s])
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" width="{}" height="{}">{}</svg>'
    ).format(
        f"Last {words.count(len(shown), 'run')}: {said or 'none'}",
        most * _SPARK_STEP - (_SPARK_STEP - _SPARK_BAR),
        _SPARK_HEIGHT,
        _joined(bars),
    )


def _spark_bar(run: Run, x: int, longest: float) -> Markup:
    took = run.duration.total_seconds() if run.duration else 0.0
    height = max(4.0, (_SPARK_HEIGHT - 2) * math.sqrt(took / longest))
    bar = _rect(run.state, x, _SPARK_HEIGHT - height, width=_SPARK_BAR, height=height, unit="")
    said = f"run {run.id}: {words.STATE_WORDS[run.state]}"
    if run.duration:
        said += f" in {words.duration(run.duration)}"
    return Markup("<g><title>{}</title>{}</g>").format(said, bar)


def days(figures: Sequence[Day]) -> Markup:
    """What a job did each day, the newest on the right: failures at the foot of each column."""
    most = max([day.succeeded + day.failed for day in figures] or [1]) or 1
    width = 100 / max(len(figures), 1)
    columns = [_day_column(day, n * width, width, most) for n, day in enumerate(figures)]
    total = sum(day.succeeded for day in figures), sum(day.failed for day in figures)
    label = f"By day: {total[0]} succeeded, {total[1]} failed"
    return Markup(
        '<svg class="days" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
    ).format(label, _DAYS_HEIGHT + 1, _joined(columns))


def _day_column(day: Day, x: float, width: float, most: int) -> Markup:
    base, parts = float(_DAYS_HEIGHT), []
    whole = _scaled(day.succeeded + day.failed, most, _DAYS_HEIGHT - 4)
    for kind, number in (("failed", day.failed), ("succeeded", day.succeeded)):
        if number:
            height = max(3.0, whole * number / (day.succeeded + day.failed))
            base -= height
            parts.append(_rect(kind, x + width * 0.1, base, width=width * 0.8, height=height))
    if not parts:
        parts.append(_rect("none", x + width * 0.1, base - 1, width=width * 0.8, height=1))
    title = (
        f"{day.day:%a} {day.day.day} {day.day:%b}: {day.succeeded} succeeded, {day.failed} failed"
    )
    return Markup("<g><title>{}</title>{}</g>").format(title, _joined(parts))
