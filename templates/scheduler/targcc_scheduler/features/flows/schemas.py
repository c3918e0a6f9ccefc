"""Flows, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ...web.api.schema import Schema
from .graph import StepState
from .queries import Flow


class FlowStepOut(Schema):
    """A step of a flow."""

    name: str
    job: str
    after: list[str]
    on: str
    state: StepState
    why: str = Field(description="Reason for a step without runs, or for a failure without a run.")
    runs: dict[str, int] = Field(description="Number of the step's runs in each state.")
    last_run: int | None


class FlowOut(Schema):
    """A flow and its steps. In a list of flows, `runs` of the steps is empty."""

    id: int
    name: str
    state: StepState
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    cancelled_by: str | None
    arguments: dict[str, Any]
    steps: list[FlowStepOut]


class FlowIn(BaseModel):
    """A flow to start."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "MonthEnd", "arguments": {"month": "2026-10"}}},
    )

    name: str = Field(description="Name of the flow in targcc.yaml.")
    arguments: dict[str, Any] = Field(
        default={},
        description="Arguments of the flow. Omitted arguments have their default values.",
    )


class RerunIn(BaseModel):
    """Starting point of a rerun."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"from_step": "load"}})

    from_step: str | None = Field(
        default=None,
        description="Rerun this step and all later steps; null: rerun the failed steps.",
    )


def flow_out(flow: Flow) -> FlowOut:
    """A flow as the API shows it."""
    steps = [
        FlowStepOut(**{**vars(step), "after": list(step.after), "runs": dict(step.runs)})
        for step in flow.steps
    ]
    return FlowOut(**{**vars(flow), "arguments": dict(flow.arguments), "steps": steps})
