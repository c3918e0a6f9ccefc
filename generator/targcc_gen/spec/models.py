"""The spec as frozen models: everything a project asks for, checked.

The descriptions here are what editors show while a spec is typed, and what the spec reference in the manual prints.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from targcc_gen.spec import parts, rules
from targcc_gen.spec.calendars.models import CalendarSpec
from targcc_gen.spec.calendars.values import CalendarName
from targcc_gen.spec.flows.models import MODELS as FLOW_MODELS
from targcc_gen.spec.flows.models import FlowSpec
from targcc_gen.spec.jobs.models import JobSpec
from targcc_gen.spec.oncall import policy
from targcc_gen.spec.oncall.policy import AlertingSpec, OnCallSpec
from targcc_gen.spec.parts import (
    DefaultsSpec,
    Frozen,
    ProjectSpec,
    QueueSpec,
)
from targcc_gen.spec.pools.models import PoolSpec
from targcc_gen.spec.sharing.environments import MODELS as ENVIRONMENT_MODELS
from targcc_gen.spec.sharing.environments import EnvironmentSpec
from targcc_gen.spec.ties.models import MODELS as TIE_MODELS
from targcc_gen.spec.ties.values import parents
from targcc_gen.spec.value_errors import RULE, problem
from targcc_gen.spec.values import (
    FeatureName,
    JobKey,
    QueueName,
    Text,
    Version,
)


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
        """The time zone in which a job's schedule is read."""
        return self.jobs[key].timezone or self.project.timezone

    def stable_name(self, key: str) -> str:
        """The name under which a job's history is kept."""
        return self.jobs[self.current_key(key)].name or self.current_key(key)

    def current_key(self, key: str) -> str:
        """The key that a job has now; it may have been renamed."""
        while key in self.moved:
            key = self.moved[key]
        return key

    def parents(self, key: str) -> tuple[str, ...]:
        """The jobs that a job comes after, by the keys that they have now."""
        return tuple(map(self.current_key, parents(self.jobs[key].after)))

    def followers(self, key: str) -> list[str]:
        """The jobs that come after a job."""
        return [one for one, job in self.jobs.items() if job.after and key in self.parents(one)]

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

    @field_validator("features")
    @classmethod
    def _distinct_features(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise problem("two features have one name", hint="remove one of them", kind=RULE)
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
    **policy.MODELS,
    **FLOW_MODELS,
    **TIE_MODELS,
}

KEYS = {kind: list(model.model_fields) for kind, model in _MODELS.items()}
"""The keys that each kind of mapping may have."""
