"""What the buttons of the inbox and of operations on many runs do; each answers with a redirect to a page that says what happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData

from ...core import humanize
from ...core.actor import Actor
from ...core.errors import BulkError, UnknownBulk, UnknownFailure, UnknownJob
from ...core.languages.reader import gettext
from ...core.numbers import rate_of, whole, whole_or_error
from ...oncall import bulk, inbox
from ...oncall.backfill import backfill
from ...oncall.bulk import Wish
from ...queries.finding.filters import RunFilter
from ...scheduler import Scheduler
from ...search.terms import only
from ...security.roles import Principal, Role
from ..authentication import actor
from ..problems import Problem
from ..state import get_scheduler
from .flash import Flash, back, base_path
from .page_route import PageRoute, page_needs
from .pages.bulk import asked_of, local_time

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]
_WRONG = (UnknownFailure, UnknownBulk, BulkError, ValueError)


async def begin(scheduler: Scheduler, wish: Wish, by: Actor, most: int | None = None) -> int:
    """Begin an operation and do its first step at once; nodes do the rest. Its id."""
    checked = bulk.check(scheduler, wish)
    bulk_id = await scheduler.operate(bulk.begin, None, checked, by, most)
    await scheduler.operate(bulk.step, None, bulk_id, scheduler.definitions)
    return bulk_id


@dataclass(frozen=True, slots=True)
class Press:
    """One press of a button about a failure.

    Args:
        scheduler: Does what is asked.
        by: Who pressed it.
        cause: The failure.
        form: What the form holds.
        run_ids: The runs that were chosen; ``None``: all that are open.
        base: The path of the dashboard.
    """

    scheduler: Scheduler
    by: Actor
    cause: str
    form: FormData
    run_ids: Sequence[int] | None
    base: str

    def text(self, name: str) -> str | None:
        """A field of the form; ``None`` when it is empty."""
        return _text(self.form, name)


async def _retry(press: Press) -> Flash:
    wanted = RunFilter(search=only(cause=press.cause, is_="open", run=press.run_ids))
    bulk_id = await begin(press.scheduler, Wish(action="retry", wanted=wanted), press.by)
    page = f"{press.base}/bulk/{bulk_id}"
    return Flash(
        "good", gettext("They are done again."), page, gettext("Operation %(id)s", id=bulk_id)
    )


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
    return Flash("good", gettext("Acknowledged: until %(when)s.", when=ends))


async def _discard(press: Press) -> Flash:
    done = await press.scheduler.operate(
        inbox.discard, None, press.cause, press.by, run_ids=press.run_ids
    )
    return Flash("good", gettext("%(runs)s discarded.", runs=humanize.count(done, "run")))


async def _mute(press: Press) -> Flash:
    note = press.text("note")
    await press.scheduler.operate(inbox.mute, None, press.cause, press.by, note=note)
    return Flash("good", gettext("Muted: runs that fail so need nobody."))


async def _reopen(press: Press) -> Flash:
    await press.scheduler.operate(inbox.reopen, None, press.cause, press.by)
    return Flash("good", gettext("It is open again."))


async def _assign(press: Press) -> Flash:
    name = press.text("name")
    await press.scheduler.operate(inbox.assign, None, press.cause, press.by, name)
    return Flash(
        "good",
        gettext("Assigned to %(name)s.", name=name) if name else gettext("Assigned to nobody."),
    )


async def _link(press: Press) -> Flash:
    ticket = press.text("ticket")
    await press.scheduler.operate(inbox.link, None, press.cause, press.by, ticket)
    return Flash("good", gettext("The ticket is noted."))


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
        raise Problem(404, "No such page", "The address is not one of a page.")
    by, base = actor(request, principal), base_path(request)
    press = Press(scheduler, by, cause, form, chosen if some else None, base)
    try:
        flash = (
            await act(press) if chosen or not some else Flash("bad", gettext("Choose a run first."))
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
    text = gettext("It is off the list.") if gone else gettext("It was off the list already.")
    return back(request, Flash("good", text), _text(form, "next") or "")


@router.post("/bulk")
async def begin_bulk(request: Request, principal: Operator, scheduler: SchedulerOf) -> Response:
    """Begin an operation on many runs."""
    form = await request.form()
    asked = asked_of({name: str(value) for name, value in form.items()})
    try:
        if asked.do == "delete" and not principal.covers_some(Role.ADMIN):
            raise BulkError("deleting runs needs the role admin")
        most = whole_or_error(_text(form, "most") or "0", "most") or None
        bulk_id = await begin(scheduler, asked.wish(scheduler), actor(request, principal), most)
    except _WRONG as error:
        return back(request, Flash("bad", f"{humanize.sentence(str(error))}."), "")
    return back(
        request, Flash("good", gettext("It has begun.")), f"{base_path(request)}/bulk/{bulk_id}"
    )


@router.post("/bulk/{bulk_id}/{what}")
async def change_bulk(
    request: Request, bulk_id: int, what: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Stop an operation, or take it back."""
    by = actor(request, principal)
    try:
        if what == "stop":
            await scheduler.operate(bulk.stop, None, bulk_id, by)
            flash, shown = Flash("good", gettext("It is stopped; what it has done stays.")), bulk_id
        elif what == "undo":
            shown = await scheduler.operate(bulk.undo, None, bulk_id, by)
            await scheduler.operate(bulk.step, None, shown, scheduler.definitions)
            flash = Flash("good", gettext("It is taken back as far as that goes."))
        else:
            raise Problem(404, "No such page", "The address is not one of a page.")
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
            "good", gettext("%(runs)s of the past wait.", runs=humanize.count(made, "run"))
        )
    return back(request, flash, f"{base_path(request)}/jobs/{quote(name, safe='')}")


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value.strip() or None if isinstance(value, str) else None
