"""The strip: the runs of a day on one time line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ....core import humanize
from ....core.states import RunState
from ....queries.overview import Overview
from ....storage.statistics.endings import QUARTER, quarter_of
from .base import STACK, Axis, joined, rect, scaled

_STRIP_BIN = QUARTER
_STRIP_HEIGHT = 56
_STRIP_BASE = 60  # where the bars stand, in pixels from the top


def strip(view: Overview, zone: ZoneInfo, runs_url: str) -> Markup:
    """The last day and the next hours as one strip: a column each quarter of an hour, failures at its foot.

    Args:
        view: The data of the overview page.
        zone: Of the labels.
        runs_url: The page that lists runs; each column links to its own.
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
    drawn = [
        *(_hour(axis, at, zone) for at in _hours(axis, zone)),
        *(columns.runs(n, bins[n]) for n in sorted(bins) if n >= 0),
        *(columns.slots(n, slots[n]) for n in sorted(slots) if n >= 0),
        _now_mark(axis, view.now),
    ]
    label = _strip_label(view)
    return Markup(
        '<svg class="strip" role="group" aria-label="{}" width="100%" height="82">{}</svg>'
    ).format(label, joined(drawn))


def _strip_label(view: Overview) -> str:
    counts = {state: view.count(state) for state in RunState} | {
        RunState.RUNNING: len(view.running)
    }
    said = [f"{counts[state]} {humanize.STATE_WORDS[state]}" for state in RunState if counts[state]]
    return (
        f"The last 24 hours: {', '.join(said) or 'no runs'}; {len(view.slots)} to come in 6 hours"
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Draws the columns of the strip; ``n`` counts quarters of an hour from its beginning."""

    axis: Axis
    most: int
    zone: ZoneInfo
    runs_url: str

    def runs(self, n: int, states: Counter[RunState]) -> Markup:
        start = self.axis.start + n * _STRIP_BIN
        end = start + _STRIP_BIN
        whole = scaled(states.total(), self.most, _STRIP_HEIGHT)
        x, width, base = self.axis.x(start), self.axis.width(_STRIP_BIN), float(_STRIP_BASE)
        parts = [rect("hit", x, 0, width=width, height=_STRIP_BASE)]
        for kind, members in STACK:
            number = sum(states[state] for state in members)
            if number:
                height = max(3.0, whole * number / states.total())
                base -= height
                parts.append(self._bar(kind, x, base, height))
        said = ", ".join(f"{states[s]} {humanize.STATE_WORDS[s]}" for s in RunState if states[s])
        query = urlencode({"since": start.isoformat(), "until": end.isoformat()})
        return Markup('<a href="{}?{}" tabindex="-1"><title>{}</title>{}</a>').format(
            self.runs_url, query, f"{_span(start, end, self.zone)}: {said}", joined(parts)
        )

    def slots(self, n: int, number: int) -> Markup:
        start = self.axis.start + n * _STRIP_BIN
        height = scaled(number, self.most, _STRIP_HEIGHT)
        span = _span(start, start + _STRIP_BIN, self.zone)
        return Markup("<g><title>{}</title>{}</g>").format(
            f"{span}: {humanize.count(number, 'run')} to come",
            self._bar("slot", self.axis.x(start), _STRIP_BASE - height, height),
        )

    def _bar(self, kind: str, x: float, y: float, height: float) -> Markup:
        width = self.axis.width(_STRIP_BIN)
        return rect(kind, x + width * 0.08, y, width=width * 0.84, height=height)


def _span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    return f"{start.astimezone(zone):%a %H:%M}-{end.astimezone(zone):%H:%M}"


def _hours(axis: Axis, zone: ZoneInfo) -> Iterable[datetime]:
    """Every third full hour of the zone inside the axis."""
    at = axis.start.replace(minute=0) + timedelta(hours=1)
    while at < axis.end:
        if at.astimezone(zone).hour % 3 == 0:
            yield at
        at += timedelta(hours=1)


def _hour(axis: Axis, at: datetime, zone: ZoneInfo) -> Markup:
    local = at.astimezone(zone)
    x = axis.x(at)
    midnight = local.hour == 0
    text = f"{local:%a %d}" if midnight else f"{local:%H:%M}"
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
