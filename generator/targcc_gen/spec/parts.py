"""Parts of the spec beside jobs: project, queues, defaults, pools, calendars, alerts, environments."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, field_validator

from targcc_gen.spec import rules
from targcc_gen.spec.errors import problem
from targcc_gen.spec.params import ParamName
from targcc_gen.spec.times import Aging, Duration, TimeLimit, TimeOfDay, Zone
from targcc_gen.spec.values import (
    AlertEvent,
    Blackouts,
    CalendarFile,
    CalendarNames,
    ChannelName,
    ChannelPlace,
    Dates,
    DaysOff,
    Distribution,
    Email,
    Folder,
    JobKey,
    OnDuplicate,
    OnHoliday,
    Package,
    QueueName,
    Rate,
    Text,
    Title,
    UniqueScope,
    Webhook,
    package_of,
    slower_than,
)

# Project, queues, defaults, missed slots, alerts of a job.

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
        """Return the limit in `slower than 5m`; None without such an event."""
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
"""Models by kind of mapping, for the sections above."""


# Calendars.


class CalendarSpec(Frozen):
    """A calendar: when nothing starts by itself. Runs that people or code ask for start all the same."""

    description: Text = Field(default="", description="One sentence for people.")
    off: DaysOff = Field(
        default=(),
        description="Days off: `2026-09-21`, `2026-12-24 to 2027-01-02`, `12-25` (each year), `saturday`, `second tuesday`,"
        " `last friday of december`; a name may follow in parentheses.",
    )
    work: Dates = Field(
        default=(), description="Days of work, whatever `off`, `ics` and `include` say of them."
    )
    blackouts: Blackouts = Field(
        default=(),
        description='Times in which nothing starts, by the clock of each job: `"22:00-23:30"` each day, or'
        ' `"2026-12-24 18:00 to 2026-12-27 06:00"`.',
    )
    ics: CalendarFile | None = Field(
        default=None,
        description="An iCalendar file in the folder of the package: its events of whole days are days off, those with a"
        " time are blackouts.",
    )
    include: CalendarNames | None = Field(
        default=None, description="Other calendars: what closes one of them closes this one."
    )


# `alerts` and `oncall` of a project.

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


ALERTING_MODELS: dict[str, type[BaseModel]] = {
    "project alerts": AlertingSpec,
    "quiet": QuietSpec,
    "digest": DigestSpec,
    "step": StepSpec,
    "oncall": OnCallSpec,
    "person": PersonSpec,
    "shift": ShiftSpec,
}
"""Models by kind of mapping, for `alerts` and `oncall`."""


# Pools: workers shared by queues.


class PoolSpec(Frozen):
    """Workers that several queues share; a queue names its pool."""

    workers: StrictInt = Field(
        default=5,
        ge=1,
        le=1000,
        description="How many runs of all its queues together go on at once on each node.",
    )
    order: Literal["strict", "weighted"] = Field(
        default="weighted",
        description=(
            "`weighted`: of the queues in which runs wait, each starts runs in proportion to its `weight`; `strict`: a queue only"
            " while those before it in `queues` have none that can start."
        ),
    )


class EnvironmentPool(Frozen):
    """A pool in an environment; what is not said is as in `pools`."""

    workers: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="How many runs at once on each node."
    )
    order: Literal["strict", "weighted"] | None = Field(
        default=None, description="In which order its queues go."
    )


POOL_MODELS: dict[str, type[Frozen]] = {"pool": PoolSpec, "environment pool": EnvironmentPool}
"""Models by kind of mapping, for pools."""


# Environments: overrides for one environment, such as staging.


class EnvironmentQueue(Frozen):
    """A queue in an environment; what is not said is as in `queues`."""

    workers: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="How many of its runs go on at once on each node."
    )
    concurrency: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="At most so many runs at once on all nodes."
    )
    aging: Aging | None = Field(
        default=None, description="What time of waiting counts as one point of priority."
    )
    isolation: Literal["thread", "process"] | None = Field(
        default=None, description="Whether its jobs run in processes of their own."
    )


class EnvironmentDefaults(Frozen):
    """What a job gets in an environment when it says nothing else."""

    retries: StrictInt | None = Field(
        default=None, ge=0, le=100, description="New attempts after a failed one."
    )
    backoff: Duration | None = Field(
        default=None, description="The wait before the first new attempt."
    )
    timeout: Duration | None = Field(
        default=None, description="How long an attempt may take before it is stopped."
    )
    queue: QueueName | None = Field(default=None, description="The queue of jobs that name none.")


class EnvironmentJob(Frozen):
    """A job in an environment; what is said here counts more than what the job itself says."""

    queue: QueueName | None = Field(default=None, description="The queue it waits in.")
    priority: StrictInt | None = Field(
        default=None, ge=-1000, le=1000, description="In its queue, a higher priority goes first."
    )
    retries: StrictInt | None = Field(
        default=None, ge=0, le=100, description="New attempts after a failed one."
    )
    backoff: Duration | None = Field(
        default=None, description="The wait before the first new attempt."
    )
    timeout: TimeLimit | None = Field(
        default=None, description="How long an attempt may take, or `none`."
    )
    overlap: Literal["skip", "queue", "allow"] | None = Field(
        default=None, description="When a slot comes while the job still runs."
    )
    concurrency: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="At most so many of its runs on all nodes."
    )
    unique_scope: UniqueScope | None = Field(
        default=None, description="Of a job with `unique`: until when another run is a duplicate."
    )
    on_duplicate: OnDuplicate | None = Field(
        default=None, description="Of a job with `unique`: what becomes of the second run."
    )
    expires_in: TimeLimit | None = Field(
        default=None,
        description="After how long a run is cancelled instead of starting, or `none`.",
    )
    paused: StrictBool | None = Field(
        default=None, description="Whether the job starts out paused there."
    )


class EnvironmentFlow(Frozen):
    """A flow in an environment; what is said here counts more than what the flow itself says."""

    queue: QueueName | None = Field(default=None, description="The queue in which its start waits.")
    overlap: Literal["skip", "allow"] | None = Field(
        default=None, description="When its slot comes while it is under way."
    )
    paused: StrictBool | None = Field(
        default=None, description="Whether it starts out paused there."
    )


class EnvironmentSpec(Frozen):
    """An environment: what is different where `TARGCC_ENVIRONMENT` names it. It may be empty."""

    defaults: EnvironmentDefaults = Field(
        default_factory=EnvironmentDefaults, description="Defaults that are different there."
    )
    queues: dict[QueueName, EnvironmentQueue] = Field(
        default_factory=dict, description="Queues that are different there."
    )
    pools: dict[QueueName, EnvironmentPool] = Field(
        default_factory=dict, description="Pools that are different there."
    )
    jobs: dict[JobKey, EnvironmentJob] = Field(
        default_factory=dict, description="Jobs that are different there."
    )
    flows: dict[JobKey, EnvironmentFlow] = Field(
        default_factory=dict, description="Flows that are different there."
    )


ENVIRONMENT_MODELS: dict[str, type[Frozen]] = {
    **POOL_MODELS,
    "environment": EnvironmentSpec,
    "environment defaults": EnvironmentDefaults,
    "environment queue": EnvironmentQueue,
    "environment job": EnvironmentJob,
    "environment flow": EnvironmentFlow,
}
"""Models by kind of mapping, for environments."""


# Limits by key.


class LimitSpec(Frozen):
    """How many runs may be under way at once, and how many may start in a while, by key; `running`, `rate` or both are given."""

    key: ParamName | None = Field(
        default=None,
        description="The argument by which runs share a limit, such as `tenant_id`; without it all runs of the job do.",
    )
    running: StrictInt | None = Field(
        default=None, ge=1, le=100_000, description="Runs of a key at once, on all nodes together."
    )
    rate: Rate | None = Field(
        default=None, description="Attempts of a key that may start, such as `100/min`."
    )
    burst: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="With `rate`: so many may start at once after a pause; by default what comes in a second, at least 1.",
    )
    weight: StrictInt = Field(
        default=1, ge=1, le=100_000, description="How much of `running` a run takes."
    )


LIMIT_MODELS: dict[str, type[Frozen]] = {"limit": LimitSpec}
"""Models by kind of mapping, for limits; findings use the same names of kinds."""
