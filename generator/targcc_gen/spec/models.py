"""The spec as frozen, checked models: everything that defines a project.

Editors show the descriptions while a spec is typed, and the spec reference in the manual prints the same texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from targcc_gen.errors import InputError
from targcc_gen.spec import parts, rules
from targcc_gen.spec.blueprint_names import Blueprint
from targcc_gen.spec.errors import RULE, Finding, findings_of, problem
from targcc_gen.spec.params import ParamName, ParamSpec
from targcc_gen.spec.parts import (
    ENVIRONMENT_MODELS,
    AlertingSpec,
    AlertsSpec,
    CalendarSpec,
    DefaultsSpec,
    EnvironmentSpec,
    Frozen,
    LimitSpec,
    MisfireSpec,
    OnCallSpec,
    PoolSpec,
    ProjectSpec,
    QueueSpec,
)
from targcc_gen.spec.parts import LIMIT_MODELS as TIE_MODELS
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
    After,
    CalendarName,
    CalendarNames,
    FeatureName,
    JobArgument,
    JobKey,
    OnDuplicate,
    OnHoliday,
    Procedure,
    QueueName,
    StableName,
    Text,
    Title,
    UniqueBy,
    UniqueScope,
    Version,
    Webhook,
    parents,
)

# Flows.

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
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
"""Models by kind of mapping, for flows; findings use the same names of kinds."""


# Jobs.


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
        """Whether the job has a schedule: `cron`, `every` or `at`."""
        return self.cron is not None or self.every is not None or self.at is not None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        set_fields = self.model_fields_set
        given = {
            key: value
            for key, value in vars(self).items()
            if value is not None and key in set_fields
        }
        rules.require(rules.job_findings(given, "the job"))
        return self


# The spec.


class Spec(Frozen):
    """Everything a generated project is made from."""

    targcc: Version = Field(description="The version of this file's format: 1.")
    project: ProjectSpec = Field(description="The project as a whole.")
    database: Literal["sqlite", "postgresql"] = Field(
        default="sqlite",
        description="The default database; `TARGCC_DATABASE_URL` decides at run time.",
    )
    scheduler: Literal["package", "vendored"] = Field(
        default="package",
        description=(
            "`package`: the scheduler is the dependency `targcc-scheduler`; `vendored`: its source is in"
            " `vendor/targcc-scheduler/`, and you may edit it. `targcc-gen scheduler` switches."
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
    features: tuple[FeatureName, ...] = Field(
        default=(),
        description="Features of your own: each name gets a folder `src/<package>/features/<name>/` with a table, a loop, API routes,"
        " a page and commands to start from. A list such as `[notes]`.",
        examples=[["notes"]],
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
        """Return the time zone in which a job's schedule is read."""
        return self.jobs[key].timezone or self.project.timezone

    def stable_name(self, key: str) -> str:
        """Return the name under which a job's history is kept."""
        return self.jobs[self.current_key(key)].name or self.current_key(key)

    def current_key(self, key: str) -> str:
        """Return a job's present key, given the present or an earlier key."""
        while key in self.moved:
            key = self.moved[key]
        return key

    def parents(self, key: str) -> tuple[str, ...]:
        """Return the present keys of the jobs that a job comes after."""
        return tuple(map(self.current_key, parents(self.jobs[key].after)))

    def followers(self, key: str) -> list[str]:
        """Return the keys of the jobs that come after a job."""
        return [
            follower
            for follower, job in self.jobs.items()
            if job.after and key in self.parents(follower)
        ]

    def earlier_names(self, key: str) -> tuple[str, ...]:
        """Return the earlier names of a job, the newest first."""
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

    @field_validator("features")
    @classmethod
    def _distinct_features(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise problem("two features have one name", hint="remove one of them")
        return names

    @field_validator("jobs", mode="wrap")
    @classmethod
    def _distinct_keys(cls, value: Any, check: ValidatorFunctionWrapHandler) -> dict[str, JobSpec]:
        jobs: dict[str, JobSpec] = check(value)
        if len(jobs) < len(value):
            raise problem("two jobs have one name", hint="rename one of them", kind=RULE)
        return jobs

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rules.require(rules.spec_findings(rules.as_written(self)))
        return self


_OWN: dict[str, type[BaseModel]] = {"spec": Spec, "calendar": CalendarSpec, "job": JobSpec}
_MODELS = {
    **_OWN,
    **parts.MODELS,
    **ENVIRONMENT_MODELS,
    **parts.ALERTING_MODELS,
    **MODELS,
    **TIE_MODELS,
}

KEYS = {kind: list(model.model_fields) for kind, model in _MODELS.items()}
"""The allowed keys of each kind of mapping."""


# Build a job from a command's options or from a legacy row; errors name no file.


def build_job(key: str, values: Mapping[str, Any]) -> JobSpec:
    """Build a job from the values that a spec has below the job's key.

    Args:
        key: The job's key, for messages.
        values: Values by the spec's keys, as in YAML: `{"cron": "0 2 * * *", "timeout": "10m"}`. None counts as not given.

    Raises:
        InputError: A value is wrong; carets mark the wrong part.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return JobSpec.model_validate(given)
    except ValidationError as error:
        raise _input_error(findings_of(error, KEYS, below=("jobs", key)), given) from error


def with_job(spec: Spec, key: str, job: JobSpec) -> Spec:
    """Return the spec with a job added at the end.

    Raises:
        InputError: The job does not fit the spec: its name is taken, or its queue does not exist.
    """
    if key in spec.jobs:
        raise InputError(f"the spec has a job {key} already", hint="choose another name")
    added = spec.model_copy(update={"jobs": {**spec.jobs, key: job}})
    findings = list(rules.spec_findings(rules.as_written(added)))
    if findings:
        raise _input_error(findings, {})
    return added


def _input_error(findings: list[Finding], values: Mapping[str, Any]) -> InputError:
    first, *others = (_with_carets(finding, values) for finding in findings)
    if not others:
        return InputError(first, hint=findings[0].hint)
    lines = [
        f"{text}\n  {finding.hint}" if finding.hint else text
        for text, finding in zip([first, *others], findings, strict=True)
    ]
    return InputError("\n".join(lines))


def _with_carets(finding: Finding, values: Mapping[str, Any]) -> str:
    _, _, *steps = finding.path
    value = values.get(str(steps[0])) if len(steps) == 1 else None
    if finding.column is None or not isinstance(value, str):
        return finding.message
    return f"{finding.message}\n  {value}\n  {' ' * finding.column}{'^' * max(1, finding.length)}"
