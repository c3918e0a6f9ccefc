"""Windows Task Scheduler: exported tasks, as ``schtasks /query /xml``, ``Export-ScheduledTask`` and the console write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.tasks import LAST, Rule, Trigger, task_starts
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import NOT_PORTED, EntrySource, numbered, text_param
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind, Switch
from targcc_gen.sources.reading import Document
from targcc_gen.sources.schedules import (
    NAMES,
    Days,
    cron_texts,
    day_intervals,
    weekdays_field,
)
from targcc_gen.sources.schedules import field as cron_field
from targcc_gen.sources.xml_files import (
    Element,
    child,
    children,
    lines_of,
    named,
    parsed,
    tag,
    text_of,
)

# Files.

_TASK = "task"
TABLES = KnownTables({_TASK: "scheduled task"}, _TASK, {})
_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_EVENTS = {
    "BootTrigger": "the start of the machine",
    "LogonTrigger": "a log-on",
    "IdleTrigger": "an idle machine",
    "EventTrigger": "an event of the event log",
    "RegistrationTrigger": "the registration of the task",
    "SessionStateChangeTrigger": "a change of a session",
    "WnfStateChangeTrigger": "a change of the system's state",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A task.

    Attributes:
        row: The file and the line of the task.
        path: The path of the task in the scheduler's library.
        description: Its description.
        triggers: Its enabled triggers by time.
        disabled: Its disabled triggers by time.
        events: What else starts the task, in words.
        commands: Its programs with their arguments, as command lines.
        folder: The working folder of the first program.
        other_actions: Its actions that are no programs.
        user: The account of the task.
        settings: The texts of ``Settings``, by name.
        retries: The count and the interval of ``RestartOnFailure``.
        delay: The largest random delay.
    """

    row: Row
    path: str
    description: str = ""
    triggers: tuple[Trigger, ...] = ()
    disabled: tuple[Trigger, ...] = ()
    events: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    folder: str = ""
    other_actions: tuple[str, ...] = ()
    user: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    retries: tuple[int, timedelta] = (0, timedelta(0))
    delay: timedelta = timedelta(0)

    @property
    def used(self) -> tuple[Trigger, ...]:
        """The triggers that the job gets: the enabled ones, else the disabled ones of a paused job."""
        return self.triggers or self.disabled

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("\\")[2] or self.path


def read_tasks(document: Document) -> Iterator[Task | Rejection]:
    """Yield the tasks of a file: a single task, or the list of ``schtasks /query /xml``.

    Raises:
        InputError: The file is no XML, or has a DOCTYPE.
    """
    elements, file = named(parsed(document), "Task"), document.file.name
    lines = lines_of(document, "Task")
    paths = re.findall(r"<!--\s*(\\[^\n]*?)\s*-->", document.text)  # of schtasks
    for place, element in enumerate(elements):
        line = lines[place] if place < len(lines) else 1
        path = paths[place] if len(paths) == len(elements) else document.path.stem
        try:
            yield _task(element, Row(_TASK, {}, file, line), path)
        except Refused as refused:
            yield Rejection(file, line, str(refused), path)


def _task(element: Element, row: Row, name: str) -> Task:
    triggers: dict[bool, list[Trigger]] = {True: [], False: []}
    events, delays = [], [timedelta(0)]
    for trigger in children(child(element, "Triggers")):
        kind = tag(trigger)
        if kind in {"CalendarTrigger", "TimeTrigger"}:
            enabled = text_of(trigger, "Enabled").lower() != "false"
            triggers[enabled].append(_trigger(trigger))
            delays.append(_duration(text_of(trigger, "RandomDelay")) or timedelta(0))
        else:
            events.append(_EVENTS.get(kind, kind))
    settings = child(element, "Settings")
    restart = child(settings, "RestartOnFailure")
    commands, others, folder = [], [], ""
    for action in children(child(element, "Actions")):
        if tag(action) == "Exec":
            commands.append(_line(text_of(action, "Command"), text_of(action, "Arguments")))
            folder = folder or text_of(action, "WorkingDirectory")
        else:
            others.append(tag(action))
    return Task(
        row,
        text_of(element, "RegistrationInfo", "URI") or name,
        text_of(element, "RegistrationInfo", "Description"),
        tuple(triggers[True]),
        tuple(triggers[False]),
        tuple(events),
        tuple(commands),
        folder,
        tuple(others),
        text_of(child(element, "Principals"), "Principal", "UserId"),
        {tag(each): text_of(each) for each in children(settings)},
        (
            _number(text_of(restart, "Count")),
            _duration(text_of(restart, "Interval")) or timedelta(0),
        ),
        max(delays),
    )


def _line(command: str, arguments: str) -> str:
    """Return a command line for ``cmd.exe``."""
    quoted = f'"{command}"' if " " in command and not command.startswith('"') else command
    return f"{quoted} {arguments}".strip()


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _duration(text: str) -> timedelta | None:
    """Read an XML duration; None without a text.

    Raises:
        Refused: The text is no duration.
    """
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise Refused(f'"{text}" is no duration')
    years, months, weeks, days, hours, minutes = (int(part or 0) for part in match.groups()[:6])
    try:
        return timedelta(
            days=365 * years + 30 * months + 7 * weeks + days,
            hours=hours,
            minutes=minutes,
            seconds=float(match[7] or 0),
        )
    except OverflowError:
        raise Refused(f'"{text}" is longer than the calendar') from None


_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def _trigger(element: Element) -> Trigger:
    start, is_utc = _boundary(text_of(element, "StartBoundary"))
    end_text = text_of(element, "EndBoundary")
    end = _boundary(end_text)[0] if end_text else None
    every = _duration(text_of(element, "Repetition", "Interval"))
    lasting = _duration(text_of(element, "Repetition", "Duration"))
    if every is not None and every < timedelta(seconds=1):
        raise Refused("a trigger repeats after less than a second")
    common: dict[str, Any] = {"start": start, "is_utc": is_utc, "end": end, "every": every, "lasting": lasting}  # fmt: skip
    day = child(element, "ScheduleByDay")
    if day is not None:
        return Trigger(Rule.DAILY, interval=_number(text_of(day, "DaysInterval")) or 1, **common)
    week = child(element, "ScheduleByWeek")
    if week is not None:
        weekdays = _chosen(child(week, "DaysOfWeek"), _WEEKDAYS)
        return Trigger(Rule.WEEKLY, interval=_number(text_of(week, "WeeksInterval")) or 1, weekdays=weekdays, **common)  # fmt: skip
    month = child(element, "ScheduleByMonth")
    if month is not None:
        days = [text_of(each) for each in children(child(month, "DaysOfMonth"))]
        numbers = frozenset(LAST if day == "Last" else _number(day) for day in days)
        return Trigger(Rule.MONTHLY, days=numbers, months=_months(month), **common)
    by_weekday = child(element, "ScheduleByMonthDayOfWeek")
    if by_weekday is not None:
        weeks = [text_of(each) for each in children(child(by_weekday, "Weeks"))]
        return Trigger(
            Rule.MONTHLY_WEEKDAY,
            weekdays=_chosen(child(by_weekday, "DaysOfWeek"), _WEEKDAYS),
            weeks=frozenset(5 if week == "Last" else _number(week) for week in weeks),
            months=_months(by_weekday),
            **common,
        )
    return Trigger(Rule.ONCE, **common)


def _chosen(element: Element | None, names: Sequence[str]) -> frozenset[int]:
    present = {tag(each) for each in children(element)}
    return frozenset(number for number, name in enumerate(names) if name in present)


def _months(element: Element) -> frozenset[int]:
    chosen = frozenset(number + 1 for number in _chosen(child(element, "Months"), _MONTHS))
    return chosen or frozenset(range(1, 13))


def _boundary(text: str) -> tuple[datetime, bool]:
    """Return a boundary as a wall time, and whether it is in UTC.

    Raises:
        Refused: The text is no time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f'a trigger begins at "{text}", which is no time') from None
    moment = moment.replace(microsecond=0)
    if moment.tzinfo is None:
        return moment, False
    return moment.astimezone(UTC).replace(tzinfo=None), True


def is_task(path: Path, head: str) -> bool:
    """Return whether a file is an exported task."""
    return path.suffix.lower() in {".xml", ".txt", ""} and _NAMESPACE in head


# Schedules.


def translated(trigger: Trigger) -> list[dict[str, Any]]:
    """Return the schedules of a job's spec that name the times of a trigger; several have no time in common.

    Raises:
        Refused: No few schedules name these times.
    """
    zone = {"timezone": "UTC"} if trigger.is_utc else {}
    try:
        return [each | zone for each in _schedules(trigger)]
    except Refused as refused:
        raise Refused(f"a trigger: {refused}") from None


def _schedules(trigger: Trigger) -> list[dict[str, Any]]:
    if trigger.rule is Rule.ONCE:
        if trigger.every is None:
            return [{"at": trigger.start}]
        if trigger.lasting is not None:
            raise Refused("it repeats for a time from a single start")
        return [{"every": trigger.every, "anchor": trigger.start}]
    if trigger.every is not None and trigger.lasting is None and trigger.rule is not Rule.DAILY:
        raise Refused("it repeats without end from several starts")
    if trigger.interval > 1 and trigger.rule in {Rule.DAILY, Rule.WEEKLY}:
        days = trigger.interval * (7 if trigger.rule is Rule.WEEKLY else 1)
        return day_intervals(trigger.start.date(), days, trigger.names_day, trigger.times())
    return cron_texts(trigger.times(), partial(_days, trigger))


def _days(trigger: Trigger, shift: int) -> list[Days]:
    if trigger.rule is Rule.DAILY:
        return [("*", "*", "*")]
    if trigger.rule is Rule.WEEKLY:
        weekdays = {(day + shift) % 7 for day in trigger.weekdays}
        return [("*", "*", weekdays_field(weekdays))] if weekdays else []
    if shift:
        raise Refused("it repeats over midnight on days of the month")
    months = "*" if len(trigger.months) == 12 else cron_field(trigger.months, 13)  # noqa: PLR2004
    if trigger.rule is Rule.MONTHLY:
        numbers = trigger.days - {LAST}
        result = [(cron_field(numbers, 32), months, "*")] if numbers else []
        if LAST not in trigger.days:
            return result
        if numbers & {28, 29, 30, 31}:
            raise Refused("it names the last day of the month and a day that may be the last")
        return [*result, ("L", months, "*")]
    texts = [
        f"{NAMES[day]}L" if week == 5 else f"{NAMES[day]}#{week}"  # noqa: PLR2004
        for day in sorted(trigger.weekdays)
        for week in sorted(trigger.weeks)
    ]
    if 5 in trigger.weeks and 4 in trigger.weeks:  # noqa: PLR2004
        raise Refused("it names the fourth and the last week, which may be the same")
    return [("*", months, text) for text in texts]


# The source.


_OVERLAP = {"ignorenew": "skip", "parallel": "allow", "queue": "queue", "stopexisting": "skip", "": "skip"}  # fmt: skip
_LIMIT = timedelta(hours=72)


class TaskFiles(EntrySource[Task]):
    """The source of exported tasks."""

    tables = TABLES
    suffixes = (".xml",)
    hint = "schtasks /query /xml ONE > tasks.xml writes the tasks of a machine."
    questions = (
        "Which account runs the worker? Each task ran as its own account, with that account's drives, profile and rights.",
        "Which tasks ran only while somebody was logged on, on mains power, or with a network? Here nothing is asked.",
    )
    advice = (
        "Timeouts: a task without ExecutionTimeLimit was stopped after 72 hours, so the jobs say timeout: 3d.",
        "StartWhenAvailable becomes misfire: {policy: run_once}; without it a missed start is skipped.",
    )

    model = (
        "Task Scheduler is simulated from Microsoft's description of its triggers. What it does at a clock change is not described: a time in"
        " a gap is assumed to run right after it, and a time of a repeated hour once. A start with Z or an offset keeps its time in UTC."
    )

    def entries(self, documents: Sequence[Document]) -> Iterator[Task | Rejection]:
        """Yield the tasks of all files."""
        for document in documents:
            yield from read_tasks(document)

    def starts(self, task: Task, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
        """Return the starts of a task."""
        return task_starts(task.used, zone, start, end)

    def switch(self, task: Task) -> Switch:
        """Return the commands that disable and enable a task."""
        name = task.path.replace('"', "")
        return Switch(f'schtasks /Change /TN "{name}" /DISABLE', f'schtasks /Change /TN "{name}" /ENABLE', ".cmd", "rem")  # fmt: skip

    def drafts(self, task: Task, options: Options) -> Iterator[Draft]:
        """Yield the jobs of a task: one for each schedule of its triggers."""
        now = options.now.astimezone(options.zone).replace(tzinfo=None)
        live = [each for each in task.used if _is_live(each, now)]
        if not task.used and task.events:
            raise Refused(f"it starts at {' and at '.join(task.events)}, which is no time")
        if not task.commands and not task.other_actions:
            raise Refused("it has no action: nothing would run")
        schedules = [each for trigger in live for each in translated(trigger)]
        warnings = [f"{event} starts it too: left out" for event in task.events]
        warnings += [f"a trigger is over since {each.end or each.start:%Y-%m-%d}: left out" for each in task.used if each not in live]  # fmt: skip
        fields = self._fields(task, warnings)
        active = task.settings.get("Enabled", "").lower() != "false" and bool(task.triggers)
        if not schedules:
            schedules, active = [{"type": "manual"}], active and not task.used
        for place, schedule in enumerate(schedules):
            name, own_id = numbered(task.name, task.path, place)
            text = "; ".join(each.rule.value for each in task.used)
            old = OldJob(name, own_id, text, runner=task.user)
            yield Draft(task.row, name, {**schedule, **fields}, active, old, tuple(warnings))

    @staticmethod
    def _fields(task: Task, warnings: list[str]) -> dict[str, Any]:
        settings, (retries, pause) = task.settings, task.retries
        limit = _duration(settings.get("ExecutionTimeLimit", ""))
        timeout = _LIMIT if limit is None else limit
        available = settings.get("StartWhenAvailable", "").lower() == "true"
        fields: dict[str, Any] = {
            "retries": min(retries, 100),
            "timeout": timeout or "none",
            "overlap": _OVERLAP.get(settings.get("MultipleInstancesPolicy", "").lower(), "skip"),
            "misfire": {"policy": "run_once" if available else "skip"},
        }
        if retries and pause:
            fields["backoff"] = pause
        if task.description:
            fields["description"] = task.description[:1000]
        if settings.get("MultipleInstancesPolicy", "").lower() == "stopexisting":
            warnings.append("a new start stopped the running one; here it is skipped")
        if task.delay:
            warnings.append(
                f"it started up to {task.delay} late, at random; here it starts on time"
            )
        if task.user:
            warnings.append(f"it ran as {task.user}: run the worker of its queue as that account")
        if task.other_actions:
            kinds = ", ".join(task.other_actions)
            warnings.append(f"its action {kinds} is no program: {NOT_PORTED}")
            return {**fields, "blueprint": "not-ported"}
        params = {"command": text_param(" & ".join(task.commands))}
        if task.folder:
            params["folder"] = text_param(task.folder)
        return {**fields, "blueprint": "command", "params": params}


def _is_live(trigger: Trigger, now: datetime) -> bool:
    if trigger.end is not None and trigger.end <= now:
        return False
    if trigger.rule is not Rule.ONCE:
        return True
    if trigger.every is None:
        return trigger.start > now
    return trigger.lasting is None or trigger.start + trigger.lasting > now


TASK_SCHEDULER = SourceKind("task-scheduler", "Windows Task Scheduler", is_task, TaskFiles)
