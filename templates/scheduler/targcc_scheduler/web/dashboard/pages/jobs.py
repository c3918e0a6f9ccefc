"""The pages of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ....jobs.overrides.code_lines import code_lines
from ....jobs.overrides.effective import shown
from ....project import current
from ....queries import history, statistics, system, upcoming
from ....queries import jobs as jobs_rows
from ....queries.finding.filters import RunFilter
from ....queries.finding.page import RunPage, list_runs
from ....queries.following.chains import Chain, chains
from ....queries.jobs import JobOverview
from ....queries.limits import keys
from ....queries.limits.keys import LimitKey
from ....queries.models import Attempt
from ....queries.needs import why
from ....queries.needs.calendars import calendars_of, changes, moved_there
from ....queries.needs.reasons import Answer
from ....queries.statistics import JobStats
from ....queries.timeline.trend import Trend, trend
from ....scheduler import Scheduler
from ....schedules import parse_zone
from ....search.terms import only
from ....security.roles import Principal
from ...problems import Problem
from .. import forms
from ..page_route import PageRoute
from ..rendering import render
from .common import SchedulerOf, Viewer, find_job, id_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_RUNS_OF_JOB, _DAYS, _KEYS = 20, 30, 5


@router.get("/jobs")
async def jobs_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, q: str = "", show: str = ""
) -> Response:
    """Every job."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()

    async def query(db: AsyncConnection) -> tuple[tuple[JobOverview, ...], tuple[Chain, ...]]:
        every = await jobs_rows.job_overviews(db, definitions, now)
        return every, await chains(db, definitions)

    every, chained = await scheduler.read(query)
    jobs = [job for job in every if _mentions(job, q) and _is_shown(job, show)]
    return render(
        request,
        "pages/jobs.html",
        principal,
        jobs=jobs,
        groups=_grouped(jobs, chained),
        total=len(every),
        q=q,
        show=show,
    )


def _grouped(
    jobs: Sequence[JobOverview], chained: Iterable[Chain]
) -> list[tuple[Chain | None, list[JobOverview]]]:
    """The jobs of each chain in its order, then those that are in none."""
    rest = {job.name: job for job in jobs}
    groups: list[tuple[Chain | None, list[JobOverview]]] = [
        (chain, [rest.pop(name) for name in chain.jobs if name in rest]) for chain in chained
    ]
    groups.append((None, list(rest.values())))
    return [(chain, found) for chain, found in groups if found]


def _mentions(job: JobOverview, text: str) -> bool:
    definition = job.definition
    where = f"{definition.name}\n{definition.display_name}\n{definition.description}".casefold()
    return text.strip().casefold() in where


_SHOWN: dict[str, Callable[[JobOverview], bool]] = {
    "failing": lambda job: job.needs_attention,
    "running": lambda job: bool(job.active),
    "paused": lambda job: job.pause is not None,
    "elsewhere": lambda job: job.elsewhere is not None,
    "changed": lambda job: bool(job.definition.overrides),
    "scheduled": lambda job: job.definition.schedule is not None,
    "manual": lambda job: job.definition.schedule is None,
}
"""Which jobs the choices of the page show; any other word shows all."""


def _is_shown(job: JobOverview, show: str) -> bool:
    return show not in _SHOWN or _SHOWN[show](job)


@router.get("/jobs/{name}")
async def job_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    name: str,
    like: int | None = None,
) -> Response:
    """One job; the form that runs it is filled in as the run ``like`` was."""
    if like is None:
        return await show_job(request, principal, scheduler, name)
    definition, _ = find_job(scheduler, name)
    typed, error = None, ""
    if definition is not None:
        try:
            arguments = await scheduler.arguments_of(definition, like)
            typed = forms.typed_of(definition, arguments) | {"like": str(like)}
        except (LookupError, ValueError) as problem:
            error = f"Run {like} cannot be taken as a pattern: {problem}"
    return await show_job(request, principal, scheduler, name, typed=typed, error=error)


async def show_job(
    request: Request,
    principal: Principal,
    scheduler: Scheduler,
    name: str,
    *,
    typed: Mapping[str, str] | None = None,
    error: str = "",
) -> Response:
    """The page of one job; with what somebody typed and what is wrong with it.

    Raises:
        Problem: there is no such job, and no run of one.
    """
    definition, key = find_job(scheduler, name)
    now, lost_after = scheduler.clock.now(), scheduler.settings.lost_after_seconds
    zone = parse_zone(definition.timezone if definition else current().timezone)

    async def query(
        db: AsyncConnection,
    ) -> tuple[
        JobOverview | None,
        JobStats,
        RunPage,
        tuple[Attempt, ...],
        Answer,
        Trend,
        tuple[Chain, ...],
        list[LimitKey] | None,
    ]:
        jobs = await jobs_rows.job_overviews(db, [definition] if definition else [], now)
        figures = await statistics.job_stats(
            db, key, since=now - timedelta(days=_DAYS - 1), until=now, zone=zone
        )
        runs = await list_runs(db, RunFilter(search=only(job=key), limit=_RUNS_OF_JOB))
        earlier = await _earlier(db, key, runs)
        reasons = await why.why_job(
            db,
            key,
            scheduler.definitions,
            now,
            lost_after=lost_after,
            broken=scheduler.broken_file_of(key),
        )
        days = await trend(db, key, now, days=_DAYS, zone=zone)
        chained = await chains(db, scheduler.definitions.values(), of=key)
        limited = definition is not None and definition.keyed_limit is not None
        busiest = (
            await keys.busiest(db, key, scheduler.definitions, now, most=_KEYS) if limited else None
        )
        return (jobs[0] if jobs else None), figures, runs, earlier, reasons, days, chained, busiest

    job, figures, runs, earlier, reasons, days, chained, busiest = await scheduler.read(query)
    if job is None and not runs.runs and not earlier:
        broken = scheduler.broken_file_of(key)
        if broken is not None:
            file = broken.path or broken.module
            raise Problem(404, "No such job", f"Its file {file} cannot be imported: {broken.error}")
        raise Problem(404, "No such job", f"There is no job {name}, and no run of one.")
    slots = _slots(job) if job is not None else []
    return render(
        request,
        "pages/job.html",
        principal,
        422 if error else 200,
        name=key,
        job=job,
        stats=figures,
        runs=runs,
        earlier=earlier,
        trend=days,
        chain=next(iter(chained), None),
        busiest=busiest,
        why=reasons,
        slots=slots,
        skipped=_skipped(job, slots, now) if job is not None else [],
        calendars=calendars_of(definition) if definition is not None else (),
        fields=forms.fields(definition, typed) if definition else [],
        lines=code_lines(definition) if definition else None,
        shown=shown,
        queues=system.queue_names(scheduler.definitions.values()),
        error=error,
        like=id_of((typed or {}).get("like", "")),
    )


def _slots(job: JobOverview) -> list[tuple[datetime, str]]:
    """The next runs, each with from where a calendar has moved it."""
    return [(slot, moved_there(job.definition, slot)) for slot in upcoming.next_runs(job, 5)]


def _skipped(job: JobOverview, slots: list[tuple[datetime, str]], now: datetime) -> list[str]:
    """The slots among the next ones that calendars leave out."""
    every = changes(job.definition, [slot for slot, _ in slots], now)
    return [one.text for one in every if one.at is None]


async def _earlier(db: AsyncConnection, job: str, runs: RunPage) -> tuple[Attempt, ...]:
    """Attempts from before the oldest run that is stored: of runs that were pruned, or imported from TARGCC."""
    if runs.next_before is not None:
        return ()
    kept = {str(run.id) for run in runs.runs}
    attempts = await history.history(db, job, limit=100)
    return tuple(one for one in attempts if one.run_id not in kept)[:_RUNS_OF_JOB]
