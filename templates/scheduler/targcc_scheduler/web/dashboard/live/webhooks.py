"""The pages of webhooks: the addresses that are told of runs, and what was sent to each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from ....core import humanize
from ....core.actor import Actor
from ....core.errors import UnknownWebhook, WebhookError
from ....oncall import webhooks
from ....oncall.webhooks import NewWebhook
from ....scheduler import Scheduler
from ....security.roles import Principal, Role
from ....storage.webhooks import outbox, rows
from ...authentication import actor
from ...problems import Problem
from ..flash import Flash, back, base_path
from ..page_route import PageRoute, page_needs
from ..pages.common import SchedulerOf, id_of
from ..rendering import render

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(page_needs(Role.ADMIN))]
_MESSAGES = 100


@router.get("/webhooks")
async def webhooks_page(request: Request, principal: Operator, scheduler: SchedulerOf) -> Response:
    """The webhooks, and the form that makes one."""
    return await _page(request, principal, scheduler)


async def _page(
    request: Request, principal: Principal, scheduler: Scheduler, **more: Any
) -> Response:
    found = await scheduler.read(rows.webhooks)
    values: dict[str, Any] = {"made": None, "typed": {}, "error": "", **more}
    return render(
        request,
        "live/webhooks.html",
        principal,
        hooks=found,
        events=rows.EVENTS,
        state_of=webhooks.state_of,
        **values,
    )


@router.post("/webhooks")
async def create_webhook(request: Request, principal: Admin, scheduler: SchedulerOf) -> Response:
    """Make a webhook; the answer shows its secret, which is not shown again."""
    form = await request.form()
    url, jobs = str(form.get("url") or "").strip(), str(form.get("jobs") or "").strip()
    events = [str(one) for one in form.getlist("events")]
    made: NewWebhook | None = None
    error = ""
    try:
        made = await webhooks.create(scheduler, url, events, [jobs], actor(request, principal))
    except WebhookError as problem:
        error = f"{humanize.sentence(str(problem))}."
    typed = {"jobs": jobs, "events": events} if error else {}
    return await _page(request, principal, scheduler, made=made, typed=typed, error=error)


@router.get("/webhooks/{key}")
async def webhook_page(
    request: Request, principal: Operator, scheduler: SchedulerOf, key: str
) -> Response:
    """What was sent to a webhook."""
    number = _number(key)
    hook = await scheduler.read(lambda db: rows.find(db, number))
    if hook is None:
        raise Problem(404, "No such webhook", f"There is no webhook {key}.")
    found = await scheduler.read(lambda db: outbox.deliveries(db, number, _MESSAGES))
    return render(
        request,
        "live/webhook.html",
        principal,
        hook=hook,
        deliveries=found,
        state_of=webhooks.state_of,
    )


def _number(key: str) -> int:
    number = id_of(key)
    if number is None:
        raise Problem(404, "No such page", "The address is not one of a page.")
    return number


@router.post("/webhooks/{key}/redeliver/{message}")
async def redeliver(
    request: Request, principal: Admin, scheduler: SchedulerOf, key: str, message: str
) -> Response:
    """Send a message again."""
    number, which = _number(key), _number(message)
    act = webhooks.redeliver(scheduler, number, which, actor(request, principal))
    return await _done(request, act, f"Message {which} will be sent again.", f"/webhooks/{number}")


async def _done(request: Request, act: Awaitable[Any], said: str, page: str) -> Response:
    flash = Flash("good", said)
    try:
        await act
    except (UnknownWebhook, WebhookError) as error:
        flash = Flash("bad", f"{humanize.sentence(str(error))}.")
    return back(request, flash, f"{base_path(request)}{page}")


_Act = Callable[[Scheduler, int, Actor], Awaitable[Any]]
_ACTIONS: dict[str, tuple[_Act, str]] = {
    "test": (webhooks.test, "A worker sends a message of the type run.test."),
    "disable": (webhooks.disable, "It is off: what waited for it is given up."),
    "enable": (webhooks.enable, "It is on: it hears of runs that end from now on."),
    "delete": (webhooks.remove, "It is removed."),
}


@router.post("/webhooks/{key}/{action}")
async def press(
    request: Request, principal: Admin, scheduler: SchedulerOf, key: str, action: str
) -> Response:
    """Test a webhook, turn it off or on, remove it."""
    if action not in _ACTIONS:
        raise Problem(404, "No such page", "The address is not one of a page.")
    number, (act, said) = _number(key), _ACTIONS[action]
    page = "/webhooks" if action == "delete" else f"/webhooks/{number}"
    return await _done(request, act(scheduler, number, actor(request, principal)), said, page)
