"""Dashboard pages of webhooks and their messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from ...core import humanize
from ...core.actor import Actor
from ...core.errors import UnknownWebhook, WebhookError
from ...core.identity import Principal, Role
from ...core.languages import gettext, marked
from ...core.states import RunState
from ...scheduler import Scheduler
from ...web.authentication import actor
from ...web.dashboard import rendering
from ...web.dashboard.common import SchedulerOf, id_of
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render
from ...web.problems import Problem
from . import actions, model
from .actions import NewWebhook

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
    hooks = await scheduler.read(model.webhooks)
    values: dict[str, Any] = {"made": None, "typed": {}, "error": "", **more}
    return render(
        request,
        "live/webhooks.html",
        principal,
        hooks=hooks,
        events=model.EVENTS,
        state_of=humanize.webhook_state,
        named=_named,
        **values,
    )


@router.post("/webhooks")
async def create_webhook(request: Request, principal: Admin, scheduler: SchedulerOf) -> Response:
    """Make a webhook; the answer shows its secret, which is not shown again."""
    form = await request.form()
    url, jobs = str(form.get("url") or "").strip(), str(form.get("jobs") or "").strip()
    events = [str(event) for event in form.getlist("events")]
    made: NewWebhook | None = None
    error = ""
    try:
        made = await actions.create(scheduler, url, events, [jobs], actor(request, principal))
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
    hook = await scheduler.read(lambda db: model.find(db, number))
    if hook is None:
        raise Problem(404, "No such webhook", gettext("Webhook %(id)s does not exist.", id=key))
    messages = await scheduler.read(lambda db: model.deliveries(db, number, _MESSAGES))
    return render(
        request,
        "live/webhook.html",
        principal,
        hook=hook,
        deliveries=messages,
        state_of=humanize.webhook_state,
        named=_named,
        delivery_words=rendering.DELIVERIES,
    )


def _named(events: Iterable[str]) -> str:
    """Name the events of a webhook, or ``all``."""
    return ", ".join(humanize.STATE_WORDS[RunState(event)] for event in events) or gettext("all")


def _number(key: str) -> int:
    number = id_of(key)
    if number is None:
        raise Problem(404, "No such page", "There is no page at this address.")
    return number


@router.post("/webhooks/{key}/redeliver/{message}")
async def redeliver(
    request: Request, principal: Admin, scheduler: SchedulerOf, key: str, message: str
) -> Response:
    """Send a message again."""
    number, which = _number(key), _number(message)
    act = actions.redeliver(scheduler, number, which, actor(request, principal))
    return await _done(
        request, act, gettext("Message %(id)s will be sent again.", id=which), f"/webhooks/{number}"
    )


async def _done(request: Request, act: Awaitable[Any], message: str, page: str) -> Response:
    flash = Flash("good", message)
    try:
        await act
    except (UnknownWebhook, WebhookError) as error:
        flash = Flash("bad", f"{humanize.sentence(str(error))}.")
    return back(request, flash, f"{base_path(request)}{page}")


_Act = Callable[[Scheduler, int, Actor], Awaitable[Any]]
_ACTIONS: dict[str, tuple[_Act, str]] = {
    "test": (actions.test, marked("A worker sends the test event run.test.")),
    "disable": (
        actions.disable,
        marked("The webhook is disabled. Waiting messages are discarded."),
    ),
    "enable": (actions.enable, marked("The webhook is enabled for runs that end from now on.")),
    "delete": (actions.remove, marked("The webhook is deleted.")),
}


@router.post("/webhooks/{key}/{action}")
async def press(
    request: Request, principal: Admin, scheduler: SchedulerOf, key: str, action: str
) -> Response:
    """Test a webhook, turn it off or on, remove it."""
    if action not in _ACTIONS:
        raise Problem(404, "No such page", "There is no page at this address.")
    number, (act, text) = _number(key), _ACTIONS[action]
    page = "/webhooks" if action == "delete" else f"/webhooks/{number}"
    return await _done(
        request, act(scheduler, number, actor(request, principal)), gettext(text), page
    )
