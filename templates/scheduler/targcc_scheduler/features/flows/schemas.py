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
    why: str = Field(description="Why it has no runs, or failed without one.")
    runs: dict[str, int] = Field(description="How many of its runs are in each state.")
    last_run: int | None


class FlowOut(Schema):
    """A flow and its steps; `runs` are counted for one flow, not in a list."""

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
    """A flow that is to begin."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "MonthEnd", "arguments": {"month": "2026-10"}}},
    )

    name: str = Field(description="What targcc.yaml calls it.")
    arguments: dict[str, Any] = Field(default={}, description="Besides their defaults.")


class RerunIn(BaseModel):
    """From where on a flow is done again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"from_step": "load"}})

    from_step: str | None = Field(
        default=None, description="This step and all after it; null is what failed."
    )


def flow_out(flow: Flow) -> FlowOut:
    """A flow as the API shows it."""
    steps = [
        FlowStepOut(**{**vars(one), "after": list(one.after), "runs": dict(one.runs)})
        for one in flow.steps
    ]
    return FlowOut(**{**vars(flow), "arguments": dict(flow.arguments), "steps": steps})
