# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What a job is: the ``@job`` decorator and the definition it makes."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol, TypedDict, TypeVar, Unpack, get_args

import pydantic

from . import project
from .arguments import Parameters, parameters_of
from .cron import (
    AfterCompletionSchedule,
    CronSchedule,
    EverySchedule,
    OnceSchedule,
    Schedule,
    format_duration,
    parse_duration,
    parse_zone,
)

T = TypeVar("T", bound=Callable[..., Any])

Overlap = Literal["skip", "queue", "allow"]
Misfire = Literal["run_once", "skip", "run_all"]
AlertKind = Literal["failure", "success", "missed"]

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


class JobType(StrEnum):
    """Why a run exists, or, for a definition, how runs of it come to be."""

    RECURRING = "Recurring"
    FIRE_AND_FORGET = "FireAndForget"
    DELAYED = "Delayed"
    MANUAL = "Manual"


class Job(Protocol):
    """What a job class looks like; nothing has to inherit from it.

    ``execute`` may be plain or async. Its first parameter is the :class:`JobContext`; further ones are the job's arguments.
    """

    execute: Callable[..., Any]


class JobError(ValueError):
    """A job is declared in a way that cannot work."""


@dataclass(frozen=True)
class Alerts:
    """Who is told about a job, and when.

    Args:
        on: Any of ``failure``, ``success``, ``missed`` and ``slower than 5m`` (a duration).
        email: Addresses.
        slack: A Slack webhook URL.
        teams: The URL of a Power Automate workflow that posts to Teams.
        max_per_hour: More alerts than this in an hour are not sent.
    """

    on: tuple[str, ...] = ("failure",)
    email: tuple[str, ...] = ()
    slack: str | None = field(default=None, repr=False)
    teams: str | None = field(default=None, repr=False)
    max_per_hour: int | None = None

    def __post_init__(self) -> None:
        for kind in self.on:
            if kind not in get_args(AlertKind) and not kind.startswith("slower than "):
                raise JobError(
                    f"no alert on {kind!r}: failure, success, missed or 'slower than 5m'"
                )
        self.slower_than  # noqa: B018 - a wrong duration shows here and now

    @property
    def slower_than(self) -> timedelta | None:
        """An attempt that takes longer than this is told about."""
        for kind in self.on:
            if kind.startswith("slower than "):
                return parse_duration(kind.removeprefix("slower than "))
        return None


@dataclass(frozen=True)
class JobDefinition:
    """Everything the scheduler knows about a job.

    Args:
        name: The stable key; rows of history and runs carry it.
        schedule: When it runs; ``None`` for a job that only runs when asked.
        schedule_text: The schedule as it was written, such as ``0 2 * * *`` or ``every 90m``.
        timezone: The zone its schedule is read in.
        retries: How many times a failure is tried again.
        backoff: The wait before the first retry; it doubles each time.
        timeout: How long one attempt may take; ``None`` is for ever.
        overlap: What happens to a slot that comes while the job is busy.
        misfire: What happens to slots that passed while nobody could start them.
        misfire_grace: A slot older than this is recorded as missed, whatever the policy.
        concurrency: How many runs may be running at once, on all nodes together, when said.
        paused: Whether it is created paused.
        target: The class or function.
        module: Where it is, such as ``acme_jobs.jobs.daily_report``.
    """

    name: str
    display_name: str
    description: str
    job_type: JobType
    schedule: Schedule | None
    schedule_text: str
    timezone: str
    queue: str
    priority: int
    retries: int
    backoff: timedelta
    timeout: timedelta | None
    overlap: Overlap
    misfire: Misfire
    misfire_grace: timedelta
    concurrency: int | None
    alerts: Alerts | None
    paused: bool
    target: Callable[..., Any]
    module: str

    @property
    def limit(self) -> int | None:
        """How many runs may be running at once; ``None`` is any number."""
        if self.concurrency is not None:
            return self.concurrency
        return None if self.overlap == "allow" else 1

    @property
    def function(self) -> Callable[..., Any]:
        """What is called: the function itself, or ``execute`` of the class, not bound."""
        target: Any = self.target
        function: Callable[..., Any] = getattr(target, "execute", target)
        return function

    @functools.cached_property
    def signature(self) -> Parameters:
        """How :attr:`function` wants to be called."""
        return parameters_of(self.function, bound=inspect.isclass(self.target))

    @property
    def parameters(self) -> type[pydantic.BaseModel] | None:
        """The typed arguments as a model; ``None`` when the job takes none."""
        return self.signature.model

    def __str__(self) -> str:
        return self.name


class RecurringOptions(TypedDict, total=False):
    """What ``Scheduler.add_recurring`` may be told besides name, function, schedule and zone.

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
    """Who is told, and when."""
    paused: bool
    """Created paused; somebody resumes it."""


class JobOptions(RecurringOptions, total=False):
    """What :func:`job` and :func:`define` may be told besides the schedule."""

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
        target.__job__ = define(target, schedule, **options)  # type: ignore[attr-defined]  # discovery looks for this mark
        return target

    return decorate


def define(
    target: Callable[..., Any],
    schedule: str | JobType | None = None,
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
    """The definition of ``target``; the options are those of :class:`JobOptions`."""
    if inspect.isclass(target) and not callable(getattr(target, "execute", None)):
        raise JobError(f"{target.__name__} needs a method execute(self, ctx)")
    key = name or name_of(target)
    zone = timezone or project.TIMEZONE
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
        queue=queue or project.QUEUE,
        priority=priority,
        retries=project.RETRIES if retries is None else retries,
        backoff=_duration(backoff if backoff is not None else project.BACKOFF),
        timeout=_timeout(timeout if timeout is not None else project.TIMEOUT),
        overlap=overlap or ("skip" if when is not None else "allow"),
        misfire=misfire,
        misfire_grace=_duration(misfire_grace),
        concurrency=concurrency,
        alerts=alerts,
        paused=paused,
        target=target,
        module=getattr(target, "__module__", "") or "",
    )


def name_of(target: Callable[..., Any]) -> str:
    """The name of a class or function as a key: ``DailyReportJob`` and ``daily_report`` are ``DailyReport``."""
    name = getattr(target, "__name__", type(target).__name__)
    if not inspect.isclass(target):
        name = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return name.removesuffix("Job") or name


def in_words(key: str) -> str:
    """A key for people: ``DailyReport`` is ``Daily Report``, ``SyncSAPOrders`` is ``Sync SAP Orders``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", key)
    return " ".join(spaced.replace("_", " ").split()) or key


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
