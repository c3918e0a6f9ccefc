"""The banner of the overview page: the worst that is wrong, in one sentence, or that everything ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...core import humanize
from ...core.states import RunState
from ...jobs.discovery import BrokenModule
from ...queries.needs.concerns import Concern
from ...queries.overview import Overview


@dataclass(frozen=True, slots=True)
class StatusBanner:
    """A sentence, the figures behind it, and how serious it is."""

    kind: Literal["good", "warn", "bad"]
    title: str
    detail: str


def status_banner(view: Overview, broken: Sequence[BrokenModule]) -> StatusBanner:
    """The banner for a state of the system; good only when nothing needs a person.

    Args:
        view: The data of the overview page.
        broken: The job files that could not be used.
    """
    detail = f"{_detail(view)}{_unknown(view)}{_unfinished(view)}"
    wrong = list(view.concerns)
    serious = [one for one in wrong if one.serious]
    if serious:
        return StatusBanner("bad", _title(serious[0], len(wrong) - 1 + bool(broken)), detail)
    if broken:
        noun = "job file" if all(one.path for one in broken) else "job"  # or a row of c_Job
        return StatusBanner("bad", f"{humanize.count(len(broken), noun)} cannot be used", detail)
    if wrong:
        return StatusBanner("warn", _title(wrong[0], len(wrong) - 1), detail)
    return _good(view, detail)


def _title(worst: Concern, others: int) -> str:
    """What is worst, and how much else there is."""
    if not others:
        return worst.title
    return f"{worst.title}, and {humanize.count(others, 'more thing')} {'needs' if others == 1 else 'need'} you"


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


def _unknown(view: Overview) -> str:
    number = sum(view.unknown.values())
    if not number:
        return ""
    waits = "waits" if number == 1 else "wait"
    return f" {humanize.count(number, 'run')} {waits} for a server that knows them."


def _unfinished(view: Overview) -> str:
    """What to do about jobs on neither side, whose change from or to the old server was begun and not finished."""
    commands = {one.step.command for one in view.unfinished if one.step is not None}
    if not commands:
        return ""
    jobs = humanize.listed([one.job for one in view.unfinished])
    verb = "is" if len(view.unfinished) == 1 else "are"
    return f" {jobs} {verb} on neither side: repeat {' and '.join(sorted(commands))}."


def _detail(view: Overview) -> str:
    total = view.window.total
    if not total:
        return "No job ran in the last 24 hours."
    parts = [f"{humanize.count(total, 'run')} in the last 24 hours"]
    for state, word in ((RunState.FAILED, "failed"), (RunState.MISSED, "missed")):
        if number := view.count(state):
            parts.append(f"{number} {word}")
    return f"{', '.join(parts)}."
