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
    """Base class for parts of a spec. An unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectSpec(Frozen):
    """Name, package, time zone and description of the project."""

    name: Distribution = Field(
        description="Name of the project and of its distribution, such as `acme-jobs`."
    )
    package: Package = Field(
        default_factory=lambda project: package_of(project["name"]),
        validate_default=True,
        description="Import name, such as `acme_jobs`; default: the project's name with `_` for `-`.",
    )
    timezone: Zone = Field(
        default="UTC",
        description="Time zone of schedules; a job may set another zone.",
    )
    description: Text = Field(
        default="", description="One sentence about the project, for the README and the dashboard."
    )
    inside: Folder | None = Field(
        default=None,
        description=(
            "Folder of the package (`src`, or `.`) in an existing app. `targcc-gen patch` sets this key. Only the scheduler,"
            " the services and the jobs are generated."
        ),
    )


class QueueSpec(Frozen):
    """A queue. Due runs wait in the queue for a free worker."""

    workers: StrictInt = Field(
        default=5,
        ge=1,
        le=1000,
        description="Maximum number of runs of the queue at the same time on each server.",
    )
    pool: QueueName | None = Field(
        default=None,
        description="Pool, a name among `pools`. The queue shares the pool's workers with other queues and has no workers of its own.",
    )
    weight: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Share of the queue in the starts of a weighted pool; default: 1.",
    )
    aging: Aging | None = Field(
        default=None,
        description="Waiting time that counts as one point of priority; by default, waiting does not raise the priority.",
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Maximum number of runs of the queue at the same time, on all servers together; default: no limit.",
    )
    isolation: Literal["thread", "process"] = Field(
        default="thread",
        description="`process` executes the queue's jobs in separate worker processes, except jobs with `isolation: thread`.",
    )
    calendar: CalendarNames | None = Field(
        default=None,
        description=(
            "Calendars for all jobs of the queue, in addition to the jobs' own. While a calendar is closed, no job starts by"
            " schedule."
        ),
    )
    on_holiday: OnHoliday | None = Field(
        default=None,
        description="Handling of slots while a calendar is closed, for jobs without `on_holiday`; default: `skip`.",
    )


class DefaultsSpec(Frozen):
    """Default values for jobs that do not set these keys."""

    retries: StrictInt = Field(
        default=3, ge=0, le=100, description="Maximum number of retries after a failed attempt."
    )
    backoff: Duration = Field(
        default=_THIRTY_SECONDS,
        description="Wait before the first retry. The wait doubles with each retry, with some jitter.",
    )
    timeout: Duration | None = Field(
        default=None,
        description="Maximum duration of an attempt. A longer attempt is stopped. Default: no limit.",
    )
    queue: QueueName = Field(default="default", description="Queue of jobs without `queue`.")


class MisfireSpec(Frozen):
    """Handling of slots that passed while no server was running."""

    policy: Literal["run_once", "skip", "run_all"] = Field(
        default="run_once",
        description="`run_once`: one run for all missed slots; `skip`: no run; `run_all`: one run for each missed slot.",
    )
    grace: TimeLimit | None = Field(
        default=None,
        description="Maximum age of a slot. Older slots are recorded as missed and not executed. `none` is no limit; default: one day.",
    )


Mails = Annotated[tuple[Email, ...], Field(description="Mail addresses.")]
SlackHook = Annotated[Webhook | None, Field(description="A Slack incoming webhook.")]
TeamsHook = Annotated[Webhook | None, Field(description="A Microsoft Teams workflow webhook.")]
WebHook = Annotated[Webhook | None, Field(description="Address that receives each alert as JSON.")]
Others = Annotated[
    dict[ChannelName, Annotated[Text, Field(max_length=500)]],
    Field(
        description="Targets by channel, for custom channels from `channels` in the project's `alerts`."
    ),
]
OnCall = Annotated[StrictBool, Field(description="Also alert the person on call at that time.")]


class AlertsSpec(Frozen):
    """Events and recipients for the alerts of a job. A webhook's address may be a reference: `${SLACK_URL}`, `file:/run/secrets/slack`."""

    on: Annotated[tuple[AlertEvent, ...], Field(min_length=1)] = Field(
        default=("failure",),
        description='Events that send an alert: `failure`, `success`, `missed`, `"slower than 5m"`.',
    )
    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    max_per_hour: StrictInt | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Maximum number of alerts for this job in an hour.",
    )
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False
    urgent: StrictBool | None = Field(
        default=None,
        description=(
            "Urgent alerts ignore quiet hours and are escalated. `true` or `false` holds for all alerts of the job; default:"
            " `urgent` of the project's `alerts`."
        ),
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
    """A calendar of times when no run starts by schedule. Runs that a person or code requests start anyway."""

    description: Text = Field(default="", description="One sentence about the calendar.")
    off: DaysOff = Field(
        default=(),
        description=(
            "Days off: `2026-09-21`, `2026-12-24 to 2027-01-02`, `12-25` (each year), `saturday`, `second tuesday`, `last"
            " friday of december`. A name may follow in parentheses."
        ),
    )
    work: Dates = Field(
        default=(), description="Working days. This key overrides `off`, `ics` and `include`."
    )
    blackouts: Blackouts = Field(
        default=(),
        description=(
            'Times when no run starts, in the time zone of each job: `"22:00-23:30"` (each day), or `"2026-12-24 18:00 to'
            ' 2026-12-27 06:00"`.'
        ),
    )
    ics: CalendarFile | None = Field(
        default=None,
        description="iCalendar file in the folder of the package. Whole-day events are days off; events with a time are blackouts.",
    )
    include: CalendarNames | None = Field(
        default=None,
        description="Other calendars. This calendar is also closed while an included calendar is closed.",
    )


# `alerts` and `oncall` of a project.

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
AlertKind = Literal["failure", "success", "missed", "slow", "unknown", "late", "node", "recovered"]

Days = Annotated[
    tuple[Weekday, ...],
    Field(
        description="Weekdays (`mon`, `tue`, …). A period past midnight belongs to the day of its start. Default: every day."
    ),
]


class QuietSpec(Frozen):
    """Quiet hours: alerts that are not urgent are held and sent in one message at the end. Without `channels` and `email`, quiet hours apply to all recipients."""

    start: TimeOfDay = Field(description="Start of the quiet hours.")
    end: TimeOfDay = Field(
        description="End of the quiet hours; on the next day if earlier than `start`."
    )
    days: Days = ()
    timezone: Zone | None = Field(
        default=None, description="Time zone of the quiet hours; default: the zone of `alerts`."
    )
    channels: tuple[ChannelName, ...] = Field(
        default=(),
        description="Channels with these quiet hours: `email`, `slack`, `teams`, `webhook`, or a custom channel.",
    )
    email: tuple[Email, ...] = Field(
        default=(), description="Mail addresses with these quiet hours."
    )


class DigestSpec(Frozen):
    """Daily message: problems that need attention, events since the last digest, next runs."""

    at: TimeOfDay = Field(description="Time of sending.")
    days: Days = ()
    timezone: Zone | None = Field(
        default=None, description="Time zone of the digest; default: the zone of `alerts`."
    )
    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False


class StepSpec(Frozen):
    """A step of the escalation: recipients to alert if nobody has acknowledged or taken up an alert in the given time."""

    after: Duration = Field(description="Time since the first alert.")
    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False


class AlertingSpec(Frozen):
    """Alert settings for all jobs. These recipients get the alerts of jobs without recipients."""

    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)
    oncall: OnCall = False
    timezone: Zone | None = Field(
        default=None, description="Time zone of times in messages; default: the project's zone."
    )
    recovered: StrictBool = Field(
        default=True,
        description="Send a message to the recipients of a failure when the failure is over.",
    )
    urgent: tuple[AlertKind, ...] = Field(
        default=("failure", "unknown", "late", "node"),
        description="Kinds of alerts that ignore quiet hours and are escalated. `urgent` of a job overrides this list.",
    )
    quiet: tuple[QuietSpec, ...] = Field(default=(), description="Quiet hours.")
    digest: DigestSpec | None = Field(default=None, description="Daily digest.")
    escalation: tuple[StepSpec, ...] = Field(default=(), description="Escalation steps, in order.")
    channels: dict[ChannelName, ChannelPlace] = Field(
        default_factory=dict,
        description=(
            "Custom channels: the name used in `other`, with the class as `module:name`, such as `ntfy:"
            ' "acme_jobs.ntfy:NtfyChannel"`.'
        ),
    )


class PersonSpec(Frozen):
    """A person for the on-call rota, with addresses."""

    email: Mails = ()
    slack: SlackHook = None
    teams: TeamsHook = None
    webhook: WebHook = None
    other: Others = Field(default_factory=dict)


class ShiftSpec(Frozen):
    """A line of the rota. By default, a line covers every day, all day."""

    who: Title = Field(description="Person on call, a name among `people`.")
    days: Days = ()
    start: TimeOfDay = Field(default="00:00", description="Start of the shift.")
    end: TimeOfDay = Field(
        default="00:00", description="End of the shift; on the next day if not later than `start`."
    )


class OnCallSpec(Frozen):
    """On-call people and rota. The first matching line of the rota decides. `oncall: true` in `alerts` alerts that person."""

    timezone: Zone | None = Field(
        default=None, description="Time zone of the rota; default: the project's zone."
    )
    people: dict[Title, PersonSpec] = Field(default_factory=dict, description="People by name.")
    rota: tuple[ShiftSpec, ...] = Field(default=(), description="Shifts of the rota, in order.")


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
    """Workers that several queues share. A queue names its pool."""

    workers: StrictInt = Field(
        default=5,
        ge=1,
        le=1000,
        description="Maximum number of runs of all queues in the pool at the same time on each server.",
    )
    order: Literal["strict", "weighted"] = Field(
        default="weighted",
        description=(
            "`weighted`: queues with waiting runs start runs in proportion to `weight`. `strict`: a queue starts runs only"
            " while earlier queues in `queues` have no run that can start."
        ),
    )


class EnvironmentPool(Frozen):
    """Overrides of a pool in an environment. Other keys are as in `pools`."""

    workers: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Maximum number of runs of the pool at the same time on each server.",
    )
    order: Literal["strict", "weighted"] | None = Field(
        default=None, description="Order of the pool's queues."
    )


POOL_MODELS: dict[str, type[Frozen]] = {"pool": PoolSpec, "environment pool": EnvironmentPool}
"""Models by kind of mapping, for pools."""


# Environments: overrides for one environment, such as staging.


class EnvironmentQueue(Frozen):
    """Overrides of a queue in an environment. Other keys are as in `queues`."""

    workers: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Maximum number of runs of the queue at the same time on each server.",
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Maximum number of runs of the queue at the same time, on all servers together.",
    )
    aging: Aging | None = Field(
        default=None, description="Waiting time that counts as one point of priority."
    )
    isolation: Literal["thread", "process"] | None = Field(
        default=None,
        description="`process` executes the queue's jobs in separate worker processes.",
    )


class EnvironmentDefaults(Frozen):
    """Default values for jobs in an environment."""

    retries: StrictInt | None = Field(
        default=None, ge=0, le=100, description="Maximum number of retries after a failed attempt."
    )
    backoff: Duration | None = Field(default=None, description="Wait before the first retry.")
    timeout: Duration | None = Field(
        default=None, description="Maximum duration of an attempt. A longer attempt is stopped."
    )
    queue: QueueName | None = Field(default=None, description="Queue of jobs without `queue`.")


class EnvironmentJob(Frozen):
    """Overrides of a job in an environment, with precedence over the job's own values."""

    queue: QueueName | None = Field(default=None, description="Queue of the job's runs.")
    priority: StrictInt | None = Field(
        default=None,
        ge=-1000,
        le=1000,
        description="Priority in the queue. Higher values start first.",
    )
    retries: StrictInt | None = Field(
        default=None, ge=0, le=100, description="Maximum number of retries after a failed attempt."
    )
    backoff: Duration | None = Field(default=None, description="Wait before the first retry.")
    timeout: TimeLimit | None = Field(
        default=None, description="Maximum duration of an attempt, or `none`."
    )
    overlap: Literal["skip", "queue", "allow"] | None = Field(
        default=None,
        description="Handling of a slot that is due while the job is running.",
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Maximum number of runs of the job at the same time, on all servers together.",
    )
    unique_scope: UniqueScope | None = Field(
        default=None,
        description="Period in which another run is a duplicate, for a job with `unique`.",
    )
    on_duplicate: OnDuplicate | None = Field(
        default=None, description="Handling of a duplicate run, for a job with `unique`."
    )
    expires_in: TimeLimit | None = Field(
        default=None,
        description="Maximum delay of a start, or `none`. A run that has not begun by then is cancelled.",
    )
    paused: StrictBool | None = Field(
        default=None, description="Create the job paused in this environment."
    )


class EnvironmentFlow(Frozen):
    """Overrides of a flow in an environment, with precedence over the flow's own values."""

    queue: QueueName | None = Field(
        default=None, description="Queue of the run that starts the flow."
    )
    overlap: Literal["skip", "allow"] | None = Field(
        default=None, description="Handling of a slot that is due while the flow is running."
    )
    paused: StrictBool | None = Field(
        default=None, description="Create the flow paused in this environment."
    )


class EnvironmentSpec(Frozen):
    """Overrides for processes in which `TARGCC_ENVIRONMENT` names this environment. An environment may be empty."""

    defaults: EnvironmentDefaults = Field(
        default_factory=EnvironmentDefaults, description="Overrides of `defaults`."
    )
    queues: dict[QueueName, EnvironmentQueue] = Field(
        default_factory=dict, description="Overrides of queues, by name."
    )
    pools: dict[QueueName, EnvironmentPool] = Field(
        default_factory=dict, description="Overrides of pools, by name."
    )
    jobs: dict[JobKey, EnvironmentJob] = Field(
        default_factory=dict, description="Overrides of jobs, by name."
    )
    flows: dict[JobKey, EnvironmentFlow] = Field(
        default_factory=dict, description="Overrides of flows, by name."
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
    """Capacity of a job by key: runs at the same time (`running`), and starts in a period (`rate`). At least one of `running` and `rate` is required."""

    key: ParamName | None = Field(
        default=None,
        description="Argument by which runs share a limit, such as `tenant_id`. Without a key, all runs of the job share one limit.",
    )
    running: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Maximum number of runs of a key at the same time, on all servers together.",
    )
    rate: Rate | None = Field(
        default=None,
        description="Maximum number of attempts of a key that start in a period, such as `100/min`.",
    )
    burst: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="With `rate`: maximum number of attempts that start at once after a pause; default: the rate of one second, at least 1.",
    )
    weight: StrictInt = Field(
        default=1, ge=1, le=100_000, description="Capacity of `running` that a run takes."
    )


LIMIT_MODELS: dict[str, type[Frozen]] = {"limit": LimitSpec}
"""Models by kind of mapping, for limits; findings use the same names of kinds."""
