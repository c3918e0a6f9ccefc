"""Declare a job with ``@job``, or with ``define`` where discovery cannot see it.

A declaration needs no project, so that a library of jobs can be imported by many; the registry completes it with the defaults of
the project that runs it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack, cast, get_args

from ...core.errors import JobError
from ...core.numbers import PRIORITIES, is_priority
from ...project import Project, current
from ...schedules.base import Schedule
from ...schedules.calendars import OnHoliday
from ...schedules.cron import CronSchedule
from ...schedules.intervals import (
    AfterCompletionSchedule,
    AfterRunSchedule,
    AfterStartSchedule,
    EverySchedule,
    OnceSchedule,
)
from ...schedules.words import format_duration, parse_duration
from ...schedules.zones import parse_zone
from .chains import AfterRun, Named, interval_from, names
from .definition import (
    Alerts,
    Backoff,
    FailedRun,
    Isolation,
    JobDefinition,
    JobType,
    Misfire,
    NextAttempt,
    Overlap,
    calendar_names,
    expectations,
    in_words,
    name_of,
    with_calendars,
)
from .limits import LimitOptions, limit_of
from .unique import UniqueBy, unique_of

# The options with which a job is declared.


class RecurringOptions(TypedDict, total=False):
    """The options of ``Scheduler.add_recurring`` besides name, function, schedule and zone.

    Durations are texts such as ``90s``, ``15m``, ``1h30m`` or ``2d``, or ``timedelta``.
    """

    every: str | timedelta | None
    """An interval, instead of a cron expression."""
    anchor: str | datetime | None
    """With ``every``: when it runs first; the intervals are counted from there. An interval of whole days keeps its time of the clock."""
    after: AfterRun | Sequence[Named] | None
    """Jobs that it follows, as ``[ImportOrders]`` or by name: each run of theirs that is created brings one of its own, which waits for its success.
    With ``every``, ``"completion"`` or ``"start"``: count from the end or the start of the last run."""
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
    backoff: Backoff | None
    """The wait before the first retry; it doubles each time. Or a function ``(run, error)``, or an object with ``next_attempt(run, error)``, that
    returns the wait before each retry; see :class:`~..definition.FailedRun`. Default: the project's."""
    timeout: str | timedelta | None
    """How long an attempt may take, or ``"none"``. Default: the project's."""
    overlap: Overlap | None
    """``skip`` (default of recurring jobs): a slot that comes while the job is busy is recorded as skipped. ``queue``: it
    waits. ``allow`` (default of all others): runs may overlap."""
    misfire: Misfire
    """What to do with slots that passed while no node was up. ``run_once`` (default): run the newest, record the others as
    missed. ``run_all``: run each. ``skip``: a slot over a minute late is missed."""
    misfire_grace: str | timedelta
    """A slot older than this is missed under any policy; ``"none"`` is no limit. Default: a day."""
    concurrency: int | None
    """How many runs may run at once, on all nodes together."""
    isolation: Isolation | None
    """``thread``: it runs in this process; a plain job that does not stop when it is told keeps its place until it ends. ``process``: it runs in
    a process of its own: it can be stopped whatever it does, and a crash costs this run alone. Default: what its queue says, else ``thread``."""
    memory_limit: int | None
    """MiB of resident memory of a run in a process of its own, which this implies; one that uses more is ended and has failed."""
    alerts: Alerts | None
    """Who gets alerts, and when."""
    paused: bool
    """Whether it is created paused, until somebody resumes it."""
    calendar: str | tuple[str, ...] | None
    """Calendars of the project, by name: nothing of it starts by itself while one of them, or one of its queue's, is closed."""
    on_holiday: OnHoliday | None
    """What becomes of a slot there. ``skip``: it is left out. ``next``, ``previous``: it comes at the same time on the nearest working
    day. Default: what its queue says, else ``skip``."""
    unique: UniqueBy | None
    """The argument, or a tuple of them, by which a run is unique; ``True``: by all of them. Or a function that gets them by name and returns
    what the run is unique by; ``None``: nothing."""
    unique_scope: str | timedelta | None
    """With ``unique``: until when another run is a duplicate. ``queued``: until the first starts. ``running`` (default of ``skip``): until it is
    over. A duration such as ``1h``: until then, and for so long after it succeeded."""
    on_duplicate: str | None
    """With ``unique``: ``skip`` (default): the first run stands for both. ``replace``: if it has not begun, it gets the arguments of the second.
    ``debounce 30s``: so too, and it starts when none has come for so long. ``throttle 1m``: so too, and runs start so far apart at least."""
    expires_in: str | timedelta | None
    """A run that has not begun so long after it was due is cancelled instead of starting late. Default: none expires."""
    limit: LimitOptions | None
    """How many runs may be under way at once, and how many may start in a while, by key: ``{"key": "tenant_id", "running": 2, "rate": "100/min"}``.
    A run that waits for room holds no worker. Default: no limit."""
    must_finish_by: str | None
    """A time of the day in the job's zone, such as ``"06:00"``: people are told if its last slot before has not succeeded by then."""
    must_start_within: str | timedelta | None
    """People are told of a run that has waited longer than this for its worker, and of a slot that nobody has begun."""
    at_least: str | None
    """Such as ``"1 success in 26h"``: people are told when there were fewer."""
    ping: str | None
    """An address that is fetched after each run that succeeds, such as that of a dead-man's switch, or ``${NAME}`` of a variable with it."""


class Expected(TypedDict, total=False):
    """Those of the options that say what people rely on."""

    must_finish_by: str | None
    must_start_within: str | timedelta | None
    at_least: str | None
    ping: str | None


class JobOptions(RecurringOptions, total=False):
    """The options of :func:`job` and :func:`define` besides the schedule."""

    name: str | None
    """The stable key, when the class was renamed. Default: the class name without ``Job``."""
    timezone: str | None
    """The zone the schedule is read in. Default: the project's."""
    aliases: tuple[str, ...]
    """Names that the job had before: its history, pause and schedule go on under the new one. Drop them once every database has been
    used with the new name, and no code asks for an old one."""
    left_spec: bool
    """Written by ``targcc-gen regenerate``: targcc.yaml had this job and has it no more, so people are shown that it runs."""


# How a job is declared: ``@job``, and ``define`` for what discovery cannot see.

T = TypeVar("T", bound=Callable[..., Any])
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_ANY_PROJECT = Project(name="any", package="any")
"""Stands for the project while a declaration is checked."""


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
            CronError: the schedule, a duration, the zone or a calendar cannot be read, or there is no such calendar.
        """
        there = cast("JobOptions", project.job_options.get(self.name, {}))
        return with_calendars(_complete(self, project, **(self.options | there)), project)


def declare(
    target: Callable[..., Any], schedule: str | JobType | None = None, **options: Unpack[JobOptions]
) -> Declaration:
    """The declaration of ``target``, checked as far as that goes without a project.

    Raises:
        JobError: the options contradict each other.
        CronError: the schedule, a duration or the zone cannot be read.
    """
    declaration = Declaration(target, schedule, options)
    _complete(declaration, _ANY_PROJECT, **options)
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
    after: AfterRun | Sequence[Named] | None = None,
    at: str | datetime | None = None,
    timezone: str | None = None,
    display_name: str | None = None,
    description: str | None = None,
    name: str | None = None,
    queue: str | None = None,
    priority: int = 0,
    retries: int | None = None,
    backoff: Backoff | None = None,
    timeout: str | timedelta | None = None,
    overlap: Overlap | None = None,
    misfire: Misfire = "run_once",
    misfire_grace: str | timedelta = "1d",
    concurrency: int | None = None,
    isolation: Isolation | None = None,
    memory_limit: int | None = None,
    alerts: Alerts | None = None,
    paused: bool = False,
    calendar: str | tuple[str, ...] | None = None,
    on_holiday: OnHoliday | None = None,
    unique: UniqueBy | None = None,
    unique_scope: str | timedelta | None = None,
    on_duplicate: str | None = None,
    expires_in: str | timedelta | None = None,
    limit: LimitOptions | None = None,
    aliases: tuple[str, ...] = (),
    left_spec: bool = False,
    **expected: Unpack[Expected],
) -> JobDefinition:
    target, schedule = declaration.target, declaration.schedule
    if inspect.isclass(target) and not callable(getattr(target, "execute", None)):
        raise JobError(f"{target.__name__} needs a method execute(self, ctx)")
    key = name or declaration.name
    zone = timezone or project.timezone
    counted = interval_from(after)
    when, text = schedule_from(
        schedule, every=every, anchor=anchor, after=counted, at=at, zone=zone
    )
    _check(key, retries=retries, concurrency=concurrency, overlap=overlap, misfire=misfire)
    _check_priority(key, priority)
    _check_aliases(key, aliases)
    parse_zone(zone)
    if memory_limit is not None and isolation is None:
        isolation = "process"
    _check_isolation(key, target, isolation, memory_limit)
    wait, rule = _backoff(key, backoff if backoff is not None else project.backoff, project)
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
        backoff=wait,
        backoff_rule=rule,
        timeout=_limit(timeout if timeout is not None else project.timeout),
        overlap=overlap or ("skip" if when is not None else "allow"),
        misfire=misfire,
        misfire_grace=_limit(misfire_grace),
        concurrency=concurrency,
        isolation=isolation or isolation_of(target, queue or project.queue, project),
        memory_limit=memory_limit,
        alerts=alerts,
        paused=paused,
        target=target,
        module=declaration.module,
        aliases=tuple(aliases),
        left_spec=left_spec,
        calendars=calendar_names(key, calendar, on_holiday),
        on_holiday=on_holiday,
        unique=unique_of(key, target, unique, unique_scope, on_duplicate, recurs=when is not None),
        expires_in=_limit(expires_in),
        after=names(key, after, has_schedule=when is not None),
        keyed_limit=limit_of(key, target, limit),
        expectations=expectations(key, **expected),
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


def _check_priority(key: str, priority: object) -> None:
    if not isinstance(priority, int) or not is_priority(priority):
        raise JobError(f"{key}: {PRIORITIES}, not {priority!r:.40}")


def _check_aliases(key: str, aliases: object) -> None:
    """One text alone would be taken for a list of letters."""
    if not isinstance(aliases, tuple | list) or not all(isinstance(one, str) for one in aliases):
        raise JobError(f'{key}: aliases is a tuple of names, such as ("{key}Old",)')
    for alias in aliases:
        if not _NAME.fullmatch(alias) or alias == key:
            raise JobError(f"{key}: {alias!r} is no name that it had before")


def _check_isolation(
    key: str, target: Callable[..., Any], isolation: str | None, memory_limit: int | None
) -> None:
    if isolation is not None and isolation not in get_args(Isolation):
        raise JobError(f"{key}: isolation is thread or process, not {isolation!r}")
    if isolation == "process" and not _can_be_imported(target):
        raise JobError(f"{key}: another process must import it: put it at the top of a module")
    if memory_limit is not None and (memory_limit < 1 or isolation == "thread"):
        raise JobError(f"{key}: memory_limit is MiB from 1, of a process of its own")


def isolation_of(target: Callable[..., Any], queue: str, project: Project) -> Isolation:
    """What a job's queue says of a job that says nothing."""
    wanted = queue in project.process_queues and _can_be_imported(target)
    return "process" if wanted else "thread"


def _can_be_imported(target: Callable[..., Any]) -> bool:
    name = getattr(target, "__qualname__", "<")
    return "<" not in name and getattr(target, "__module__", "__main__") != "__main__"


def _duration(value: str | timedelta) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _backoff(
    key: str, value: Backoff, project: Project
) -> tuple[timedelta, Callable[[FailedRun, Exception], NextAttempt] | None]:
    """The first wait, and the rule that decides instead of it."""
    if isinstance(value, str | timedelta):
        return _duration(value), None
    rule: object = getattr(value, "next_attempt", value)
    if inspect.isclass(value):
        raise JobError(f"{key}: backoff is an instance, {value.__name__}(), not its class")
    if not callable(rule):
        raise JobError(
            f"{key}: backoff is a duration, a function of (run, error) or an object with next_attempt(run, error), not {value!r}"
        )
    if inspect.iscoroutinefunction(rule):
        raise JobError(f"{key}: backoff is decided by a plain function, not by an async one")
    try:
        inspect.signature(rule).bind(None, None)
    except TypeError as error:
        raise JobError(f"{key}: backoff is called with (run, error): {error}") from None
    except ValueError:  # a function without a signature, such as one written in C
        pass
    return _duration(project.backoff), rule


def _limit(value: str | timedelta | None) -> timedelta | None:
    if value is None or value == "none":
        return None
    return _duration(value)


def _instant(value: str | datetime, zone: str) -> datetime:
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=parse_zone(zone))


def schedule_from(
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
        schedules: dict[str, type[AfterRunSchedule]] = {
            "completion": AfterCompletionSchedule,
            "start": AfterStartSchedule,
        }
        if after not in schedules:
            raise JobError(f"after= is 'completion' or 'start', not {after!r}")
        return schedules[after](interval), f"{text} after {after}"
    if anchor is None:
        return EverySchedule(interval), text
    return EverySchedule(interval, _instant(anchor, zone)), f"{text} from {anchor}"
