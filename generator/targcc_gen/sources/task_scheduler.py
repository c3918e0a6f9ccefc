"""Windows Task Scheduler: exported tasks, as ``schtasks /query /xml``, ``Export-ScheduledTask`` and the console write them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.errors import ExportError
from targcc_gen.old_runners.tasks import LAST, Rule, Trigger, task_starts
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.cron_fields import NAMES, clocks, weekdays_field
from targcc_gen.sources.cron_fields import field as cron_field
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import EntrySource, numbered, text_param
from targcc_gen.sources.model import ImportedJob, OldJob, Options, Rejection, SourceKind, Switch
from targcc_gen.sources.reading import Document

# Files.

_TASK = "task"
TABLES = KnownTables({_TASK: "scheduled task"}, _TASK, {})
_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_OPENING = re.compile(r"<Task[\s>]")
_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml[^>]*\?>")
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
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("\\")[2] or self.path


def read_tasks(document: Document) -> Iterator[Task | Rejection]:
    """Yield the tasks of a file: a single task, or the list of ``schtasks /query /xml``.

    Raises:
        InputError: The file is no XML, or has a DOCTYPE.
    """
    text, file = document.text, document.file.name
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ExportError(f"{file}: a DOCTYPE has no place in an export")
    lines = [text.count("\n", 0, match.start()) + 1 for match in _OPENING.finditer(text)]
    body = _DECLARATION.sub("", text, count=1)
    body = re.sub(r"<\?xml[^>]*\?>", "", body)  # one before each task of a list
    names = re.findall(r"<!--\s*(\\[^\n]*?)\s*-->", text)
    try:
        root = ET.fromstring(f"<export>{body}</export>")  # noqa: S314 - without a DOCTYPE
    except ET.ParseError as error:
        raise ExportError(
            f"{file}:{error.position[0]}: not XML: {error.msg}",
            hint="If the export is cut off, copy or export it again.",
        ) from None
    elements = [element for element in root.iter() if _tag(element) == "Task"]
    for place, element in enumerate(elements):
        line = lines[place] if place < len(lines) else 1
        named = names[place] if len(names) == len(elements) else ""
        row = Row(_TASK, {}, file, line)
        try:
            yield _task(element, row, named or document.path.stem)
        except Refused as refused:
            yield Rejection(file, line, str(refused), named or document.path.stem)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _child(element: ET.Element | None, name: str) -> ET.Element | None:
    if element is None:
        return None
    return next((child for child in element if _tag(child) == name), None)


def _children(element: ET.Element | None) -> Iterable[ET.Element]:
    return () if element is None else element


def _text(element: ET.Element | None, *path: str) -> str:
    for name in path:
        element = _child(element, name)
    return (element.text or "").strip() if element is not None else ""


def _task(element: ET.Element, row: Row, name: str) -> Task:
    triggers: dict[bool, list[Trigger]] = {True: [], False: []}
    events, delays = [], [timedelta(0)]
    for trigger in _children(_child(element, "Triggers")):
        kind = _tag(trigger)
        if kind in {"CalendarTrigger", "TimeTrigger"}:
            enabled = _text(trigger, "Enabled").lower() != "false"
            triggers[enabled].append(_trigger(trigger))
            delays.append(_duration(_text(trigger, "RandomDelay")) or timedelta(0))
        else:
            events.append(_EVENTS.get(kind, kind))
    settings = _child(element, "Settings")
    restart = _child(settings, "RestartOnFailure")
    commands, others, folder = [], [], ""
    for action in _children(_child(element, "Actions")):
        if _tag(action) == "Exec":
            commands.append(_line(_text(action, "Command"), _text(action, "Arguments")))
            folder = folder or _text(action, "WorkingDirectory")
        else:
            others.append(_tag(action))
    return Task(
        row,
        _text(element, "RegistrationInfo", "URI") or name,
        _text(element, "RegistrationInfo", "Description"),
        tuple(triggers[True]),
        tuple(triggers[False]),
        tuple(events),
        tuple(commands),
        folder,
        tuple(others),
        _text(_child(element, "Principals"), "Principal", "UserId"),
        {_tag(child): (child.text or "").strip() for child in _children(settings)},
        (_number(_text(restart, "Count")), _duration(_text(restart, "Interval")) or timedelta(0)),
        max(delays),
    )


def _line(command: str, arguments: str) -> str:
    """Return a command line for ``cmd.exe``."""
    quoted = f'"{command}"' if " " in command and not command.startswith('"') else command
    return f"{quoted} {arguments}".strip()


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _duration(text: str) -> timedelta | None:
    """Read an XML duration; None without a text.

    Raises:
        Refused: The text is no duration.
    """
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or text in {"P", "PT"}:
        raise Refused(f'"{text}" is no duration')
    years, months, weeks, days, hours, minutes = (int(part or 0) for part in match.groups()[:6])
    return timedelta(
        days=365 * years + 30 * months + 7 * weeks + days,
        hours=hours,
        minutes=minutes,
        seconds=float(match[7] or 0),
    )


_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def _trigger(element: ET.Element) -> Trigger:
    start, is_utc = _boundary(_text(element, "StartBoundary"))
    end_text = _text(element, "EndBoundary")
    end = _boundary(end_text)[0] if end_text else None
    every = _duration(_text(element, "Repetition", "Interval"))
    lasting = _duration(_text(element, "Repetition", "Duration"))
    common: dict[str, Any] = {"start": start, "is_utc": is_utc, "end": end, "every": every, "lasting": lasting}  # fmt: skip
    day = _child(element, "ScheduleByDay")
    if day is not None:
        return Trigger(Rule.DAILY, interval=_number(_text(day, "DaysInterval")) or 1, **common)
    week = _child(element, "ScheduleByWeek")
    if week is not None:
        weekdays = _chosen(_child(week, "DaysOfWeek"), _WEEKDAYS)
        return Trigger(Rule.WEEKLY, interval=_number(_text(week, "WeeksInterval")) or 1, weekdays=weekdays, **common)  # fmt: skip
    month = _child(element, "ScheduleByMonth")
    if month is not None:
        days = [_text_of(child) for child in _children(_child(month, "DaysOfMonth"))]
        numbers = frozenset(LAST if day == "Last" else _number(day) for day in days)
        return Trigger(Rule.MONTHLY, days=numbers, months=_months(month), **common)
    by_weekday = _child(element, "ScheduleByMonthDayOfWeek")
    if by_weekday is not None:
        weeks = [_text_of(child) for child in _children(_child(by_weekday, "Weeks"))]
        return Trigger(
            Rule.MONTHLY_WEEKDAY,
            weekdays=_chosen(_child(by_weekday, "DaysOfWeek"), _WEEKDAYS),
            weeks=frozenset(5 if week == "Last" else _number(week) for week in weeks),
            months=_months(by_weekday),
            **common,
        )
    return Trigger(Rule.ONCE, **common)


def _text_of(element: ET.Element) -> str:
    return (element.text or "").strip()


def _chosen(element: ET.Element | None, names: Sequence[str]) -> frozenset[int]:
    present = {_tag(child) for child in _children(element)}
    return frozenset(number for number, name in enumerate(names) if name in present)


def _months(element: ET.Element) -> frozenset[int]:
    chosen = frozenset(number + 1 for number in _chosen(_child(element, "Months"), _MONTHS))
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

_MOST = 4
_DAY = timedelta(days=1)


def translated(trigger: Trigger) -> list[dict[str, Any]]:
    """Return the schedules of a job's spec that name the times of a trigger; several have no time in common.

    Raises:
        Refused: No few schedules name these times.
    """
    zone = {"timezone": "UTC"} if trigger.is_utc else {}
    fields = [each | zone for each in _schedules(trigger)]
    if len(fields) > _MOST:
        raise Refused(f"a trigger takes {len(fields)} cron texts: split it, or choose a repetition that divides an hour")  # fmt: skip
    if not fields:
        raise Refused("a trigger names no day")
    return fields


def _schedules(trigger: Trigger) -> list[dict[str, Any]]:
    if trigger.rule is Rule.ONCE:
        if trigger.every is None:
            return [{"at": trigger.start}]
        if trigger.lasting is not None:
            raise Refused("a trigger repeats for a time from a single start")
        return [{"every": trigger.every, "anchor": trigger.start}]
    if trigger.every is not None and trigger.lasting is None and trigger.rule is not Rule.DAILY:
        raise Refused("a trigger repeats without end from several starts")
    is_apart = trigger.interval > 1 and trigger.rule in {Rule.DAILY, Rule.WEEKLY}
    if is_apart:
        days = trigger.interval * (7 if trigger.rule is Rule.WEEKLY else 1)
        first = trigger.start.date()
        dates = [first + count * _DAY for count in range(days)]
        return [
            {"every": timedelta(days=days), "anchor": datetime.combine(day, datetime.min.time()) + offset}
            for day in dates
            if trigger.names_day(day)
            for offset in trigger.times()
        ]  # fmt: skip
    times = trigger.times()
    return [
        {"cron": f"{clock} {' '.join(days)}"}
        for shift, offsets in ((0, [t for t in times if t < _DAY]), (1, [t - _DAY for t in times if t >= _DAY]))
        if offsets
        for days in _days(trigger, shift)
        for clock in clocks(offsets, "trigger")
    ]  # fmt: skip


def _days(trigger: Trigger, shift: int) -> list[tuple[str, str, str]]:
    if trigger.rule is Rule.DAILY:
        return [("*", "*", "*")]
    if trigger.rule is Rule.WEEKLY:
        weekdays = {(day + shift) % 7 for day in trigger.weekdays}
        return [("*", "*", weekdays_field(weekdays))] if weekdays else []
    if shift:
        raise Refused("a trigger repeats over midnight on days of the month")
    months = "*" if len(trigger.months) == 12 else cron_field(trigger.months, 13)  # noqa: PLR2004
    if trigger.rule is Rule.MONTHLY:
        numbers = trigger.days - {LAST}
        result = [(cron_field(numbers, 32), months, "*")] if numbers else []
        if LAST not in trigger.days:
            return result
        if numbers & {28, 29, 30, 31}:
            raise Refused("a trigger names the last day of the month and a day that may be the last")  # fmt: skip
        return [*result, ("L", months, "*")]
    texts = [
        f"{NAMES[day]}L" if week == 5 else f"{NAMES[day]}#{week}"  # noqa: PLR2004
        for day in sorted(trigger.weekdays)
        for week in sorted(trigger.weeks)
    ]
    if 5 in trigger.weeks and 4 in trigger.weeks:  # noqa: PLR2004
        raise Refused("a trigger names the fourth and the last week, which may be the same")
    return [("*", months, text) for text in texts]


# The source.


class WindowsTasks:
    """The starts of Task Scheduler.

    Args:
        zone: The zone of the machine.
        triggers: The triggers of each task, by its place in the export.
    """

    model = (
        "Task Scheduler is simulated from Microsoft's description of its triggers. What it does at a clock change is not described: a time in"
        " a gap is assumed to run right after it, and a time of a repeated hour once. A start with Z or an offset keeps its time in UTC."
    )

    def __init__(self, zone: ZoneInfo, triggers: Mapping[str, Sequence[Trigger]]) -> None:
        self._zone = zone
        self._triggers = triggers

    def starts(self, job: ImportedJob, start: datetime, end: datetime) -> Iterable[datetime]:
        """Return the starts of a task in a period."""
        return task_starts(self._triggers[job.row.place], self._zone, start, end)


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

    def __init__(self, spool: Path | None = None) -> None:
        super().__init__(spool)
        self._triggers: dict[str, Sequence[Trigger]] = {}

    def entries(self, documents: Sequence[Document]) -> Iterator[Task | Rejection]:
        """Yield the tasks of all files."""
        for document in documents:
            yield from read_tasks(document)

    def simulation(self, options: Options) -> WindowsTasks:
        """Return the simulated scheduler."""
        return WindowsTasks(options.zone, self._triggers)

    def switch(self, task: Task) -> Switch:
        """Return the commands that disable and enable a task."""
        name = task.path.replace('"', "")
        return Switch(f'schtasks /Change /TN "{name}" /DISABLE', f'schtasks /Change /TN "{name}" /ENABLE', ".cmd", "rem")  # fmt: skip

    def drafts(self, task: Task, options: Options) -> Iterator[Draft]:
        """Yield the jobs of a task: one for each schedule of its triggers."""
        now = options.now.astimezone(options.zone).replace(tzinfo=None)
        used = task.triggers or task.disabled
        live = [each for each in used if _is_live(each, now)]
        if not used and task.events:
            raise Refused(f"it starts at {' and at '.join(task.events)}, which is no time")
        if not task.commands and not task.other_actions:
            raise Refused("it has no action: nothing would run")
        schedules = [each for trigger in live for each in translated(trigger)]
        warnings = [f"{event} starts it too: left out" for event in task.events]
        warnings += [f"a trigger is over since {each.end or each.start:%Y-%m-%d}: left out" for each in used if each not in live]  # fmt: skip
        fields = self._fields(task, warnings)
        active = task.settings.get("Enabled", "").lower() != "false" and bool(task.triggers)
        if not schedules:
            fields.pop("overlap"), fields.pop("misfire")
            schedules, active = [{"type": "manual"}], active and not used
        self._triggers[task.row.place] = live
        for place, schedule in enumerate(schedules):
            name, own_id = numbered(task.name, task.path, place)
            text = "; ".join(each.rule.value for each in used)
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
            warnings.append(f'its action {kinds} is no program: its job fails with "not yet ported" until somebody writes it')  # fmt: skip
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
