"""The Gantt: a row for each job, with bars for what ran and marks for what was planned. Shapes tell the states apart, not colours alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ....core import humanize
from ....core.states import RunState
from ....queries.timeline.bars import Bar
from ....queries.timeline.gantt import Block, Gantt, Group, Mark, Row
from ....storage.statistics.endings import QUARTER
from .base import STACK, Axis, joined, rect, scaled

_LANE, _BAR = 15, 11
_BINS = 96
_LOAD = 20
_SEEN = 0.5  # per cent of the width
_STEPS, _MOST_LINES = (1, 2, 3, 6), 13
_HATCHED = {RunState.FAILED: "failed", RunState.RETRYING: "retrying"}
MARK_WORDS = {
    "missed": "missed: nobody could start it",
    "skipped": "skipped: the job was still busy",
    "cancelled": "cancelled before it began",
    "late": "due, and nobody has begun it",
    "coming": "comes",
}
"""What became of a slot without a bar, in words."""

PATTERNS = Markup(
    '<svg class="patterns" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="hatch-failed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="2" height="5"/></pattern>'
    '<pattern id="hatch-retrying" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="hatch" width="1.5" height="5"/></pattern>'
    "</defs></svg>"
)
"""The hatchings of bars; once a page."""


@dataclass(frozen=True)
class GanttChart:
    """Draws the rows of one Gantt.

    Args:
        view: What to draw.
        zone: Of the labels.
        base: The path of the dashboard.
    """

    view: Gantt
    zone: ZoneInfo
    base: str

    @property
    def axis(self) -> Axis:
        """The time that is drawn."""
        return Axis(self.view.since, self.view.until)

    def hours(self) -> Markup:
        """The labels of the hours, above all rows."""
        step = self._step()
        labels = []
        for at in self._full_hours(step):
            local = at.astimezone(self.zone)
            minor = "" if (local.hour // step) % 2 == 0 else " minor"
            text = f"{local:%a %d}" if local.hour == 0 else f"{local:%H:%M}"
            labels.append(
                Markup(
                    '<text class="k-label{}" x="{:.3f}%" y="12" text-anchor="middle">{}</text>'
                ).format(minor, self.axis.x(at), text)
            )
        return Markup(
            '<svg class="gantt-hours" aria-hidden="true" width="100%" height="16">{}</svg>'
        ).format(joined(labels))

    def row(self, row: Row) -> Markup:
        """The bars and marks of a job."""
        height = row.lanes * _LANE + 5
        drawn = [
            self._grid,
            *(self._block(block, row, height) for block in row.blocks),
            *(self._bar(bar) for bar in row.bars),
            *(self._mark(mark) for mark in row.marks),
        ]
        return Markup(
            '<svg class="gantt" role="group" aria-label="{}" width="100%" height="{}">{}</svg>'
        ).format(_said(row), height, joined(drawn))

    def load(self, group: Group) -> Markup:
        """How many bars of a queue are beside each other, over time."""
        span = (self.view.until - self.view.since) / _BINS
        counts = [0] * _BINS
        for row in group.rows:
            for bar in row.bars:
                first = max((bar.start - self.view.since) // span, 0)
                last = ((bar.end or self.view.now) - self.view.since) // span
                for n in range(first, min(last, _BINS - 1) + 1):
                    counts[n] += 1
        most = max(*counts, 1)
        columns = [
            rect("load", 100 * n / _BINS, _LOAD - h, width=100 / _BINS, height=h)
            for n, h in ((n, _LOAD * count / most) for n, count in enumerate(counts) if count)
        ]
        return Markup(
            '<svg class="gantt" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
        ).format(
            f"Runs at once in {group.queue}: at most {group.peak}",
            _LOAD + 1,
            joined([self._grid, *columns]),
        )

    def _step(self) -> int:
        """Every how many hours a line is drawn."""
        hours = (self.view.until - self.view.since) / timedelta(hours=1)
        return next((step for step in _STEPS if hours <= _MOST_LINES * step), _STEPS[-1])

    def _full_hours(self, step: int) -> Iterable[datetime]:
        at = self.view.since.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        while at < self.view.until:
            if at.astimezone(self.zone).hour % step == 0:
                yield at
            at += timedelta(hours=1)

    @cached_property
    def _grid(self) -> Markup:
        """The lines of the hours, and of now: the same in all rows."""
        line = Markup('<line class="{}" x1="{:.3f}%" x2="{:.3f}%" y1="0" y2="100%"/>')
        drawn = []
        for at in self._full_hours(self._step()):
            x, local = self.axis.x(at), at.astimezone(self.zone)
            drawn.append(line.format("k-grid" + " midnight" * (local.hour == 0), x, x))
        if self.view.since < self.view.now < self.view.until:
            x = self.axis.x(self.view.now)
            drawn.append(line.format("k-now", x, x))
        return joined(drawn)

    def _bar(self, bar: Bar) -> Markup:
        start = max(bar.start, self.view.since)
        end = min(bar.end or self.view.now, self.view.until)
        x, y = self.axis.x(start), 3 + bar.lane * _LANE
        width = max(self.axis.width(max(end - start, timedelta(0))), _SEEN)
        parts = [*self._planned(bar, y), rect(f"{bar.state} g-bar", x, y, width=width, height=_BAR)]
        if bar.state in _HATCHED:
            parts.append(
                Markup(
                    '<rect x="{:.3f}%" y="{}" width="{:.3f}%" height="{}" fill="url(#hatch-{})"/>'
                ).format(x, y, width, _BAR, _HATCHED[bar.state])
            )
        whole = Markup("<title>{}</title>{}").format(self._words(bar), joined(parts))
        if bar.run is None:
            return Markup("<g>{}</g>").format(whole)
        return Markup('<a href="{}/runs/{}" tabindex="-1">{}</a>').format(self.base, bar.run, whole)

    def _planned(self, bar: Bar, y: int) -> Iterable[Markup]:
        """The slot of a bar and the wait from there, where that is long enough to be seen."""
        if bar.planned is None or bar.attempt > 1 or bar.planned < self.view.since:
            return
        x, start = self.axis.x(bar.planned), self.axis.x(bar.start)
        if start - x < _SEEN:
            return
        middle = y + _BAR / 2
        yield Markup(
            '<line class="k-wait" x1="{:.3f}%" x2="{:.3f}%" y1="{}" y2="{}"/>'
            '<line class="k-planned" x1="{:.3f}%" x2="{:.3f}%" y1="{}" y2="{}"/>'
        ).format(x, start, middle, middle, x, x, y - 2, y + _BAR + 2)

    def _words(self, bar: Bar) -> str:
        ends = "now" if bar.end is None else self._clock(bar.end)
        took = humanize.duration((bar.end or self.view.now) - bar.start)
        said = f"{humanize.STATE_WORDS[bar.state]}, {self._clock(bar.start)} to {ends}, {took}"
        if bar.attempt > 1:
            said += f", attempt {bar.attempt}"
        if bar.lateness is not None and bar.planned is not None:
            said += f"; planned {self._clock(bar.planned)}"
            if bar.lateness >= timedelta(seconds=1):
                said += f", {humanize.duration(bar.lateness)} late"
        return f"Run {bar.run}: {said}" if bar.run is not None else humanize.sentence(said)

    def _mark(self, mark: Mark) -> Markup:
        x, y = self.axis.x(mark.at), 3 + _BAR / 2
        title = f"{self._clock(mark.at)}: {MARK_WORDS[mark.kind]}"
        if mark.kind in {"missed", "late"}:
            shape = Markup(
                '<svg x="{:.3f}%" y="{}" overflow="visible"><path class="m-{}" d="M0-6 6 0 0 6-6 0Z"/></svg>'
            ).format(x, y, mark.kind)
        else:
            shape = Markup('<circle class="m-{}" cx="{:.3f}%" cy="{}" r="{}"/>').format(
                mark.kind, x, y, 3 if mark.kind == "coming" else 4
            )
        whole = Markup("<title>{}</title>{}").format(title, shape)
        if mark.run is None:
            return Markup("<g>{}</g>").format(whole)
        return Markup('<a href="{}/runs/{}" tabindex="-1">{}</a>').format(
            self.base, mark.run, whole
        )

    def _block(self, block: Block, row: Row, height: int) -> Markup:
        """A quarter of an hour of a job that runs too often for bars."""
        most = max(sum(one.ended.values()) for one in row.blocks)
        ended, base, parts = Counter(block.ended), float(height - 2), []
        whole = scaled(ended.total(), most, height - 4)
        x, width = self.axis.x(block.at), self.axis.width(QUARTER)
        for kind, members in STACK:
            number = sum(ended[state] for state in members)
            if number:
                high = max(3.0, whole * number / ended.total())
                base -= high
                parts.append(rect(kind, x, base, width=width * 0.9, height=high))
        said = ", ".join(f"{ended[s]} {humanize.STATE_WORDS[s]}" for s in RunState if ended[s])
        return Markup("<g><title>{}</title>{}</g>").format(
            f"{self._clock(block.at)}: {said}", joined(parts)
        )

    def _clock(self, at: datetime) -> str:
        return humanize.clock(at, self.view.now, self.zone)


def _said(row: Row) -> str:
    parts = [humanize.count(row.number, "run")]
    if row.bad:
        parts.append(f"{row.bad} failed or missed")
    coming = sum(mark.kind == "coming" for mark in row.marks)
    if coming:
        parts.append(f"{coming} to come")
    return f"{row.job}: {', '.join(parts)}"
