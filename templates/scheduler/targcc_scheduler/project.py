"""What the scheduler knows of the project it runs in: its name, and what targcc.yaml says where nothing else does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from .core.errors import ProjectError

ENVIRONMENT = "TARGCC_ENVIRONMENT"
"""The environment variable that names the environment this process runs in."""


@dataclass(frozen=True)
class Project:
    """A project, as targcc.yaml describes it; the generator writes this value into ``<package>/scheduler.py``.

    Args:
        name: Such as ``acme-jobs``.
        package: The import name, such as ``acme_jobs``.
        timezone: The zone of jobs that name none.
        database_url: Where ``TARGCC_DATABASE_URL`` says nothing else.
        mode: Work of the web processes, where ``TARGCC_MODE`` says nothing else: ``embedded``, or ``pages`` without jobs.
        queues: Queues by name, with the number of runs that go on at once on each node.
        queue: The queue of jobs that name none.
        retries: How often a failed run is tried again, for jobs that do not say.
        backoff: The wait before the first retry, for jobs that do not say, such as ``30s``.
        queue_limits: For some queues, the number of runs that go on at once on all nodes together.
        queue_aging: For some queues, how many seconds of waiting count as one point of priority.
        pools: Pools by name: ``workers`` of each node that the pool's ``queues`` share, these in order and with their weights, and its
            ``order``, ``strict`` or ``weighted``. Such a queue has its pool's workers in ``queues`` too.
        process_queues: The queues whose jobs run in worker processes unless they say otherwise.
        timeout: How long a run may take, for jobs that do not say; ``None`` is no limit.
        calendars: Calendars by name: days off and times in which nothing starts, as :data:`~.schedules.working.calendar.KEYS` has them.
        queue_calendars: For some queues, the names of calendars that hold all their jobs (``calendar``), and what becomes of a slot on
            a day off where a job does not say (``on_holiday``).
        job_options: By job, options of ``@job`` that count more here than what the job itself says; those of ``*`` count for every job.
        alerts: Who hears of jobs that name nobody, quiet hours, escalation, the digest: see ``features/alerts/policy.py``.
        oncall: The people who are on call, and the rota.
        flows: Flows by name: options of the job that starts each, its ``arguments`` and its ``steps``; see ``jobs/flows/``.
        features: Features of the project beside the built-in ones: import names of packages with a module ``feature``, such as
            ``acme_jobs.features.holidays``.
    """

    name: str
    package: str
    timezone: str = "UTC"
    database_url: str = ""
    mode: Literal["embedded", "pages"] = "embedded"
    queues: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({"default": 5}))
    queue: str = "default"
    retries: int = 3
    backoff: str = "30s"
    timeout: str | None = None
    process_queues: tuple[str, ...] = ()
    queue_limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    queue_aging: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pools: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    calendars: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    queue_calendars: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    job_options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    alerts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    oncall: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    flows: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (
            *("queues", "queue_limits", "calendars", "queue_calendars", "job_options"),
            *("alerts", "oncall", "flows", "queue_aging", "pools"),
        ):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.package}.db")


EVERY_JOB = "*"
"""The name in ``job_options`` whose options count for every job."""

_configured: Project | ProjectError | None = None


def configure(
    project: Project, environments: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Say which project this process runs; before a scheduler is made.

    Another name than these in ``TARGCC_ENVIRONMENT``, also where there are none, is refused by :func:`check` and :func:`current`: the command line, which is
    imported from below the package that calls this, is there to say so.

    Args:
        project: The project.
        environments: What is different of it where the environment variable ``TARGCC_ENVIRONMENT`` has one of these names.

    Raises:
        ProjectError: another project is configured in this process already.
    """
    global _configured  # noqa: PLW0603 - the one place where a process keeps its project
    try:
        project = _in_environment(project, environments or {})
    except ProjectError as error:
        _configured = error
        return
    if isinstance(_configured, Project) and _configured != project:
        raise ProjectError(
            f"this process runs {_configured.name} already: {project.name} needs a process of its own"
        )
    _configured = project


def adopt(project: Project) -> None:
    """Take over a project as another process has it: what is different in its environment is in it already."""
    global _configured  # noqa: PLW0603 - the one place where a process keeps its project
    _configured = project


def _in_environment(project: Project, environments: Mapping[str, Mapping[str, Any]]) -> Project:
    name = os.environ.get(ENVIRONMENT, "")
    if not name:
        return project
    if not environments:
        raise ProjectError(
            f"{ENVIRONMENT} is {name!r}, and targcc.yaml has no environments: leave it empty, or add it there and regenerate"
        )
    if name not in environments:
        raise ProjectError(
            f"{ENVIRONMENT} is {name!r}, and targcc.yaml has {', '.join(environments)}: set it to one of them,"
            " or add it there and regenerate; it may be empty"
        )
    return replace(project, **environments[name])


def check() -> None:
    """Refuse to go on where ``TARGCC_ENVIRONMENT`` names no environment of the project.

    Raises:
        ProjectError: it does not.
    """
    if isinstance(_configured, ProjectError):
        raise ProjectError(str(_configured))


def current() -> Project:
    """The project of this process.

    Raises:
        ProjectError: none is configured, or ``TARGCC_ENVIRONMENT`` names no environment of it.
    """
    check()
    if not isinstance(_configured, Project):
        raise ProjectError(
            "no project is configured: import job and Scheduler from <package>.scheduler, not from targcc_scheduler;"
            " on a command line: python -m <package>.scheduler, or uv run targcc in the project's folder"
        )
    return _configured


def features() -> tuple[str, ...]:
    """Return the import names of the project's own features; none if no project is configured."""
    return _configured.features if isinstance(_configured, Project) else ()
