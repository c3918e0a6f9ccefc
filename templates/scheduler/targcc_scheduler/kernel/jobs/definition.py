"""`JobDefinition`: the type, options and names of a job."""

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
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, get_args

import pydantic

from ...core.errors import JobError
from ...core.masking import MASK
from ...features.overrides.model import Override
from ...project import Project
from ...schedules.base import Schedule
from ...schedules.calendars import OnHoliday, WorkingCalendar, calendar_of, respecting
from ...schedules.errors import CronError
from ...schedules.words import parse_duration
from ...schedules.zones import parse_zone
from .arguments import Parameters, parameters_of
from .files import Content
from .limits import KeyedLimit
from .unique import Unique

# What people may rely on: by when a job has finished, how soon its runs start, how often it succeeds.

_TIME = re.compile(r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)")
_AT_LEAST = re.compile(r"(?P<count>[1-9]\d{0,5}) success(?:es)? in (?P<span>\S+)")


@dataclass(frozen=True, slots=True)
class Expectations:
    """What must hold of a job; people are told when it does not.

    Args:
        finish_by: The time of the day, in the job's zone, by which the runs of its last slot before have succeeded.
        start_within: How long after it is due a run may wait.
        successes: At least so many runs succeed ...
        within: ... in so long.
        at_least: The same as it is written.
        ping: An address that is fetched after each run that succeeds, or a reference to it, such as ``${PING_URL}``.
    """

    finish_by: time | None = None
    start_within: timedelta | None = None
    successes: int = 0
    within: timedelta = timedelta()
    at_least: str = ""
    ping: str | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether anything is expected."""
        return bool(self.finish_by or self.start_within or self.successes)


def expectations(
    key: str,
    *,
    must_finish_by: str | None = None,
    must_start_within: str | timedelta | None = None,
    at_least: str | None = None,
    ping: str | None = None,
) -> Expectations:
    """The expectations that a job's options say.

    Raises:
        JobError: one cannot be read.
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
    """The last instant at which the clock of a zone showed a time of the day."""
    local = now.astimezone(parse_zone(zone))
    today = local.replace(
        hour=finish_by.hour, minute=finish_by.minute, second=0, microsecond=0, fold=0
    )
    return today if today <= local else today - timedelta(days=1)


def _time(key: str, text: str) -> time:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise JobError(f'{key}: must_finish_by is a time of the day such as "06:00", not {text!r}')
    return time(int(found["hour"]), int(found["minute"]))


def _at_least(key: str, text: str) -> tuple[int, timedelta]:
    found = _AT_LEAST.fullmatch(" ".join(text.split()))
    span = None if found is None else _duration(key, "at_least", found["span"])
    if found is None or span is None:
        raise JobError(f'{key}: at_least is such as "1 success in 26h", not {text!r}')
    return int(found["count"]), span


def _duration(key: str, option: str, value: str | timedelta | None) -> timedelta | None:
    try:
        found = parse_duration(value) if isinstance(value, str) else value
    except CronError as error:
        raise JobError(f"{key}: {option}: {error}") from None
    if found is not None and found <= timedelta():
        raise JobError(f"{key}: {option} is a duration above 0")
    return found


# What a job is: its type, its options and its names.

Overlap = Literal["skip", "queue", "allow"]
Misfire = Literal["run_once", "skip", "run_all"]
Isolation = Literal["thread", "process"]
AlertKind = Literal["failure", "success", "missed", "slow", "unknown", "late", "node"]
# "slow" needs a duration, and "node" is about no job.
_SIMPLE_ALERTS = set(get_args(AlertKind)) - {"slow", "node"}


class JobType(StrEnum):
    """What starts the runs of a job; of a single run, what started it."""

    RECURRING = "Recurring"
    FIRE_AND_FORGET = "FireAndForget"
    DELAYED = "Delayed"
    MANUAL = "Manual"


class Job(Protocol):
    """What a job class looks like; nothing has to inherit from it.

    ``execute`` may be plain or async. Its first parameter is the :class:`JobContext`; further ones are the job's arguments.
    """

    execute: Callable[..., Any]


@dataclass(frozen=True)
class Alerts:
    """Who is told about a job, and when.

    Args:
        on: Any of ``failure``, ``success``, ``missed``, ``unknown`` (a run waits for a node that knows its job or arguments; told with
            ``failure`` too), ``late`` (an expectation of it is broken; told with ``failure`` and ``missed`` too) and ``slower than 5m`` (a duration).
        email: Addresses.
        slack: A Slack webhook URL, or a reference to it, as for the next two: ``${SLACK_URL}`` is an environment variable,
            ``file:/run/secrets/slack`` a file. It is looked up when an alert is sent.
        teams: The URL of a Power Automate workflow that posts to Teams.
        webhook: A URL that takes the alert as a JSON object.
        max_per_hour: More alerts than this in an hour are not sent.
        other: Targets by the name of a channel of the project's own.
        oncall: Whether whoever is on call is told, too.
        urgent: Whether they go through quiet hours and are escalated. Default: as ``alerts:`` of the project says for their kind.
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
        """The duration of ``slower than 5m``; ``None`` when ``on`` has no such entry."""
        for kind in self.on:
            if kind.startswith("slower than "):
                return parse_duration(kind.removeprefix("slower than "))
        return None


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run whose attempt has failed, as a back-off rule sees it.

    Args:
        job_name: The job's stable key.
        run_id: The run; the same for all its attempts.
        attempt: The number of the attempt that failed; 1 for the first.
        failures: How many attempts have failed so far, this one included. An attempt whose node was lost is not a failure.
        scheduled_for: The slot, in the job's zone; for other runs the instant at which they were created.
        triggered_by: Who started the run, such as ``System`` or ``Manual (dana)``.
        arguments: What ``execute`` got besides the context.
    """

    job_name: str
    run_id: int
    attempt: int
    failures: int
    scheduled_for: datetime
    triggered_by: str = "System"
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)


NextAttempt: TypeAlias = "float | str | timedelta | datetime | None"
"""The wait before the next attempt, as seconds, as a ``timedelta`` or as a text such as ``90s``; or its instant; ``None``: the default back-off."""


class BackoffRule(Protocol):
    """Decides when a failed run is tried again."""

    def next_attempt(self, run: FailedRun, error: Exception, /) -> NextAttempt:
        """Return when the next attempt begins; ``None`` for the default back-off.

        Args:
            run: The run.
            error: What the job raised or put into its result; ``TimeoutError`` when its time was over; else a ``RuntimeError`` with the message.
        """


Backoff: TypeAlias = "str | timedelta | BackoffRule | Callable[[FailedRun, Exception], NextAttempt]"
"""The wait before the first retry, which doubles each time; or a rule that decides each time, as a function or an object."""


class CapacityDemand(TypedDict):
    """What a run takes of a limit by key; see :class:`~..storage.runs.values.NewRun`."""

    limit_key: str | None
    weight: int


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
        backoff_rule: Decides the waits instead; ``backoff`` holds where it returns ``None`` or fails.
        timeout: How long one attempt may take; ``None`` is for ever.
        overlap: What happens to a slot that comes while the job is busy.
        misfire: What happens to slots that passed while no node could start them.
        misfire_grace: A slot older than this is recorded as missed, whatever the policy; ``None`` is no limit.
        concurrency: How many runs may be running at once, on all nodes together, when said.
        isolation: ``process``: it runs in a process of its own, which can be stopped and cannot harm others.
        memory_limit: MiB of memory that this process may use.
        paused: Whether it is created paused.
        target: The class or function.
        module: Where it is, such as ``acme_jobs.jobs.daily_report``.
        aliases: The names that it had before.
        left_spec: Whether targcc.yaml had it and has it no more: it is in the code, not in the spec.
        expectations: What must hold of it; people are told when it does not.
        arguments_json: Arguments that its runs have where nobody says others, instead of the defaults of its parameters, as a JSON object.
        calendars: Calendars of the project that it names; those of its queue count too.
        on_holiday: What becomes of a slot where one of them is closed, when it says so.
        unique: How its runs are unique, if they are.
        expires_in: A run that has not begun so long after it was due is not started; ``None`` is no limit.
        after: The jobs that it follows: each run of one of them brings a run of this one.
        followers: The jobs that follow it, as they are in this process.
        keyed_limit: How many runs of a key may be under way, and how many may start.
        overrides: What people have changed of it while it is deployed.
        code: The job as its code has it, where people have changed something.
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
        """What targcc.yaml calls it, which is the name of its class or function."""
        return name_of(self.target)

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

    @property
    def coded(self) -> JobDefinition:
        """The job as its code has it, without what people have changed while it is deployed."""
        return self.code or self

    def check(self, arguments: Mapping[str, Any]) -> str | None:
        """The arguments of a run as JSON, checked and completed; see :meth:`.arguments.Parameters.check`.

        Raises:
            ArgumentsError: they do not fit the job.
        """
        return self.signature.check({**json.loads(self.arguments_json), **arguments})

    def take(
        self, arguments: Mapping[str, Any], most: int
    ) -> tuple[str | None, tuple[Content, ...]]:
        """:meth:`check` for a run that may have files; see :meth:`.arguments.Parameters.take`.

        Raises:
            ArgumentsError: they do not fit the job.
            FileError: a file cannot be read, or something is too large.
        """
        return self.signature.take({**json.loads(self.arguments_json), **arguments}, most)

    def room(self, arguments_json: str | None) -> CapacityDemand:
        """What a run with these arguments takes of the limit by key, for a new run.

        Raises:
            ArgumentsError: there is no key for them.
        """
        limit = self.keyed_limit
        if limit is None:
            return {"limit_key": None, "weight": 1}
        key = limit.key_of(self.name, self.signature, arguments_json)
        return {"limit_key": key, "weight": limit.weight}

    def __str__(self) -> str:
        return self.name


def stand_in(name: str, queue: str) -> JobDefinition:
    """For a job of which only runs are known, so that people can be told of them."""
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
    """The arguments of a run for people to see: secret ones are masked, and all of a job that is not in the code any more."""
    secret = arguments if definition is None else definition.signature.secrets
    return {name: MASK if name in secret else value for name, value in arguments.items()}


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


# The calendars that a job respects: its own and those of its queue, as its project has them.


def calendar_names(
    key: str, calendar: str | tuple[str, ...] | None, on_holiday: str | None
) -> tuple[str, ...]:
    """The names that ``calendar=`` gives.

    Raises:
        JobError: there is no such way to handle a slot on a day off.
    """
    if on_holiday is not None and on_holiday not in get_args(OnHoliday):
        raise JobError(f"{key}: on_holiday is skip, next or previous, not {on_holiday!r}")
    return (calendar,) if isinstance(calendar, str) else tuple(calendar or ())


def with_calendars(job: JobDefinition, project: Project) -> JobDefinition:
    """The job with a schedule that respects its calendars and those of its queue.

    Raises:
        CronError: there is no calendar of that name, or it cannot be read.
    """
    queue = project.queue_calendars.get(job.queue, {})
    names = dict.fromkeys([*job.calendars, *queue.get("calendar", ())])
    calendars = [project_calendar(project, name) for name in names]
    on_holiday = job.on_holiday or queue.get("on_holiday", "skip")
    return replace(job, schedule=respecting(job.schedule, calendars, on_holiday))


def project_calendar(project: Project, name: str) -> WorkingCalendar:
    """A calendar of a project. Its file is read once in the life of a process, so that all its jobs go by the same days.

    Raises:
        CronError: there is none of that name, or it cannot be read.
    """
    return _calendar(name, json.dumps(_plain(project.calendars)), project.package)


@functools.lru_cache(maxsize=256)
def _calendar(name: str, said: str, package: str) -> WorkingCalendar:
    return calendar_of(name, json.loads(said), _folder(package))


def _folder(package: str) -> Path:
    """The folder of the project's package, where the files are that calendars name."""
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        found = None
    places = found.submodule_search_locations if found is not None else None
    return Path(next(iter(places))) if places else Path.cwd()


def _plain(said: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(calendar) for name, calendar in said.items()}
