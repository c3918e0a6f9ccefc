"""The banner of the overview page: whether everything ran, and which jobs need attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...core import humanize
from ...core.states import RunState
from ...jobs.discovery import BrokenModule
from ...queries.overview import Overview


@dataclass(frozen=True, slots=True)
class StatusBanner:
    """A sentence, the figures behind it, and how serious it is."""

    kind: Literal["good", "warn", "bad"]
    title: str
    detail: str


def status_banner(
    view: Overview, broken: Sequence[BrokenModule], lost_after: float
) -> StatusBanner:
    """The banner for a state of the system.

    Args:
        view: The data of the overview page.
        broken: The job files that could not be used.
        lost_after: Seconds of silence after which a server counts as lost.
    """
    names = [one.job.definition.display_name for one in view.attention]
    alive = [s for s in view.servers if (view.now - s.heartbeat_at).total_seconds() <= lost_after]
    detail = _detail(view)
    if not alive and view.jobs:
        return StatusBanner(
            "bad", "No server is up", f"Nothing runs until one is: targcc worker. {detail}"
        )
    if names:
        verb = "needs" if len(names) == 1 else "need"
        return StatusBanner("bad", f"{humanize.listed(names)} {verb} you", detail)
    if broken:
        noun = "job file" if all(one.path for one in broken) else "job"  # or a row of c_Job
        return StatusBanner("bad", f"{humanize.count(len(broken), noun)} cannot be used", detail)
    if view.unknown_jobs:
        verb = "is" if len(view.unknown_jobs) == 1 else "are"
        title = f"{humanize.listed(view.unknown_jobs)} {verb} not in the code any more"
        return StatusBanner("warn", title, f"Runs of that name failed, or were missed. {detail}")
    return _good(view, detail)


def _good(view: Overview, detail: str) -> StatusBanner:
    if not view.jobs:
        return StatusBanner(
            "good", "No jobs yet", "Write one, and it runs; this page will tell how it went."
        )
    if not any(job.recent for job in view.jobs):
        return StatusBanner("good", "Nothing has run yet", _first(view))
    if view.count(RunState.FAILED, RunState.MISSED):
        return StatusBanner("good", "Everything runs again", detail)
    return StatusBanner("good", "Everything ran", detail)


def _first(view: Overview) -> str:
    soon = next((one for one in view.upcoming), None)
    jobs = f"{humanize.count(len(view.jobs), 'job')} found."
    if soon is None:
        return jobs
    coming = humanize.relative(soon.at, view.now).replace("now", "in a moment")
    return f"{jobs} The first run comes {coming}."


def _detail(view: Overview) -> str:
    total = len(view.window)
    if not total:
        return "No job ran in the last 24 hours."
    well = len(view.jobs) - len(view.attention)
    parts = [f"{humanize.count(total, 'run')} in the last 24 hours"]
    for state, word in ((RunState.FAILED, "failed"), (RunState.MISSED, "missed")):
        if number := view.count(state):
            parts.append(f"{number} {word}")
    fine = f"; {well} of {humanize.count(len(view.jobs), 'job')} are fine" if view.attention else ""
    return f"{', '.join(parts)}{fine}."
