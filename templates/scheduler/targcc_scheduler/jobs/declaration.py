"""How a job is declared: ``@job``, and ``define`` for what discovery cannot see.

A declaration needs no project, so that a library of jobs can be imported by many; the registry completes it with the defaults of
the project that runs it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_args

from ..core.errors import JobError
from ..project import Project, current
from ..schedules import (
    AfterCompletionSchedule,
    CronSchedule,
    EverySchedule,
    OnceSchedule,
    Schedule,
    format_duration,
    parse_duration,
    parse_zone,
)
from .definition import Alerts, JobDefinition, JobType, Misfire, Overlap, in_words, name_of

T = TypeVar("T", bound=Callable[..., Any])
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_ANY_PROJECT = Project(name="any", package="any")
"""Stands for the project while a declaration is checked."""


class RecurringOptions(TypedDict, total=False):
    """The options of ``Scheduler.add_recurring`` besides name, function, schedule and zone.

    Durations are texts such as ``90s``, ``15m``, ``1h30m`` or ``2d``, or ``timedelta``.
    """

    every: str | timedelta | None
    """An interval, instead of a cron expression."""
    anchor: str | datetime | None
    """With ``every``: an instant from which the intervals are counted."""
    after: Literal["completion"] | None
    """With ``every``: count from the end of the last run."""
    at: str | datetime | None
    """One instant, instead of a cron expression: it runs once."""
    display_name: str | None
    """Default: the name, in words."""
    description: str | None
    """Default: the first line of the docstring."""
    queue: str | None
    """Default: the project's default queue."""
    priority: int
    """Higher goes first within a queue."""
    retries: int | None
    """How many times a failure is tried again. Default: the project's."""
    backoff: str | timedelta | None
    """The wait before the first retry; it doubles each time. Default: the project's."""
    timeout: str | timedelta | None
    """How long an attempt may take, or ``"none"``. Default: the project's."""
    overlap: Overlap | None
    """``skip`` (default of recurring jobs): a slot that comes while the job is busy is recorded as skipped. ``queue``: it
    waits. ``allow`` (default of all others): runs may overlap."""
    misfire: Misfire
    """What to do with slots that passed while no node was up. ``run_once`` (default): run the newest, record the others as
    missed. ``run_all``: run each. ``skip``: a slot over a minute late is missed."""
    misfire_grace: str | timedelta
    """A slot older than this is missed under any policy. Default: a day."""
    concurrency: int | None
    """How many runs may run at once, on all nodes together."""
    alerts: Alerts | None
    """Who gets alerts, and when."""
    paused: bool
    """Whether it is created paused, until somebody resumes it."""


class JobOptions(RecurringOptions, total=False):
    """The options of :func:`job` and :func:`define` besides the schedule."""

    name: str | None
    """The stable key, when the class was renamed. Default: the class name without ``Job``."""
    timezone: str | None
    """The zone the schedule is read in. Default: the project's."""


def job(
    schedule: str | JobType | None = None, /, **options: Unpack[JobOptions]
) -> Callable[[T], T]:
    """Make a class with ``execute``, or a function, a job.

    Args:
        schedule: A cron expression, or a :class:`JobType` for a job that runs only when asked (the default).
        options: See :class:`JobOptions`.

    Raises:
        JobError: the options contradict each other.
        CronError: the schedule, a duration or the zone cannot be read.
    """

    def decorate(target: T) -> T:
        target.__job__ = declare(target, schedule, **options)  # type: ignore[attr-defined]  # discovery looks for this mark
        return target

    return decorate


@dataclass(frozen=True)
class Declaration:
    """A job as its code declares it; the defaults of a project complete it: see :meth:`complete`.

    Args:
        target: The class or function.
        schedule: A cron expression, or a :class:`JobType` for a job that runs only when asked.
        options: See :class:`JobOptions`.
    """

    target: Callable[..., Any]
    schedule: str | JobType | None
    options: JobOptions

    @property
    def name(self) -> str:
        """The stable key."""
        return self.options.get("name") or name_of(self.target)

    @property
    def module(self) -> str:
        """Where it is, such as ``acme_jobs.jobs.daily_report``."""
        return getattr(self.target, "__module__", "") or ""

    def complete(self, project: Project) -> JobDefinition:
        """The definition in a project, whose defaults hold for options that are not given.

        Raises:
            JobError: the options contradict each other.
            CronError: the schedule, a duration or the zone cannot be read.
        """
        return _complete(self, project, **self.options)


def declare(
    target: Callable[..., Any], schedule: str | JobType | None = None, **options: Unpack[JobOptions]
) -> Declaration:
    """The declaration of ``target``, checked as far as that goes without a project.

    Raises:
        JobError: the options contradict each other.
        CronError: the schedule, a duration or the zone cannot be read.
    """
    declaration = Declaration(target, schedule, options)
    declaration.complete(_ANY_PROJECT)
    return declaration


def define(
    target: Callable[..., Any], schedule: str | JobType | None = None, **options: Unpack[JobOptions]
) -> JobDefinition:
    """The definition of ``target`` in the project of this process.

    Raises:
        JobError: the options contradict each other.
        CronError: the schedule, a duration or the zone cannot be read.
        ProjectError: no project is configured.
    """
    return Declaration(target, schedule, options).complete(current())


def _complete(
    declaration: Declaration,
    project: Project,
    *,
    every: str | timedelta | None = None,
    anchor: str | datetime | None = None,
    after: Literal["completion"] | None = None,
    at: str | datetime | None = None,
    timezone: str | None = None,
    display_name: str | None = None,
    description: str | None = None,
    name: str | None = None,
    queue: str | None = None,
    priority: int = 0,
    retries: int | None = None,
    backoff: str | timedelta | None = None,
    timeout: str | timedelta | None = None,
    overlap: Overlap | None = None,
    misfire: Misfire = "run_once",
    misfire_grace: str | timedelta = "1d",
    concurrency: int | None = None,
    alerts: Alerts | None = None,
    paused: bool = False,
) -> JobDefinition:
    target, schedule = declaration.target, declaration.schedule
    if inspect.isclass(target) and not callable(getattr(target, "execute", None)):
        raise JobError(f"{target.__name__} needs a method execute(self, ctx)")
    key = name or declaration.name
    zone = timezone or project.timezone
    when, text = _schedule(schedule, every=every, anchor=anchor, after=after, at=at, zone=zone)
    _check(key, retries=retries, concurrency=concurrency, overlap=overlap, misfire=misfire)
    parse_zone(zone)
    job_type = schedule if isinstance(schedule, JobType) else JobType.MANUAL
    return JobDefinition(
        name=key,
        display_name=display_name or in_words(key),
        description=description if description is not None else _first_line(target),
        job_type=JobType.RECURRING if when is not None else job_type,
        schedule=when,
        schedule_text=text,
        timezone=zone,
        queue=queue or project.queue,
        priority=priority,
        retries=project.retries if retries is None else retries,
        backoff=_duration(backoff if backoff is not None else project.backoff),
        timeout=_timeout(timeout if timeout is not None else project.timeout),
        overlap=overlap or ("skip" if when is not None else "allow"),
        misfire=misfire,
        misfire_grace=_duration(misfire_grace),
        concurrency=concurrency,
        alerts=alerts,
        paused=paused,
        target=target,
        module=declaration.module,
    )


def _first_line(target: Callable[..., Any]) -> str:
    return next(iter((inspect.getdoc(target) or "").splitlines()), "")


def _check(
    key: str,
    *,
    retries: int | None,
    concurrency: int | None,
    overlap: str | None,
    misfire: str,
) -> None:
    if not _NAME.fullmatch(key):
        raise JobError(f"a job's name has 1 to 100 characters: {key!r}")
    if retries is not None and retries < 0:
        raise JobError(f"{key}: retries is a number from 0, not {retries}")
    if concurrency is not None and concurrency < 1:
        raise JobError(f"{key}: concurrency is a number from 1, not {concurrency}")
    if overlap is not None and overlap not in get_args(Overlap):
        raise JobError(f"{key}: overlap is skip, queue or allow, not {overlap!r}")
    if misfire not in get_args(Misfire):
        raise JobError(f"{key}: misfire is run_once, skip or run_all, not {misfire!r}")


def _duration(value: str | timedelta) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _timeout(value: str | timedelta | None) -> timedelta | None:
    if value is None or value == "none":
        return None
    return _duration(value)


def _instant(value: str | datetime, zone: str) -> datetime:
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=parse_zone(zone))


def _schedule(
    schedule: str | JobType | None,
    *,
    every: str | timedelta | None,
    anchor: str | datetime | None,
    after: str | None,
    at: str | datetime | None,
    zone: str,
) -> tuple[Schedule | None, str]:
    """The schedule that the options say, and its text."""
    given = [option for option in (schedule, every, at) if option is not None]
    if len(given) > 1:
        raise JobError("a job has one schedule: a cron expression, every=, at= or a JobType")
    if every is None and (anchor is not None or after is not None):
        raise JobError("anchor= and after= belong to every=")
    if anchor is not None and after is not None:
        raise JobError("anchor= and after= contradict each other")
    if at is not None:
        instant = _instant(at, zone)
        return OnceSchedule(instant), f"once at {instant:%Y-%m-%dT%H:%M:%S}"
    if every is not None:
        return _interval(_duration(every), anchor, after, zone)
    if schedule is None or isinstance(schedule, JobType):
        if schedule is JobType.RECURRING:
            raise JobError("a recurring job needs a cron expression, every= or at=")
        return None, ""
    return CronSchedule.parse(schedule), schedule


def _interval(
    interval: timedelta, anchor: str | datetime | None, after: str | None, zone: str
) -> tuple[Schedule, str]:
    text = f"every {format_duration(interval)}"
    if after is not None:
        if after != "completion":
            raise JobError(f"after= knows only 'completion', not {after!r}")
        return AfterCompletionSchedule(interval), f"{text} after completion"
    if anchor is None:
        return EverySchedule(interval), text
    return EverySchedule(interval, _instant(anchor, zone)), f"{text} from {anchor}"
