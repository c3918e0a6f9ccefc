"""The flows of a project, as the scheduler takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from targcc_gen.render.job.decorator import instant

if TYPE_CHECKING:
    from targcc_gen.spec import Spec
    from targcc_gen.spec.flows.models import FlowSpec, FlowStepSpec


def flows_of(spec: Spec) -> dict[str, dict[str, Any]]:
    """What `Project` is told of the flows."""
    return {name: _flow(spec, flow) for name, flow in spec.flows.items()}


def _flow(spec: Spec, flow: FlowSpec) -> dict[str, Any]:
    from targcc_gen.spec import format_duration

    misfire = flow.misfire
    values = {
        "cron": flow.cron,
        "every": flow.every and format_duration(flow.every),
        "at": flow.at and instant(flow.at),
        "timezone": flow.timezone,
        "display_name": flow.display_name,
        "description": flow.description,
        "queue": flow.queue,
        "overlap": flow.overlap,
        "unique": flow.unique,
        "misfire": misfire.policy if misfire and misfire.policy != "run_once" else None,
        "misfire_grace": format_duration(misfire.grace) if misfire and misfire.grace else None,
        "calendar": flow.calendar,
        "on_holiday": flow.on_holiday,
        "paused": flow.paused,
        "arguments": flow.arguments,
        "steps": {name: _step(spec, step) for name, step in flow.steps.items()},
    }
    return {key: value for key, value in values.items() if value}


def _step(spec: Spec, step: FlowStepSpec) -> dict[str, Any]:
    values = {**dict(step), "job": spec.stable_name(step.job)}
    if step.on == "success":
        values["on"] = ""
    return {key: value for key, value in values.items() if value}
