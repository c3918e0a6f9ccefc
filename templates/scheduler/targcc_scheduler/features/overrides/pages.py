"""Dashboard pages of overrides: preview, save, reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from ...core import humanize
from ...core.errors import UnknownQueue
from ...core.identity import Principal, Role
from ...core.languages import gettext, ngettext
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.overrides import FIELDS
from ...scheduler import Scheduler
from ...web.authentication import actor
from ...web.dashboard.common import SchedulerOf, find_job, local_time
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render
from ...web.problems import Problem
from . import actions
from .actions import Wish

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]


@router.get("/jobs/{name}/override")
async def override_page(
    request: Request, principal: Operator, scheduler: SchedulerOf, name: str
) -> Response:
    """What an override would do."""
    job, params = _job(scheduler, name), dict(request.query_params)
    seen, error = None, ""
    try:
        seen = actions.preview(scheduler, job, _wish(params))
    except (ValueError, UnknownQueue) as problem:
        error = f"{humanize.sentence(str(problem))}."
    return render(
        request, "oncall/override.html", principal, job=job, seen=seen, error=error, asked=params
    )


@router.post("/jobs/{name}/override")
async def save_override(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Let other values hold than the code's."""
    form = {key: value for key, value in (await request.form()).items() if isinstance(value, str)}
    try:
        job = _job(scheduler, name)
        await actions.override(scheduler, job, _wish(form), actor(request, principal))
    except (ValueError, UnknownQueue) as problem:
        flash = Flash("bad", f"{humanize.sentence(str(problem))}.")
    else:
        flash = Flash(
            "good",
            gettext(
                "The change takes effect on all servers in a moment and stays through deploys."
            ),
        )
    return back(request, flash, _page(request, name))


@router.post("/jobs/{name}/override/reset")
async def reset_override(
    request: Request, name: str, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Let the code's values hold again: of one option, or of all."""
    field = (await request.form()).get("field")
    fields = [field] if isinstance(field, str) and field else []
    try:
        job = _job(scheduler, name)
        gone = await actions.reset(scheduler, job, fields, actor(request, principal))
    except ValueError as problem:
        flash = Flash("bad", f"{humanize.sentence(str(problem))}.")
    else:
        named = humanize.listed(gone)
        flash = Flash(
            "good",
            (
                ngettext(
                    "Reset to the value in the code: %(named)s.",
                    "Reset to the values in the code: %(named)s.",
                    len(gone),
                    named=named,
                )
                if gone
                else gettext("There was nothing to reset.")
            ),
        )
    return back(request, flash, _page(request, name))


def _job(scheduler: Scheduler, name: str) -> JobDefinition:
    job, _ = find_job(scheduler, name)
    if job is None:
        raise Problem(404, "No such job", f"There is no job {name} in the code.")
    return job


def _wish(form: Mapping[str, str]) -> Wish:
    """Read the wanted override from a form. An empty input leaves its option unchanged."""
    values = {name: form[name].strip() for name in FIELDS if form.get(name, "").strip()}
    until = form.get("until", "").strip()
    return Wish(values, form.get("reason", ""), local_time(until) if until else None)


def _page(request: Request, name: str) -> str:
    return f"{base_path(request)}/jobs/{quote(name, safe='')}"
