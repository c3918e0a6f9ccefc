"""The spec as frozen models: everything a project asks for, checked.

The descriptions here are what editors show while a spec is typed, and what the spec reference in the manual prints.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from targcc_gen.spec import rules
from targcc_gen.spec.params import ParamName, ParamSpec
from targcc_gen.spec.times import Cron, Duration, Instant, TimeLimit, Zone
from targcc_gen.spec.value_errors import RULE, problem
from targcc_gen.spec.values import (
    AlertEvent,
    Distribution,
    Email,
    Folder,
    JobKey,
    Package,
    Procedure,
    QueueName,
    StableName,
    Text,
    Title,
    Version,
    Webhook,
    package_of,
    slower_than,
)

Blueprint = Literal[
    "blank",
    "report",
    "cleanup",
    "batch",
    "sync",
    "backup",
    "alert-check",
    "stored-procedure",
    "not-ported",
]
BLUEPRINTS: tuple[str, ...] = get_args(Blueprint)

_THIRTY_SECONDS = timedelta(seconds=30)


class _Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectSpec(_Model):
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


class QueueSpec(_Model):
    """A queue: jobs in it wait for one of its workers."""

    workers: StrictInt = Field(
        default=5,
        ge=1,
        le=1000,
        description="How many runs of this queue go on at once on each node.",
    )


class DefaultsSpec(_Model):
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


class MisfireSpec(_Model):
    """What happens to slots that passed while nothing was running."""

    policy: Literal["run_once", "skip", "run_all"] = Field(
        default="run_once",
        description="`run_once`: one run makes up for all of them; `skip`: none; `run_all`: one run for each.",
    )
    grace: Duration | None = Field(
        default=None,
        description="Slots older than this are recorded as missed and not run; by default a day.",
    )


class AlertsSpec(_Model):
    """Who is told about this job, and when."""

    on: Annotated[tuple[AlertEvent, ...], Field(min_length=1)] = Field(
        default=("failure",),
        description='What is worth telling: `failure`, `success`, `missed`, `"slower than 5m"`.',
    )
    email: tuple[Email, ...] = Field(default=(), description="Mail addresses.")
    slack: Webhook | None = Field(default=None, description="A Slack incoming webhook.")
    teams: Webhook | None = Field(default=None, description="A Microsoft Teams workflow webhook.")
    max_per_hour: StrictInt | None = Field(
        default=None, ge=1, le=10_000, description="At most so many alerts an hour for this job."
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


class JobSpec(_Model):
    """One job. It has exactly one of `cron`, `every`, `at` and `type`."""

    cron: Cron | None = Field(
        default=None,
        description="A cron expression in quotes: five fields, or six with seconds first.",
        examples=["0 2 * * *", "*/15 8-18 * * MON-FRI"],
    )
    every: Duration | None = Field(
        default=None, description="Run again and again with this interval."
    )
    anchor: Instant | None = Field(
        default=None, description="With `every`: an instant from which the intervals are counted."
    )
    after: Literal["completion"] | None = Field(
        default=None,
        description="With `every`: count each interval from the end of the run before, not from its start.",
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
    alerts: AlertsSpec | None = Field(
        default=None, description="Who is told about this job, and when."
    )
    params: dict[ParamName, ParamSpec] = Field(
        default_factory=dict,
        description='Typed arguments by name: `user_id: int`, or with a default value `since: "date = 2026-01-01"`.',
    )
    paused: StrictBool = Field(default=False, description="Whether the job starts out paused.")
    name: StableName | None = Field(
        default=None,
        description="The name under which its history is kept, where that is not the job's key: for jobs that came from"
        " a legacy table or were renamed.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rules.require(rules.job_findings(self._given(), "the job"))
        return self

    def _given(self) -> dict[str, Any]:
        """The keys that say something."""
        return {
            key: value for key, value in self if value is not None and key in self.model_fields_set
        }


class Spec(_Model):
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
    defaults: DefaultsSpec = Field(
        default_factory=DefaultsSpec, description="What a job gets when it says nothing else."
    )
    jobs: dict[JobKey, JobSpec] = Field(default_factory=dict, description="Jobs by name.")

    def job_zone(self, key: str) -> str:
        """The time zone in which a job's schedule is read."""
        return self.jobs[key].timezone or self.project.timezone

    def stable_name(self, key: str) -> str:
        """The name under which a job's history is kept."""
        return self.jobs[key].name or key

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
        "queues": spec.queues,
        "defaults": dict(spec.defaults),
        "jobs": {key: {"queue": job.queue, "name": job.name} for key, job in spec.jobs.items()},
    }


_MODELS: dict[str, type[BaseModel]] = {
    "spec": Spec,
    "project": ProjectSpec,
    "queue": QueueSpec,
    "defaults": DefaultsSpec,
    "job": JobSpec,
    "alerts": AlertsSpec,
    "misfire": MisfireSpec,
}

KEYS = {kind: list(model.model_fields) for kind, model in _MODELS.items()}
"""The keys that each kind of mapping may have."""
