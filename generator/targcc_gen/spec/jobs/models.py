"""A job of a spec as a frozen model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from targcc_gen.spec import rules
from targcc_gen.spec.blueprint_names import Blueprint
from targcc_gen.spec.calendars.values import CalendarNames, OnHoliday
from targcc_gen.spec.params import ParamName, ParamSpec
from targcc_gen.spec.parts import (
    AlertsSpec,
    Frozen,
    MisfireSpec,
)
from targcc_gen.spec.ties.models import LimitSpec
from targcc_gen.spec.ties.values import After, OnDuplicate, UniqueBy, UniqueScope
from targcc_gen.spec.times import (
    AtLeast,
    Cron,
    Duration,
    Instant,
    Interval,
    TimeLimit,
    TimeOfDay,
    Zone,
)
from targcc_gen.spec.values import (
    JobArgument,
    Procedure,
    QueueName,
    StableName,
    Text,
    Title,
    Webhook,
)


class JobSpec(Frozen):
    """One job. It has exactly one of `cron`, `every`, `at` and `type`, or comes `after` other jobs."""

    cron: Cron | None = Field(
        default=None,
        description="A cron expression in quotes: five fields, or six with seconds first.",
        examples=["0 2 * * *", "*/15 8-18 * * MON-FRI"],
    )
    every: Interval | None = Field(
        default=None, description="Run again and again with this interval."
    )
    anchor: Instant | None = Field(
        default=None,
        description="With `every`: when it runs first; the intervals are counted from there.",
    )
    after: After | None = Field(
        default=None,
        description="Instead of a schedule, jobs of this file: each run of `[ImportOrders]` brings one of this job, which waits for its"
        " success; of several it waits for one of each. With `every`: count each interval from the run before, from its end"
        " (`completion`) or its `start`.",
    )
    at: Instant | None = Field(default=None, description="Run once, at this date and time.")
    type: Literal["manual", "fire-and-forget", "delayed"] | None = Field(
        default=None,
        description="No schedule: people start it (`manual`), code does (`fire-and-forget`), code does and says when"
        " (`delayed`).",
    )
    timezone: Zone | None = Field(
        default=None,
        description="The zone in which the schedule is read; by default the project's.",
    )
    display_name: Title | None = Field(
        default=None, description="The name people see; by default the job's name in words."
    )
    description: Text = Field(
        default="", description="What the job does, for its docstring and the dashboard."
    )
    blueprint: Blueprint = Field(default="blank", description="What the job's file starts out as.")
    procedure: Procedure | None = Field(
        default=None, description="With the blueprint `stored-procedure`: the procedure it calls."
    )
    queue: QueueName | None = Field(
        default=None, description="The queue it waits in; by default `defaults.queue`."
    )
    priority: StrictInt = Field(
        default=0, ge=-1000, le=1000, description="In its queue, a higher priority goes first."
    )
    retries: StrictInt | None = Field(
        default=None,
        ge=0,
        le=100,
        description="New attempts after a failed one; by default `defaults.retries`.",
    )
    backoff: Duration | None = Field(
        default=None,
        description="The wait before the first new attempt; by default `defaults.backoff`. A rule stands in the code: `keep: [backoff]`.",
    )
    timeout: TimeLimit | None = Field(
        default=None,
        description="How long an attempt may take before it is stopped, or `none`; by default `defaults.timeout`.",
    )
    overlap: Literal["skip", "queue", "allow"] | None = Field(
        default=None,
        description="When a slot comes while the job still runs: `skip` it (what jobs with a schedule do by default),"
        " `queue` it, or `allow` both to run (what all others do by default).",
    )
    misfire: MisfireSpec | None = Field(
        default=None, description="What happens to slots that passed while nothing was running."
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="At most so many runs of this job at once on all nodes.",
    )
    limit: LimitSpec | None = Field(default=None, description="Limits by key; see docs/limits.md.")
    isolation: Literal["thread", "process"] | None = Field(
        default=None,
        description="`process` runs it in a process of its own: it can be stopped whatever it does, and a crash costs"
        " this run alone. Default: what its queue says.",
    )
    memory_limit: StrictInt | None = Field(
        default=None,
        ge=16,
        le=2**20,
        description="MiB of memory; a run that uses more is ended and has failed. It runs in a process of its own.",
    )
    calendar: CalendarNames | None = Field(
        default=None,
        description="Calendars by name: while one of them, or of its queue's, is closed, it does not start by itself.",
    )
    on_holiday: OnHoliday | None = Field(
        default=None,
        description="What becomes of a slot then: `skip` it, or run at the same time on the `next` or the `previous`"
        " working day; by default what its queue says, else `skip`.",
    )
    unique: UniqueBy | None = Field(
        default=None,
        description="A parameter, or a list of them, by which a run is unique: while one waits or runs, another is not made. `true`: all"
        " parameters.",
    )
    unique_scope: UniqueScope | None = Field(
        default=None,
        description="With `unique`, until when another run is a duplicate: until the first starts (`queued`), until it is over"
        " (`running`), or for a time after it succeeded (`1h`).",
    )
    on_duplicate: OnDuplicate | None = Field(
        default=None,
        description="With `unique`, what becomes of the second: `skip` it (by default), let it `replace` the arguments of the first,"
        ' start when none came for a while (`"debounce 30s"`), or start so far apart at least (`"throttle 1m"`).',
    )
    expires_in: Duration | None = Field(
        default=None,
        description="A run that has not begun so long after it was due is cancelled instead of starting late.",
    )
    must_finish_by: TimeOfDay | None = Field(
        default=None,
        description="A time of the day in the job's zone: people are told if its last slot before has not succeeded by"
        " then.",
    )
    must_start_within: Duration | None = Field(
        default=None,
        description="People are told of a run that waits longer for its worker, and of a slot that nobody has begun.",
    )
    at_least: AtLeast | None = Field(
        default=None, description="People are told when it has succeeded less often."
    )
    ping: Webhook | None = Field(
        default=None,
        description="An address that is fetched after each run that succeeds, such as a dead-man's switch.",
    )
    alerts: AlertsSpec | None = Field(
        default=None, description="Who is told about this job, and when."
    )
    params: dict[ParamName, ParamSpec] = Field(
        default_factory=dict,
        description='Typed arguments by name: `user_id: int`, or with a default value `since: "date = 2026-01-01"`.',
    )
    paused: StrictBool = Field(default=False, description="Whether the job starts out paused.")
    keep: tuple[JobArgument, ...] = Field(
        default=(),
        description="What the code says, whatever stands here: arguments of its `@job(…)`, such as `timeout`; `schedule` is"
        " all that say when it runs, `params` are the arguments of `execute`. Such a difference is intended: `regenerate --check` does not name it.",
        examples=[["schedule"]],
    )
    name: StableName | None = Field(
        default=None,
        description="The name under which its history is kept, where that is not the job's key: for jobs that came from"
        " a legacy table or were renamed.",
    )

    @property
    def has_schedule(self) -> bool:
        """Whether it starts by the clock."""
        return self.cron is not None or self.every is not None or self.at is not None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        said = self.model_fields_set
        given = {
            key: value for key, value in vars(self).items() if value is not None and key in said
        }
        rules.require(rules.job_findings(given, "the job"))
        return self
