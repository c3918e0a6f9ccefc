"""What the buttons do. Each one answers with a redirect to a page that says how it went, so that reloading repeats nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from ...core.actor import Actor
from ...core.errors import ArgumentsError, RunStateError, UnknownJob, UnknownRun
from ...project import current
from ...scheduler import Scheduler
from ...schedules import parse_zone
from ...security.roles import Principal, Role
from ..authentication import actor
from ..problems import Problem
from ..state import get_scheduler
from . import forms
from .flash import Flash, back, base_path
from .page_route import PageRoute, page_needs
from .pages.jobs import show_job

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(page_needs(Role.ADMIN))]
SchedulerOf = Annotated[Scheduler, Depends(get_scheduler)]


async def _field(request: Request, name: str) -> str:
    value = (await request.form()).get(name, "")
    return value.strip() if isinstance(value, str) else ""


async def _answer(
    request: Request, action: Callable[[Actor], Awaitable[Flash]], principal: Principal
) -> Response:
    """Do it, and go back to where the button was with what happened."""
    try:
        flash = await action(actor(request, principal))
    except (UnknownJob, UnknownRun, RunStateError, ValueError) as error:
        flash = Flash("bad", _sentence(str(error)))
    return back(request, flash, await _field(request, "next"))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text


@router.post("/jobs/{name}/run")
async def run_job(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Run a job now, with the arguments of the form."""
    form = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    try:
        definition = scheduler.find(name)
        arguments = forms.values(definition, form)
        run_id = await scheduler.trigger(definition, arguments, by=actor(request, principal))
    except UnknownJob as error:
        raise Problem(404, "No such job", _sentence(str(error))) from None
    except (ArgumentsError, ValueError) as error:
        return await show_job(request, principal, scheduler, name, typed=form, error=str(error))
    page = f"{base_path(request)}/runs/{run_id}"
    flash = Flash("good", f"{definition.display_name} started as run {run_id}.", page, "Watch it")
    return back(request, flash, page if form.get("next") == "run" else form.get("next", ""))


@router.post("/jobs/{name}/pause")
async def pause_job(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Pause a job, perhaps with a reason and until a time."""
    reason, until = await _field(request, "reason"), await _field(request, "until")

    async def action(by: Actor) -> Flash:
        definition = scheduler.find(name)
        await scheduler.pause(definition, by=by, reason=reason or None, until=_local_time(until))
        return Flash("good", f"{definition.display_name} is paused; it can still be run by hand.")

    return await _answer(request, action, principal)


def _local_time(text: str) -> datetime | None:
    """What a ``datetime-local`` input holds, in the project's zone."""
    if not text:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=parse_zone(current().timezone))


@router.post("/jobs/{name}/resume")
async def resume_job(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Let a job run by its schedule again."""

    async def action(by: Actor) -> Flash:
        definition = scheduler.find(name)
        await scheduler.resume(definition, by=by)
        return Flash("good", f"{definition.display_name} runs by its schedule again.")

    return await _answer(request, action, principal)


@router.post("/runs/{run_id}/retry")
async def retry_run(
    request: Request, run_id: int, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Do a run again."""

    async def action(by: Actor) -> Flash:
        again = await scheduler.retry(run_id, by=by)
        page = f"{base_path(request)}/runs/{quote(str(again))}"
        said = (
            f"Run {run_id} starts now."
            if again == run_id
            else f"Run {run_id} is done again as run {again}."
        )
        return Flash("good", said, page, "Watch it")

    return await _answer(request, action, principal)


@router.post("/runs/{run_id}/cancel")
async def cancel_run(
    request: Request, run_id: int, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Stop a run."""

    async def action(by: Actor) -> Flash:
        state = await scheduler.cancel(run_id, by=by)
        done = "has been told to stop" if state == "running" else "is cancelled"
        return Flash("good", f"Run {run_id} {done}.")

    return await _answer(request, action, principal)


@router.post("/runs/{run_id}/delete")
async def delete_run(
    request: Request, run_id: int, principal: Admin, scheduler: SchedulerOf
) -> Response:
    """Remove a run."""

    async def action(by: Actor) -> Flash:
        await scheduler.delete(run_id, by=by)
        return Flash("good", f"Run {run_id} is deleted; its attempts stay in c_LoggedJob.")

    return await _answer(request, action, principal)


@router.post("/queues/{name}/pause")
async def pause_queue(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Let no worker take runs from a queue."""

    async def action(by: Actor) -> Flash:
        await scheduler.pause_queue(name, by=by)
        return Flash("good", f"The queue {name} is paused; runs wait in it.")

    return await _answer(request, action, principal)


@router.post("/queues/{name}/resume")
async def resume_queue(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Let workers take runs from a queue again."""

    async def action(by: Actor) -> Flash:
        await scheduler.resume_queue(name, by=by)
        return Flash("good", f"The queue {name} goes on.")

    return await _answer(request, action, principal)
