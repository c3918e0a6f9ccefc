"""Pages of the inbox and of bulk operations."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.datastructures import FormData

from ...core import humanize
from ...core.actor import Actor
from ...core.errors import BulkError, UnknownBulk, UnknownFailure, UnknownJob
from ...core.identity import Principal, Role
from ...core.languages import gettext
from ...core.numbers import priority_of, rate_of, whole, whole_or_error
from ...core.search_language import SearchError, only, write
from ...kernel.jobs.definition import JobDefinition, shown_arguments
from ...kernel.queries.run_search import RunFilter
from ...scheduler import Scheduler
from ...web.authentication import actor
from ...web.dashboard.common import SchedulerOf as CommonSchedulerOf
from ...web.dashboard.common import Viewer, find_job, id_of, local_time, query_of
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render
from ...web.dashboard.runs import MOST, RunQuery
from ...web.problems import Problem
from ...web.run_filter import looked_for
from ...web.state import get_scheduler
from . import bulk_actions, bulk_queries, inbox
from .bulk_actions import Wish, backfill, check
from .issues import besides_failures

# Inbox pages: error groups and other issues.

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_RUNS_SHOWN = 100
_MOST_PAGES = 10_000
MOST_PROBLEMS = 100
"""Limit of other problems on the inbox, the worst first."""


@router.get("/inbox")
async def inbox_page(
    request: Request,
    principal: Viewer,
    scheduler: CommonSchedulerOf,
    *,
    show: str = "",
    q: str = "",
    page: str = "",
) -> Response:
    """Everything that needs a person; the error groups with the most open runs first, a hundred on a page."""
    search, error = q.strip()[:MOST], None
    try:
        wanted = looked_for(scheduler, search)
    except SearchError as wrong:
        wanted, error = RunFilter(), wrong
    now = scheduler.clock.now()
    everything = show == "all"
    definitions = list(scheduler.definitions.values())
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> dict[str, Any]:
        async def part(number: int) -> inbox.Groups:
            most = inbox.MOST_GROUPS
            skip = (number - 1) * most
            return await inbox.first_groups(
                db, now, most, skip=skip, everything=everything, wanted=wanted
            )

        number = min(max(id_of(page) or 1, 1), _MOST_PAGES)
        groups = await part(number)
        pages = max(1, math.ceil(groups.total / inbox.MOST_GROUPS))
        if number > pages:
            number = pages
            groups = await part(number)
        wrong = await besides_failures(db, definitions, now, lost_after=lost_after)
        return {
            "failures": await inbox.with_figures(db, groups.first, now),
            "total": groups.total,
            "pages": pages,
            "number": number,
            "wrong": wrong[:MOST_PROBLEMS],
            "wrong_count": len(wrong),
        }

    content = await scheduler.read(query)
    return render(
        request,
        "oncall/inbox.html",
        principal,
        everything=everything,
        search=search,
        error=error,
        **content,
    )


@router.get("/inbox/{cause}")
async def failure_page(
    request: Request, principal: Viewer, scheduler: CommonSchedulerOf, cause: str
) -> Response:
    """One failure with its open runs."""
    now = scheduler.clock.now()

    async def query(db: AsyncConnection) -> dict[str, Any]:
        failure = await inbox.get(db, cause, now)
        runs = await inbox.runs_of(db, cause, limit=_RUNS_SHOWN)
        return {"one": failure, "runs": runs, "again": await inbox.done_since(db, runs)}

    try:
        content = await scheduler.read(query)
    except UnknownFailure:
        raise Problem(404, "No such failure", f"There is no failure {cause}.") from None
    definition = scheduler.definitions.get(content["one"].job)
    shown = {
        run.id: humanize.arguments(shown_arguments(definition, run.arguments))
        for run in content["runs"]
    }
    return render(request, "oncall/failure.html", principal, shown=shown, **content)


# Bulk operation and backfill pages: a count before the start, and progress.

_MOST_CHOSEN = 1_000
NOTHING = bulk_queries.Found(0, {}, {}, 0)


class BulkQuery(RunQuery):
    """What is to be done, and to which runs."""

    do: str = ""
    to: str = ""
    rate: str = ""
    order: str = ""
    note: str = ""

    def wish(self, scheduler: Scheduler) -> Wish:
        """Build the requested operation from the form.

        Raises:
            BulkError: The search, the priority or the rate cannot be parsed.
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


class ChoiceQuery(BulkQuery):
    """Operation on the runs of a search, or on the runs that a person has selected in the list."""

    chosen: str = ""
    run: list[str] = []  # noqa: RUF012 - pydantic copies the default

    @property
    def text(self) -> str:
        """Return the search for the selected runs; without a selection the search of the form."""
        if not self.chosen:
            return super().text
        ids = [number for text in self.run if (number := whole(text)) is not None]
        return write("run", *ids[:_MOST_CHOSEN])

    def wanted(self, scheduler: Scheduler) -> RunFilter:
        """Return the filter of the operation.

        Raises:
            BulkError: No run is selected.
            SearchError: The search cannot be parsed.
        """
        if self.chosen and not self.text:
            raise BulkError(gettext("Select a run first.").rstrip("."))
        return super().wanted(scheduler)

    def address(self, path: str, before: int | None = None) -> str:
        """Return the address of the list in which the runs were selected."""
        return BulkQuery(q=self.q).address(path, before) if self.chosen else super().address(path, before)  # fmt: skip


def asked_of(form: Mapping[str, str]) -> BulkQuery:
    """Build the query from form fields."""
    return BulkQuery(**{name: form.get(name, "") for name in BulkQuery.model_fields})


@router.get("/bulk")
async def bulks_page(request: Request, principal: Viewer, scheduler: CommonSchedulerOf) -> Response:
    """The last operations."""
    operations = await scheduler.read(bulk_queries.latest)
    return render(request, "oncall/bulks.html", principal, bulks=operations)


@router.get("/bulk/new")
async def new_bulk_page(
    request: Request,
    principal: Viewer,
    scheduler: CommonSchedulerOf,
    query: Annotated[ChoiceQuery, Depends(query_of(ChoiceQuery))],
) -> Response:
    """How many runs an operation would look at."""
    wish, error, matches = Wish(action=query.do, wanted=RunFilter()), "", NOTHING
    try:
        wish = replace(wish, wanted=query.wanted(scheduler))
        wish = check(scheduler, query.wish(scheduler))
        matches = await scheduler.read(lambda db: bulk_queries.find(db, wish.wanted))
    except (BulkError, SearchError) as problem:
        error = f"{humanize.sentence(str(problem))}."
    runs = f"{request.url.path.rpartition('/bulk/')[0]}/runs"
    fields = {**query.model_dump(include={"do", "to", "rate", "order", "note"}), "q": query.text}
    return render(
        request,
        "oncall/bulk_new.html",
        principal,
        wish=wish,
        found=matches,
        error=error,
        filter=bulk_queries.words(wish.wanted),
        asked={name: value for name, value in fields.items() if value},
        back=query.address(runs),
    )


@router.get("/bulk/{bulk_id}")
async def bulk_page(
    request: Request, principal: Viewer, scheduler: CommonSchedulerOf, bulk_id: int
) -> Response:
    """One operation, and how far it is."""
    try:
        operation = await scheduler.read(lambda db: bulk_queries.get(db, bulk_id))
    except UnknownBulk:
        raise Problem(404, "No such operation", f"There is no operation {bulk_id}.") from None
    return render(request, "oncall/bulk.html", principal, one=operation)


@router.get("/jobs/{name}/backfill")
async def backfill_page(
    request: Request,
    principal: Viewer,
    scheduler: CommonSchedulerOf,
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
    look = bulk_actions.Look((), {})
    try:
        first, last = local_time(since), local_time(until)
        look = await scheduler.read(lambda db: bulk_actions.look(db, job, first, last, now))
    except ValueError as problem:  # includes BulkError
        error = f"{humanize.sentence(str(problem))}."
    return render(
        request,
        "oncall/backfill.html",
        principal,
        job=job,
        found=look,
        error=error,
        followers=_followers(scheduler, job),
        asked={"since": since, "until": until, "rate": rate},
    )


def _followers(scheduler: Scheduler, job: JobDefinition) -> list[str]:
    """Return the follower jobs' names; for names hidden from the viewer add their number."""
    names = [follower.name for follower in job.followers()]
    seen = [follower for follower in names if follower in scheduler.definitions]
    hidden = len(names) - len(seen)
    return [*seen, gettext("%(number)s more", number=hidden)] if hidden else seen


# Button actions in the inbox and on bulk operations. Each redirects to a page that shows the result.

Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
_WRONG = (UnknownFailure, UnknownBulk, BulkError, ValueError)


async def begin(scheduler: Scheduler, wish: Wish, by: Actor, most: int | None = None) -> int:
    """Begin an operation, execute the first step, and return the id; nodes execute the other steps."""
    checked = bulk_actions.check(scheduler, wish)
    bulk_id = await scheduler.operate(bulk_actions.begin, None, checked, by, most)
    await scheduler.operate(bulk_actions.step, None, bulk_id, scheduler.definitions)
    return bulk_id


@dataclass(frozen=True, slots=True)
class Press:
    """Submitted action on an error group.

    Args:
        scheduler: The scheduler that executes the action.
        by: The person who submitted the form.
        cause: The error group's key.
        form: The form's fields.
        run_ids: The chosen runs; ``None``: all open runs.
        base: The dashboard's path.
    """

    scheduler: Scheduler
    by: Actor
    cause: str
    form: FormData
    run_ids: Sequence[int] | None
    base: str

    def text(self, name: str) -> str | None:
        """Return a form field, or ``None`` if the field is empty."""
        return _text(self.form, name)


async def _retry(press: Press) -> Flash:
    wanted = RunFilter(search=only(cause=press.cause, is_="open", run=press.run_ids))
    bulk_id = await begin(press.scheduler, Wish(action="retry", wanted=wanted), press.by)
    operation = await press.scheduler.read(lambda db: bulk_queries.get(db, bulk_id))
    runs = humanize.count(operation.total, "run")
    page = f"{press.base}/bulk/{bulk_id}"
    text = gettext("Retry of %(runs)s started.", runs=runs)
    return Flash("good", text, page, gettext("Operation %(id)s", id=bulk_id))


async def _acknowledge(press: Press) -> Flash:
    text = press.text("until")
    until = local_time(text) if text else None
    done = await press.scheduler.operate(
        inbox.acknowledge,
        None,
        press.cause,
        press.by,
        note=press.text("note"),
        until=until,
        run_ids=press.run_ids,
    )
    if until is None:
        runs = humanize.count(done, "run")
        return Flash("good", gettext("Acknowledged: %(runs)s.", runs=runs))
    ends = f"{humanize.day_and_month(until)} {until:%H:%M}"
    return Flash("good", gettext("Snoozed until %(when)s.", when=ends))


async def _discard(press: Press) -> Flash:
    done = await press.scheduler.operate(
        inbox.discard, None, press.cause, press.by, run_ids=press.run_ids
    )
    return Flash("good", gettext("%(runs)s discarded.", runs=humanize.count(done, "run")))


async def _mute(press: Press) -> Flash:
    note = press.text("note")
    await press.scheduler.operate(inbox.mute, None, press.cause, press.by, note=note)
    return Flash("good", gettext("Muted. Runs with this failure need no attention."))


async def _reopen(press: Press) -> Flash:
    await press.scheduler.operate(inbox.reopen, None, press.cause, press.by)
    return Flash("good", gettext("The failure is open again."))


async def _assign(press: Press) -> Flash:
    name = press.text("name")
    await press.scheduler.operate(inbox.assign, None, press.cause, press.by, name)
    return Flash(
        "good",
        gettext("Assigned to %(name)s.", name=name) if name else gettext("No longer assigned."),
    )


async def _link(press: Press) -> Flash:
    ticket = press.text("ticket")
    await press.scheduler.operate(inbox.link, None, press.cause, press.by, ticket)
    return Flash("good", gettext("Ticket saved."))


_ACTIONS: dict[str, Callable[[Press], Awaitable[Flash]]] = {
    "retry": _retry,
    "acknowledge": _acknowledge,
    "discard": _discard,
    "mute": _mute,
    "reopen": _reopen,
    "assign": _assign,
    "link": _link,
}


@router.post("/inbox/{cause}/{what}")
async def act_on_failure(
    request: Request, cause: str, what: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Do something about the runs of a failure; ``some``: about those that were chosen."""
    form = await request.form()
    given = [whole(text) for text in form.getlist("run") if isinstance(text, str)]
    chosen = [run_id for run_id in given if run_id is not None]
    some = what == "some"
    act = _ACTIONS.get((_text(form, "do") or "") if some else what)
    if act is None:
        raise Problem(404, "No such page", "There is no page at this address.")
    by, base = actor(request, principal), base_path(request)
    press = Press(scheduler, by, cause, form, chosen if some else None, base)
    try:
        flash = (
            await act(press) if chosen or not some else Flash("bad", gettext("Select a run first."))
        )
    except _WRONG as error:
        flash = Flash("bad", f"{humanize.sentence(str(error))}.")
    return back(request, flash, press.text("next") or "")


@router.post("/concerns/{kind}/{subject}/seen")
async def seen(
    request: Request, kind: str, subject: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Take something off the list that a person has looked at."""
    by = actor(request, principal)
    gone = await scheduler.operate(inbox.seen, None, subject, kind, by)
    form = await request.form()
    text = gettext("Removed from the list.") if gone else gettext("Already removed from the list.")
    return back(request, Flash("good", text), _text(form, "next") or "")


@router.post("/bulk")
async def begin_bulk(request: Request, principal: Operator, scheduler: SchedulerOf) -> Response:
    """Begin an operation on many runs."""
    form = await request.form()
    query = asked_of({name: str(value) for name, value in form.items()})
    try:
        if query.do == "delete" and not principal.covers_some(Role.ADMIN):
            raise BulkError("deleting runs needs the role admin")
        most = whole_or_error(_text(form, "most") or "0", "most") or None
        bulk_id = await begin(scheduler, query.wish(scheduler), actor(request, principal), most)
    except _WRONG as error:
        return back(request, Flash("bad", f"{humanize.sentence(str(error))}."), "")
    return back(
        request,
        Flash("good", gettext("The operation has started.")),
        f"{base_path(request)}/bulk/{bulk_id}",
    )


@router.post("/bulk/{bulk_id}/{what}")
async def change_bulk(
    request: Request, bulk_id: int, what: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Stop an operation, or take it back."""
    by = actor(request, principal)
    try:
        if what == "stop":
            await scheduler.operate(bulk_actions.stop, None, bulk_id, by)
            flash, shown = (
                Flash("good", gettext("The operation is stopped. Finished changes stay.")),
                bulk_id,
            )
        elif what == "undo":
            shown = await scheduler.operate(bulk_actions.undo, None, bulk_id, by)
            await scheduler.operate(bulk_actions.step, None, shown, scheduler.definitions)
            flash = Flash("good", gettext("The operation is being undone where possible."))
        else:
            raise Problem(404, "No such page", "There is no page at this address.")
    except _WRONG as error:
        flash, shown = Flash("bad", f"{humanize.sentence(str(error))}."), bulk_id
    return back(request, flash, f"{base_path(request)}/bulk/{shown}")


@router.post("/jobs/{name}/backfill")
async def begin_backfill(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Run slots of the past."""
    form = await request.form()
    try:
        job = scheduler.find(name)
        made = await scheduler.operate(
            backfill,
            None,
            job,
            local_time(_text(form, "since") or ""),
            local_time(_text(form, "until") or ""),
            actor(request, principal),
            rate=rate_of(_text(form, "rate") or ""),
            followers="no_followers" not in form,
        )
    except (UnknownJob, ValueError) as error:
        flash = Flash("bad", f"{humanize.sentence(str(error))}.")
    else:
        flash = Flash(
            "good", gettext("Backfill started: %(runs)s.", runs=humanize.count(made, "run"))
        )
    return back(request, flash, f"{base_path(request)}/jobs/{quote(name, safe='')}")


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value.strip() or None if isinstance(value, str) else None
