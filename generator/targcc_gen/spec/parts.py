"""The parts of a spec besides its jobs: the project, queues, defaults; what jobs say of missed slots and alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, field_validator

from targcc_gen.spec import rules
from targcc_gen.spec.calendars.values import CalendarNames, OnHoliday
from targcc_gen.spec.times import Aging, Duration, TimeLimit, Zone
from targcc_gen.spec.value_errors import problem
from targcc_gen.spec.values import (
    AlertEvent,
    ChannelName,
    Distribution,
    Email,
    Folder,
    Package,
    QueueName,
    Text,
    Webhook,
    package_of,
    slower_than,
)

_THIRTY_SECONDS = timedelta(seconds=30)


class Frozen(BaseModel):
    """A part of a spec; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectSpec(Frozen):
    """The project as a whole."""

    name: Distribution = Field(
        description="The project's name, and its distribution's: `acme-jobs`."
    )
    package: Package = Field(
        default_factory=lambda project: package_of(project["name"]),
        validate_default=True,
        description="The import name, `acme_jobs`; by default the name with `_` for `-`.",
    )
    timezone: Zone = Field(
        default="UTC",
        description="The zone in which schedules are read, unless a job names another.",
    )
    description: Text = Field(
        default="", description="One sentence for the README and the dashboard."
    )
    inside: Folder | None = Field(
        default=None,
        description=(
            "Set by `targcc-gen patch`: the scheduler lives inside an app that was there before, and its package is in"
            " this folder (`src`, or `.`). Only the scheduler, the services and the jobs are generated."
        ),
    )


class QueueSpec(Frozen):
    """A queue: jobs in it wait for one of its workers."""

    workers: StrictInt = Field(
        default=5,
        ge=1,
        le=1000,
        description="How many runs of this queue go on at once on each node.",
    )
    pool: QueueName | None = Field(
        default=None,
        description="The pool, one of `pools`, whose workers it shares with other queues instead of having its own.",
    )
    weight: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Its share of the starts in a weighted pool; by default 1.",
    )
    aging: Aging | None = Field(
        default=None,
        description="Each such time that a run waits counts as one point of priority; by default waiting counts for nothing.",
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="At most so many runs of this queue at once on all nodes; no limit by default.",
    )
    isolation: Literal["thread", "process"] = Field(
        default="thread",
        description="`process` runs each of its jobs in a process of its own, unless the job says `thread`.",
    )
    calendar: CalendarNames | None = Field(
        default=None,
        description="Calendars that hold all its jobs, besides their own: while one is closed, none starts by itself.",
    )
    on_holiday: OnHoliday | None = Field(
        default=None,
        description="What becomes of a slot then, for jobs that do not say; by default `skip`.",
    )


class DefaultsSpec(Frozen):
    """What a job gets when it says nothing else."""

    retries: StrictInt = Field(
        default=3, ge=0, le=100, description="New attempts after a failed one."
    )
    backoff: Duration = Field(
        default=_THIRTY_SECONDS,
        description="The wait before the first new attempt; it doubles each time, with some jitter.",
    )
    timeout: Duration | None = Field(
        default=None,
        description="How long an attempt may take before it is stopped; no limit by default.",
    )
    queue: QueueName = Field(default="default", description="The queue of jobs that name none.")


class MisfireSpec(Frozen):
    """What happens to slots that passed while nothing was running."""

    policy: Literal["run_once", "skip", "run_all"] = Field(
        default="run_once",
        description="`run_once`: one run makes up for all of them; `skip`: none; `run_all`: one run for each.",
    )
    grace: TimeLimit | None = Field(
        default=None,
        description="Slots older than this are recorded as missed and not run; `none` is no limit. By default a day.",
    )


Mails = Annotated[tuple[Email, ...], Field(description="Mail addresses.")]
SlackHook = Annotated[Webhook | None, Field(description="A Slack incoming webhook.")]
TeamsHook = Annotated[Webhook | None, Field(description="A Microsoft Teams workflow webhook.")]
WebHook = Annotated[Webhook | None, Field(description="It gets each alert as JSON.")]
Others = Annotated[
    dict[ChannelName, Annotated[Text, Field(max_length=500)]],
    Field(
        description="By channels of your own, `channels` of the project's `alerts`: the target of each."
    ),
]
OnCall = Annotated[StrictBool, Field(description="Whoever is on call then, too.")]


class AlertsSpec(Frozen):
    """Who is told about this job, and when. A webhook's address may be a reference: `${SLACK_URL}`, `file:/run/secrets/slack`."""

    on: Annotated[tuple[AlertEvent, ...], Field(min_length=1)] = Field(
        default=("failure",),
        description='What is worth telling: `failure`, `success`, `missed`, `"slower than 5m"`.',
    )
    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    max_per_hour: StrictInt | None = Field(
        default=None, ge=1, le=10_000, description="At most so many alerts an hour for this job."
    )
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False
    urgent: StrictBool | None = Field(
        default=None,
        description="Whether they go through quiet hours and are escalated; by default as the project's `alerts` says.",
    )

    @property
    def slower_than(self) -> timedelta | None:
        """The limit in `slower than 5m`, if there is one."""
        return slower_than(self.on)

    @field_validator("email")
    @classmethod
    def _fits(cls, email: tuple[str, ...]) -> tuple[str, ...]:
        if len(",".join(email)) > rules.MAX_RECIPIENTS:
            raise problem(
                f"the addresses are longer than {rules.MAX_RECIPIENTS} characters together",
                hint="use a mailing list",
            )
        return email


MODELS: dict[str, type[Frozen]] = {
    "project": ProjectSpec,
    "queue": QueueSpec,
    "defaults": DefaultsSpec,
    "alerts": AlertsSpec,
    "misfire": MisfireSpec,
}
"""The kinds of mapping that stand in a spec."""
