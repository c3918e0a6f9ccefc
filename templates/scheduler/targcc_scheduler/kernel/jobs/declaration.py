"""Declare a job with ``@job``, or define a job that discovery cannot see with ``define``.

A declaration needs no project, so several projects can import the same job library. The registry completes a declaration with the
running project's defaults.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack, cast, get_args, overload

from ...core.errors import JobError
from ...core.numbers import PRIORITIES, is_priority
from ...core.text import closest
from ...project import EVERY_JOB, Project, current
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
from ...schedules.zones import parse_zone, resolve
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
from .options import LimitOptions, UniqueBy, limit_of, unique_of

# Declaration options.


class RecurringOptions(TypedDict, total=False):
    """The options for ``Scheduler.add_recurring`` besides name, function, cron expression and zone.

    A duration is a ``timedelta`` or a text such as ``90s``, ``15m``, ``1h30m`` or ``2d``.
    """

    every: str | timedelta | None
    """The interval between two runs, instead of a cron expression."""
    anchor: str | datetime | None
    """With ``every``: the instant of the first run, from which intervals are counted. An interval of whole days keeps its wall-clock time."""
    after: AfterRun | Sequence[Named] | None
    """The jobs that this job follows, as classes, functions or names: ``[ImportOrders]``. Each new run for a followed job creates a run for this job,
    which waits until the followed run has succeeded.
    With ``every``: ``"completion"`` or ``"start"`` counts the interval from the end or the start of the last run."""
    at: str | datetime | None
    """The instant of a single run, instead of a cron expression."""
    display_name: str | None
    """The name that pages and alerts show. Default: the job's name in words, such as ``Daily Report``."""
    description: str | None
    """A line that explains the job. Default: the docstring's first line."""
    queue: str | None
    """The queue for the job's runs. Default: the project's default queue."""
    priority: int
    """The priority for the job's runs: the run with the highest number starts first within a queue. Default: 0."""
    retries: int | None
    """Retries after a failed attempt; 0 disables retries. Default: the project's."""
    backoff: Backoff | None
    """The delay before the first retry; the delay doubles with each retry. Or a rule that returns the delay before each retry: a function
    ``(run, error)``, or an object with ``next_attempt(run, error)``; see :class:`~.definition.FailedRun`. Default: the project's."""
    timeout: str | timedelta | None
    """The time limit for an attempt; ``"none"`` is no limit. Default: the project's."""
    overlap: Overlap | None
    """The policy for a slot that falls due while the job is busy. ``skip`` (default for recurring jobs): record the slot as skipped.
    ``queue``: let the run wait. ``allow`` (default for all other jobs): let runs overlap."""
    misfire: Misfire
    """The policy for slots that passed while no node was up. ``run_once`` (default): run the newest slot, record the rest as missed.
    ``run_all``: run each slot. ``skip``: record a slot that is more than a minute late as missed."""
    misfire_grace: str | timedelta
    """The maximum age for a slot that may still run: an older slot is missed under every policy. ``"none"`` is no limit. Default: a day."""
    concurrency: int | None
    """Maximum concurrent runs, on all nodes together. Default: no limit with ``overlap="allow"``, else 1."""
    isolation: Isolation | None
    """``thread``: run in the worker's process; a plain job that ignores cancellation occupies its worker until the job ends. ``process``: run in
    a separate process, which can be stopped, and whose crash affects this run alone. Default: the queue's isolation, else ``thread``."""
    memory_limit: int | None
    """Maximum resident memory for a run, in MiB. A run that uses more is terminated and fails. Implies ``isolation="process"``."""
    alerts: Alerts | None
    """The alerts about this job: recipients and conditions."""
    paused: bool
    """Create the job paused, until a person resumes the job."""
    calendar: str | tuple[str, ...] | None
    """The project's calendars that the job respects, by name. The schedule starts no run while a calendar for the job or the job's queue is
    closed."""
    on_holiday: OnHoliday | None
    """The policy for a slot on a day when a calendar is closed. ``skip``: leave the slot out. ``next``, ``previous``: move the slot to the same
    time on the next or the previous working day. Default: the queue's policy, else ``skip``."""
    unique: UniqueBy | None
    """The arguments that make up a run's unique key: a name, a tuple of names, or ``True`` for all arguments. Or a function that gets the
    arguments by name and returns the key, or ``None`` for a run without a key."""
    unique_scope: str | timedelta | None
    """With ``unique``: how long a run keeps its key, so that a second run is a duplicate. ``queued``: until the run starts. ``running`` (default
    of ``skip``): until the run ends. A duration such as ``1h``: until the run ends, and for that time after a success."""
    on_duplicate: str | None
    """With ``unique``: the policy for a duplicate. ``skip`` (default): return the first run. ``replace``: give the duplicate's arguments to
    the first run, if that has not begun. ``debounce 30s``: as ``replace``, and start the run once no duplicate has come for 30 seconds.
    ``throttle 1m``: as ``replace``, and start runs with the same key at least 1 minute apart."""
    expires_in: str | timedelta | None
    """A run that has not begun within this time after its due time is cancelled instead of starting late. Default: no run expires."""
    limit: LimitOptions | None
    """A limit by key on concurrent runs, on starts in a period, or on both: ``{"key": "tenant_id", "running": 2, "rate": "100/min"}``; see
    :class:`~.options.LimitOptions`. A run that waits for capacity occupies no worker. Default: no limit."""
    must_finish_by: str | None
    """A time of day in the job's zone, such as ``"06:00"``. Alert if the last slot before that time has not succeeded by then."""
    must_start_within: str | timedelta | None
    """The longest acceptable wait between due time and start. Alert when a run has waited longer for a worker, or when no node has started a slot."""
    at_least: str | None
    """Minimum successes in a period, such as ``"1 success in 26h"``. Alert when there were fewer."""
    ping: str | None
    """A URL to fetch after each successful run, such as a dead man's switch; or ``${NAME}``, an environment variable with the URL."""


class Expected(TypedDict, total=False):
    """The options that set expectations; see :class:`RecurringOptions`."""

    must_finish_by: str | None
    must_start_within: str | timedelta | None
    at_least: str | None
    ping: str | None


class JobOptions(RecurringOptions, total=False):
    """The options for :func:`job` and :func:`define` besides the schedule."""

    name: str | None
    """The job's stable key in history, runs and schedules; set ``name`` after renaming the class. Default: the class name without ``Job``."""
    timezone: str | None
    """The schedule's time zone. Default: the project's."""
    aliases: tuple[str, ...]
    """The job's earlier names. History, pause and schedule continue under the new name. Remove an alias once every database has been used with
    the new name and no code refers to the earlier name."""
    left_spec: bool
    """Set by ``targcc-gen regenerate`` when targcc.yaml no longer has the job. The job still runs, and pages say so."""


# Declaring a job: ``@job``, and ``define`` for a job that discovery cannot see.

T = TypeVar("T", bound=Callable[..., Any])
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_ANY_PROJECT = Project(name="any", package="any")
"""A placeholder project, used to check a declaration."""


@overload
def job(target: T, /) -> T: ...


@overload
def job(
    schedule: str | JobType | None = None, /, **options: Unpack[JobOptions]
) -> Callable[[T], T]: ...


def job(schedule: Any = None, /, **options: Unpack[JobOptions]) -> Any:
    """Declare a class with a method ``execute``, or a function, as a job.

    Discovery finds a decorated class or function at the top level in a module below the jobs package::

        @job("0 2 * * *", retries=3, timeout="10m")
        class DailyReport:
            async def execute(self, ctx: JobContext, region: str = "all") -> str:
                return "42 rows"

    ``execute`` may be plain or async. The parameter annotated ``JobContext`` gets the context and may be omitted; every other parameter is a
    typed argument. For the return value see :class:`~.context.JobResult`.

    Args:
        schedule: A cron expression. Or the class or function itself, for ``@job`` without parentheses. Or a :class:`JobType`, for a job without a schedule. Default: the schedule of ``every`` or ``at``; without
            them the job runs only when a call enqueues a run, or after the jobs in ``after``.
        options: The keyword options; :class:`JobOptions` and :class:`RecurringOptions` describe each.

    Returns:
        A decorator, which returns the class or function unchanged except for the mark ``__job__``.

    Raises:
        JobError: The options contradict each other, or the class has no ``execute``.
        CronError: The schedule, a duration or the zone cannot be parsed.
    """
    if callable(schedule):
        return job()(schedule)

    def decorate(target: T) -> T:
        target.__job__ = declare(target, schedule, **options)  # type: ignore[attr-defined]  # discovery looks for this mark
        return target

    return decorate


@dataclass(frozen=True)
class Declaration:
    """A job's declaration, without a project; :meth:`complete` adds a project's defaults.

    Args:
        target: The class or function.
        schedule: A cron expression, or a :class:`JobType` for a job without a schedule.
        options: The options; see :class:`JobOptions`.
    """

    target: Callable[..., Any]
    schedule: str | JobType | None
    options: JobOptions

    @property
    def name(self) -> str:
        """The job's stable key."""
        return self.options.get("name") or name_of(self.target)

    @property
    def module(self) -> str:
        """The module with the class or function, such as ``acme_jobs.jobs.daily_report``."""
        return getattr(self.target, "__module__", "") or ""

    def complete(self, project: Project) -> JobDefinition:
        """Return the job's definition in a project; the project's defaults fill omitted options.

        The project's ``job_options`` for this job replace the options in the code.

        Raises:
            JobError: The options contradict each other.
            CronError: The schedule, a duration, the zone or a calendar cannot be parsed, or a calendar does not exist.
        """
        options = project.job_options
        project_options = cast(
            "JobOptions", {**options.get(self.name, {}), **options.get(EVERY_JOB, {})}
        )
        _check_names(self.name, {**self.options, **project_options})
        return with_calendars(_complete(self, project, **(self.options | project_options)), project)


def declare(
    target: Callable[..., Any], schedule: str | JobType | None = None, **options: Unpack[JobOptions]
) -> Declaration:
    """Return a declaration for ``target``, after every check that needs no project.

    Raises:
        JobError: The options contradict each other.
        CronError: The schedule, a duration or the zone cannot be parsed.
    """
    declaration = Declaration(target, schedule, options)
    _check_names(declaration.name, options)
    _complete(declaration, _ANY_PROJECT, **options)
    return declaration


def define(
    target: Callable[..., Any], schedule: str | JobType | None = None, **options: Unpack[JobOptions]
) -> JobDefinition:
    """Return a definition for ``target`` in this process's project.

    Raises:
        JobError: The options contradict each other.
        CronError: The schedule, a duration, the zone or a calendar cannot be parsed.
        ProjectError: No project is configured.
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
    zone = parse_zone(timezone or project.timezone).key
    counted = interval_from(after)
    when, text = schedule_from(
        schedule, every=every, anchor=anchor, after=counted, at=at, zone=zone
    )
    _check(key, retries=retries, concurrency=concurrency, overlap=overlap, misfire=misfire)
    _check_priority(key, priority)
    _check_aliases(key, aliases)
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


def _check_names(key: str, options: Mapping[str, Any]) -> None:
    """Check that each option exists.

    Raises:
        JobError: An option is unknown; the message suggests a similar name.
    """
    known = JobOptions.__required_keys__ | JobOptions.__optional_keys__
    for name in sorted(options.keys() - known):
        near = closest(name, known, cutoff=0.5)
        hint = f"did you mean {near!r}?" if near else f"the options are {', '.join(sorted(known))}"
        raise JobError(f"{key}: a job has no option {name!r}: {hint}")


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
    """Check the aliases; refuse a single text, which would be iterated letter by letter."""
    if not isinstance(aliases, tuple | list) or not all(isinstance(name, str) for name in aliases):
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
    """Return the isolation of a job that sets none: ``process`` if its queue demands that and the target can be imported."""
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
    """Return the delay before the first retry, and the rule that replaces that delay, if there is a rule."""
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
    except ValueError:  # a function without a signature, such as a function written in C
        pass
    return _duration(project.backoff), rule


def _limit(value: str | timedelta | None) -> timedelta | None:
    if value is None or value == "none":
        return None
    return _duration(value)


def _instant(value: str | datetime, zone: str) -> datetime:
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant if instant.tzinfo is not None else resolve(instant, parse_zone(zone))


def schedule_from(
    schedule: str | JobType | None,
    *,
    every: str | timedelta | None,
    anchor: str | datetime | None,
    after: str | None,
    at: str | datetime | None,
    zone: str,
) -> tuple[Schedule | None, str]:
    """Parse the schedule options into a schedule and its text; ``None`` and an empty text for a job without a schedule.

    Raises:
        JobError: The options contradict each other.
        CronError: The cron expression or a duration cannot be parsed.
    """
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
