"""`JobDefinition`: a job's type, options, expectations and names."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from importlib.util import find_spec
from operator import is_
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, get_args

import pydantic

from ...core.errors import JobError
from ...core.masking import MASK
from ...project import Project
from ...schedules.base import Schedule
from ...schedules.calendars import OnHoliday, WorkingCalendar, calendar_of, respecting
from ...schedules.errors import CronError
from ...schedules.words import parse_duration
from ...schedules.zones import parse_zone
from .arguments import Parameters, parameters_of
from .files import Content
from .options import KeyedLimit, Unique
from .overrides import Override

# A job's expectations: the latest finish, the longest wait for a worker, the successes in a period.

_TIME = re.compile(r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)")
_AT_LEAST = re.compile(r"(?P<count>[1-9]\d{0,5}) success(?:es)? in (?P<span>\S+)")


@dataclass(frozen=True, slots=True)
class Expectations:
    """A job's expectations; a broken expectation raises an alert.

    Args:
        finish_by: The time of day, in the job's zone, by which the last slot before that time has succeeded.
        start_within: The longest wait for a run after its due time.
        successes: Minimum successful runs in ``within``; 0 expects none.
        within: The period in which ``successes`` are counted.
        at_least: The option's text, which sets ``successes`` and ``within``, such as ``1 success in 26h``.
        ping: A URL to fetch after each successful run, or a reference to the URL, such as ``${PING_URL}``.
    """

    finish_by: time | None = None
    start_within: timedelta | None = None
    successes: int = 0
    within: timedelta = timedelta()
    at_least: str = ""
    ping: str | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether the job has an expectation; ``ping`` is none."""
        return bool(self.finish_by or self.start_within or self.successes)


def expectations(
    key: str,
    *,
    must_finish_by: str | None = None,
    must_start_within: str | timedelta | None = None,
    at_least: str | None = None,
    ping: str | None = None,
) -> Expectations:
    """Parse the options that set a job's expectations; see :class:`~.declaration.RecurringOptions`.

    Raises:
        JobError: An option cannot be parsed.
    """
    successes, within = _at_least(key, at_least) if at_least else (0, timedelta())
    return Expectations(
        finish_by=_time(key, must_finish_by) if must_finish_by else None,
        start_within=_duration(key, "must_start_within", must_start_within),
        successes=successes,
        within=within,
        at_least=" ".join((at_least or "").split()),
        ping=ping,
    )


def deadline_before(finish_by: time, zone: str, now: datetime) -> datetime:
    """Return the last instant, up to ``now``, at which a time of day was reached in a zone."""
    local = now.astimezone(parse_zone(zone))
    today = local.replace(
        hour=finish_by.hour, minute=finish_by.minute, second=0, microsecond=0, fold=0
    )
    return today if today <= local else today - timedelta(days=1)


def _time(key: str, text: str) -> time:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise JobError(f'{key}: must_finish_by is a time of the day such as "06:00", not {text!r}')
    return time(int(match["hour"]), int(match["minute"]))


def _at_least(key: str, text: str) -> tuple[int, timedelta]:
    match = _AT_LEAST.fullmatch(" ".join(text.split()))
    span = None if match is None else _duration(key, "at_least", match["span"])
    if match is None or span is None:
        raise JobError(f'{key}: at_least is such as "1 success in 26h", not {text!r}')
    return int(match["count"]), span


def _duration(key: str, option: str, value: str | timedelta | None) -> timedelta | None:
    try:
        duration = parse_duration(value) if isinstance(value, str) else value
    except CronError as error:
        raise JobError(f"{key}: {option}: {error}") from None
    if duration is not None and duration <= timedelta():
        raise JobError(f"{key}: {option} is a duration above 0")
    return duration


# Type, options and names of a job.

Overlap = Literal["skip", "queue", "allow"]
Misfire = Literal["run_once", "skip", "run_all"]
Isolation = Literal["thread", "process"]
AlertKind = Literal["failure", "success", "missed", "slow", "unknown", "late", "node"]
# "slow" needs a duration, and "node" belongs to no job.
_SIMPLE_ALERTS = set(get_args(AlertKind)) - {"slow", "node"}


class JobType(StrEnum):
    """The way in which a job's runs start; for a single run, the way in which the run was started."""

    RECURRING = "Recurring"
    FIRE_AND_FORGET = "FireAndForget"
    DELAYED = "Delayed"
    MANUAL = "Manual"


class Job(Protocol):
    """The protocol for job classes; job classes need not inherit from this class.

    ``execute`` may be plain or async. The parameter annotated :class:`JobContext`, or named ``ctx`` or ``context`` without a type, gets the
    context and may be omitted. Every other parameter is a job argument.
    """

    execute: Callable[..., Any]


@dataclass(frozen=True)
class Alerts:
    """A job's alerts: conditions, recipients and rate.

    Args:
        on: The conditions that send an alert, any of ``failure``, ``success``, ``missed``, ``unknown`` (a run waits for a node that knows
            the job and accepts the arguments; ``failure`` includes ``unknown``), ``late`` (a job's expectation is broken; ``failure`` and
            ``missed`` include ``late``) and ``slower than 5m`` (with any duration).
        email: The e-mail addresses.
        slack: A Slack webhook URL, or a reference to the URL: ``${SLACK_URL}`` is an environment variable, ``file:/run/secrets/slack`` is a
            file. References are resolved when an alert is sent; ``teams`` and ``webhook`` accept references too.
        teams: The URL of a Power Automate workflow that posts to Teams.
        webhook: A URL that receives the alert as a JSON object.
        max_per_hour: Maximum alerts in an hour; further alerts are not sent.
        other: The targets of the project's own channels, by channel name.
        oncall: Whether to alert the person on call, too.
        urgent: Whether alerts ignore quiet hours and are escalated. Default: the project's ``alerts:`` setting for the alert's kind.
    """

    on: tuple[str, ...] = ("failure",)
    email: tuple[str, ...] = ()
    slack: str | None = field(default=None, repr=False)
    teams: str | None = field(default=None, repr=False)
    webhook: str | None = field(default=None, repr=False)
    max_per_hour: int | None = None
    other: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    oncall: bool = False
    urgent: bool | None = None

    def __post_init__(self) -> None:
        for kind in self.on:
            if kind not in _SIMPLE_ALERTS and not kind.startswith("slower than "):
                raise JobError(
                    f"no alert on {kind!r}: failure, success, missed, unknown, late or 'slower than 5m'"
                )
        self.slower_than  # noqa: B018 - raises CronError for a wrong duration

    @property
    def slower_than(self) -> timedelta | None:
        """The duration of the entry ``slower than …``; ``None`` if ``on`` has no such entry."""
        for kind in self.on:
            if kind.startswith("slower than "):
                return parse_duration(kind.removeprefix("slower than "))
        return None


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run after a failed attempt: the argument for a back-off rule.

    Args:
        job_name: The job's stable key.
        run_id: The run's id, the same in all attempts.
        attempt: The failed attempt's number, from 1.
        failures: Failed attempts so far, including this attempt. An attempt whose node was lost is not a failure.
        scheduled_for: The slot, in the job's zone. For a run without a slot: the instant at which the run was created.
        triggered_by: The actor that started the run, such as ``System`` or ``Manual (dana)``.
        arguments: The arguments for ``execute``, without the context.
    """

    job_name: str
    run_id: int
    attempt: int
    failures: int
    scheduled_for: datetime
    triggered_by: str = "System"
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)


NextAttempt: TypeAlias = "float | str | timedelta | datetime | None"
"""The delay before the next attempt: seconds, a ``timedelta``, or a text such as ``90s``. Or the instant. ``None``: the default back-off."""


class BackoffRule(Protocol):
    """A rule that decides when a failed run is retried."""

    def next_attempt(self, run: FailedRun, error: Exception, /) -> NextAttempt:
        """Return the delay before the next attempt, or its instant; ``None`` for the default back-off.

        Args:
            run: The run.
            error: The exception that the job raised or put into its result; ``TimeoutError`` after a timeout; otherwise a ``RuntimeError``
                with the message.
        """


Backoff: TypeAlias = "str | timedelta | BackoffRule | Callable[[FailedRun, Exception], NextAttempt]"
"""The delay before the first retry, which doubles with each retry; or a rule that decides each delay, as a function or an object."""


class CapacityDemand(TypedDict):
    """A run's limit key and weight; see :class:`~..runs.values.NewRun`."""

    limit_key: str | None
    weight: int


@dataclass(frozen=True)
class JobDefinition:
    """A job's complete definition in a project.

    Args:
        name: The stable key, stored with each run and each history row.
        display_name: The name that pages and alerts show.
        description: The line that explains the job.
        job_type: The way in which the job's runs start.
        schedule: The schedule; ``None`` for a job without a schedule.
        schedule_text: The schedule as it was written, such as ``0 2 * * *`` or ``every 90m``.
        timezone: The schedule's time zone.
        queue: The queue for the job's runs.
        priority: The priority for the job's runs; the run with the higher priority starts first within a queue.
        retries: Retries after a failed attempt.
        backoff: The delay before the first retry; the delay doubles with each retry.
        backoff_rule: The rule that decides each delay; ``backoff`` applies when the rule returns ``None`` or fails.
        timeout: The time limit for an attempt; ``None`` is no limit.
        overlap: The policy for a slot that falls due while the job is busy.
        misfire: The policy for slots that passed while no node could start the runs.
        misfire_grace: The maximum age for a slot that may still run; an older slot is recorded as missed. ``None`` is no limit.
        concurrency: Maximum concurrent runs, on all nodes together; ``None`` if not set: see :attr:`limit`.
        isolation: ``process`` runs the job in a separate process, which can be stopped and cannot harm other runs.
        memory_limit: Maximum memory for that process, in MiB.
        alerts: The alerts' recipients and conditions.
        paused: Whether the job is created paused.
        target: The class or function.
        module: The module with the class or function, such as ``acme_jobs.jobs.daily_report``.
        aliases: The job's earlier names.
        left_spec: Whether targcc.yaml no longer has the job, which is still in the code.
        expectations: The job's expectations; a broken expectation raises an alert.
        arguments_json: Default arguments for runs, as a JSON object; they replace the parameters' defaults.
        calendars: The project's calendars that the job names; its queue's calendars apply too.
        on_holiday: The policy for a slot on a day when a calendar is closed, if the job sets a policy.
        unique: The rule for unique runs; ``None`` without unique runs.
        expires_in: The time after its due time in which a run must begin; ``None`` is no limit.
        after: The jobs that this job follows: each run for a followed job creates a run for this job.
        since: The first instant whose slots count when the schedule is new; ``None`` is the first start.
        followers: Returns the jobs that follow this job, as defined in this process.
        keyed_limit: The limit by key: on concurrent runs, on starts in a period, or on both.
        overrides: The changes that people made to the deployed job.
        code: The definition without those changes; ``None`` for a job without changes.
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
    misfire_grace: timedelta | None
    concurrency: int | None
    isolation: Isolation
    memory_limit: int | None
    alerts: Alerts | None
    paused: bool
    target: Callable[..., Any]
    module: str
    aliases: tuple[str, ...] = ()
    left_spec: bool = False
    expectations: Expectations = field(default_factory=Expectations)
    arguments_json: str = "{}"
    calendars: tuple[str, ...] = ()
    on_holiday: OnHoliday | None = None
    unique: Unique | None = None
    expires_in: timedelta | None = None
    after: tuple[str, ...] = ()
    since: datetime | None = field(default=None, compare=False)
    followers: Callable[[], Sequence[JobDefinition]] = field(
        default=tuple, repr=False, compare=False
    )
    keyed_limit: KeyedLimit | None = None
    backoff_rule: Callable[[FailedRun, Exception], NextAttempt] | None = field(
        default=None, repr=False, hash=False
    )
    overrides: tuple[Override, ...] = ()
    code: JobDefinition | None = None

    @property
    def key(self) -> str:
        """The job's key in targcc.yaml, derived from the class's or function's name."""
        return name_of(self.target)

    @property
    def limit(self) -> int | None:
        """Maximum concurrent runs: ``concurrency``; if not set, no limit (``None``) with ``overlap="allow"``, else 1."""
        if self.concurrency is not None:
            return self.concurrency
        return None if self.overlap == "allow" else 1

    @property
    def function(self) -> Callable[..., Any]:
        """The function to call: the target itself, or a class's unbound ``execute``."""
        target: Any = self.target
        function: Callable[..., Any] = getattr(target, "execute", target)
        return function

    @functools.cached_property
    def signature(self) -> Parameters:
        """The parameters that :attr:`function` takes."""
        return parameters_of(self.function, bound=inspect.isclass(self.target))

    @property
    def parameters(self) -> type[pydantic.BaseModel] | None:
        """The model for the job's typed arguments; ``None`` for a job without arguments."""
        return self.signature.model

    @property
    def coded(self) -> JobDefinition:
        """The definition without the changes that people made to the deployed job."""
        return self.code or self

    def check(self, arguments: Mapping[str, Any]) -> str | None:
        """Check and complete a run's arguments; return the arguments as JSON. See :meth:`.arguments.Parameters.check`.

        Raises:
            ArgumentsError: The arguments do not fit the job.
        """
        return self.signature.check({**json.loads(self.arguments_json), **arguments})

    def take(
        self, arguments: Mapping[str, Any], most: int
    ) -> tuple[str | None, tuple[Content, ...]]:
        """Check a run's arguments, which may have files; return JSON and the extracted content. See :meth:`.arguments.Parameters.take`.

        Raises:
            ArgumentsError: The arguments do not fit the job.
            FileError: A file cannot be read, or a file or argument is too large.
        """
        return self.signature.take({**json.loads(self.arguments_json), **arguments}, most)

    def room(self, arguments_json: str | None) -> CapacityDemand:
        """Return limit key and weight for a new run with these arguments.

        Raises:
            ArgumentsError: The key function failed for the arguments.
        """
        limit = self.keyed_limit
        if limit is None:
            return {"limit_key": None, "weight": 1}
        key = limit.key_of(self.name, self.signature, arguments_json)
        return {"limit_key": key, "weight": limit.weight}

    def __str__(self) -> str:
        return self.name


def stand_in(name: str, queue: str) -> JobDefinition:
    """Return a placeholder definition for a job that is not in the code, for alerts about its runs."""
    return JobDefinition(
        name=name,
        display_name=in_words(name),
        description="",
        job_type=JobType.MANUAL,
        schedule=None,
        schedule_text="",
        timezone="UTC",
        queue=queue,
        priority=0,
        retries=0,
        backoff=timedelta(),
        timeout=None,
        overlap="allow",
        misfire="skip",
        misfire_grace=timedelta(),
        concurrency=None,
        alerts=None,
        paused=False,
        isolation="thread",
        memory_limit=None,
        target=stand_in,
        module="",
    )


def shown_arguments(
    definition: JobDefinition | None, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Mask secret values in a run's arguments; without a definition, mask every value."""
    secret = arguments if definition is None else definition.signature.secrets
    return {name: MASK if name in secret else value for name, value in arguments.items()}


def name_of(target: Callable[..., Any]) -> str:
    """Derive a job's key from a class or function name: ``DailyReportJob`` and ``daily_report`` become ``DailyReport``."""
    name = getattr(target, "__name__", type(target).__name__)
    if not inspect.isclass(target):
        name = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return name.removesuffix("Job") or name


def are_same(jobs: Sequence[JobDefinition], others: Sequence[JobDefinition]) -> bool:
    """Return whether two lists have the same definitions in the same order: the objects, as comparing thousands of values takes long."""
    return len(jobs) == len(others) and all(map(is_, jobs, others))


def in_words(key: str) -> str:
    """Split a job's key into words: ``DailyReport`` becomes ``Daily Report``, ``SyncSAPOrders`` becomes ``Sync SAP Orders``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", key)
    return " ".join(spaced.replace("_", " ").split()) or key


# The calendars that a job respects: its own, and its queue's calendars.


def calendar_names(
    key: str, calendar: str | tuple[str, ...] | None, on_holiday: str | None
) -> tuple[str, ...]:
    """Return the names in the option ``calendar``, after a check of ``on_holiday``.

    Raises:
        JobError: ``on_holiday`` is not ``skip``, ``next`` or ``previous``.
    """
    if on_holiday is not None and on_holiday not in get_args(OnHoliday):
        raise JobError(f"{key}: on_holiday is skip, next or previous, not {on_holiday!r}")
    return (calendar,) if isinstance(calendar, str) else tuple(calendar or ())


def with_calendars(job: JobDefinition, project: Project) -> JobDefinition:
    """Return the job with a schedule that respects the calendars for the job and its queue.

    Raises:
        CronError: A calendar does not exist, or cannot be parsed.
    """
    queue = project.queue_calendars.get(job.queue, {})
    names = dict.fromkeys([*job.calendars, *queue.get("calendar", ())])
    calendars = [project_calendar(project, name) for name in names]
    on_holiday = job.on_holiday or queue.get("on_holiday", "skip")
    return replace(job, schedule=respecting(job.schedule, calendars, on_holiday))


def project_calendar(project: Project, name: str) -> WorkingCalendar:
    """Return a project's calendar. A process reads the calendar's file once, so that all jobs use the same days.

    Raises:
        CronError: The calendar does not exist, or cannot be parsed.
    """
    return _calendar(name, json.dumps(_plain(project.calendars)), project.package)


@functools.lru_cache(maxsize=256)
def _calendar(name: str, said: str, package: str) -> WorkingCalendar:
    return calendar_of(name, json.loads(said), _folder(package))


def _folder(package: str) -> Path:
    """Return the project package's folder, to which calendar files are relative; else the current directory."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else Path.cwd()


def _plain(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(calendar) for name, calendar in declared.items()}
