"""The spec as frozen models: everything a project asks for, checked.

The descriptions here are what editors show while a spec is typed, and what the spec reference in the manual prints.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    StrictBool,
    StrictInt,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from targcc_gen.spec import parts, rules
from targcc_gen.spec.blueprint_names import Blueprint
from targcc_gen.spec.calendars.models import CalendarSpec
from targcc_gen.spec.calendars.values import CalendarName, CalendarNames, OnHoliday
from targcc_gen.spec.flows.models import MODELS as FLOW_MODELS
from targcc_gen.spec.flows.models import FlowSpec
from targcc_gen.spec.oncall import policy
from targcc_gen.spec.oncall.policy import AlertingSpec, OnCallSpec
from targcc_gen.spec.params import ParamName, ParamSpec
from targcc_gen.spec.parts import (
    AlertsSpec,
    DefaultsSpec,
    Frozen,
    LimitSpec,
    MisfireSpec,
    ProjectSpec,
    QueueSpec,
)
from targcc_gen.spec.pools.models import PoolSpec
from targcc_gen.spec.sharing.environments import MODELS as ENVIRONMENT_MODELS
from targcc_gen.spec.sharing.environments import EnvironmentSpec
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
from targcc_gen.spec.value_errors import RULE, problem
from targcc_gen.spec.values import (
    JobKey,
    Procedure,
    QueueName,
    StableName,
    Text,
    Title,
    Version,
    Webhook,
)

JobArgument = Literal[
    "schedule",
    "timezone",
    "display_name",
    "description",
    "name",
    "queue",
    "priority",
    "retries",
    "backoff",
    "timeout",
    "overlap",
    "misfire",
    "misfire_grace",
    "concurrency",
    "limit",
    "isolation",
    "memory_limit",
    "alerts",
    "calendar",
    "on_holiday",
    "paused",
]


class JobSpec(Frozen):
    """One job. It has exactly one of `cron`, `every`, `at` and `type`."""

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
    after: Literal["completion", "start"] | None = Field(
        default=None,
        description="With `every`: count each interval from the run before, from its end (`completion`) or its `start`.",
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
        description="The wait before the first new attempt; by default `defaults.backoff`.",
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
        " all that say when it runs. Such a difference is intended: `regenerate --check` does not name it.",
        examples=[["schedule"]],
    )
    name: StableName | None = Field(
        default=None,
        description="The name under which its history is kept, where that is not the job's key: for jobs that came from"
        " a legacy table or were renamed.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        said = self.model_fields_set
        given = {key: value for key, value in self if value is not None and key in said}
        rules.require(rules.job_findings(given, "the job"))
        return self


class Spec(Frozen):
    """Everything a generated project is made from."""

    targcc: Version = Field(description="The version of this file's format: 1.")
    project: ProjectSpec = Field(description="The project as a whole.")
    database: Literal["sqlite", "postgresql"] = Field(
        default="sqlite",
        description="The default database; `TARGCC_DATABASE_URL` decides at run time.",
    )
    scheduler: Literal["vendored", "package"] = Field(
        default="vendored",
        description=(
            "`vendored`: the scheduler is a copy in the project, which you may edit; `package`: it is the dependency"
            " `targcc-scheduler`. `targcc-gen scheduler` switches."
        ),
    )
    queues: dict[QueueName, QueueSpec] = Field(
        default_factory=lambda: {"default": QueueSpec()},
        description="Queues by name. `default` exists even when it is not listed.",
    )
    pools: dict[QueueName, PoolSpec] = Field(
        default_factory=dict, description="Pools by name: workers that several queues share."
    )
    calendars: dict[CalendarName, CalendarSpec] = Field(
        default_factory=dict,
        description="Days off and times in which nothing starts, by name; jobs and queues name those that hold them.",
    )
    defaults: DefaultsSpec = Field(
        default_factory=DefaultsSpec, description="What a job gets when it says nothing else."
    )
    jobs: dict[JobKey, JobSpec] = Field(default_factory=dict, description="Jobs by name.")
    flows: dict[JobKey, FlowSpec] = Field(default_factory=dict, description="Flows by name.")
    moved: dict[JobKey, JobKey] = Field(
        default_factory=dict,
        description="Jobs that were renamed, `Old: New`: their files, edits and history go along. A line can go once every"
        " branch and every database has been used with the new name.",
        examples=[{"DailySales": "DailyRevenue"}],
    )
    extends: Text | None = Field(
        default=None,
        description="A file of the repository with queues and defaults of many projects: `../org-defaults.yaml`. What"
        " this file says counts more.",
    )
    blueprints: tuple[Text, ...] = Field(
        default=(),
        description="Folders with blueprints of your own: `./blueprints` in this repository, or `git+https://…@TAG#FOLDER` in"
        " another one, of which `targcc-gen blueprints fetch` brings a copy.",
    )
    alerts: AlertingSpec = Field(
        default_factory=AlertingSpec, description="What holds for the alerts of all jobs."
    )
    oncall: OnCallSpec = Field(default_factory=OnCallSpec, description="Who is on call when.")
    environments: dict[QueueName, EnvironmentSpec] = Field(
        default_factory=dict,
        description="What is different where the project runs with `TARGCC_ENVIRONMENT` set to one of these names.",
    )

    def job_zone(self, key: str) -> str:
        """The time zone in which a job's schedule is read."""
        return self.jobs[key].timezone or self.project.timezone

    def stable_name(self, key: str) -> str:
        """The name under which a job's history is kept."""
        return self.jobs[key].name or key

    def earlier_names(self, key: str) -> tuple[str, ...]:
        """The names that a job had before, the newest first."""
        names: list[str] = []
        for old in reversed(self.moved):
            end, seen = old, set[str]()
            while end in self.moved and end not in seen:
                seen.add(end)
                end = self.moved[end]
            if end == key:
                names.append(old)
        return tuple(names)

    @field_validator("queues")
    @classmethod
    def _with_default_queue(cls, queues: dict[str, QueueSpec]) -> dict[str, QueueSpec]:
        return queues if "default" in queues else {"default": QueueSpec(), **queues}

    @field_validator("jobs", mode="wrap")
    @classmethod
    def _distinct_keys(cls, value: Any, check: ValidatorFunctionWrapHandler) -> dict[str, JobSpec]:
        jobs: dict[str, JobSpec] = check(value)
        if len(jobs) < len(value):
            raise problem("two jobs have one name", hint="rename one of them", kind=RULE)
        return jobs

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rules.require(rules.spec_findings(_as_written(self)))
        return self


def _as_written(spec: Spec) -> dict[str, Any]:
    """What `rules.spec_findings` looks at, in the shape of the YAML."""
    return {
        **{key: getattr(spec, key) for key in ("queues", "pools", "calendars", "moved")},
        "defaults": dict(spec.defaults),
        "jobs": {
            key: {
                "queue": job.queue,
                "name": job.name,
                "calendar": job.calendar,
                "alerts": job.alerts and dict(job.alerts),
            }
            for key, job in spec.jobs.items()
        },
        "alerts": spec.alerts.model_dump(),
        "oncall": spec.oncall.model_dump(),
        "environments": {
            name: one.model_dump(exclude_none=True) for name, one in spec.environments.items()
        },
        **({"extends": spec.extends} if spec.extends else {}),
        "flows": {name: one.model_dump() for name, one in spec.flows.items()},
    }


_OWN: dict[str, type[BaseModel]] = {"spec": Spec, "calendar": CalendarSpec, "job": JobSpec}
_MODELS = {**_OWN, **parts.MODELS, **ENVIRONMENT_MODELS, **policy.MODELS, **FLOW_MODELS}

KEYS = {kind: list(model.model_fields) for kind, model in _MODELS.items()}
"""The keys that each kind of mapping may have."""
