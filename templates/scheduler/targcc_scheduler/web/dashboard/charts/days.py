"""The days: how a job's attempts ended, a column a day."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ....core import humanize
from ....core.languages.reader import gettext
from ....core.states import RunState
from ....queries.statistics import Day
from .base import joined, rect, scaled, table

_DAYS_HEIGHT = 64


def days(figures: Sequence[Day]) -> Markup:
    """What a job did each day, the newest on the right: failures at the foot of each column."""
    most = max([day.succeeded + day.failed for day in figures] or [1]) or 1
    width = 100 / max(len(figures), 1)
    columns = [_day_column(day, n * width, width, most) for n, day in enumerate(figures)]
    total = sum(day.succeeded for day in figures), sum(day.failed for day in figures)
    label = gettext(
        "By day: %(succeeded)s succeeded, %(failed)s failed", succeeded=total[0], failed=total[1]
    )
    drawn = Markup(
        '<svg class="days" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
    ).format(label, _DAYS_HEIGHT + 1, joined(columns))
    rows = ((_day(day), day.succeeded, day.failed) for day in figures)
    return drawn + table(label, _heads(), rows)


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
