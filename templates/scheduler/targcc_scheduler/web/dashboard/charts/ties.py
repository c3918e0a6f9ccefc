"""The lines between the bars of a Gantt: from the end of a run to the beginning of one that followed it.

Each row draws its own part of a line, across its whole height, so that nobody has to know how high the rows become.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from markupsafe import Markup, escape

from ....core import humanize
from ....core.languages.reader import gettext
from ....core.states import RunState
from ....queries.jobs import BAD
from ....queries.timeline.bars import Bar
from ....queries.timeline.chained import Chained, Tie
from ....queries.timeline.gantt import Gantt
from .base import Axis, drawn, joined

LANE, BAR = 15, 11
_MOST_PARTS = 1_500
"""So many parts of lines are drawn, of the shortest lines first."""
_BOTTOM = "100%"


def middle(bar: Bar) -> float:
    """How far below the top of its row a bar's middle is."""
    return 3 + bar.lane * LANE + BAR / 2


def said(one: Chained, display: Callable[[str], str]) -> str:
    """What hangs together and how it stands, in words: ``chain of Daily Report: failed at Check Report``."""
    state = str(humanize.STATE_WORDS[RunState(one.state)])
    if one.at is not None and one.state != RunState.SUCCEEDED:
        state = gettext("%(state)s at %(job)s", state=state, job=display(one.at))
    if one.kind == "batch":
        return gettext("batch %(name)s #%(id)s: %(state)s", name=one.name, id=one.id, state=state)
    name = display(one.name)
    if one.kind == "flow":
        return gettext("flow %(name)s #%(id)s: %(state)s", name=name, id=one.id, state=state)
    return gettext("chain of %(name)s: %(state)s", name=name, state=state)


@dataclass(frozen=True, slots=True)
class _Place:
    """A bar in its row, which is counted with the heads of queues."""

    row: int
    bar: Bar


@dataclass(frozen=True)
class Ties:
    """Draws the lines of one Gantt.

    Args:
        view: What to draw.
        axis: Its time.
        display: Gives the display name of a job.
    """

    view: Gantt
    axis: Axis
    display: Callable[[str], str]

    @cached_property
    def words(self) -> Mapping[int, str]:
        """What each run hangs together with, in words."""
        said = zip(self.view.chained, self._said, strict=True)
        return {run: text for one, text in said for run in one.runs}

    @cached_property
    def before(self) -> Mapping[int, list[int]]:
        """The runs that each run followed."""
        found: dict[int, list[int]] = defaultdict(list)
        for one in self.view.chained:
            for tie in one.ties:
                found[tie.run].append(tie.before)
        return found

    def in_row(self, key: str) -> Markup:
        """The parts of lines in the row of a job."""
        return self._parts.get(("row", key), Markup(""))

    def in_head(self, queue: str) -> Markup:
        """Those that go through the head of a queue, as a layer over it."""
        parts = self._parts.get(("head", queue))
        if parts is None:
            return Markup("")
        return Markup(
            '<svg class="tie-layer" width="100%" height="100%" aria-hidden="true">{}</svg>'
        ).format(parts)

    @cached_property
    def _rows(self) -> list[tuple[str, str]]:
        """The rows from top to bottom: heads of queues, and jobs."""
        return [
            key
            for group in self.view.groups
            for key in (("head", group.queue), *(("row", row.job) for row in group.rows))
        ]

    @cached_property
    def _places(self) -> dict[int, list[_Place]]:
        """The bars of each run, the first attempt first."""
        number = {key: n for n, key in enumerate(self._rows)}
        found: dict[int, list[_Place]] = defaultdict(list)
        for group in self.view.groups:
            for row in group.rows:
                for bar in row.bars:
                    if bar.run is not None:
                        found[bar.run].append(_Place(number["row", row.job], bar))
        return found

    @cached_property
    def _parts(self) -> dict[tuple[str, str], Markup]:
        """What is drawn in each row."""
        shapes: dict[tuple[int, int], list[str]] = defaultdict(list)
        ties = [(tie, n) for n, one in enumerate(self.view.chained) for tie in one.ties]
        room = _MOST_PARTS
        for tie, chain in sorted(ties, key=lambda one: self._length(one[0])):
            room -= self._length(tie)
            if room < 0:
                break
            for row, shape in self._drawn(tie):
                shapes[row, chain].append(shape)
        found: dict[tuple[str, str], list[Markup]] = defaultdict(list)
        for (row, chain), lines in sorted(shapes.items()):
            found[self._rows[row]].append(self._group(chain, dict.fromkeys(lines)))
        return {key: joined(parts) for key, parts in found.items()}

    def _ends(self, tie: Tie) -> tuple[_Place, _Place]:
        return self._places[tie.before][-1], self._places[tie.run][0]

    def _length(self, tie: Tie) -> int:
        first, last = self._ends(tie)
        return abs(first.row - last.row) + 1

    def _drawn(self, tie: Tie) -> Iterator[tuple[int, str]]:
        """The parts of a line, each with its row: along the first bar's row, then up or down to the second bar."""
        first, last = self._ends(tie)
        if last.bar.start < self.view.since:
            return
        x, y, y2 = self.axis.x(last.bar.start), middle(first.bar), middle(last.bar)
        yield first.row, _across(self._end(first.bar), x, y)
        if first.row == last.row:
            yield first.row, _upright(x, y, y2)
            return
        down = first.row < last.row
        yield first.row, _upright(x, y, _BOTTOM) if down else _to_top(x, y)
        yield last.row, _to_top(x, y2) if down else _upright(x, y2, _BOTTOM)
        for row in range(min(first.row, last.row) + 1, max(first.row, last.row)):
            yield row, _to_top(x, _BOTTOM)

    @cached_property
    def _said(self) -> list[str]:
        """What hangs together, in words."""
        return [said(one, self.display) for one in self.view.chained]

    def _group(self, chain: int, shapes: Iterable[str]) -> Markup:
        bad = " bad" if self.view.chained[chain].state in BAD else ""
        title = escape(humanize.sentence(self._said[chain]))
        return drawn(f'<g class="tie{bad}"><title>{title}</title>{"".join(shapes)}</g>')

    def _end(self, bar: Bar) -> float:
        end: datetime = min(bar.end or self.view.now, self.view.until)
        return self.axis.x(max(end, self.view.since))


def _across(x: float, x2: float, y: float) -> str:
    return f'<line x1="{x:.3f}%" x2="{x2:.3f}%" y1="{y}" y2="{y}"/>'


def _upright(x: float, y: float, y2: float | str) -> str:
    return f'<line x1="{x:.3f}%" x2="{x:.3f}%" y1="{y}" y2="{y2}"/>'


def _to_top(x: float, y: float | str) -> str:
    """From ``y`` up, and on to the row above, however far that is."""
    return f'{_upright(x, 0, y)}<rect class="tie-up" x="{x:.3f}%"/>'
