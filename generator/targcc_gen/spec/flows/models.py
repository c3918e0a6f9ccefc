"""A flow as a frozen model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from targcc_gen.spec.calendars.values import CalendarNames, OnHoliday
from targcc_gen.spec.parts import Frozen, MisfireSpec
from targcc_gen.spec.ties.values import UniqueBy
from targcc_gen.spec.times import Cron, Instant, Interval, Zone
from targcc_gen.spec.value_errors import problem
from targcc_gen.spec.values import JobKey, QueueName, Text, Title

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise problem("after is a step, or a list of steps", hint="for example [import]")


StepNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class FlowStepSpec(Frozen):
    """A step: a job of this file, and when it goes."""

    job: JobKey = Field(description="The job that it runs.")
    after: StepNames = Field(
        default=(), description="The steps that must be over before; without it, it begins at once."
    )
    on: Literal["success", "failure", "finish"] = Field(
        default="success",
        description="How they must have ended: none has failed (`success`), one has (`failure`), or anyhow (`finish`).",
    )
    when: Text | None = Field(
        default=None,
        description="A condition on what earlier steps gave, or the step is skipped: `import.count > 0`.",
    )
    for_each: Text | None = Field(
        default=None,
        description="A list: the step has a run for each of its items: `import.files`.",
    )
    arguments: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict,
        description='What the runs get; texts are filled in: `"{item}"`, `"{import.day}"`, `"{flow.month}"`.',
    )


class FlowSpec(Frozen):
    """A flow. It has at most one of `cron`, `every` and `at`; without any it is started by hand, by code or by the API."""

    cron: Cron | None = Field(
        default=None, description="When it begins: a cron expression in quotes."
    )
    every: Interval | None = Field(
        default=None, description="It begins again and again with this interval."
    )
    at: Instant | None = Field(default=None, description="It begins once, at this date and time.")
    timezone: Zone | None = Field(
        default=None, description="The zone in which the schedule is read."
    )
    display_name: Title | None = Field(default=None, description="The name people see.")
    description: Text = Field(default="", description="What it is for.")
    queue: QueueName | None = Field(
        default=None,
        description="The queue in which its start waits; steps wait in those of their jobs.",
    )
    overlap: Literal["skip", "allow"] | None = Field(
        default=None,
        description="When its slot comes while it is under way: `skip` it (by default), or `allow` two at a time.",
    )
    unique: UniqueBy | None = Field(
        default=None,
        description="It is not started while one with the same of these arguments waits or is under way: a name, a list of names, or `true` for all.",
    )
    misfire: MisfireSpec | None = Field(
        default=None, description="What happens to slots that passed while nothing was running."
    )
    calendar: CalendarNames | None = Field(
        default=None,
        description="While one of these calendars is closed, it does not begin by itself.",
    )
    on_holiday: OnHoliday | None = Field(default=None, description="What becomes of a slot then.")
    paused: StrictBool = Field(default=False, description="Whether it starts out paused.")
    arguments: dict[str, Scalar] = Field(
        default_factory=dict,
        description="What it is started with, by name, with default values; `flow.month` asks for one.",
    )
    steps: dict[str, FlowStepSpec] = Field(description="Its steps by name.")


MODELS: dict[str, type[BaseModel]] = {"flow": FlowSpec, "flow step": FlowStepSpec}
"""The kinds of mappings that a flow has, by the names that findings give them."""
