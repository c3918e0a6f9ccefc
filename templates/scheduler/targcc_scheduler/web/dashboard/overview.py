"""Overview page and its banner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.languages import gettext, ngettext
from ...core.states import RunState
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.queries.overview import Overview, overview
from .common import SchedulerOf, Viewer
from .page_route import PageRoute
from .panels import PageSubject, panels
from .rendering import render

# Banner of the overview page: the most serious issue in a sentence, or the message that everything ran.


@dataclass(frozen=True, slots=True)
class StatusBanner:
    """A sentence, its figures and its severity."""

    kind: Literal["good", "warn", "bad"]
    title: str
    detail: str


class Problem(Protocol):
    """A current issue."""

    @property
    def title(self) -> str:
        """Return a few words that begin a sentence."""

    @property
    def serious(self) -> bool:
        """Return whether a part is broken; false while work only waits."""


def status_banner(
    view: Overview,
    problems: Sequence[Problem] | None,
    broken: Sequence[BrokenModule],
    problem_count: int | None = None,
) -> StatusBanner:
    """Return the banner for the state of the system; ``good`` only if nothing needs attention.

    Args:
        view: Data of the overview page.
        problems: The first current issues, worst first, and the first serious issue; ``None`` if no feature looks for issues.
        broken: Job files that cannot be used.
        problem_count: Number of all current issues. Default: number of ``problems``.
    """
    detail = f"{_detail(view)}{_unknown(view)}{_unfinished(view)}"
    wrong = list(problems or ())
    count = len(wrong) if problem_count is None else problem_count
    serious = [item for item in wrong if item.serious]
    if serious:
        return StatusBanner("bad", _title(serious[0], count - 1 + bool(broken)), detail)
    if broken:
        files = (
            humanize.count(len(broken), "job file")
            if all(item.path for item in broken)
            else humanize.count(len(broken), "job")  # a row of c_Job has no path
        )
        return StatusBanner("bad", gettext("%(files)s failed to load", files=files), detail)
    if wrong:
        return StatusBanner("warn", _title(wrong[0], count - 1), detail)
    if problems is None and not view.has_recovered:
        return StatusBanner(
            "warn", gettext("Some jobs have not succeeded since their failure"), detail
        )
    return _good(view, detail)


def _title(worst: Problem, others: int) -> str:
    """Return the title of the worst issue, with the number of further issues."""
    if not others:
        return worst.title
    return ngettext(
        "%(worst)s, and %(num)s more item needs attention",
        "%(worst)s, and %(num)s more items need attention",
        others,
        worst=worst.title,
    )


def _good(view: Overview, detail: str) -> StatusBanner:
    if not view.jobs:
        return StatusBanner(
            "good",
            gettext("No jobs yet"),
            gettext("Add a job as shown below. Its runs appear on this page."),
        )
    if not view.has_run:
        return StatusBanner("good", gettext("Nothing has run yet"), _first(view))
    if not view.has_recovered:
        return StatusBanner("good", gettext("Nothing needs attention"), detail)
    if view.count(RunState.FAILED, RunState.MISSED):
        return StatusBanner("good", gettext("All failed jobs have recovered"), detail)
    return StatusBanner("good", gettext("Everything ran"), detail)


def _first(view: Overview) -> str:
    soon = next((upcoming_run for upcoming_run in view.upcoming), None)
    jobs = gettext("%(jobs)s found.", jobs=humanize.count(len(view.jobs), "job"))
    if soon is None:
        return jobs
    if (soon.at - view.now).total_seconds() < 1:
        return f"{jobs} {gettext('The first run starts in a moment.')}"
    coming = humanize.relative(soon.at, view.now)
    return f"{jobs} {gettext('The first run starts %(when)s.', when=coming)}"


def _unknown(view: Overview) -> str:
    number = sum(view.unknown.values())
    if not number:
        return ""
    waits = ngettext(
        "%(num)s run waits for a server that can run it.",
        "%(num)s runs wait for a server that can run them.",
        number,
    )
    return f" {waits}"


def _unfinished(view: Overview) -> str:
    """Return the commands to repeat for jobs on neither side: a change from or to the old server was begun and not finished."""
    commands = {
        ownership.step.command for ownership in view.unfinished if ownership.step is not None
    }
    if not commands:
        return ""
    jobs = humanize.listed([ownership.job for ownership in view.unfinished])
    neither = ngettext(
        "%(jobs)s runs on neither side: repeat %(commands)s.",
        "%(jobs)s run on neither side: repeat %(commands)s.",
        len(view.unfinished),
        jobs=jobs,
        commands=humanize.listed(sorted(commands), len(commands)),
    )
    return f" {neither}"


def _detail(view: Overview) -> str:
    total = view.window.total
    if not total:
        return gettext("No job ran in the last 24 hours.")
    parts = [gettext("%(runs)s in the last 24 hours", runs=humanize.count(total, "run"))]
    parts += [
        humanize.count_state(number, state)
        for state in (RunState.FAILED, RunState.MISSED)
        if (number := view.count(state))
    ]
    return f"{', '.join(parts)}."


# Overview page.

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("")
async def first_page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """The overview."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()

    async def query(db: AsyncConnection) -> tuple[Overview, dict[str, Any]]:
        view = await overview(db, definitions, now)
        return view, await panels("overview", db, PageSubject(scheduler, now))

    view, added = await scheduler.read(query)
    return render(
        request,
        "pages/overview.html",
        principal,
        view=view,
        banner=status_banner(
            view, added.get("problems"), scheduler.broken, added.get("problem_count")
        ),
        **added,
    )
