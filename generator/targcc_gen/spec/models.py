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

from targcc_gen.errors import InputError, JobTakenError, SpecValueError
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
    """A step of a flow: a job of this file, and the condition of its start."""

    job: JobKey = Field(description="Job that the step runs.")
    after: StepNames = Field(
        default=(),
        description="Steps that must end first. By default, the step starts with the flow.",
    )
    on: Literal["success", "failure", "finish"] = Field(
        default="success",
        description="Required result of the steps in `after`: `success` (no step failed), `failure` (a step failed), `finish` (any result).",
    )
    when: Text | None = Field(
        default=None,
        description="Condition on results of earlier steps, such as `import.count > 0`. When the condition is false, the step is skipped.",
    )
    for_each: Text | None = Field(
        default=None,
        description="List of items, such as `import.files`. The step has one run for each item.",
    )
    arguments: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict,
        description='Arguments of the runs. Placeholders are replaced: `"{item}"`, `"{import.day}"`, `"{flow.month}"`.',
    )


class FlowSpec(Frozen):
    """A flow. At most one of `cron`, `every` and `at` is allowed. A flow without these keys is started by a person, by code or by the API."""

    cron: Cron | None = Field(
        default=None, description="Schedule of the flow: a cron expression in quotes."
    )
    every: Interval | None = Field(default=None, description="Interval between starts of the flow.")
    at: Instant | None = Field(default=None, description="Date and time of a single start.")
    timezone: Zone | None = Field(
        default=None, description="Time zone of the schedule; default: the project's zone."
    )
    display_name: Title | None = Field(default=None, description="Name of the flow on pages.")
    description: Text = Field(default="", description="Purpose of the flow.")
    queue: QueueName | None = Field(
        default=None,
        description="Queue of the run that starts the flow. Steps use the queues of their jobs.",
    )
    overlap: Literal["skip", "allow"] | None = Field(
        default=None,
        description=(
            "Handling of a slot that is due while the flow is running: `skip` the slot (default), or `allow` two instances at"
            " the same time."
        ),
    )
    unique: UniqueBy | None = Field(
        default=None,
        description=(
            "Arguments that make a flow unique: a name, a list of names, or `true` for all. The flow is not started while an"
            " instance with the same values waits or runs."
        ),
    )
    misfire: MisfireSpec | None = Field(
        default=None, description="Handling of slots that passed while no server was running."
    )
    calendar: CalendarNames | None = Field(
        default=None,
        description="Calendars of the flow. While a calendar is closed, the flow does not start by schedule.",
    )
    on_holiday: OnHoliday | None = Field(
        default=None, description="Handling of slots while a calendar is closed."
    )
    paused: StrictBool = Field(default=False, description="Create the flow paused.")
    arguments: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Arguments of the flow by name, with default values. `flow.month` is the value of the argument `month`.",
    )
    steps: dict[str, FlowStepSpec] = Field(description="Steps of the flow by name.")


MODELS: dict[str, type[BaseModel]] = {"flow": FlowSpec, "flow step": FlowStepSpec}
"""Models by kind of mapping, for flows; findings use the same names of kinds."""


# Jobs.


class JobSpec(Frozen):
    """A job, with exactly one of `cron`, `every`, `at` and `type`, or with `after` and names of other jobs."""

    cron: Cron | None = Field(
        default=None,
        description="Cron expression in quotes: five fields, or six fields with seconds first.",
        examples=["0 2 * * *", "*/15 8-18 * * MON-FRI"],
    )
    every: Interval | None = Field(default=None, description="Interval between runs.")
    anchor: Instant | None = Field(
        default=None,
        description="With `every`: date and time of the first run. Intervals are counted from this time.",
    )
    after: After | None = Field(
        default=None,
        description=(
            "Without a schedule: jobs of this file. Each run of a job in `[ImportOrders]` creates a run of this job, which"
            " waits for the success of that run; with several jobs, a run waits for a run of each. With `every`: count the"
            " interval from the end (`completion`) or the `start` of the previous run."
        ),
    )
    at: Instant | None = Field(default=None, description="Date and time of a single run.")
    type: Literal["manual", "fire-and-forget", "delayed"] | None = Field(
        default=None,
        description=(
            "Job without a schedule: started by people (`manual`), by code (`fire-and-forget`), or by code at a given time"
            " (`delayed`)."
        ),
    )
    timezone: Zone | None = Field(
        default=None,
        description="Time zone of the schedule; default: the project's zone.",
    )
    display_name: Title | None = Field(
        default=None, description="Name of the job on pages; default: the job's name in words."
    )
    description: Text = Field(
        default="", description="Purpose of the job, for the docstring and the dashboard."
    )
    blueprint: Blueprint = Field(default="blank", description="Template of the job's file.")
    procedure: Procedure | None = Field(
        default=None, description="Stored procedure to call, with the blueprint `stored-procedure`."
    )
    queue: QueueName | None = Field(
        default=None, description="Queue of the job's runs; default: `defaults.queue`."
    )
    priority: StrictInt = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="Priority in the queue. Higher values start first.",
    )
    retries: StrictInt | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Maximum number of retries after a failed attempt; default: `defaults.retries`.",
    )
    backoff: Duration | None = Field(
        default=None,
        description="Wait before the first retry; default: `defaults.backoff`. For a backoff function in the code, set `keep: [backoff]`.",
    )
    timeout: TimeLimit | None = Field(
        default=None,
        description="Maximum duration of an attempt, or `none`. A longer attempt is stopped. Default: `defaults.timeout`.",
    )
    overlap: Literal["skip", "queue", "allow"] | None = Field(
        default=None,
        description=(
            "Handling of a slot that is due while the job is running: `skip` the slot (default with a schedule), `queue` the"
            " run, or `allow` both to run (default without a schedule)."
        ),
    )
    misfire: MisfireSpec | None = Field(
        default=None, description="Handling of slots that passed while no server was running."
    )
    concurrency: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Maximum number of runs of the job at the same time, on all servers together.",
    )
    limit: LimitSpec | None = Field(default=None, description="Limits by key. See docs/limits.md.")
    isolation: Literal["thread", "process"] | None = Field(
        default=None,
        description=(
            "`process` executes the job in a separate process, which can be stopped at any time. A crash of the process ends"
            " this run alone. Default: `isolation` of the queue."
        ),
    )
    memory_limit: StrictInt | None = Field(
        default=None,
        ge=16,
        le=2**20,
        description=(
            "Maximum memory of a run in MiB. A run that exceeds the limit is ended and fails. The job is executed in a"
            " separate process."
        ),
    )
    calendar: CalendarNames | None = Field(
        default=None,
        description=(
            "Calendars of the job, by name. While one of them or a calendar of the queue is closed, the job does not start by"
            " schedule."
        ),
    )
    on_holiday: OnHoliday | None = Field(
        default=None,
        description=(
            "Handling of slots while a calendar is closed: `skip` them, or run at the same time on the `next` or `previous`"
            " working day. Default: `on_holiday` of the queue, else `skip`."
        ),
    )
    unique: UniqueBy | None = Field(
        default=None,
        description=(
            "Parameter, or list of parameters, that makes a run unique; `true` for all parameters. While a run with the same"
            " values waits or runs, no second run is created."
        ),
    )
    unique_scope: UniqueScope | None = Field(
        default=None,
        description=(
            "With `unique`: period in which another run is a duplicate: until the first run starts (`queued`), until the"
            " first run is over (`running`), or also for a time after its success (`1h`)."
        ),
    )
    on_duplicate: OnDuplicate | None = Field(
        default=None,
        description=(
            "With `unique`: handling of a duplicate run. `skip` (default) creates no second run, `replace` gives the"
            ' arguments of the duplicate to the first run, `"debounce 30s"` starts a run after 30 seconds without another'
            ' call, `"throttle 1m"` starts at most one run a minute.'
        ),
    )
    expires_in: Duration | None = Field(
        default=None,
        description="Maximum delay of a start. A run that has not begun this long after its due time is cancelled.",
    )
    must_finish_by: TimeOfDay | None = Field(
        default=None,
        description="Time of day in the job's zone. An alert is sent if the last slot before that time has not succeeded by then.",
    )
    must_start_within: Duration | None = Field(
        default=None,
        description=(
            "Maximum wait for a start. An alert is sent for a run that waits longer for a worker, and for a slot that no"
            " server has handled in this time."
        ),
    )
    at_least: AtLeast | None = Field(
        default=None,
        description="Minimum number of successes in a period. An alert is sent when there are fewer.",
    )
    ping: Webhook | None = Field(
        default=None,
        description="Address that is fetched after each successful run, such as a dead-man's switch.",
    )
    alerts: AlertsSpec | None = Field(
        default=None, description="Events and recipients for the job's alerts."
    )
    params: dict[ParamName, ParamSpec] = Field(
        default_factory=dict,
        description='Typed arguments by name: `user_id: int`, or with a default value `since: "date = 2026-01-01"`.',
    )
    paused: StrictBool = Field(default=False, description="Create the job paused.")
    keep: tuple[JobArgument, ...] = Field(
        default=(),
        description=(
            "Arguments of `@job(…)` that the code decides, not this file, such as `timeout`. `schedule` stands for all"
            " arguments that set the time of runs, `params` for the arguments of `execute`. `regenerate --check` does not"
            " report these differences."
        ),
        examples=[["schedule"]],
    )
    name: StableName | None = Field(
        default=None,
        description="Name of the job in the history, if different from the job's key: for jobs from a legacy table, and for renamed jobs.",
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
    """The whole file: project, queues, jobs and flows of a generated project."""

    targcc: Version = Field(description="Version of the file format: 1.")
    project: ProjectSpec = Field(
        description="Name, package, time zone and description of the project."
    )
    database: Literal["sqlite", "postgresql", "mssql"] = Field(
        default="sqlite",
        description=(
            "Default database: `sqlite`, `postgresql` or `mssql` (SQL Server). `TARGCC_DATABASE_URL` overrides this value at run time."
        ),
    )
    mode: Literal["embedded", "pages"] = Field(
        default="embedded",
        description=(
            "Work of the web processes. `embedded`: pages, enqueueing and jobs. `pages`: pages and enqueueing; `targcc worker` runs the jobs."
            " `TARGCC_MODE` overrides this value at run time."
        ),
    )
    scheduler: Literal["package", "vendored"] = Field(
        default="package",
        description=(
            "`package`: the scheduler is the dependency `targcc-scheduler`. `vendored`: the scheduler's source is in"
            " `vendor/targcc-scheduler/`, and you may edit the source. `targcc-gen scheduler` switches."
        ),
    )
    checks: Literal["standard", "strict"] = Field(
        default="standard",
        description=(
            "Rules of the project's checks. `standard`: ruff's rules that find mistakes, and warnings of the project's own code fail its tests."
            " `strict`: every rule of ruff, mypy strict, and any warning fails the tests."
        ),
    )
    ci: Literal["github", "gitlab"] = Field(
        default="github",
        description="Host of the repository. `github`: `.github/workflows/ci.yml`. `gitlab`: `.gitlab-ci.yml`.",
    )
    queues: dict[QueueName, QueueSpec] = Field(
        default_factory=lambda: {"default": QueueSpec()},
        description="Queues by name. `default` exists even if not listed.",
    )
    pools: dict[QueueName, PoolSpec] = Field(
        default_factory=dict,
        description="Pools by name. A pool's workers are shared by several queues.",
    )
    calendars: dict[CalendarName, CalendarSpec] = Field(
        default_factory=dict,
        description="Calendars by name: days off and blackouts. Jobs and queues name their calendars.",
    )
    defaults: DefaultsSpec = Field(
        default_factory=DefaultsSpec, description="Default values for jobs."
    )
    jobs: dict[JobKey, JobSpec] = Field(default_factory=dict, description="Jobs by name.")
    flows: dict[JobKey, FlowSpec] = Field(default_factory=dict, description="Flows by name.")
    moved: dict[JobKey, JobKey] = Field(
        default_factory=dict,
        description=(
            "Renamed jobs, `Old: New`. Files, edits and history follow the new name. A line can be removed once every branch"
            " and every database has been used with the new name."
        ),
        examples=[{"DailySales": "DailyRevenue"}],
    )
    extends: Text | None = Field(
        default=None,
        description="File of the repository with shared queues and defaults: `../org-defaults.yaml`. Values in this file take precedence.",
    )
    blueprints: tuple[Text, ...] = Field(
        default=(),
        description=(
            "Folders with custom blueprints: `./blueprints` in this repository, or `git+https://…@TAG#FOLDER` in another"
            " repository. `targcc-gen blueprints fetch` copies a folder of another repository into the project."
        ),
    )
    features: tuple[FeatureName, ...] = Field(
        default=(),
        description=(
            "Names of custom features, such as `[notes]`. Each name gets a folder `src/<package>/features/<name>/` with a"
            " table, a loop, API routes, a page and commands to start from."
        ),
        examples=[["notes"]],
    )
    alerts: AlertingSpec = Field(
        default_factory=AlertingSpec, description="Alert settings for all jobs."
    )
    oncall: OnCallSpec = Field(default_factory=OnCallSpec, description="On-call people and rota.")
    environments: dict[QueueName, EnvironmentSpec] = Field(
        default_factory=dict,
        description="Overrides by environment. `TARGCC_ENVIRONMENT` selects the environment of a process.",
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
        raise JobTakenError(f"the spec has a job {key} already", hint="choose another name")
    added = spec.model_copy(update={"jobs": {**spec.jobs, key: job}})
    findings = list(rules.spec_findings(rules.as_written(added)))
    if findings:
        raise _input_error(findings, {})
    return added


def _input_error(findings: list[Finding], values: Mapping[str, Any]) -> InputError:
    first, *others = (_with_carets(finding, values) for finding in findings)
    if not others:
        return SpecValueError(first, hint=findings[0].hint)
    lines = [
        f"{text}\n  {finding.hint}" if finding.hint else text
        for text, finding in zip([first, *others], findings, strict=True)
    ]
    return SpecValueError("\n".join(lines))


def _with_carets(finding: Finding, values: Mapping[str, Any]) -> str:
    _, _, *steps = finding.path
    value = values.get(str(steps[0])) if len(steps) == 1 else None
    if finding.column is None or not isinstance(value, str):
        return finding.message
    return f"{finding.message}\n  {value}\n  {' ' * finding.column}{'^' * max(1, finding.length)}"
