"""Pages of flows, with a diagram of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from markupsafe import Markup, escape

from ...core import humanize
from ...core.errors import RunStateError, UnknownFlow
from ...core.identity import Principal, Role
from ...core.languages import gettext
from ...core.states import RunState
from ...scheduler import Scheduler
from ...web.authentication import actor, require_job
from ...web.dashboard.charts import drawn, joined
from ...web.dashboard.common import Every, SchedulerOf, Viewer, id_of, reloading
from ...web.dashboard.flash import Flash, back, base_path
from ...web.dashboard.page_route import PageRoute, page_needs
from ...web.dashboard.rendering import render
from ..batches.pages import no_such_flow
from . import queries
from .graph import StepState
from .queries import Flow, FlowStep

# The diagram of a flow as SVG: steps from top to bottom, each below its earlier steps.

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 150, 44, 16, 30
_LONGEST = 20
"""Limit of characters in a displayed name."""


def picture(flow: Flow) -> Markup:
    """Return the flow's diagram as SVG. The page's table has the same content."""
    rows = _rows(flow.steps)
    across = max(len(row) for row in rows)
    width = across * (_WIDTH + _GAP_X) - _GAP_X
    height = len(rows) * (_HEIGHT + _GAP_Y) - _GAP_Y
    places = {
        step.name: ((width - len(row) * (_WIDTH + _GAP_X) + _GAP_X) / 2 + n * (_WIDTH + _GAP_X), y)
        for y, row in ((index * (_HEIGHT + _GAP_Y), row) for index, row in enumerate(rows))
        for n, step in enumerate(row)
    }
    lines = [
        _line(places[dependency], places[step.name])
        for step in flow.steps
        for dependency in step.after
    ]
    boxes = [_box(step, *places[step.name]) for step in flow.steps]
    description = ", ".join(f"{step.name} {step_word(step)}" for step in flow.steps)
    return Markup(
        '<svg class="flow" role="img" aria-labelledby="flow-title flow-desc" viewBox="-1 -1 {} {}" width="{}">'
        '<title id="flow-title">{}</title><desc id="flow-desc">{}</desc>{}{}</svg>'
    ).format(
        width + 2,
        height + 2,
        width + 2,
        gettext("Steps of the flow %(name)s", name=flow.name),
        description,
        joined(lines),
        joined(boxes),
    )


def state_word(state: str) -> str:
    """Return the word for a step's state in the reader's language."""
    if state == "waiting":
        return gettext("waiting")
    return next(word for key, word in humanize.STATE_WORDS.items() if key == state)


def step_word(step: FlowStep) -> str:
    """Return a step's state in words; a failed step of several runs names the number of failed runs."""
    runs, failed = sum(step.runs.values()), step.runs.get(RunState.FAILED, 0)
    if step.state != StepState.FAILED or runs < 2 or not failed:  # noqa: PLR2004 - several
        return state_word(step.state)
    return gettext("%(number)s of %(total)s failed", number=failed, total=runs)


def _rows(steps: Sequence[FlowStep]) -> list[list[FlowStep]]:
    """Group the steps into rows by the length of the longest path to the step."""
    depth: dict[str, int] = {}
    for step in steps:  # in topological order
        depth[step.name] = max((depth[dependency] + 1 for dependency in step.after), default=0)
    return [
        [step for step in steps if depth[step.name] == row]
        for row in range(max(depth.values()) + 1)
    ]


def _line(above: tuple[float, float], below: tuple[float, float]) -> Markup:
    x1, y1 = above[0] + _WIDTH / 2, above[1] + _HEIGHT
    x2, y2 = below[0] + _WIDTH / 2, below[1]
    middle = (y1 + y2) / 2
    return drawn(
        f'<path class="flow-line" d="M{x1:.1f} {y1:.1f} C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"/>'
    )


def _box(step: FlowStep, x: float, y: float) -> Markup:
    name = step.name if len(step.name) <= _LONGEST else step.name[: _LONGEST - 1] + "…"
    runs = sum(step.runs.values())
    word = step_word(step)
    label = f"{word} ({runs})" if runs > 1 and step.state != StepState.FAILED else word
    return drawn(
        f'<g class="flow-step"><rect class="flow-box" x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<rect class="k-{step.state}" x="{x:.1f}" y="{y:.1f}" width="6" height="{_HEIGHT}" rx="3"/>'
        f'<text x="{x + 16:.1f}" y="{y + 19:.1f}">{escape(name)}</text>'
        f'<text class="flow-state" x="{x + 16:.1f}" y="{y + 35:.1f}">{escape(label)}</text></g>'
    )


# Pages and buttons of flows.

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Operator = Annotated[Principal, Depends(page_needs(Role.OPERATOR))]


@router.get("/flows")
async def flows_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, before: str = ""
) -> Response:
    """The last flows."""
    flows = await scheduler.read(lambda db: queries.list_flows(db, before=id_of(before)))
    return render(request, "flows/flows.html", principal, flows=flows, state_word=state_word)


@router.get("/flows/{flow_id}")
async def flow_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, flow_id: int, every: Every = 0
) -> Response:
    """One flow."""
    flow = await _found(scheduler, flow_id)
    page = render(
        request,
        "flows/flow.html",
        principal,
        flow=flow,
        picture=picture(flow),
        state_word=state_word,
        step_word=step_word,
        every=every,
    )
    return reloading(page, 0 if flow.final else every)


@router.post("/flows/{flow_id}/cancel")
async def cancel(
    flow_id: int, request: Request, principal: Operator, scheduler: SchedulerOf
) -> Response:
    """Cancel a flow."""
    require_job(principal, Role.OPERATOR, (await _found(scheduler, flow_id)).name)
    try:
        await scheduler.cancel_flow(flow_id, by=actor(request, principal))
        flash = Flash("good", gettext("Flow %(id)s is cancelled.", id=flow_id))
    except (UnknownFlow, RunStateError) as error:
        flash = Flash("bad", f"{error}.")
    return back(request, flash, f"{base_path(request)}/flows/{flow_id}")


@router.post("/flows/{flow_id}/rerun")
async def rerun(
    flow_id: int, request: Request, principal: Operator, scheduler: SchedulerOf, step: str = ""
) -> Response:
    """Do a flow again, from a step on."""
    require_job(principal, Role.OPERATOR, (await _found(scheduler, flow_id)).name)
    try:
        await scheduler.rerun_flow(flow_id, step or None, by=actor(request, principal))
        flash = Flash("good", gettext("Flow %(id)s continues.", id=flow_id))
    except (UnknownFlow, RunStateError) as error:
        flash = Flash("bad", f"{error}.")
    return back(request, flash, f"{base_path(request)}/flows/{flow_id}")


async def _found(scheduler: Scheduler, flow_id: int) -> queries.Flow:
    flow = await scheduler.read(lambda db: queries.get_flow(db, flow_id))
    if flow is None:
        raise no_such_flow(flow_id)
    return flow
