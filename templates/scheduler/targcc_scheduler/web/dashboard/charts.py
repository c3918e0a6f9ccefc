"""Draw small charts as SVG: days, load, spark line, strip, trend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from ...core import humanize
from ...core.languages import gettext, reader, translated
from ...core.states import RunState
from ...core.text import isolated
from ...kernel.queries.models import RecentRun
from ...kernel.queries.overview import Overview
from ...kernel.queries.statistics import Day
from ...kernel.runs.values import QUARTER, quarter_of

# Helpers shared by all charts.

STACK = (  # from the base line up, the states that need attention first
    ("failed", frozenset({RunState.FAILED})),
    ("missed", frozenset({RunState.MISSED})),
    ("other", frozenset({RunState.CANCELLED, RunState.SKIPPED})),
    ("active", frozenset({RunState.RUNNING, RunState.RETRYING, RunState.ENQUEUED})),
    ("succeeded", frozenset({RunState.SUCCEEDED})),
)


@dataclass(frozen=True, slots=True)
class Axis:
    """Time axis that maps instants to per cent along the chart's width."""

    start: datetime
    end: datetime

    def x(self, instant: datetime) -> float:
        """Return the position for an instant, in per cent."""
        return 100 * (instant - self.start) / (self.end - self.start)

    def width(self, span: timedelta) -> float:
        """Return the width for a time span, in per cent."""
        return 100 * span / (self.end - self.start)


def rect(kind: str, x: float, y: float, *, width: float, height: float, unit: str = "%") -> Markup:
    """Draw a rectangle with the CSS class ``k-`` plus ``kind``. Heights are pixels; ``x`` and ``width`` are in ``unit``."""
    return drawn(
        f'<rect class="k-{kind}" x="{x:.3f}{unit}" y="{y:.1f}" width="{width:.3f}{unit}" height="{height:.1f}"/>'
    )


def drawn(shape: str) -> Markup:
    """Mark a shape as safe. The shape holds only numbers, words from the code and escaped texts.

    A page has thousands of shapes, and ``Markup.format`` takes ten times as long.
    """
    return Markup(shape)  # noqa: S704 - whoever calls escapes what people wrote


def table(label: str, heads: Iterable[str], rows: Iterable[tuple[object, ...]]) -> Markup:
    """Return a chart's figures as a hidden table for screen readers.

    Args:
        label: Table caption.
        heads: Column headings.
        rows: Cells by row; the first cell is the row's heading.
    """
    head = joined(Markup('<th scope="col">{}</th>').format(cell) for cell in heads)
    lines = (
        drawn(
            f'<tr><th scope="row">{escape(first)}</th>'
            f"{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        )
        for first, *rest in rows
    )
    return Markup(
        '<table class="hidden"><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(label, head, joined(lines))


def joined(parts: Iterable[Markup]) -> Markup:
    """Join parts into a chart."""
    return Markup("").join(parts)


def scaled(number: int, most: int, height: float) -> float:
    """Return a column's height on a square-root scale: a single run stays visible beside a thousand."""
    return max(3.0, height * math.sqrt(number / most)) if number else 0.0


# Days: a job's attempts by result, a column per day.

_DAYS_HEIGHT = 64


def days(figures: Sequence[Day]) -> Markup:
    """Draw a job's results per day, newest on the right, with failures at the foot of each column."""
    most = max([day.succeeded + day.failed for day in figures] or [1]) or 1
    width = 100 / max(len(figures), 1)
    columns = [_day_column(day, n * width, width, most) for n, day in enumerate(figures)]
    total = sum(day.succeeded for day in figures), sum(day.failed for day in figures)
    label = gettext(
        "By day: %(succeeded)s succeeded, %(failed)s failed", succeeded=total[0], failed=total[1]
    )
    chart = Markup(
        '<svg class="days" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
    ).format(label, _DAYS_HEIGHT + 1, joined(columns))
    rows = ((_day(day), day.succeeded, day.failed) for day in figures)
    return chart + table(label, _heads(), rows)


def _heads() -> tuple[str, str, str]:
    words = humanize.STATE_WORDS
    return gettext("Day"), words[RunState.SUCCEEDED], words[RunState.FAILED]


def _day(day: Day) -> str:
    return f"{humanize.weekday(day.day)} {humanize.day_and_month(day.day)}"


def _day_column(day: Day, x: float, width: float, most: int) -> Markup:
    base, parts = float(_DAYS_HEIGHT), []
    whole = scaled(day.succeeded + day.failed, most, _DAYS_HEIGHT - 4)
    for kind, number in (("failed", day.failed), ("succeeded", day.succeeded)):
        if number:
            height = max(3.0, whole * number / (day.succeeded + day.failed))
            base -= height
            parts.append(rect(kind, x + width * 0.1, base, width=width * 0.8, height=height))
    if not parts:
        parts.append(rect("none", x + width * 0.1, base - 1, width=width * 0.8, height=1))
    title = gettext(
        "%(day)s: %(succeeded)s succeeded, %(failed)s failed",
        day=_day(day),
        succeeded=day.succeeded,
        failed=day.failed,
    )
    return Markup("<g><title>{}</title>{}</g>").format(title, joined(parts))


# Load: slots that begin in each hour of a day.

_HEIGHT = 34
_LABELLED = 6


def load(hours: Sequence[tuple[str, int]], most: int, name: str) -> Markup:
    """Draw a column for each hour.

    Args:
        hours: For each hour, a label such as ``02:00`` and the slot count.
        most: Slot count for a full-height column.
        name: Chart title.
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


# Spark line: a job's last runs by duration.

_SPARK_BAR, _SPARK_STEP, _SPARK_HEIGHT = 4, 6, 22


def spark(runs: Sequence[RecentRun], most: int = 24) -> Markup:
    """Draw a job's last runs, newest on the right: height is duration, colour is outcome.

    Args:
        runs: Runs, newest first.
        most: Number of places; fewer runs leave places on the left empty.
    """
    shown = tuple((run.id, run.state, run.duration) for run in reversed(runs[:most]))
    return _spark(shown, most, reader().catalogue.language)


_Bar = tuple[int, RunState, timedelta | None]
"""A run's id, state and duration."""


@lru_cache(maxsize=512)
def _spark(shown: tuple[_Bar, ...], most: int, _language: str) -> Markup:
    """Draw runs, newest last. Cached: an open page is drawn again and again, and few of its jobs have run since."""
    longest = max([time.total_seconds() for _, _, time in shown if time] or [1.0]) or 1.0
    offset = most - len(shown)
    counts = Counter(state for _, state, _ in shown)
    title = _BarTitles(counts)
    bars = (
        _spark_bar(bar, (offset + index) * _SPARK_STEP, longest, title)
        for index, bar in enumerate(shown)
    )
    summary = ", ".join(humanize.count_state(counts[s], s) for s in RunState if counts[s])
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" width="{}" height="{}">{}</svg>'
    ).format(
        gettext(
            "Last %(runs)s: %(states)s",
            runs=humanize.count(len(shown), "run"),
            states=summary or gettext("none"),
        ),
        most * _SPARK_STEP - (_SPARK_STEP - _SPARK_BAR),
        _SPARK_HEIGHT,
        drawn("".join(bars)),
    )


class _BarTitles:
    """The titles of a spark line's bars, with the texts translated once: a page has thousands of bars."""

    def __init__(self, states: Iterable[RunState]) -> None:
        self._timed = translated("run %(id)s: %(state)s in %(time)s")
        self._plain = translated("run %(id)s: %(state)s")
        self._direction = reader().catalogue.direction
        self._words = {state: self._isolated(humanize.STATE_WORDS[state]) for state in states}

    def of(self, bar: _Bar) -> str:
        """Return the title of a run's bar."""
        run_id, run_state, time = bar
        state = self._words[run_state]
        if not time:
            return self._plain % {"id": run_id, "state": state}
        took = self._isolated(humanize.duration(time))
        return self._timed % {"id": run_id, "state": state, "time": took}

    def _isolated(self, text: str) -> str:
        return isolated(text, self._direction)


def _spark_bar(bar: _Bar, x: int, longest: float, title: _BarTitles) -> str:
    _, state, time = bar
    seconds = time.total_seconds() if time else 0.0
    height = max(4.0, (_SPARK_HEIGHT - 2) * math.sqrt(seconds / longest))
    return (
        f'<g><title>{escape(title.of(bar))}</title><rect class="k-{state}" x="{x}" y="{_SPARK_HEIGHT - height:.1f}"'
        f' width="{_SPARK_BAR}" height="{height:.1f}"/></g>'
    )


# Trend: an error group's runs by day.


def trend_bars(values: Sequence[int]) -> Markup:
    """Draw the number of runs of each day, today on the right."""
    return _trend_bars(tuple(values), reader().catalogue.language)


@lru_cache(maxsize=512)
def _trend_bars(values: tuple[int, ...], _language: str) -> Markup:
    """Draw numbers by day. Cached: the inbox has a hundred of them, and most are alike."""
    most, width = max(*values, 1), len(values) * 8
    bars = (
        f'<rect x="{place * 8}" width="6" y="{19 - height}" height="{height + 1}" class="k-{"failed" if value else "slot"}"/>'
        for place, value in enumerate(values)
        for height in [round(value * 18 / most)]
    )
    label = gettext(
        "%(values)s in the last %(days)s days, the last number today",
        values=", ".join(map(str, values)),
        days=len(values),
    )
    return Markup(
        '<span class="trend" role="img" aria-label="{}"><svg viewBox="0 0 {} 20" width="{}" height="20" aria-hidden="true">{}</svg></span>'
    ).format(label, width, width, drawn("".join(bars)))


# Strip: a day's runs on a time line.

_STRIP_BIN = QUARTER
_STRIP_HEIGHT = 56
_STRIP_BASE = 60  # base line of the bars, in pixels from the top


def strip(view: Overview, zone: ZoneInfo, runs_url: str) -> Markup:
    """Draw the last day and the next hours, a column per quarter of an hour, with failures at each column's foot.

    Args:
        view: The overview page's data.
        zone: Time zone for labels.
        runs_url: The runs page's address; each column links to the runs in its quarter.
    """
    start = quarter_of(view.since)
    axis = Axis(start, quarter_of(view.horizon) + _STRIP_BIN)
    bins: dict[int, Counter[RunState]] = {}
    for (at, state), number in view.window.by_quarter.items():
        bins.setdefault((at - start) // _STRIP_BIN, Counter())[state] += number
    for run in view.running:
        if run.started_at is not None:
            bins.setdefault((run.started_at - start) // _STRIP_BIN, Counter())[run.state] += 1
    slots = Counter((at - start) // _STRIP_BIN for at in view.slots)
    most = max([*(total.total() for total in bins.values()), *slots.values(), 1])
    columns = _Columns(axis, most, zone, runs_url)
    spans = {n: columns.span(n) for n in {*bins, *slots}}
    said = {n: _said(states) for n, states in bins.items() if n >= 0}
    parts = [
        *(_hour(axis, at, zone) for at in _hours(axis, zone)),
        *(columns.runs(n, spans[n], bins[n], said[n]) for n in sorted(said)),
        *(columns.slots(n, spans[n], slots[n]) for n in sorted(slots) if n >= 0),
        _now_mark(axis, view.now),
    ]
    label = _strip_label(view)
    rows = [(spans[n], said[n]) for n in sorted(said)]
    rows += [(spans[n], columns.coming(slots[n])) for n in sorted(slots) if n >= 0]
    return Markup(
        '<svg class="strip" role="group" aria-label="{}" width="100%" height="82">{}</svg>'
    ).format(label, joined(parts)) + table(label, (gettext("When"), gettext("Runs")), rows)


def _strip_label(view: Overview) -> str:
    counts = {state: view.count(state) for state in RunState} | {
        RunState.RUNNING: len(view.running)
    }
    return gettext(
        "The last 24 hours: %(states)s; %(number)s upcoming in 6 hours",
        states=_said(Counter(counts)) or gettext("no runs"),
        number=len(view.slots),
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Draw the strip's columns; ``n`` counts quarters of an hour from the strip's start."""

    axis: Axis
    most: int
    zone: ZoneInfo
    runs_url: str

    def runs(self, n: int, span: str, states: Counter[RunState], said: str) -> Markup:
        start = self.axis.start + n * _STRIP_BIN
        end = start + _STRIP_BIN
        whole = scaled(states.total(), self.most, _STRIP_HEIGHT)
        x, width, base = self.axis.x(start), self.axis.width(_STRIP_BIN), float(_STRIP_BASE)
        parts = [rect("hit", x, 0, width=width, height=_STRIP_BASE)]
        for kind, members in STACK:
            number = sum(states.get(state, 0) for state in members)
            if number:
                height = max(3.0, whole * number / states.total())
                base -= height
                parts.append(self._bar(kind, x, base, height))
        query = _between(start, end)
        words = escape(f"{span}: {said}")
        return drawn(
            f'<a href="{escape(self.runs_url)}?{escape(query)}" tabindex="-1">'
            f"<title>{words}</title>{''.join(parts)}</a>"
        )

    def slots(self, n: int, span: str, number: int) -> Markup:
        start = self.axis.start + n * _STRIP_BIN
        height = scaled(number, self.most, _STRIP_HEIGHT)
        words = escape(f"{span}: {self.coming(number)}")
        bar = self._bar("slot", self.axis.x(start), _STRIP_BASE - height, height)
        return drawn(f"<g><title>{words}</title>{bar}</g>")

    def span(self, n: int) -> str:
        """Return a column's label: weekday, start and end."""
        start = self.axis.start + n * _STRIP_BIN
        return _span(start, start + _STRIP_BIN, self.zone, reader().catalogue.language)

    @staticmethod
    def coming(number: int) -> str:
        """Return the label for a number of upcoming runs."""
        return gettext("%(runs)s upcoming", runs=humanize.count(number, "run"))

    def _bar(self, kind: str, x: float, y: float, height: float) -> Markup:
        width = self.axis.width(_STRIP_BIN)
        return rect(kind, x + width * 0.08, y, width=width * 0.84, height=height)


# Cached, because an open page draws the same quarters of an hour again and again.


@lru_cache(maxsize=1_000)
def _between(start: datetime, end: datetime) -> str:
    """Return the query of a column's runs."""
    return urlencode({"since": start.isoformat(), "until": end.isoformat()})


@lru_cache(maxsize=1_000)
def _span(start: datetime, end: datetime, zone: ZoneInfo, _language: str) -> str:
    """Return weekday, start and end in the reader's language."""
    first, last = start.astimezone(zone), end.astimezone(zone)
    return f"{humanize.weekday(first)} {first:%H:%M}-{last:%H:%M}"


def _said(states: Counter[RunState]) -> str:
    return ", ".join(humanize.count_state(states[s], s) for s in RunState if states.get(s))


def _hours(axis: Axis, zone: ZoneInfo) -> Iterable[datetime]:
    """Yield the full hours inside the axis at every third local hour: 0, 3, 6 and so on."""
    at = axis.start.replace(minute=0) + timedelta(hours=1)
    while at < axis.end:
        if at.astimezone(zone).hour % 3 == 0:
            yield at
        at += timedelta(hours=1)


def _hour(axis: Axis, at: datetime, zone: ZoneInfo) -> Markup:
    local = at.astimezone(zone)
    x = axis.x(at)
    midnight = local.hour == 0
    text = f"{humanize.weekday(local)} {local.day}" if midnight else f"{local:%H:%M}"
    minor = "" if local.hour % 6 == 0 else " minor"
    return Markup(
        '<line class="k-grid{}" x1="{:.3f}%" x2="{:.3f}%" y1="0" y2="64"/>'
        '<text class="k-label{}" x="{:.3f}%" y="77" text-anchor="middle">{}</text>'
    ).format(" midnight" if midnight else "", x, x, minor, x, text)


def _now_mark(axis: Axis, now: datetime) -> Markup:
    x = axis.x(now)
    return Markup(
        '<line class="k-base" x1="0" x2="100%" y1="60.5" y2="60.5"/>'
        '<line class="k-now" x1="{:.3f}%" x2="{:.3f}%" y1="0" y2="66"/>'
    ).format(x, x)
