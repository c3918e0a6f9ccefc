"""The pages of runs."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import RunState
from ....jobs.definition import shown_arguments
from ....queries import history, jobs, runs
from ....queries.models import Attempt, Run
from ....queries.needs import bulk, why
from ....queries.runs import RunFilter
from ....queries.trail import entries
from ....scheduler import Scheduler
from ....storage.owners import rows as owners
from ...problems import Problem
from ..page_route import PageRoute
from ..rendering import is_refresh, render
from .common import SchedulerOf, Viewer, id_of, moment

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class RunQuery(BaseModel):
    """The query of the runs page; values that are not understood are ignored."""

    q: str = ""
    state: str = ""
    job: str = ""
    since: str = ""
    until: str = ""
    before: str = ""
    queue: str = ""
    cause: str = ""
    open: str = ""

    def wanted(self, scheduler: Scheduler) -> RunFilter:
        """The runs it describes."""
        now = scheduler.clock.now()
        return RunFilter(
            states=frozenset({RunState(self.state)} if self.state in set(RunState) else ()),
            job=self.job or None,
            since=moment(self.since, now),
            until=moment(self.until, now),
            text=self.q.strip(),
            arguments_of=jobs.open_arguments(scheduler.definitions.values()),
            before=id_of(self.before),
            queue=self.queue or None,
            cause=self.cause or None,
            open=bool(self.open),
        )

    def address(self, path: str, before: int | None = None) -> str:
        """The address of the same list, from its beginning or after the run ``before``."""
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

    async def query(db: AsyncConnection) -> tuple[runs.RunPage, list[str]]:
        page = await runs.list_runs(db, wanted)
        return page, [] if is_refresh(request) else await history.known_jobs(db)

    page, known = await scheduler.read(query)
    path = request.url.path
    return render(
        request,
        "pages/runs.html",
        principal,
        page=page,
        wanted=wanted,
        asked=asked,
        filtered=asked != RunQuery(),
        actions=bulk.ACTIONS,
        names=sorted({*known, *scheduler.definitions}, key=str.casefold),
        first_url=asked.address(path),
        next_url=asked.address(path, page.next_before) if page.next_before else "",
    )


@router.get("/runs/{run_id}")
async def run_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, run_id: int
) -> Response:
    """One run."""
    now, definitions = scheduler.clock.now(), scheduler.definitions
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> tuple[Run | None, dict[str, Any]]:
        run = await runs.get_run(db, run_id)
        if run is None:
            return None, {}
        return run, {
            "attempts": await runs.attempts_of_run(db, run),
            "log": await runs.log_lines(db, run_id),
            "steps": await runs.steps(db, run_id),
            "audit": await entries.audit(db, entries.Filter(run_id=run_id), limit=20),
            "owned": (await owners.load(db, [run.job])).get(run.job),
            "why": await why.why_run(db, run, definitions, now, lost_after=lost_after),
        }

    run, details = await scheduler.read(query)
    if run is None:
        raise Problem(
            404, "No such run", f"There is no run {run_id}; old ones are removed in time."
        )
    attempts: tuple[Attempt, ...] = details["attempts"]
    return render(
        request,
        "pages/run.html",
        principal,
        run=run,
        shown_arguments=shown_arguments(scheduler.definitions.get(run.job), run.arguments),
        failure=next((a for a in reversed(attempts) if not a.success), None),
        metadata=attempts[-1].metadata if attempts else {},
        **details,
    )
