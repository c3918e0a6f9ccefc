"""The spark line: the durations of a job's last runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from ....core import humanize
from ....core.languages.reader import gettext
from ....core.states import RunState
from ....queries.models import Run
from .base import joined, rect

_SPARK_BAR, _SPARK_STEP, _SPARK_HEIGHT = 4, 6, 22


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
    said = ", ".join(humanize.count_state(counts[s], s) for s in RunState if counts[s])
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" width="{}" height="{}">{}</svg>'
    ).format(
        gettext(
            "Last %(runs)s: %(states)s",
            runs=humanize.count(len(shown), "run"),
            states=said or gettext("none"),
        ),
        most * _SPARK_STEP - (_SPARK_STEP - _SPARK_BAR),
        _SPARK_HEIGHT,
        joined(bars),
    )


def _spark_bar(run: Run, x: int, longest: float) -> Markup:
    seconds = run.duration.total_seconds() if run.duration else 0.0
    height = max(4.0, (_SPARK_HEIGHT - 2) * math.sqrt(seconds / longest))
    bar = rect(run.state, x, _SPARK_HEIGHT - height, width=_SPARK_BAR, height=height, unit="")
    state = humanize.STATE_WORDS[run.state]
    if run.duration:
        took = humanize.duration(run.duration)
        said = gettext("run %(id)s: %(state)s in %(time)s", id=run.id, state=state, time=took)
    else:
        said = gettext("run %(id)s: %(state)s", id=run.id, state=state)
    return Markup("<g><title>{}</title>{}</g>").format(said, bar)
