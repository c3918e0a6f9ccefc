# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The pages that show something; what changes something is in ``actions.py``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from .. import overview, project, queries, stats
from ..access import read
from ..arguments import MASK
from ..auth import Principal, Role
from ..cron import parse_zone
from ..job import JobDefinition
from ..overview import JobOverview
from ..queries import RunFilter
from ..records import Attempt, Run
from ..scheduler import Scheduler, UnknownJob
from ..states import RunState
from ..stats import JobStats
from ..web import Problem, get_scheduler
from . import forms, words
from .pages import STATIC, PageRoute, is_refresh, page_needs, render
from .verdict import verdict

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Viewer = Annotated[Principal, Depends(page_needs(Role.VIEWER))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]

_AUDIT_PAGE = 100
_RUNS_OF_JOB = 20
_MOST_DIGITS = 18  # a larger number is no id that a database has given
_SPANS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_STATIC_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


@router.get("")
async def first_page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """The overview."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()
    view = await read(scheduler, lambda db: overview.overview(db, definitions, now))
    return render(
        request,
        "overview.html",
        principal,
        view=view,
        verdict=verdict(view, scheduler.broken, scheduler.settings.lost_after_seconds),
        usual={job.name: job.usual_duration for job in view.jobs},
        since_query=urlencode({"": view.since.isoformat(timespec="seconds")})[1:],
    )


@router.get("/jobs")
async def jobs_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, q: str = "", show: str = ""
) -> Response:
    """Every job."""
    now = scheduler.clock.now()
    definitions = scheduler.definitions.values()
    every = await read(scheduler, lambda db: overview.job_overviews(db, definitions, now))
    jobs = [job for job in every if _mentions(job, q) and _is_shown(job, show)]
    return render(request, "jobs.html", principal, jobs=jobs, total=len(every), q=q, show=show)


def _mentions(job: JobOverview, text: str) -> bool:
    definition = job.definition
    where = f"{definition.name}\n{definition.display_name}\n{definition.description}".casefold()
    return text.strip().casefold() in where


def _is_shown(job: JobOverview, show: str) -> bool:
    match show:
        case "failing":
            return job.in_trouble
        case "running":
            return bool(job.active)
        case "paused":
            return job.pause is not None
        case "scheduled":
            return job.definition.schedule is not None
        case "manual":
            return job.definition.schedule is None
        case _:
            return True


@router.get("/jobs/{name}")
async def job_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, name: str
) -> Response:
    """One job."""
    return await show_job(request, principal, scheduler, name)


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
    definition, key = _find(scheduler, name)
    now = scheduler.clock.now()
    zone = parse_zone(definition.timezone if definition else project.TIMEZONE)

    async def query(
        db: AsyncConnection,
    ) -> tuple[JobOverview | None, JobStats, queries.RunPage, tuple[Attempt, ...]]:
        jobs = await overview.job_overviews(db, [definition] if definition else [], now)
        figures = await stats.job_stats(
            db, key, since=now - timedelta(days=29), until=now, zone=zone
        )
        runs = await queries.list_runs(db, RunFilter(job=key, limit=_RUNS_OF_JOB))
        earlier = await _earlier(db, key, runs)
        return (jobs[0] if jobs else None), figures, runs, earlier

    job, figures, runs, earlier = await read(scheduler, query)
    if job is None and not runs.runs and not earlier:
        raise Problem(404, "No such job", f"There is no job {name}, and no run of one.")
    return render(
        request,
        "job.html",
        principal,
        422 if error else 200,
        name=key,
        job=job,
        stats=figures,
        runs=runs,
        earlier=earlier,
        slots=_slots(job, now) if job is not None else [],
        fields=forms.fields(definition, typed) if definition else [],
        error=error,
    )


def _slots(job: JobOverview, now: datetime) -> list[tuple[datetime, str]]:
    """The next runs, each with its time by the job's own clock where that is not the project's."""
    own = job.definition.timezone
    zone = parse_zone(own) if own != project.TIMEZONE else None
    return [
        (slot, words.clock(slot, now, zone) if zone is not None else "")
        for slot in overview.next_runs(job, 5)
    ]


async def _earlier(db: AsyncConnection, job: str, runs: queries.RunPage) -> tuple[Attempt, ...]:
    """What the history holds from before the oldest run that is kept: pruned, or brought over from TARGCC."""
    if runs.next_before is not None:
        return ()
    kept = {str(run.id) for run in runs.runs}
    attempts = await queries.history(db, job, limit=100)
    return tuple(one for one in attempts if one.run_id not in kept)[:_RUNS_OF_JOB]


def _find(scheduler: Scheduler, name: str) -> tuple[JobDefinition | None, str]:
    try:
        definition = scheduler.find(name)
    except UnknownJob:
        return None, name
    return definition, definition.name


class RunQuery(BaseModel):
    """What the address of the runs page says; what makes no sense there is passed over."""

    q: str = ""
    state: str = ""
    job: str = ""
    since: str = ""
    until: str = ""
    before: str = ""

    def wanted(self, scheduler: Scheduler) -> RunFilter:
        """The runs it describes."""
        now = scheduler.clock.now()
        return RunFilter(
            states=frozenset({RunState(self.state)} if self.state in set(RunState) else ()),
            job=self.job or None,
            since=_moment(self.since, now),
            until=_moment(self.until, now),
            text=self.q.strip(),
            arguments_of=overview.open_arguments(scheduler.definitions.values()),
            before=_id(self.before),
        )

    def address(self, path: str, before: int | None = None) -> str:
        """The address of the same list from its beginning, or after the run ``before``."""
        given = {
            name: value for name, value in self.model_dump(exclude={"before"}).items() if value
        }
        return f"{path}?{urlencode({**given, **({'before': before} if before else {})})}"


@router.get("/runs")
async def runs_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    asked: Annotated[RunQuery, Query()],
) -> Response:
    """Runs, filtered."""
    wanted = asked.wanted(scheduler)

    async def query(db: AsyncConnection) -> tuple[queries.RunPage, list[str]]:
        page = await queries.list_runs(db, wanted)
        return page, [] if is_refresh(request) else await queries.known_jobs(db)

    page, known = await read(scheduler, query)
    path = request.url.path
    return render(
        request,
        "runs.html",
        principal,
        page=page,
        wanted=wanted,
        asked=asked,
        filtered=asked != RunQuery(),
        names=sorted({*known, *scheduler.definitions}, key=str.casefold),
        first_url=asked.address(path),
        next_url=asked.address(path, page.next_before) if page.next_before else "",
    )


def _id(text: str) -> int | None:
    """A row's id, ``None`` for anything else."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _moment(text: str, now: datetime) -> datetime | None:
    """A span such as ``24h`` back from now, or an ISO instant; ``None`` for anything else."""
    if text in _SPANS:
        return now - _SPANS[text]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def shown_arguments(scheduler: Scheduler, run: Run) -> dict[str, Any]:
    """A run's arguments for people to see: secret ones are masked, and all of a job that is no longer in the code."""
    definition = scheduler.definitions.get(run.job)
    if definition is None:
        return dict.fromkeys(run.arguments, MASK)
    secret = definition.signature.secrets
    return {name: MASK if name in secret else value for name, value in run.arguments.items()}


@router.get("/runs/{run_id}")
async def run_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, run_id: int
) -> Response:
    """One run."""

    async def query(db: AsyncConnection) -> tuple[Run | None, dict[str, Any]]:
        run = await queries.get_run(db, run_id)
        if run is None:
            return None, {}
        return run, {
            "attempts": await queries.attempts_of_run(db, run),
            "log": await queries.log_lines(db, run_id),
            "steps": await queries.steps(db, run_id),
            "audit": await queries.audit(db, run_id=run_id, limit=20),
        }

    run, details = await read(scheduler, query)
    if run is None:
        raise Problem(
            404, "No such run", f"There is no run {run_id}; old ones are removed in time."
        )
    attempts: tuple[Attempt, ...] = details["attempts"]
    return render(
        request,
        "run.html",
        principal,
        run=run,
        shown_arguments=shown_arguments(scheduler, run),
        failure=next((a for a in reversed(attempts) if not a.success), None),
        metadata=attempts[-1].metadata if attempts else {},
        **details,
    )


@router.get("/system")
async def system_page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """Queues and servers."""
    now = scheduler.clock.now()
    names = overview.queue_names(scheduler.definitions.values())

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "queues": await queries.queues(db, names, now),
            "servers": await queries.servers(db),
        }

    found = await read(scheduler, query)
    lost_after = scheduler.settings.lost_after_seconds
    return render(request, "system.html", principal, lost_after=lost_after, **found)


@router.get("/audit")
async def audit_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, before: str = ""
) -> Response:
    """Who did what."""
    start = _id(before)
    entries = await read(scheduler, lambda db: queries.audit(db, before=start, limit=_AUDIT_PAGE))
    return render(
        request,
        "audit.html",
        principal,
        entries=entries,
        before=start,
        next_before=entries[-1].id if len(entries) == _AUDIT_PAGE else None,
    )


@router.get("/static/{name}")
async def static_file(name: str) -> Response:
    """A style sheet, script or picture: the only files that are served, to everybody."""
    path = next((one for one in STATIC.iterdir() if one.name == name), None)
    if path is None or path.suffix not in _STATIC_TYPES:
        raise Problem(404, "No such file", "The address is not one of a file.")
    return FileResponse(
        path,
        media_type=_STATIC_TYPES[path.suffix],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
