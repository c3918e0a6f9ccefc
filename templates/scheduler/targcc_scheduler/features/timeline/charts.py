"""Draw the timeline as SVG."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from ...core import humanize
from ...core.languages import Words, gettext, marked
from ...core.states import RunState
from ...kernel.queries.jobs import BAD
from ...web.dashboard.charts import STACK, Axis, drawn, joined, rect, scaled
from .bars import Bar, Block
from .gantt import Gantt, Group, Mark, Row
from .relatives import Chained, Tie

# Dependency lines between bars: from the end of a run to the start of a dependent run.
#
# Each row draws its own part of a line across its full height, so no row needs the heights of other rows.

LANE, BAR = 15, 11
_MOST_PARTS = 1_500
"""Limit of line parts. Shorter lines are drawn first."""
_BOTTOM = "100%"


def middle(bar: Bar) -> float:
    """Return the vertical middle of a bar, in pixels below the top of its row."""
    return 3 + bar.lane * LANE + BAR / 2


def said(chained_run: Chained, display: Callable[[str], str]) -> str:
    """Return a chain, batch or flow with its state in words: ``chain of Daily Report: failed at Check Report``."""
    state = str(humanize.STATE_WORDS[RunState(chained_run.state)])
    if chained_run.at is not None and chained_run.state != RunState.SUCCEEDED:
        state = gettext("%(state)s at %(job)s", state=state, job=display(chained_run.at))
    if chained_run.kind == "batch":
        return gettext(
            "batch %(name)s #%(id)s: %(state)s",
            name=chained_run.name,
            id=chained_run.id,
            state=state,
        )
    name = display(chained_run.name)
    if chained_run.kind == "flow":
        return gettext(
            "flow %(name)s #%(id)s: %(state)s", name=name, id=chained_run.id, state=state
        )
    return gettext("chain of %(name)s: %(state)s", name=name, state=state)


@dataclass(frozen=True, slots=True)
class _Place:
    """A bar with the index of its row. Queue headers count as rows."""

    row: int
    bar: Bar


@dataclass(frozen=True)
class Ties:
    """Draw the dependency lines of a Gantt chart.

    Args:
        view: The data to draw.
        axis: The time axis.
        display: Map a job's name to its display name.
    """

    view: Gantt
    axis: Axis
    display: Callable[[str], str]

    @cached_property
    def words(self) -> Mapping[int, str]:
        """Map each run to the words for its chain, batch or flow."""
        pairs = zip(self.view.chained, self._said, strict=True)
        return {run: text for chain, text in pairs for run in chain.runs}

    @cached_property
    def before(self) -> Mapping[int, list[int]]:
        """Map each run to the runs it followed."""
        predecessors: dict[int, list[int]] = defaultdict(list)
        for chain in self.view.chained:
            for tie in chain.ties:
                predecessors[tie.run].append(tie.before)
        return predecessors

    def in_row(self, key: str) -> Markup:
        """Return the line parts in a job's row."""
        return self._parts.get(("row", key), Markup(""))

    def in_head(self, queue: str) -> Markup:
        """Return the line parts that cross a queue's header, as an SVG layer over the header."""
        parts = self._parts.get(("head", queue))
        if parts is None:
            return Markup("")
        return Markup(
            '<svg class="tie-layer" width="100%" height="100%" aria-hidden="true">{}</svg>'
        ).format(parts)

    @cached_property
    def _rows(self) -> list[tuple[str, str]]:
        """Keys of the rows from top to bottom: queue headers and jobs."""
        return [
            key
            for group in self.view.groups
            for key in (("head", group.queue), *(("row", row.job) for row in group.rows))
        ]

    @cached_property
    def _places(self) -> dict[int, list[_Place]]:
        """Map each run to its bars, first attempt first."""
        number = {key: n for n, key in enumerate(self._rows)}
        places: dict[int, list[_Place]] = defaultdict(list)
        for group in self.view.groups:
            for row in group.rows:
                for bar in row.bars:
                    if bar.run is not None:
                        places[bar.run].append(_Place(number["row", row.job], bar))
        return places

    @cached_property
    def _parts(self) -> dict[tuple[str, str], Markup]:
        """Map each row to its line parts as SVG."""
        shapes: dict[tuple[int, int], list[str]] = defaultdict(list)
        ties = [(tie, n) for n, one in enumerate(self.view.chained) for tie in one.ties]
        room = _MOST_PARTS
        for tie, chain in sorted(ties, key=lambda one: self._length(one[0])):
            room -= self._length(tie)
            if room < 0:
                break
            for row, shape in self._drawn(tie):
                shapes[row, chain].append(shape)
        groups: dict[tuple[str, str], list[Markup]] = defaultdict(list)
        for (row, chain), lines in sorted(shapes.items()):
            groups[self._rows[row]].append(self._group(chain, dict.fromkeys(lines)))
        return {key: joined(parts) for key, parts in groups.items()}

    def _ends(self, tie: Tie) -> tuple[_Place, _Place]:
        return self._places[tie.before][-1], self._places[tie.run][0]

    def _length(self, tie: Tie) -> int:
        first, last = self._ends(tie)
        return abs(first.row - last.row) + 1

    def _drawn(self, tie: Tie) -> Iterator[tuple[int, str]]:
        """Yield the parts of a line with their rows: horizontal in the first bar's row, then vertical to the second bar."""
        first, last = self._ends(tie)
        if last.bar.start < self.view.since:
            return
        x, y, y2 = self.axis.x(last.bar.start), middle(first.bar), middle(last.bar)
        yield first.row, _across(self._end(first.bar), x, y)
        if first.row == last.row:
            yield first.row, _upright_line(x, y, y2)
            return
        down = first.row < last.row
        yield first.row, _upright_line(x, y, _BOTTOM) if down else _to_top(x, y)
        yield last.row, _to_top(x, y2) if down else _upright_line(x, y2, _BOTTOM)
        for row in range(min(first.row, last.row) + 1, max(first.row, last.row)):
            yield row, _to_top(x, _BOTTOM)

    @cached_property
    def _said(self) -> list[str]:
        """Chains, batches and flows in words, in the order of ``view.chained``."""
        return [said(chain, self.display) for chain in self.view.chained]

    def _group(self, chain: int, shapes: Iterable[str]) -> Markup:
        bad = " bad" if self.view.chained[chain].state in BAD else ""
        title = escape(humanize.sentence(self._said[chain]))
        return drawn(f'<g class="tie{bad}"><title>{title}</title>{"".join(shapes)}</g>')

    def _end(self, bar: Bar) -> float:
        end: datetime = min(bar.end or self.view.now, self.view.until)
        return self.axis.x(max(end, self.view.since))


def _across(x: float, x2: float, y: float) -> str:
    return f'<line x1="{x:.3f}%" x2="{x2:.3f}%" y1="{y}" y2="{y}"/>'


def _upright_line(x: float, y: float, y2: float | str) -> str:
    return f'<line x1="{x:.3f}%" x2="{x:.3f}%" y1="{y}" y2="{y2}"/>'


def _to_top(x: float, y: float | str) -> str:
    """Draw a line from ``y`` up to the row above. CSS stretches the line across the gap between the rows."""
    return f'{_upright_line(x, 0, y)}<rect class="tie-up" x="{x:.3f}%"/>'


# The Gantt chart: a row for each job, bars for attempts, marks for slots. Shapes as well as colours distinguish the states.

_BINS = 96
_LOAD = 20
_SEEN = 0.5  # per cent of the width
_STEPS, _MOST_LINES = (1, 2, 3, 6), 13
_ORDER = {state: n for n, state in enumerate(RunState)}
_KINDS = {state: kind for kind, members in STACK for state in members}
_Ended = tuple[tuple[RunState, int], ...]
_HATCHED = {RunState.FAILED: "failed", RunState.RETRYING: "retrying"}
MARK_WORDS = Words(
    {
        "missed": marked("missed: no server could start the run"),
        "skipped": marked("skipped: an earlier run was still running"),
        "cancelled": marked("cancelled before the start"),
        "late": marked("due, not started"),
        "coming": marked("upcoming"),
    }
)
"""Words for slots without a bar, by kind of mark."""

PATTERNS = Markup(
    '<svg class="patterns" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="hatch-failed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="2" height="5"/></pattern>'
    '<pattern id="hatch-retrying" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="hatch" width="1.5" height="5"/></pattern>'
    "</defs></svg>"
)
"""SVG patterns that hatch bars. Render once a page."""


@dataclass(frozen=True)
class GanttChart:
    """Draw the rows of a Gantt chart.

    Args:
        view: The data to draw.
        zone: Time zone of the labels.
        base: Path of the dashboard.
        display: Map a job's name to its display name.
    """

    view: Gantt
    zone: ZoneInfo
    base: str
    display: Callable[[str], str]

    @cached_property
    def axis(self) -> Axis:
        """Time axis of the chart."""
        return Axis(self.view.since, self.view.until)

    @cached_property
    def ties(self) -> Ties:
        """Dependency lines between the bars."""
        return Ties(self.view, self.axis, self.display)

    def hours(self) -> Markup:
        """Return the hour labels above all rows."""
        step = self._step()
        labels = []
        for at in self._full_hours(step):
            local = at.astimezone(self.zone)
            minor = "" if (local.hour // step) % 2 == 0 else " minor"
            text = f"{humanize.weekday(local)} {local:%d}" if local.hour == 0 else f"{local:%H:%M}"
            labels.append(
                Markup(
                    '<text class="k-label{}" x="{:.3f}%" y="12" text-anchor="middle">{}</text>'
                ).format(minor, self.axis.x(at), text)
            )
        return Markup(
            '<svg class="gantt-hours" aria-hidden="true" width="100%" height="16">{}</svg>'
        ).format(joined(labels))

    def row(self, row: Row) -> Markup:
        """Return the SVG of a job's row: bars, blocks, marks and lines."""
        height = row.lanes * LANE + 5
        most = max((sum(item.ended.values()) for item in row.blocks), default=0)
        parts = [
            self._grid,
            self.ties.in_row(row.job),
            *(self._block(block, most, height) for block in row.blocks),
            *(self._bar(bar) for bar in row.bars),
            *(self._mark(mark) for mark in row.marks),
        ]
        return Markup(
            '<svg class="gantt" role="group" aria-label="{}" width="100%" height="{}">{}</svg>'
        ).format(_said(row), height, joined(parts))

    def load(self, group: Group) -> Markup:
        """Return the SVG of a queue's concurrency over time."""
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
        return self.ties.in_head(group.queue) + Markup(
            '<svg class="gantt" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
        ).format(
            gettext(
                "Concurrent runs in %(queue)s: at most %(number)s",
                queue=group.queue,
                number=group.peak,
            ),
            _LOAD + 1,
            joined([self._grid, *columns]),
        )

    def _step(self) -> int:
        """Return the distance of the hour lines, in hours."""
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
        """Vertical lines of the hours and of the current time, equal in all rows."""
        parts = []
        for at in self._full_hours(self._step()):
            x, local = self.axis.x(at), at.astimezone(self.zone)
            parts.append(_upright("k-grid" + " midnight" * (local.hour == 0), x))
        if self.view.since < self.view.now < self.view.until:
            x = self.axis.x(self.view.now)
            parts.append(_upright("k-now", x))
        return joined(parts)

    def _bar(self, bar: Bar) -> Markup:
        start = max(bar.start, self.view.since)
        end = min(bar.end or self.view.now, self.view.until)
        x, y = self.axis.x(start), 3 + bar.lane * LANE
        width = max(self.axis.width(max(end - start, timedelta(0))), _SEEN)
        parts = [*self._planned(bar, y), rect(f"{bar.state} g-bar", x, y, width=width, height=BAR)]
        if bar.state in _HATCHED:
            parts.append(
                drawn(
                    f'<rect x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{BAR}" fill="url(#hatch-{_HATCHED[bar.state]})"/>'
                )
            )
        return self._linked(bar.run, self._words(bar), "".join(parts))

    def _planned(self, bar: Bar, y: int) -> Iterable[Markup]:
        """Yield a bar's slot and the wait from slot to start, if wide enough to be seen."""
        if bar.planned is None or bar.attempt > 1 or bar.planned < self.view.since:
            return
        x, start = self.axis.x(bar.planned), self.axis.x(bar.start)
        if start - x < _SEEN:
            return
        line = middle(bar)
        yield drawn(
            f'<line class="k-wait" x1="{x:.3f}%" x2="{start:.3f}%" y1="{line}" y2="{line}"/>'
            f'<line class="k-planned" x1="{x:.3f}%" x2="{x:.3f}%" y1="{y - 2}" y2="{y + BAR + 2}"/>'
        )

    def _words(self, bar: Bar) -> str:
        ends = gettext("now") if bar.end is None else self._clock(bar.end)
        took = humanize.duration((bar.end or self.view.now) - bar.start)
        span = gettext("%(first)s to %(last)s", first=self._clock(bar.start), last=ends)
        text = f"{humanize.STATE_WORDS[bar.state]}, {span}, {took}"
        if bar.attempt > 1:
            text += f", {gettext('attempt %(number)s', number=bar.attempt)}"
        if bar.lateness is not None and bar.planned is not None:
            text += f"; {gettext('planned %(when)s', when=self._clock(bar.planned))}"
            if bar.lateness >= timedelta(seconds=1):
                text += f", {gettext('%(time)s late', time=humanize.duration(bar.lateness))}"
        if bar.run is None:
            return humanize.sentence(text)
        if bar.run in self.ties.words:
            text += f"; {self.ties.words[bar.run]}"
        return f"{humanize.sentence(gettext('run %(id)s', id=bar.run))}: {text}"

    def _mark(self, mark: Mark) -> Markup:
        x, y = self.axis.x(mark.at), 3 + BAR / 2
        title = f"{self._clock(mark.at)}: {MARK_WORDS[mark.kind]}"
        if mark.kind in {"missed", "late"}:
            shape = drawn(
                f'<svg x="{x:.3f}%" y="{y}" overflow="visible"><path class="m-{mark.kind}" d="M0-6 6 0 0 6-6 0Z"/></svg>'
            )
        else:
            size = 3 if mark.kind == "coming" else 4
            shape = drawn(f'<circle class="m-{mark.kind}" cx="{x:.3f}%" cy="{y}" r="{size}"/>')
        return self._linked(mark.run, title, shape)

    def _linked(self, run: int | None, title: str, shape: str) -> Markup:
        """Wrap a shape with its tooltip, as a link to its run."""
        whole = f"<title>{escape(title)}</title>{shape}"
        if run is None:
            return drawn(f"<g>{whole}</g>")
        return drawn(f'<a href="{escape(self.base)}/runs/{run}" tabindex="-1">{whole}</a>')

    def _block(self, block: Block, most: int, height: int) -> Markup:
        """Return a block as stacked columns. ``most`` is the number of runs in the row's fullest block."""
        total, base, shapes = sum(block.ended.values()), float(height - 2), []
        whole = scaled(total, most, height - 4)
        x, width = self._place(block.at, block.until)
        kinds, words = self._counts(tuple(block.ended.items()))
        for kind, number in kinds:
            high = max(3.0, whole * number / total)
            base -= high
            shapes.append(
                f'<rect class="k-{kind}" x="{x}" y="{base:.1f}" width="{width}" height="{high:.1f}"/>'
            )
        return drawn(f"<g><title>{self._clock(block.at)}: {words}</title>{''.join(shapes)}</g>")

    @cached_property
    def _place(self) -> Callable[[datetime, datetime], tuple[str, str]]:
        """Function from a block's range to the x position and width of its column, cached for all rows."""
        # The cached function must not refer to the chart: such a reference cycle needs the garbage collector.
        axis = self.axis
        return cache(
            lambda at, until: (f"{axis.x(at):.3f}%", f"{axis.width(until - at) * 0.9:.3f}%")
        )

    @cached_property
    def _counts(self) -> Callable[[_Ended], tuple[list[tuple[str, int]], str]]:
        """Function from counts by state to columns (from the base line up) and words, cached since small counts repeat."""
        return cache(_counted)

    @cached_property
    def _clock(self) -> Callable[[datetime], str]:
        """Function from an instant to words, cached since blocks of all rows begin at the same instants."""
        now, zone = self.view.now, self.zone
        return cache(lambda at: humanize.clock(at, now, zone))


def _counted(ended: _Ended) -> tuple[list[tuple[str, int]], str]:
    numbers: Counter[str] = Counter()
    for state, number in ended:
        numbers[_KINDS[state]] += number
    kinds = [(kind, numbers[kind]) for kind, _ in STACK if numbers[kind]]
    words = ", ".join(
        humanize.count_state(number, state)
        for state, number in sorted(ended, key=lambda one: _ORDER[one[0]])
    )
    return kinds, escape(words)


def _upright(kind: str, x: float) -> Markup:
    return drawn(f'<line class="{kind}" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="100%"/>')


def _said(row: Row) -> str:
    parts = [humanize.count(row.number, "run")]
    if row.bad:
        parts.append(gettext("%(number)s failed or missed", number=row.bad))
    coming = sum(mark.kind == "coming" for mark in row.marks)
    if coming:
        parts.append(gettext("%(runs)s upcoming", runs=coming))
    return f"{row.job}: {', '.join(parts)}"
