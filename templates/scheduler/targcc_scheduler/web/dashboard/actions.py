"""Actions of the pages' buttons. Each action redirects to a page with a flash message, so that a reload repeats nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ... import operations
from ...core.actor import Actor
from ...core.errors import ArgumentsError, RunStateError, UnknownJob
from ...core.humanize import sentence
from ...core.identity import Principal, Role
from ...core.languages import gettext
from ...core.states import RunState
from ...project import current
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from ..authentication import actor
from ..file_transfer import as_arguments, parts_of, takes_files
from ..problems import Problem
from ..state import get_scheduler
from . import jobs
from .common import id_of
from .flash import Flash, back, base_path
from .jobs import show_job
from .page_route import PageRoute, page_needs

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Press:
    """A press of a button.

    Args:
        scheduler: Scheduler that carries the action out.
        by: Actor who pressed the button.
        key: Job, run, queue, node or release in the address.
        form: Text fields of the form.
        base: Path of the dashboard.
    """

    scheduler: Scheduler
    by: Actor
    key: str
    form: Mapping[str, str]
    base: str

    @property
    def run_id(self) -> int:
        """Return the run id in the address.

        Raises:
            Problem: the address holds no run id.
        """
        run_id = id_of(self.key)
        if run_id is None:
            raise Problem(404, "No such page", "There is no page at this address.")
        return run_id


async def _pause_job(press: Press) -> Flash:
    definition = press.scheduler.find(press.key)
    reason, until = press.form.get("reason", "").strip(), press.form.get("until", "").strip()
    await press.scheduler.pause(
        definition, by=press.by, reason=reason or None, until=_local_time(until)
    )
    return Flash(
        "good",
        gettext("%(job)s is paused; it can still be run by hand.", job=definition.display_name),
    )


async def _resume_job(press: Press) -> Flash:
    definition = press.scheduler.find(press.key)
    await press.scheduler.resume(definition, by=press.by)
    return Flash(
        "good",
        gettext("%(job)s is resumed and follows its schedule again.", job=definition.display_name),
    )


async def _retry_run(press: Press) -> Flash:
    run_id = press.run_id
    again = await press.scheduler.retry(run_id, by=press.by)
    if again.existing:
        done = gettext("Run %(id)s with the same unique key already exists.", id=again)
    elif again == run_id:
        done = gettext("Run %(id)s starts now.", id=run_id)
    else:
        done = gettext("Run %(id)s is retried as run %(again)s.", id=run_id, again=again)
    return Flash("good", done, f"{press.base}/runs/{again}", gettext("View run"))


async def _cancel_run(press: Press) -> Flash:
    run_id = press.run_id
    state = await press.scheduler.cancel(run_id, by=press.by)
    if state == RunState.RUNNING:
        return Flash("good", gettext("Run %(id)s was asked to stop.", id=run_id))
    return Flash("good", gettext("Run %(id)s is cancelled.", id=run_id))


async def _delete_run(press: Press) -> Flash:
    await press.scheduler.delete(press.run_id, by=press.by)
    return Flash(
        "good", gettext("Run %(id)s is deleted; its attempts stay in c_LoggedJob.", id=press.run_id)
    )


async def _pause_queue(press: Press) -> Flash:
    await press.scheduler.pause_queue(press.key, by=press.by)
    return Flash("good", gettext("The queue %(name)s is paused. Its runs wait.", name=press.key))


async def _resume_queue(press: Press) -> Flash:
    await press.scheduler.resume_queue(press.key, by=press.by)
    return Flash("good", gettext("The queue %(name)s is resumed.", name=press.key))


async def _fail_run(press: Press) -> Flash:
    await press.scheduler.operate(operations.fail, None, press.run_id, press.by)
    return Flash("good", gettext("Run %(id)s was marked as failed.", id=press.run_id))


async def _drain_server(press: Press) -> Flash:
    await press.scheduler.operate(operations.drain, None, press.key, press.by)
    return Flash("good", gettext("The server takes no new runs. Current runs continue."))


async def _resume_server(press: Press) -> Flash:
    await press.scheduler.operate(operations.resume_server, None, press.key, press.by)
    return Flash("good", gettext("The server takes runs again."))


async def _use_release(press: Press) -> Flash:
    chosen = await press.scheduler.operate(operations.use_release, None, press.key, press.by)
    return Flash(
        "good", gettext("The schedules of release %(release)s are in force.", release=chosen)
    )


async def _use_newest(press: Press) -> Flash:
    await press.scheduler.operate(operations.use_release, None, None, press.by)
    return Flash("good", gettext("The schedules of the newest release are in force."))


_ACTIONS: dict[str, tuple[Role, Callable[[Press], Awaitable[Flash]]]] = {
    "/jobs/{key}/pause": (Role.OPERATOR, _pause_job),
    "/jobs/{key}/resume": (Role.OPERATOR, _resume_job),
    "/runs/{key}/retry": (Role.OPERATOR, _retry_run),
    "/runs/{key}/cancel": (Role.OPERATOR, _cancel_run),
    "/runs/{key}/delete": (Role.ADMIN, _delete_run),
    "/queues/{key}/pause": (Role.OPERATOR, _pause_queue),
    "/queues/{key}/resume": (Role.OPERATOR, _resume_queue),
    "/runs/{key}/fail": (Role.OPERATOR, _fail_run),
    "/servers/{key}/drain": (Role.OPERATOR, _drain_server),
    "/servers/{key}/resume": (Role.OPERATOR, _resume_server),
    "/releases/{key}/use": (Role.OPERATOR, _use_release),
    "/releases/{key}/use-newest": (Role.OPERATOR, _use_newest),
}
"""Map each button's address to the required role and the action."""


def button(
    role: Role, action: Callable[[Press], Awaitable[Flash]]
) -> Callable[[Request, str], Awaitable[Response]]:
    """Return the endpoint of a button, a ``POST`` with the path parameter ``key``: the action needs ``role``."""

    async def press(request: Request, key: str) -> Response:
        principal = await page_needs(role)(request)
        scheduler, form = get_scheduler(request), await _form(request)
        pressed = Press(scheduler, actor(request, principal), key, form, base_path(request))
        try:
            flash = await action(pressed)
        except (LookupError, RunStateError, ValueError) as error:
            flash = Flash("bad", _sentence(str(error)))
        return back(request, flash, form.get("next", ""))

    return press


for _path, (_role, _action) in _ACTIONS.items():
    router.add_api_route(_path, button(_role, _action), methods=["POST"])


@router.post("/jobs/{name}/run")
@takes_files
async def run_job(
    request: Request,
    name: str,
    principal: Annotated[Principal, Depends(page_needs(Role.OPERATOR))],
    scheduler: Annotated[Scheduler, Depends(get_scheduler)],
) -> Response:
    """Run a job now, with the arguments of the form; arguments that do not fit show the form again."""
    form, files = await parts_of(request)
    try:
        definition = scheduler.find(name)
        given = {name.removeprefix("arg-"): some for name, some in files.items()}
        arguments = jobs.values(definition, form) | as_arguments(definition, given)
        if like := id_of(form.get("like", "")):
            before = await scheduler.arguments_of(definition, like)
            kept = definition.signature.secrets | jobs.file_names(definition)
            arguments = {name: value for name, value in before.items() if name in kept} | arguments
        run_id = await scheduler.trigger(definition, arguments, by=actor(request, principal))
    except UnknownJob as error:
        raise Problem(404, "No such job", _sentence(str(error))) from None
    except (ArgumentsError, ValueError) as error:
        return await show_job(request, principal, scheduler, name, typed=form, error=str(error))
    page = f"{base_path(request)}/runs/{run_id}"
    flash = Flash(
        "good",
        (
            gettext("Run %(id)s with the same unique key already exists.", id=run_id)
            if run_id.existing
            else gettext("%(job)s started as run %(id)s.", job=definition.display_name, id=run_id)
        ),
        page,
        gettext("View run"),
    )
    return back(request, flash, page if form.get("next") == "run" else form.get("next", ""))


async def _form(request: Request) -> dict[str, str]:
    form = await request.form()
    return {key: value for key, value in form.items() if isinstance(value, str)}


def _local_time(text: str) -> datetime | None:
    """Parse the value of a ``datetime-local`` input in the project's zone; ``None`` for an empty value."""
    if not text:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=parse_zone(current().timezone))


def _sentence(text: str) -> str:
    return f"{sentence(text)}." if text and not text.endswith(".") else text
