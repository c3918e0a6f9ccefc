"""systemd timers: pairs of ``.timer`` and ``.service`` files."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.systemd import (
    CalendarError,
    CalendarEvent,
    parse_calendar,
    parse_span,
    timer_starts,
)
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import NOT_PORTED, EntrySource, numbered, text_param
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind, Switch
from targcc_gen.sources.reading import Document
from targcc_gen.sources.schedules import field as cron_field
from targcc_gen.sources.schedules import weekdays_field
from targcc_gen.spec import Param

# Unit files.

_TIMER = "timer"
TABLES = KnownTables({_TIMER: "systemd timer"}, _TIMER, {})
Unit = Mapping[str, Mapping[str, Sequence[str]]]
"""Sections of a unit file; each key has its values in order."""
_PREFIXES = re.compile(r"^[-@:+!|]+")
_BY_EVENT = {
    "OnActiveSec": "the start of the timer",
    "OnBootSec": "the start of the machine",
    "OnStartupSec": "the start of systemd",
    "OnUnitInactiveSec": "the end of the last run",
}


def read_unit(text: str) -> Unit:
    """Read a unit file: sections, keys with several values, lines continued by a backslash. An empty value drops the values before it."""
    unit: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in re.sub(r"\\\n\s*", " ", text).split("\n"):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
            continue
        key, equals, value = stripped.partition("=")
        if not equals:
            continue
        if value.strip():
            unit[section][key.strip()].append(value.strip())
        else:
            unit[section].pop(key.strip(), None)
    return unit


def _last(unit: Unit, section: str, key: str) -> str:
    values = unit.get(section, {}).get(key, ())
    return values[-1] if values else ""


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer with its service.

    Attributes:
        row: The file of the timer.
        name: The name of the timer, without its suffix.
        unit: The timer's unit file.
        service: The service's unit file; None if it is not among the files.
    """

    row: Row
    name: str
    unit: Unit
    service: Unit | None = None

    @property
    def events(self) -> list[CalendarEvent]:
        """The calendar expressions.

        Raises:
            CalendarError: A text is no calendar expression.
        """
        return [parse_calendar(text) for text in self.unit["Timer"].get("OnCalendar", ())]


def is_timer(path: Path, head: str) -> bool:
    """Return whether a file is a timer, or a service of systemd."""
    if path.suffix == ".timer":
        return True
    return path.suffix == ".service" and any(part in head for part in ("[Unit]", "[Service]", "[D-BUS Service]"))  # fmt: skip


# Schedules.


def translated(event: CalendarEvent) -> list[dict[str, Any]]:
    """Return the schedules of a job's spec that name the times of a calendar expression.

    Raises:
        Refused: No cron text names these times.
    """
    zone = {"timezone": event.zone} if event.zone else {}
    counts = [len(part) for part in (event.years, event.months, event.days, event.hours, event.minutes, event.seconds)]  # fmt: skip
    if counts == [1] * 6 and not event.weekdays and not event.is_from_end:
        (year,), (month,), (day,), (hour,), (minute,), (second,) = (
            event.years, event.months, event.days, event.hours, event.minutes, event.seconds,
        )  # fmt: skip
        return [{"at": datetime(year, month, day, hour, minute, second), **zone}]  # noqa: DTZ001
    if event.years:
        raise Refused("OnCalendar names years, which no cron text does")
    days = "*" if len(event.days) == 31 else cron_field(event.days, 32)  # noqa: PLR2004
    if event.is_from_end and days != "*":
        if len(event.days) != 1:
            raise Refused("OnCalendar names several days from the end of the month")
        (number,) = event.days
        days = "L" if number == 1 else f"L-{number - 1}"
    months = "*" if len(event.months) == 12 else cron_field(event.months, 13)  # noqa: PLR2004
    weekdays = weekdays_field({(day + 1) % 7 for day in event.weekdays}) if event.weekdays else "*"
    clock = f"{cron_field(event.minutes, 60)} {cron_field(event.hours, 24)}"
    seconds = "" if event.seconds == {0} else f"{cron_field(event.seconds, 60)} "
    return [{"cron": f"{seconds}{clock} {days} {months} {weekdays}", **zone}]


# The source.


class Timers(EntrySource[Timer]):
    """The source of unit files."""

    tables = TABLES
    suffixes = (".timer", ".service")
    hint = (
        "systemctl cat NAME.timer NAME.service prints them; the files are in /etc/systemd/system."
    )
    questions = (
        "Which user runs the worker? A service without User= ran as root, with the limits and the sandbox of its unit file.",
        "Which services are started by something else too (WantedBy=, a path, a socket, a person)?",
    )
    advice = (
        "Persistent=true becomes misfire: {policy: run_once}; without it a missed time is skipped.",
        "A timer does not start a service that runs, so the jobs say overlap: skip.",
    )

    model = (
        "Timers are simulated from systemd.time(7), and their clock changes as systemd-analyze calendar of systemd 257 shows them: a time in a"
        " gap does not elapse, and a time of a repeated hour elapses in the first pass alone."
    )

    def entries(self, documents: Sequence[Document]) -> Iterator[Timer | Rejection]:
        """Yield the timers, each with its service."""
        services = {document.path.name: read_unit(document.text) for document in documents if document.path.suffix == ".service"}  # fmt: skip
        for document in documents:
            if document.path.suffix == ".service":
                continue
            unit, name = read_unit(document.text), document.path.stem
            if not unit.get("Timer"):
                yield Rejection(document.file.name, 1, "has no section [Timer]", name)
                continue
            service = services.get(_last(unit, "Timer", "Unit") or f"{name}.service")
            row = Row(_TIMER, {}, document.file.name, 1)
            yield Timer(row, name, unit, service)

    def starts(
        self, timer: Timer, zone: ZoneInfo, start: datetime, end: datetime
    ) -> list[datetime] | None:
        """Return the starts of a timer; None for a timer that counts from its last start."""
        return timer_starts(timer.events, zone, start, end) if timer.events else None

    def switch(self, timer: Timer) -> Switch:
        """Return the commands that stop and start a timer."""
        unit = shlex.quote(f"{timer.name}.timer")
        return Switch(f"systemctl disable --now {unit}", f"systemctl enable --now {unit}", ".sh", "#")  # fmt: skip

    def drafts(self, timer: Timer, _options: Options) -> Iterator[Draft]:
        """Yield the jobs of a timer: one for each calendar expression."""
        warnings: list[str] = []
        try:
            schedules = _schedules(timer, warnings)
            fields = _fields(timer, warnings)
        except CalendarError as error:
            raise Refused(str(error)) from None
        texts = timer.unit["Timer"].get("OnCalendar", ()) or ["OnUnitActiveSec"]
        for place, schedule in enumerate(schedules):
            name, own_id = numbered(timer.name, f"{timer.name}.timer", place)
            old = OldJob(name, own_id, "; ".join(texts))
            values = {**schedule, **fields}
            yield Draft(timer.row, name, values, active=True, old=old, warnings=tuple(warnings))


def _schedules(timer: Timer, warnings: list[str]) -> list[dict[str, Any]]:
    section = timer.unit["Timer"]
    every = _last(timer.unit, "Timer", "OnUnitActiveSec")
    events = [f"{key} ({_BY_EVENT[key]})" for key in _BY_EVENT if section.get(key)]
    if not timer.events and not every:
        raise Refused(f"it starts by {' and '.join(events) or 'nothing'}, which is no time")
    warnings += [f"{text} starts it too: left out" for text in events]
    if not timer.events:
        interval = parse_span(every)
        if interval is None or interval < timedelta(seconds=1):
            raise Refused(f"OnUnitActiveSec={every} is no interval")
        return [{"every": interval, "after": "start"}]
    for key in ("RandomizedDelaySec", "RandomizedOffsetSec"):
        if delay := _last(timer.unit, "Timer", key):
            warnings.append(f"{key}={delay}: it started later, at random; here it starts on time")
    return [each for event in timer.events for each in translated(event)]


def _fields(timer: Timer, warnings: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"retries": 0, "overlap": "skip", "timeout": "none"}
    if timer.events:
        persistent = _last(timer.unit, "Timer", "Persistent").lower() in {"yes", "true", "on", "1"}
        fields["misfire"] = {"policy": "run_once" if persistent else "skip"}
    service = timer.service
    if service is None:
        unit = _last(timer.unit, "Timer", "Unit") or f"{timer.name}.service"
        warnings.append(f"{unit} is not among the files: {NOT_PORTED}")
        return {**fields, "blueprint": "not-ported"}
    if description := (_last(service, "Unit", "Description") or _last(timer.unit, "Unit", "Description")):  # fmt: skip
        fields["description"] = description[:1000]
    fields["timeout"] = _timeout(service)
    commands = service.get("Service", {}).get("ExecStart", ())
    if not commands:
        warnings.append(f"it has no ExecStart: {NOT_PORTED}")
        return {**fields, "blueprint": "not-ported"}
    params = {"command": text_param(" && ".join(_PREFIXES.sub("", command) for command in commands))}  # fmt: skip
    if folder := _last(service, "Service", "WorkingDirectory").lstrip("-"):
        params["folder"] = text_param(folder)
    environment = _environment(service)
    if environment:
        params["environment"] = str(Param("dict", environment, required=False))
    if file := _last(service, "Service", "EnvironmentFile"):
        warnings.append(f"EnvironmentFile={file}: set its variables for the worker")
    if re.search(r"%[a-zA-Z]", commands[-1]):
        warnings.append("its command has a specifier of systemd, such as %h: write its value")
    user = _last(service, "Service", "User")
    warnings.append(f"it ran as {user or 'root'}: run the worker of its queue as that user")
    return {**fields, "blueprint": "command", "params": params}


def _timeout(service: Unit) -> timedelta | str:
    """Return the limit of a run. A service of type oneshot has no limit by default."""
    limits = [
        parse_span(text)
        for key in ("RuntimeMaxSec", "TimeoutStartSec", "TimeoutSec")
        if (text := _last(service, "Service", key)) and text != "0"
    ]
    known = [limit for limit in limits if limit]
    return min(known) if known else "none"


def _environment(service: Unit) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in service.get("Service", {}).get("Environment", ()):
        try:
            words = shlex.split(line)
        except ValueError:
            raise CalendarError(f"Environment={line} has an open quote") from None
        pairs |= dict(word.partition("=")[::2] for word in words if "=" in word)
    return pairs


SYSTEMD = SourceKind("systemd", "systemd", is_timer, Timers)
