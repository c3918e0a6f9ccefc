"""The pages of operations on many runs, and of slots of the past: counted before, followed while they go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ....core import humanize
from ....core.errors import BulkError, UnknownBulk
from ....core.languages.reader import gettext
from ....core.numbers import priority_of, rate_of
from ....jobs.definition import JobDefinition
from ....oncall import backfill as backfills
from ....oncall.bulk import Wish, check
from ....project import current
from ....queries.finding.filters import RunFilter
from ....queries.needs import bulk
from ....scheduler import Scheduler
from ....schedules import parse_zone
from ....search.errors import SearchError
from ...problems import Problem
from ..page_route import PageRoute
from ..rendering import render
from .common import SchedulerOf, Viewer, find_job
from .runs import RunQuery

router = APIRouter(route_class=PageRoute, include_in_schema=False)
NOTHING = bulk.Found(0, {}, {}, 0)


class BulkQuery(RunQuery):
    """What is to be done, and to which runs."""

    do: str = ""
    to: str = ""
    rate: str = ""
    order: str = ""
    note: str = ""

    def wish(self, scheduler: Scheduler) -> Wish:
        """What is asked for.

        Raises:
            BulkError: it cannot be read.
            SearchError: neither can the search.
        """
        try:
            return Wish(
                action=self.do,
                wanted=self.wanted(scheduler),
                queue=(self.to or None) if self.do == "queue" else None,
                priority=priority_of(self.to or "0") if self.do == "priority" else None,
                rate=rate_of(self.rate) if self.do in {"retry", "run-now"} else None,
                newest_first=self.order == "newest",
                note=self.note.strip() or None,
            )
        except ValueError as error:
            raise BulkError(str(error)) from None


def asked_of(form: Mapping[str, str]) -> BulkQuery:
    """What a form asks for."""
    return BulkQuery(**{name: form.get(name, "") for name in BulkQuery.model_fields})


@router.get("/bulk")
async def bulks_page(request: Request, principal: Viewer, scheduler: SchedulerOf) -> Response:
    """The last operations."""
    found = await scheduler.read(bulk.latest)
    return render(request, "oncall/bulks.html", principal, bulks=found)


@router.get("/bulk/new")
async def new_bulk_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    asked: Annotated[BulkQuery, Query()],
) -> Response:
    """How many runs an operation would look at."""
    wish, error, found = Wish(action=asked.do, wanted=RunFilter()), "", NOTHING
    try:
        wish = replace(wish, wanted=asked.wanted(scheduler))
        wish = check(scheduler, asked.wish(scheduler))
        found = await scheduler.read(lambda db: bulk.find(db, wish.wanted))
    except (BulkError, SearchError) as problem:
        error = f"{humanize.sentence(str(problem))}."
    runs = f"{request.url.path.rpartition('/bulk/')[0]}/runs"
    said = {**asked.model_dump(include={"do", "to", "rate", "order", "note"}), "q": asked.text}
    return render(
        request,
        "oncall/bulk_new.html",
        principal,
        wish=wish,
        found=found,
        error=error,
        filter=bulk.words(wish.wanted),
        asked={name: value for name, value in said.items() if value},
        back=asked.address(runs),
    )


@router.get("/bulk/{bulk_id}")
async def bulk_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, bulk_id: int
) -> Response:
    """One operation, and how far it is."""
    try:
        one = await scheduler.read(lambda db: bulk.get(db, bulk_id))
    except UnknownBulk:
        raise Problem(404, "No such operation", f"There is no operation {bulk_id}.") from None
    return render(request, "oncall/bulk.html", principal, one=one)


@router.get("/jobs/{name}/backfill")
async def backfill_page(
    request: Request,
    principal: Viewer,
    scheduler: SchedulerOf,
    name: str,
    *,
    since: str = "",
    until: str = "",
    rate: str = "",
) -> Response:
    """The slots of a job in a range of the past."""
    job, _ = find_job(scheduler, name)
    if job is None:
        raise Problem(404, "No such job", f"There is no job {name} in the code.")
    now, error = scheduler.clock.now(), ""
    found = backfills.Look((), {})
    try:
        first, last = local_time(since), local_time(until)
        found = await scheduler.read(lambda db: backfills.look(db, job, first, last, now))
    except ValueError as problem:  # a BulkError is one
        error = f"{humanize.sentence(str(problem))}."
    return render(
        request,
        "oncall/backfill.html",
        principal,
        job=job,
        found=found,
        error=error,
        followers=_followers(scheduler, job),
        asked={"since": since, "until": until, "rate": rate},
    )


def _followers(scheduler: Scheduler, job: JobDefinition) -> list[str]:
    """The jobs that follow a job, by name; of those that whoever asks may not see, how many."""
    names = [one.name for one in job.followers()]
    seen = [one for one in names if one in scheduler.definitions]
    hidden = len(names) - len(seen)
    return [*seen, gettext("%(number)s more", number=hidden)] if hidden else seen


def local_time(text: str) -> datetime:
    """What a ``datetime-local`` input holds, in the project's zone.

    Raises:
        ValueError: it holds none.
    """
    return datetime.fromisoformat(text).replace(tzinfo=parse_zone(current().timezone))
