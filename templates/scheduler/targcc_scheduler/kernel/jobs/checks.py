"""Check the file, the schedule, the alerts and the constructor's services of each job before the first run.

``serve``, ``worker``, ``dev``, ``doctor`` and the project's own tests show the same findings.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.masking import mask
from ...project import Project, current
from ...schedules.cron import CronSchedule
from ...schedules.zones import parse_zone
from ..feature import JobCheck, load
from .definition import JobDefinition
from .discovery import BrokenModule, line_of, place_of
from .registry import JobRegistry

if TYPE_CHECKING:
    from dishka import AsyncContainer

    from ...settings import Settings

MakeContainer = Callable[[], "AsyncContainer | None"]


@dataclass(frozen=True, slots=True)
class JobFinding:
    """Something that cannot work, found before the first run.

    Args:
        cause: What cannot work.
        advice: The way out.
        job: The job's name; ``None`` if the finding is about a file or about several jobs.
        module: The module's dotted name.
        path: The file's path, if known.
        line: The line in the file, if known.
        fails: Whether a job cannot run, or cannot run by itself. Otherwise only its alerts cannot be sent at present.
        subject: Subject of the check in a word: ``jobs``, ``schedules`` or ``alerts``.
    """

    cause: str
    advice: str
    job: str | None = None
    module: str = ""
    path: str | None = None
    line: int | None = None
    fails: bool = True
    subject: str = "jobs"

    @property
    def place(self) -> str:
        """The file with the line, relative to the current folder if below it; the module's name without a file."""
        return place_of(self.path, self.line) or self.module

    def __str__(self) -> str:
        return f"{self.place}  {self.cause}: {self.advice}"


def finding(
    job: JobDefinition,
    cause: str,
    advice: str,
    *,
    line: int | None = None,
    fails: bool = True,
    subject: str = "jobs",
) -> JobFinding:
    """Return a finding about a job, at the job's own line if ``line`` is ``None``."""
    path = _file_of(job.target)
    at = line if line is not None else line_of(job.target)
    return JobFinding(cause, advice, job.name, job.module, path, at, fails, subject)


def check_jobs(
    registry: JobRegistry,
    settings: Settings,
    *,
    offers: Collection[type],
    make_container: MakeContainer,
) -> list[JobFinding]:
    """Check all jobs in the code and return the findings. No service is made, and no database is opened.

    Args:
        registry: The jobs.
        settings: The settings, for checks of features.
        offers: The types that the scheduler itself provides to constructors.
        make_container: Makes the container of services; called once.
    """
    jobs = [job for job in registry.own if job.name in registry.definitions]
    findings = [
        JobFinding(item.error, item.advice, None, item.module, item.path, item.line)
        for item in registry.broken
    ]
    findings += _constructors(jobs, offers, make_container)
    findings += _schedules(jobs)
    for check in load(JobCheck):
        findings += check(jobs, settings)
    return findings


def broken_of(findings: Iterable[JobFinding]) -> list[BrokenModule]:
    """Return the failing findings about single jobs as :class:`~.discovery.BrokenModule`, for pages, API and metrics."""
    return [
        BrokenModule(
            item.module,
            item.path,
            item.cause,
            f"{item.cause}\n{item.advice}",
            item.line,
            item.advice,
        )
        for item in findings
        if item.fails and (item.job is not None or item.cause.startswith(_SERVICES))
    ]


# Services: the types that constructors ask for.

_SERVICES = "the services cannot be made"


def _constructors(
    jobs: Iterable[JobDefinition], offers: Collection[type], make_container: MakeContainer
) -> Iterator[JobFinding]:
    classes = [job for job in jobs if inspect.isclass(job.target)]
    if not classes:
        return
    project = current()
    try:
        container = _on_a_loop(make_container)
    except Exception as error:  # noqa: BLE001 - the project's own code
        yield _services_fail(project, error)
        return
    for job in classes:
        yield from _constructor(job, offers, container, project)


def _on_a_loop(make_container: MakeContainer) -> AsyncContainer | None:
    """Call the function while an event loop runs in this thread: a container may need the loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_called(make_container))
    return make_container()


async def _called(make_container: MakeContainer) -> AsyncContainer | None:
    return make_container()


def _services_fail(project: Project, error: Exception) -> JobFinding:
    module = f"{project.package}.services"
    path = _services_file(project)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path
    ]
    message = mask(next(iter(str(error).strip().splitlines()), ""))
    return JobFinding(
        f"{_SERVICES}: {type(error).__name__}: {message}",
        "correct make_container and the providers; no job gets a service before",
        None,
        module,
        path,
        frames[-1].lineno if frames else None,
    )


def _constructor(
    job: JobDefinition,
    offers: Collection[type],
    container: AsyncContainer | None,
    project: Project,
) -> Iterator[JobFinding]:
    from ..worker.runner import constructor_parameters

    target: Any = job.target
    at = partial(finding, job, line=_constructor_line(target))
    try:
        parameters = constructor_parameters(target)
    except Exception as error:  # noqa: BLE001 - evaluating a type may raise anything
        cause = (
            f"the types of the constructor of {target.__name__} cannot be read: {mask(str(error))}"
        )
        yield at(
            cause, "correct them, or import them at the top of the module, outside TYPE_CHECKING"
        )
        return
    for parameter, kind in parameters:
        if parameter.default is not parameter.empty:
            continue
        if kind is None:
            yield at(
                f"{target.__name__} asks for {parameter.name} without a type",
                f"give it the type of a service, such as {parameter.name}: Database",
            )
        elif not (isinstance(kind, type) and kind in offers) and not _provides(container, kind):
            file = _services_file(project)
            where = f"in {place_of(file, None)}" if file else "in services.py"
            yield at(
                f"{target.__name__} asks for {getattr(kind, '__qualname__', kind)}, which no provider makes",
                f"add a @provide method to Services {where}",
            )


def _provides(container: AsyncContainer | None, kind: Any) -> bool:
    """Return whether a container makes a type, for itself or within the scope of an attempt."""
    if container is None:
        return False
    from dishka import Scope
    from dishka.entities.key import compilation_to_dependency_key

    key = compilation_to_dependency_key(kind)
    outer: AsyncContainer | None = container
    while outer is not None:
        if outer.registry.get_factory(key) is not None:
            return True
        outer = outer.parent_container
    inner = container.registry.child_registry
    while inner is not None:
        if inner.get_factory(key) is not None:
            return True
        if inner.scope is Scope.REQUEST:
            return False
        inner = inner.child_registry
    return False


def _services_file(project: Project) -> str | None:
    try:
        spec = importlib.util.find_spec(f"{project.package}.services")
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None else None


def _file_of(target: Callable[..., Any]) -> str | None:
    try:
        return inspect.getsourcefile(target)
    except (OSError, TypeError):
        return None


def _constructor_line(target: type) -> int | None:
    """Return the line of a class's own ``__init__``; ``None`` for an inherited or generated constructor."""
    code = getattr(vars(target).get("__init__"), "__code__", None)
    return (
        code.co_firstlineno if code is not None and code.co_filename == _file_of(target) else None
    )


# Schedules.


def _schedules(jobs: Iterable[JobDefinition]) -> Iterator[JobFinding]:
    """Find cron expressions that name no date, such as 30 February."""
    now = datetime.now(UTC)
    for job in jobs:
        if not isinstance(job.schedule, CronSchedule):
            continue
        if job.schedule.next(now, parse_zone(job.timezone)) is None:
            yield finding(
                job,
                f"the schedule of {job.name}, {job.schedule_text}, has no date to come",
                "correct the cron expression, or remove it to make the job a manual one",
                subject="schedules",
            )
