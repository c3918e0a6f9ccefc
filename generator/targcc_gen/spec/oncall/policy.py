"""`alerts` and `oncall` of a project."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool

from targcc_gen.spec.parts import Frozen, Mails, OnCall, Others, SlackHook, TeamsHook, WebHook
from targcc_gen.spec.times import Duration, TimeOfDay, Zone
from targcc_gen.spec.values import ChannelName, ChannelPlace, Email, Title

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
AlertKind = Literal["failure", "success", "missed", "slow", "unknown", "late", "node", "recovered"]

Days = Annotated[
    tuple[Weekday, ...],
    Field(description="`mon`, `tue`, …: the days on which they begin; by default every day."),
]


class QuietSpec(Frozen):
    """Quiet hours: alerts that are not urgent wait for their end, and come in one message. Without channels and addresses they are everybody's."""

    start: TimeOfDay = Field(description="When they begin.")
    end: TimeOfDay = Field(description="When they end; on the next day, if that is earlier.")
    days: Days = ()
    timezone: Zone | None = Field(
        default=None, description="Their zone; by default that of `alerts`."
    )
    channels: tuple[ChannelName, ...] = Field(
        default=(), description="`email`, `slack`, `teams`, `webhook`, or channels of your own."
    )
    email: tuple[Email, ...] = Field(default=(), description="Whose quiet hours they are.")


class DigestSpec(Frozen):
    """One message a day: what needs a person, what happened since the last one, what comes next."""

    at: TimeOfDay = Field(description="When it goes out.")
    days: Days = ()
    timezone: Zone | None = Field(
        default=None, description="Its zone; by default that of `alerts`."
    )
    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False


class StepSpec(Frozen):
    """A step of the escalation: who is told when nobody has acknowledged an alert, or taken it, for so long."""

    after: Duration = Field(description="How long after the first alert.")
    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False


class AlertingSpec(Frozen):
    """What holds for alerts of all jobs. Recipients that stand here hear of jobs that name nobody."""

    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False
    timezone: Zone | None = Field(
        default=None, description="The zone of times in messages; by default the project's."
    )
    recovered: StrictBool = Field(
        default=True,
        description="Whether people who were told of a failure are told that it is well again.",
    )
    urgent: tuple[AlertKind, ...] = Field(
        default=("failure", "unknown", "late", "node"),
        description="What goes through quiet hours and is escalated, unless a job says it with `urgent`.",
    )
    quiet: tuple[QuietSpec, ...] = Field(default=(), description="Quiet hours.")
    digest: DigestSpec | None = Field(default=None, description="A message each morning.")
    escalation: tuple[StepSpec, ...] = Field(
        default=(), description="Who is told next, step by step."
    )
    channels: dict[ChannelName, ChannelPlace] = Field(
        default_factory=dict,
        description='Channels of your own: `module:name` of a class by the name that `other` calls it, `ntfy: "acme_jobs.ntfy:NtfyChannel"`.',
    )


class PersonSpec(Frozen):
    """A person who can be on call, and how to reach them."""

    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)


class ShiftSpec(Frozen):
    """A line of the rota. What it does not say is every day, all day."""

    who: Title = Field(description="A name among `people`.")
    days: Days = ()
    start: TimeOfDay = Field(default="00:00", description="When it begins.")
    end: TimeOfDay = Field(
        default="00:00", description="When it ends; on the next day, if that is not later."
    )


class OnCallSpec(Frozen):
    """Who is on call: the first line of the rota that holds decides. `oncall: true` in `alerts` tells that person."""

    timezone: Zone | None = Field(
        default=None, description="The zone of the rota; by default the project's."
    )
    people: dict[Title, PersonSpec] = Field(default_factory=dict, description="People by name.")
    rota: tuple[ShiftSpec, ...] = Field(default=(), description="Who is on call when.")


MODELS: dict[str, type[BaseModel]] = {
    "project alerts": AlertingSpec,
    "quiet": QuietSpec,
    "digest": DigestSpec,
    "step": StepSpec,
    "oncall": OnCallSpec,
    "person": PersonSpec,
    "shift": ShiftSpec,
}
"""The kinds of mappings in these sections."""
